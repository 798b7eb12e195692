"""Objectives and descriptors of a population, by the names in the settings."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.environment import AnySuite
from etm_jax.models._model import Model, Result

PERFORMANCE = "performance"  # at all tasks, by their weights


def objectives_of(
    wanted: Sequence[str], suite: AnySuite, model: Model, genomes: Any, result: Result
) -> Float[Array, "population objective"] | None:
    """Each objective, maximised and in [0, 1]: performances as they are, costs turned round; None where none is wanted.

    Args:
        wanted: names of the objectives.
        suite: the tasks.
        model: the kind of genomes.
        genomes: as they were scored.
        result: their scores.
    """
    if not wanted:
        return None
    weights = jnp.array(suite.weights)
    known = {PERFORMANCE: result.performance @ weights / jnp.sum(weights)}
    known |= {name: result.performance[:, index] for index, name in enumerate(suite.names)}
    known |= {name: 1 - cost for name, cost in model.costs(genomes).items()}
    return jnp.stack([known[name] for name in wanted], axis=-1)


def descriptors_of(
    wanted: Sequence[str], model: Model, genomes: Any, result: Result
) -> Float[Array, "population descriptor"] | None:
    """Each descriptor, in [0, 1]: traits of the genomes, and what they did; None where none is wanted."""
    if not wanted:
        return None
    known = model.traits(genomes) | (result.behaviour or {})
    return jnp.stack([known[name] for name in wanted], axis=-1)


def check_measures(
    model: Model, genomes: Any, tasks: Sequence[str], objectives: Sequence[str], descriptors: Sequence[str]
) -> None:
    """Refuse names that cannot be measured here.

    Args:
        model: the kind of genomes.
        genomes: a population, or its shapes.
        tasks: names of the tasks.
        objectives: names that are wanted.
        descriptors: names that are wanted.

    Raises:
        ValueError: an objective or a descriptor is unknown.
    """
    costs, traits = (tuple(jax.eval_shape(measure, genomes)) for measure in (model.costs, model.traits))
    kinds = (
        ("objectives", objectives, (PERFORMANCE, *tasks, *costs)),
        ("descriptors", descriptors, (*traits, *model.behaviours)),
    )
    for kind, names, allowed in kinds:
        unknown = [name for name in names if name not in allowed]
        if unknown:
            raise ValueError(f"selection.{kind} must be among {', '.join(allowed)}, got {', '.join(unknown)}")
