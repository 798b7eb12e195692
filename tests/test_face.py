"""The library's face loads its names when they are asked for; `etm_jax.ae` comes with nothing but jax and optax."""

import ast
import inspect
import subprocess
import sys

import pytest

import etm_jax

FOREIGN = ("flax", "orbax", "tyro", "rich", "evosax", "matplotlib", "jaxtyping")
# Standard library, and what jax and optax need themselves, are free.
ALONE = f"""
import sys
{{statement}}
ours = [name for name in sys.modules if name.startswith(("etm_jax.", "etm_tasks"))]
print(*[name for name in ours if not (name + ".").startswith("etm_jax.ae.")])
print(*[name for name in {FOREIGN} if name in sys.modules])
"""


def fresh(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize(
    "statement", ["import etm_jax.ae", "from etm_jax import ae", "import etm_jax; etm_jax.ae.ae_adam"]
)
def test_the_laws_load_nothing_else_of_the_library(statement):
    ours, foreign = fresh(ALONE.format(statement=statement)).split("\n")[:2]
    assert (ours, foreign) == ("", "")


def test_every_way_to_reach_a_name_works_in_a_fresh_process():
    fresh(
        "import etm_jax as etm\n"
        "assert 'Bounds' in dir(etm) and 'ae' in dir(etm) and 'TYPE_CHECKING' not in dir(etm)\n"
        "from etm_jax import Bounds, ae, TaskSuite\n"
        "assert etm.Bounds is Bounds and etm.networks.Bounds is Bounds\n"
        "from etm_jax import *\n"
        "assert load_best is etm.load_best and not hasattr(etm, 'nothing')\n"
    )


def test_a_module_of_the_library_still_runs_as_a_command():
    run = subprocess.run(
        [sys.executable, "-m", "etm_jax.evolve", "--help"], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert run.stdout.startswith("usage: python -m etm_jax.evolve")


def test_evolve_is_a_function_whether_the_module_of_its_name_is_loaded_or_not():
    fresh(
        "import etm_jax as etm\n"
        "first = etm.evolve\n"
        "import etm_jax.evolve as command\n"
        "assert callable(first) and etm.evolve is first is command and callable(command.evolve)\n"
        "assert command.__call__ is command.evolve and callable(command.main)\n"
    )


def test_the_face_of_the_models_has_the_registry_too():
    fresh(
        "from etm_jax import models\n"
        "assert {'MODELS', 'make_model', 'load_best', 'Model'} <= set(dir(models))\n"
        "from etm_jax.models._registry import MODELS, load_best\n"
        "assert models.MODELS is MODELS and models.load_best is load_best and not hasattr(models, 'nothing')\n"
    )


def test_type_checkers_see_the_names_that_are_loaded():
    block = next(node for node in ast.parse(inspect.getsource(etm_jax)).body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"etm_jax.{home}" for name, home in etm_jax._HOMES.items()}
    assert all(getattr(etm_jax, name) is not None for name in seen)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'etm_jax' has no attribute 'Bunds'"):
        _ = etm_jax.Bunds
