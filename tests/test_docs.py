"""Public names have docstrings and a place on the API pages; every example of README, docs and docstrings runs."""

import ast
import doctest
import importlib
import inspect
import itertools
import pkgutil
import re
import runpy
from pathlib import Path

import pytest

import etm_jax
import etm_tasks

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api"
PACKAGES = [
    "etm_jax",
    "etm_jax.ae",
    "etm_jax.ae.machine",
    "etm_jax.ae.plot",
    "etm_jax.ae.tape",
    "etm_jax.ae.tape_tasks",
    "etm_jax.automata",
    "etm_jax.cells",
    "etm_jax.config",
    "etm_jax.environment",
    "etm_jax.evolution",
    "etm_jax.graphs",
    "etm_jax.models",
    "etm_jax.networks",
    "etm_jax.networks.learning",
    "etm_jax.networks.variation",
    "etm_jax.number_task",
    "etm_jax.parallel",
    "etm_jax.presets",
    "etm_jax.report",
    "etm_jax.runs",
    "etm_jax.selection",
    "etm_jax.strategies",
    "etm_jax.task",
    "etm_jax.training",
    "etm_tasks",
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIRST_PAGE = ROOT / "docs" / "index.md"
BLOCK = re.compile(r"^```python *\n(.*?)^```", re.MULTILINE | re.DOTALL)


def public_names(package):
    """What a package exports, or what a plain module defines or hands on by `import X as X`."""
    module = importlib.import_module(package)
    # the face of the library loads its names when they are asked for, so only dir() knows them
    public = [name for name in dir(module) if not name.startswith("_")]
    # `etm_jax.evolve` is a command and a function, so a module that can be called
    names = {name for name in public if not inspect.ismodule(getattr(module, name)) or callable(getattr(module, name))}
    if hasattr(module, "__path__"):
        return names
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)]
    aliases = [alias for node in imports for alias in node.names if alias.asname != alias.name]
    return names - {alias.asname or alias.name for alias in aliases}


def is_documented(name, value):
    """Has a written docstring. A dataclass without one gets its signature; a value cannot have any."""
    if not (inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, property)):
        return True
    text = value.__doc__ or ""
    return bool(text.strip()) and not text.startswith(f"{name}(")


def members_of(kind):
    """Public methods and properties that a class defines itself."""
    for name, value in vars(kind).items():
        value = getattr(value, "__func__", value)
        function = value.fget if isinstance(value, property) else value
        if not name.startswith("_") and getattr(function, "__module__", None) == kind.__module__:
            yield name, value


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_have_docstrings(package):
    module = importlib.import_module(package)
    assert (module.__doc__ or "").strip()
    missing = []
    for name in sorted(public_names(package)):
        value = getattr(module, name)
        if not is_documented(name, value):
            missing.append(name)
        if inspect.isclass(value) and value.__module__.startswith("etm_"):
            missing += [f"{name}.{each}" for each, it in members_of(value) if not is_documented(each, it)]
    assert missing == []


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_on_the_api_page_of_their_package(package):
    page = (API / f"{package.removeprefix('etm_jax.')}.md").read_text(encoding="utf-8")
    shown = re.findall(rf"^::: {re.escape(package)}\.(\w+)$", page, re.MULTILINE)
    linked = re.findall(r"^\| \[`(\w+)`\]", page, re.MULTILINE)  # names that live on another page
    assert len(shown) == len(set(shown))
    assert {*shown, *linked} == public_names(package)


def test_every_public_package_has_a_page():
    found = {f"etm_jax.{info.name}" for info in pkgutil.iter_modules(etm_jax.__path__) if not info.name.startswith("_")}
    assert found - {"etm_jax.evolve", "etm_jax.train"} <= set(PACKAGES)  # those two are command lines, not an API


def blocks_of(page):
    """Python blocks with the line each begins at."""
    text = page.read_text(encoding="utf-8")
    return [(text[: match.start(1)].count("\n"), match.group(1)) for match in BLOCK.finditer(text)]


def evolves(source):
    """Runs a whole evolution of networks, which takes long to compile."""
    return any(f"{name}(" in source for name in ("etm.evolve", "EvolutionaryTuringMachine", "EvolvingTuringMachine"))


def execute(page, blocks):
    namespace = {"__name__": "example"}
    for line, source in blocks:
        exec(compile("\n" * line + source, str(page), "exec"), namespace)


def of_pages(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


@of_pages(PAGES)
def test_examples_run(page, tmp_path, monkeypatch):
    """Up to the first that evolves networks, but for that of the first page."""
    if not page.is_file():
        pytest.fail(f"{page.name} is missing: its examples are part of the tests")
    monkeypatch.chdir(tmp_path)
    whole = page == FIRST_PAGE
    execute(page, itertools.takewhile(lambda block: whole or not evolves(block[1]), blocks_of(page)))


@pytest.mark.slow
@of_pages([page for page in PAGES if page != FIRST_PAGE and any(evolves(source) for _, source in blocks_of(page))])
def test_examples_that_evolve_networks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execute(page, blocks_of(page))


def test_examples_are_found():
    assert len(blocks_of(ROOT / "docs" / "index.md")) == 2
    assert len(blocks_of(ROOT / "docs" / "start.md")) >= 3
    assert re.findall(r"^```python\S|^~~~|^ +```", "".join(page.read_text() for page in PAGES), re.MULTILINE) == []


def modules():
    """All modules of the library."""
    names = [etm_jax.__name__, etm_tasks.__name__]
    for package in (etm_jax, etm_tasks):
        names += [info.name for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return names


# Each compiles a generation of networks, which the example of the first page does, too.
LONG = {"etm_jax._machine", "etm_jax.evolution._propose"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else ()) for n in modules()])
def test_doctests_pass(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_doctests_are_found():
    assert set(modules()) >= LONG
    tests = [test for name in modules() for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in tests) >= 8


def test_the_picture_is_what_its_script_draws():
    drawn = runpy.run_path(str(ROOT / "docs" / "img" / "make_genome_layout.py"))
    assert drawn["TARGET"].read_text(encoding="utf-8") == drawn["picture"]()
