"""Arrows run one way: which part of the library may import which."""

import ast
import builtins
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# They import nothing of the library, so every module may import them.
LEAVES = ("etm_jax._ask_tell", "etm_jax._typing", "etm_jax._files", "etm_jax._require", "etm_jax._distances")
TASK_FACE = ("etm_jax.task", "etm_jax.environment", "etm_jax._typing", "etm_jax._require")
SUITES = ("etm_jax.task", "etm_jax.environment", "etm_jax.number_task")
# What models are made with; all but the registry, which imports every model.
PROTOCOL = tuple(f"etm_jax.models.{name}" for name in ("_model", "_context", "_scores", "_acting"))
REPORT = tuple(f"etm_jax.report.{name}" for name in ("_draw", "_section", "_trace"))
MODEL = (*SUITES, *PROTOCOL, *REPORT, "etm_jax.parallel", *LEAVES)
ROOMS = ("etm_jax.networks", "etm_jax.graphs", "etm_jax.automata")

# Folder: what of this repository it may import besides itself.
ALLOWED = {
    "etm_jax/cells": LEAVES,
    "etm_jax/networks/native": ("etm_jax.cells", *LEAVES),
    "etm_jax/networks/genome": ("etm_jax.networks.native", "etm_jax.cells", *LEAVES),
    "etm_jax/networks/variation": ("etm_jax.networks.genome", "etm_jax.cells", *LEAVES),
    "etm_jax/networks/learning": (
        "etm_jax.networks.genome",
        "etm_jax.networks.native",
        "etm_jax.cells",
        "etm_jax.ae",
        *SUITES,
        *PROTOCOL,
        *LEAVES,
    ),
    "etm_jax/networks": ("etm_jax.cells", "etm_jax.ae", *MODEL),
    "etm_jax/graphs": ("etm_jax.cells", *MODEL),
    "etm_jax/automata": MODEL,
    "etm_jax/environment": ("etm_jax.task", "etm_jax.number_task", *LEAVES),
    "etm_jax/selection": LEAVES,
    "etm_jax/strategies": LEAVES,
    "etm_jax/parallel": LEAVES,
    "etm_jax/runs": ("etm_jax.__version__", "etm_jax._toml", *LEAVES),
    "etm_jax/models": (*ROOMS, *SUITES, "etm_jax.parallel", "etm_jax.runs", "etm_jax._compiling", *LEAVES),
    "etm_jax/ae": (),
    "tasks/etm_tasks": TASK_FACE,
}
# Folder: what it must not import.
FORBIDDEN = {
    "etm_jax/selection": (*ROOMS, "etm_jax.cells", "etm_jax.models"),
    "etm_jax/cells": (*ROOMS, *(f"etm_jax.{part}" for part in ("models", "selection", "evolution", "report"))),
    "etm_jax/report": ("etm_jax.graphs", "etm_jax.automata", "etm_jax.models", "etm_jax.evolution", "etm_jax.config"),
    "etm_jax/training": ("etm_jax.graphs", "etm_jax.automata", "etm_jax.evolution", "etm_jax.selection"),
}
# Files outside the rooms that know one of them, and which.
KNOW_A_ROOM = {
    "etm_jax/__init__.py": "etm_jax.networks",  # the names of the face
    "etm_jax/presets.py": "etm_jax",
    "etm_jax/config.py": "etm_jax.networks._config",  # the default
    "etm_jax/evolution/_ask_tell.py": "etm_jax.networks",  # a face of the networks
    "etm_jax/evolve.py": "etm_jax.networks._config",  # the default
    "etm_jax/models/_registry.py": "etm_jax",
    "etm_jax/report/_genes.py": "etm_jax.networks.genome._genes.CHOICES",  # names of genes
    "etm_jax/report/_rises.py": "etm_jax.networks.genome._genes.CHOICES",
    "etm_jax/report/_section.py": "etm_jax.networks.genome._genes.CHOICES",
    "etm_jax/train.py": "etm_jax.networks",
}
# They know neither models nor suites by their classes.
GENERAL = ("evolution", "models", "runs", "report", "parallel")
CHECKS_ITS_SUITE = "etm_jax/models/_acting.py"  # whether it has environments
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
    assert {"etm_jax/cells/_modules.py", "etm_jax/cells/__init__.py"} <= cells
    assert ("tasks/etm_tasks/_copy.py", "etm_jax.task.Episode") in imports_in("tasks/etm_tasks")


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_part_imports_only_the_parts_below_it(folder):
    own = "etm_tasks" if folder.startswith("tasks") else folder.replace("/", ".")
    ours = [pair for pair in imports_in(folder) if is_within(pair[1], "etm_jax") or is_within(pair[1], "etm_tasks")]
    wrong = [pair for pair in ours if not any(is_within(pair[1], part) for part in (own, *ALLOWED[folder]))]
    assert wrong == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_what_every_module_may_import_imports_nothing_of_the_library(leaf):
    source = (ROOT / leaf.replace(".", "/")).with_suffix(".py").read_text()
    assert [name for name in imports_of(source, leaf) if name.startswith("etm")] == []


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_part_imports_nothing_that_it_must_not_know(folder):
    wrong = [pair for pair in imports_in(folder) if any(is_within(pair[1], part) for part in FORBIDDEN[folder])]
    assert wrong == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_no_other_room(room):
    others = [other for other in ROOMS if other != room]
    found = imports_in(room.replace(".", "/"))
    assert found and [pair for pair in found if any(is_within(pair[1], other) for other in others)] == []


def test_outside_the_rooms_the_models_are_reached_through_the_registry():
    homes = (*(f"{room.replace('.', '/')}/" for room in ROOMS), "etm_jax/training/")
    knows = {
        (file, name)
        for file, name in imports_in("etm_jax")
        if not file.startswith(homes) and any(is_within(name, room) for room in ROOMS)
    }
    assert {file for file, _ in knows} == set(KNOW_A_ROOM)
    assert [pair for pair in sorted(knows) if not is_within(pair[1], KNOW_A_ROOM[pair[0]])] == []


def classes_tested(source):
    """Names of the classes that `isinstance`, `issubclass` or a case asks for, plain types of Python left out."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            asked = node.args[1]
        elif isinstance(node, ast.MatchClass):
            asked = node.cls
        else:
            continue
        found |= {name.id for name in ast.walk(asked) if isinstance(name, ast.Name)}
    return {name for name in found if not hasattr(builtins, name)}


def test_every_question_for_a_class_is_seen():
    source = "isinstance(a, B)\nisinstance(a, dict | c.D)\nissubclass(a, (E, int))\nmatch a:\n    case F(): pass\n"
    assert classes_tested(source) == {"B", "c", "E", "F"}
    assert classes_tested((ROOT / CHECKS_ITS_SUITE).read_text()) == {"EnvironmentSuite"}


@pytest.mark.parametrize("room", GENERAL)
def test_a_general_room_tells_models_and_suites_apart_by_nothing_but_what_they_say(room):
    files = [path for path in files_in(f"etm_jax/{room}") if path != ROOT / CHECKS_ITS_SUITE]
    asked = {str(path.relative_to(ROOT)): classes_tested(path.read_text()) for path in files}
    assert files and {file: names for file, names in asked.items() if names} == {}


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
def test_no_file_imports_the_folder_of_the_tasks_or_pickle(folder):
    banned = ("tasks", "pickle", "cloudpickle", "dill")
    assert [pair for pair in imports_in(folder) if any(is_within(pair[1], each) for each in banned)] == []
