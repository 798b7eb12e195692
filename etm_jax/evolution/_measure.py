"""Objectives and descriptors of a population, by the names in the settings."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.evolution._problem import Problem
from etm_jax.models._behaviour import behaviours_of
from etm_jax.models._model import Result
from etm_jax.networks.learning._score import SLOTS_USED

PERFORMANCE = "performance"  # at all tasks, by their weights


def objectives_of(problem: Problem, genomes: Any, result: Result) -> Float[Array, "population objective"] | None:
    """Each objective, maximised and in [0, 1]: performances as they are, costs turned round; None where none is needed.

    Args:
        problem: names the objectives.
        genomes: as they were scored.
        result: their scores.
    """
    if not problem.objectives:
        return None
    names, weights = problem.suite.names, jnp.array(problem.suite.weights)
    known = {PERFORMANCE: result.performance @ weights / jnp.sum(weights)}
    known |= {name: result.performance[:, index] for index, name in enumerate(names)}
    known |= {name: 1 - cost for name, cost in problem.family.costs(genomes).items()}
    return jnp.stack([known[name] for name in problem.objectives], axis=-1)


def descriptors_of(problem: Problem, genomes: Any, result: Result) -> Float[Array, "population descriptor"] | None:
    """Each descriptor, in [0, 1]: traits of the genomes, and what they did; None where none is needed."""
    if not problem.descriptors:
        return None
    known = problem.family.traits(genomes) | (result.behaviour or {})
    if SLOTS_USED in known:
        known[SLOTS_USED] = known[SLOTS_USED] / problem.config.bounds.num_slots[1]  # whatever bucket it was measured in
    return jnp.stack([known[name] for name in problem.descriptors], axis=-1)


def check_measures(problem: Problem) -> None:
    """Refuse names that cannot be measured here.

    Raises:
        ValueError: an objective or a descriptor is unknown.
    """
    genomes = jax.eval_shape(lambda key: jax.vmap(problem.family.random)(key[None]), jax.random.key(0))
    costs = tuple(jax.eval_shape(problem.family.costs, genomes))
    traits = tuple(jax.eval_shape(problem.family.traits, genomes))
    allowed = {
        "objectives": (PERFORMANCE, *problem.suite.names, *costs),
        "descriptors": (*traits, *behaviours_of(problem.suite)),
    }
    for kind, names in allowed.items():
        unknown = [name for name in getattr(problem, kind) if name not in names]
        if unknown:
            raise ValueError(f"selection.{kind} must be among {', '.join(names)}, got {', '.join(unknown)}")
