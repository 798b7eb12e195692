"""Evolve populations of memory-augmented neural networks of different shapes in one JAX call."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from etm_jax._machine import EvolutionaryTuringMachine as EvolutionaryTuringMachine
    from etm_jax._machine import EvolutionResult as EvolutionResult
    from etm_jax._machine import evolve as evolve
    from etm_jax.cells import MemoryNetwork as MemoryNetwork
    from etm_jax.cells import NTMCell as NTMCell
    from etm_jax.config import EvolutionaryTuringConfig as EvolutionaryTuringConfig
    from etm_jax.evolution import EvolvingTuringMachine as EvolvingTuringMachine
    from etm_jax.models import load_best as load_best
    from etm_jax.networks import Bounds as Bounds
    from etm_jax.networks import Genome as Genome
    from etm_jax.networks import LifetimeConfig as LifetimeConfig
    from etm_jax.networks import NetworksConfig as NetworksConfig
    from etm_jax.networks import apply as apply
    from etm_jax.networks import compact as compact
    from etm_jax.networks import mask_of as mask_of
    from etm_jax.networks import pad as pad
    from etm_jax.networks import random_genome as random_genome
    from etm_jax.task import Episode as Episode
    from etm_jax.task import TaskSuite as TaskSuite

# Names are loaded when they are first asked for (PEP 562), so that `etm_jax.ae` comes without the rest.
_HOMES = {
    "EvolutionaryTuringMachine": "_machine",
    "EvolutionResult": "_machine",
    "evolve": "_machine",
    "MemoryNetwork": "cells",
    "NTMCell": "cells",
    "EvolutionaryTuringConfig": "config",
    "EvolvingTuringMachine": "evolution",
    "load_best": "models",
    "Bounds": "networks",
    "Genome": "networks",
    "LifetimeConfig": "networks",
    "NetworksConfig": "networks",
    "apply": "networks",
    "compact": "networks",
    "mask_of": "networks",
    "pad": "networks",
    "random_genome": "networks",
    "Episode": "task",
    "TaskSuite": "task",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _parts():  # `evolve` too: the module is the command, and may be called as the function
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_HOMES, *_parts(), *(name for name in globals() if name.startswith("__"))])


def _parts() -> set[str]:
    """Public modules and packages within this one."""
    return {part.name for part in pkgutil.iter_modules(__path__) if not part.name.startswith("_")}
