"""Arrows run one way: which part of the library may import which."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# They import nothing of the library, so anybody may import them.
LEAVES = ("etm_jax._typing", "etm_jax._files", "etm_jax._require", "etm_jax._distances")
TASK_FACE = ("etm_jax.task", "etm_jax.environment", "etm_jax._typing")

# Folder: what of this repository it may import besides itself.
ALLOWED = {
    "etm_jax/cells": LEAVES,
    "etm_jax/networks/genome": ("etm_jax.cells", *LEAVES),
    "etm_jax/networks/variation": ("etm_jax.networks.genome", "etm_jax.cells", "etm_jax.config", *LEAVES),
    "etm_jax/environment": ("etm_jax.task", "etm_jax.number_task", *LEAVES),
    "etm_jax/automata": LEAVES,
    "etm_jax/graphs": ("etm_jax.cells", *LEAVES),
    "etm_jax/ae": (),
    "tasks/etm_tasks": TASK_FACE,
}
# Folder: what it must not import.
FORBIDDEN = {
    "etm_jax/selection": ("etm_jax.networks.genome", "etm_jax.cells"),
    "etm_jax/cells": tuple(f"etm_jax.{part}" for part in ("genomes", "variation", "selection", "evolution", "report")),
}
AE_MAY_USE = {"jax", "optax", *sys.stdlib_module_names}
AE_FIGURES = "etm_jax/ae/plot.py"
AE_FIGURES_MAY_USE = {"matplotlib", "numpy"}  # numpy comes with jax


def imports_of(source, module):
    """Absolute names of everything imported anywhere in the source of a module, `from a import b` as `a.b`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*parent, *([node.module] if node.module else [])])
            found += [f"{origin}.{alias.name}" for alias in node.names]
    return found


def is_within(name, package):
    return name == package or name.startswith(package + ".")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[1:] if parts[0] == "tasks" else parts)


def files_in(folder):
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def imports_in(folder):
    """Pairs of a file and a name it imports."""
    pairs = []
    for path in files_in(folder):
        # a package's own folder counts as one more level for its relative imports
        name = module_name(path.parent / "__init__" / "_" if path.name == "__init__.py" else path)
        pairs += [(str(path.relative_to(ROOT)), each) for each in imports_of(path.read_text(), name)]
    return pairs


def test_every_way_to_import_is_seen():
    source = "import a.b as c\nfrom d import e, f\ndef g():\n    from . import h\n    from ..i import j\n"
    assert imports_of(source, "p.q.r") == ["a.b", "d.e", "d.f", "p.q.h", "p.i.j"]


def test_the_parts_that_the_rules_are_about_are_found():
    cells = {name for name, _ in imports_in("etm_jax/cells")}
    assert {"etm_jax/cells/_network.py", "etm_jax/cells/__init__.py"} <= cells
    assert ("tasks/etm_tasks/_copy.py", "etm_jax.task.Episode") in imports_in("tasks/etm_tasks")


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_part_imports_only_the_parts_below_it(folder):
    own = "etm_tasks" if folder.startswith("tasks") else folder.replace("/", ".")
    ours = [pair for pair in imports_in(folder) if is_within(pair[1], "etm_jax") or is_within(pair[1], "etm_tasks")]
    wrong = [pair for pair in ours if not any(is_within(pair[1], part) for part in (own, *ALLOWED[folder]))]
    assert wrong == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_what_anybody_may_import_imports_nothing_of_the_library(leaf):
    source = (ROOT / leaf.replace(".", "/")).with_suffix(".py").read_text()
    assert [name for name in imports_of(source, leaf) if name.startswith("etm")] == []


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_part_imports_nothing_that_it_must_not_know(folder):
    wrong = [pair for pair in imports_in(folder) if any(is_within(pair[1], part) for part in FORBIDDEN[folder])]
    assert wrong == []


def test_the_adaptive_laws_need_only_jax_and_optax():
    wrong = [
        (file, name)
        for file, name in imports_in("etm_jax/ae")
        if name.split(".")[0] not in AE_MAY_USE | (AE_FIGURES_MAY_USE if file == AE_FIGURES else set())
        and not is_within(name, "etm_jax.ae")
    ]
    assert wrong == []


def test_only_the_figures_of_the_adaptive_laws_import_matplotlib():
    files = {file for file, name in imports_in("etm_jax/ae") if is_within(name, "matplotlib")}
    assert files == {AE_FIGURES}


def test_only_the_command_line_knows_concrete_tasks():
    wrong = [pair for pair in imports_in("etm_jax") if is_within(pair[1], "etm_tasks")]
    assert [pair for pair in wrong if pair[0] != "etm_jax/_command_line.py"] == []


@pytest.mark.parametrize("folder", ["etm_jax", "tasks", "tests", "bench"])
def test_nobody_imports_the_folder_of_the_tasks_or_pickle(folder):
    banned = ("tasks", "pickle", "cloudpickle", "dill")
    assert [pair for pair in imports_in(folder) if any(is_within(pair[1], each) for each in banned)] == []
