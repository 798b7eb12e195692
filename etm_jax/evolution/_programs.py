"""A generation as compiled programs, one a stage, each with the compile options that suit its work."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
from jax.stages import Lowered

from etm_jax._compiling import compile_all, compile_options, tracing
from etm_jax.evolution._founders import raised
from etm_jax.evolution._generation import close, create, evaluate, init, learn
from etm_jax.evolution._islands import state_sharding
from etm_jax.evolution._problem import Problem
from etm_jax.evolution._state import EvolutionState
from etm_jax.models._scores import asked_of
from etm_jax.parallel._devices import replicated
from etm_jax.runs._history import GenerationRecord

OPERATIONS_A_WEIGHT = 10  # of varying a genome once, or of a step of an optimiser, roughly
Generation = Callable[[EvolutionState], tuple[EvolutionState, GenerationRecord]]


def first_state(problem: Problem) -> EvolutionState:
    """The state before the first generation, from the seed of the settings, where a run's state lies."""
    start = lower_first(problem).compile(compiler_options=compile_options(0))
    return start(jax.random.key(problem.config.seed))


def compile_raising(problem: Problem, state: EvolutionState) -> Callable[[EvolutionState], EvolutionState]:
    """`raised`, if more founders are born than there are places; else what leaves the first state as it is."""
    if getattr(problem.model, "births", 1) == 1:
        return lambda state: state
    sharding = state_sharding(problem.config.islands.count, problem.mesh)
    with tracing():
        lowered = jax.jit(functools.partial(raised, problem), out_shardings=sharding).lower(state)
    a_rung = operations_of(problem, state)[learn.__name__] / problem.config.max_generations
    operations = a_rung * problem.model.births.bit_length()
    return lowered.compile(compiler_options=compile_options(operations))


def lower_first(problem: Problem) -> Lowered:
    """The program of the first state, traced: a function of a key."""
    sharding = state_sharding(problem.config.islands.count, problem.mesh)
    with tracing():
        return jax.jit(functools.partial(init, problem), out_shardings=sharding).lower(jax.random.key(0))


def compile_generation(problem: Problem, state: EvolutionState) -> Generation:
    """One generation, `step`, as four programs: create, learn, evaluate and close.

    Apart they compile faster than as one, at once and each with options of its own. The host waits for none of them, so
    generations follow each other on the devices without a pause.

    Args:
        problem: what evolves.
        state: one of the run; its shapes and where it lies are all that counts.

    Returns:
        A function from a state, whose memory it takes, to the next state and the generation's metrics, as `step`.
    """
    programs = compile_all(lower_stages(problem, state), operations_of(problem, state))

    def generation(state: EvolutionState) -> tuple[EvolutionState, GenerationRecord]:
        population, steps = programs[create.__name__](state)
        learns = learn.__name__ in programs
        genomes = programs[learn.__name__](state, population, steps) if learns else None
        found = programs[evaluate.__name__](state, genomes if learns else population.genomes)
        return programs[close.__name__](state, population, steps, genomes, found)

    return generation


def lower_stages(problem: Problem, state: EvolutionState) -> dict[str, Lowered]:
    """Trace the stages of a generation, in order and by name. `learn` is absent under Darwinian inheritance."""
    config, mesh = problem.config, problem.mesh
    whole = state_sharding(config.islands.count, mesh)
    parts = whole.population.ids  # of populations, and of islands' results
    learns = problem.learns
    lowered = {}

    def lower(stage: Callable[..., Any], out: Any, *arguments: Any, donated: tuple[int, ...] = ()) -> Any:
        jitted = jax.jit(functools.partial(stage, problem), out_shardings=out, donate_argnums=donated)
        lowered[stage.__name__] = jitted.lower(*arguments)
        return _placed(lowered[stage.__name__].out_info, out)

    like = _placed(state, whole)
    with tracing():
        population, steps = lower(create, parts, like)
        genomes = lower(learn, parts, like, population, steps) if learns else population.genomes
        found = lower(evaluate, parts, like, genomes)
        rest = (population, steps, genomes if learns else None, found)
        lower(close, (whole, replicated(mesh)), like, *rest, donated=(0,))
    return lowered


def operations_of(problem: Problem, state: EvolutionState) -> dict[str, int | float]:
    """Roughly how many arithmetic operations each stage executes in a whole run; infinite where it is unknown."""
    config, suite = problem.config, problem.suite
    weights = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.population.genomes))
    varied = float(weights * config.max_generations)
    # A product and a sum for each weight, in each step of each episode; a gradient costs three times as much.
    forward = 2 * varied * suite.num_steps * len(suite.names) if problem.model.xla_computes else 0.0
    steps, batch_size = problem.model.training if problem.learns else (0, 0)
    sequences = sum(length * asked.episodes for length, asked in asked_of(suite, problem.context).items())
    return {
        create.__name__: OPERATIONS_A_WEIGHT * varied,
        learn.__name__: steps * (3 * forward * batch_size + OPERATIONS_A_WEIGHT * varied),
        evaluate.__name__: forward * sequences,
        close.__name__: OPERATIONS_A_WEIGHT * varied,
    }


def _placed(tree: Any, sharding: Any) -> Any:
    """Shapes and types of arrays that lie where a tree of shardings, or of its first levels, says."""

    def place(sharding: Any, part: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), part)

    return jax.tree.map(place, sharding, tree)
