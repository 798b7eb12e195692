"""What contenders do with their CPU seconds, each in a process of its own."""

import bisect
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from bench._context import context, pin
from bench.architecture._contenders import (
    LOOK,
    PATIENCE,
    Evolved,
    Halved,
    Plan,
    Restarted,
    chain_of,
)
from bench.architecture._exam import Choice, Exam, Stopwatch
from etm_jax import ae
from etm_jax._compiling import compile_options, tracing
from etm_jax._typing import Key, Params, pytree
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution import compile_generation, first_state, make_problem
from etm_jax.evolution._programs import compile_raising
from etm_jax.models._model import member
from etm_jax.networks import (
    Bounds,
    Genome,
    LifetimeConfig,
    describe,
    mask_of,
    multiply_adds,
    num_parameters,
    random_genome,
)
from etm_jax.networks.genome._genes import neutral
from etm_jax.networks.learning import Lifetime, gradient_step
from etm_jax.networks.native import choose_backend
from etm_jax.task import TaskSuite
from etm_jax.training import NetworkConfig
from etm_tasks import make_suite

MOST_UNITS = 4096  # of an LSTM that is to have so many weights
Counts = dict[str, int]


@pytree
class Trainee:
    """A network in training.

    Attributes:
        key: of its episodes.
        step: gradient steps done.
        genome: the network as the optimiser moves it.
        optimiser: the optimiser's state.
    """

    key: Key
    step: Any
    genome: Genome
    optimiser: Any


@dataclass(frozen=True)
class Trainer:
    """Trains networks of one padded space, compiled.

    Attributes:
        start: from a key to a random network of the space, untrained.
        advance: learns from the next `LOOK` sequences.
    """

    start: Callable[[Key], Trainee]
    advance: Callable[[Trainee], Trainee]

    @classmethod
    def of(cls, bounds: Bounds, suite: TaskSuite, learning: LifetimeConfig, chain: Any) -> "Trainer":
        """Compile."""
        native = choose_backend("auto", bounds.spec, jnp.result_type(float)).native
        lifetime = Lifetime(bounds, suite, learning, native=native)

        def start(key: Key) -> Trainee:
            key_network, key_run = jax.random.split(key)
            genome = random_genome(key_network, bounds, suite.input_size, suite.output_size)
            state = chain.init(genome.params)
            return Trainee(key_run, jnp.array(0, jnp.int32), replace(genome, learning=neutral()), state)

        def advance(trainee: Trainee) -> Trainee:
            take = functools.partial(gradient_step, lifetime, chain, mask_of(trainee.genome, bounds))

            def step(index: Any, carry: tuple[Params, Any]) -> tuple[Params, Any]:
                genome = replace(trainee.genome, params=carry[0])
                genome, state, _ = take(jax.random.fold_in(trainee.key, index), genome, carry[1], jnp.ones(1))
                return genome.params, state

            last = trainee.step + LOOK // learning.batch_size
            params, state = jax.lax.fori_loop(trainee.step, last, step, (trainee.genome.params, trainee.optimiser))
            return Trainee(trainee.key, last, replace(trainee.genome, params=params), state)

        with tracing():
            started = jax.jit(start).lower(jax.random.key(0))
            advanced = jax.jit(advance).lower(jax.eval_shape(start, jax.random.key(0)))
        return cls(
            started.compile(compiler_options=compile_options(0)),
            advanced.compile(compiler_options=compile_options(math.inf)),
        )

    def network(self, trainee: Trainee) -> Genome:
        """The network to examine: with averaged weights where the optimiser averages."""
        return replace(trainee.genome, params=ae.eval_params(trainee.optimiser, trainee.genome.params))


@dataclass(frozen=True)
class Work:
    """The work of one run.

    Attributes:
        plan: what is done.
        suite: the task.
        watch: what it cost.
    """

    plan: Plan
    suite: TaskSuite
    watch: Stopwatch

    @property
    def over(self) -> bool:
        """Whether the budget is used up."""
        return self.watch["work"] >= self.plan.budget

    def exam(self, bounds: Bounds, genome: Genome) -> Exam:
        """The exams of networks of this space, compiled; any of its genomes will do for that."""
        exam = Exam(self.plan, self.suite, bounds, self.watch)
        exam.warm_up(genome)
        return exam

    def advanced(self, trainer: Trainer, trainee: Trainee) -> Trainee:
        """The trainee at its next look; what that takes counts."""
        with self.watch.on("work"):
            return jax.block_until_ready(trainer.advance(trainee))


def evolve(work: Work, contender: Evolved) -> tuple[Choice, Bounds, Counts]:
    """Generations until the budget is used or the choice is final.

    The champion after each of them and the last population are ranked.
    """
    config: EvolutionaryTuringConfig = replace(contender.config, task=(work.plan.what.spec,), seed=work.plan.seed)
    with work.watch.on("compile"):
        problem = make_problem(config, work.suite)
        state = first_state(problem)
        raising, generation = compile_raising(problem, state), compile_generation(problem, state)
    bounds = problem.model.config.bounds
    choice = Choice(work.exam(bounds, state.champion))
    with work.watch.on("work"):
        state = jax.block_until_ready(raising(state))
    count = 0
    while not (work.over or choice.final):
        with work.watch.on("work"):
            state, _ = jax.block_until_ready(generation(state))
        count += 1
        choice.offer(state.champion)
    genomes = jax.device_get(state.population.genomes)
    for index in range(config.population_size):
        choice.offer(member(genomes, index))
    return choice, bounds, {"generations": count}


def restart(work: Work, contender: Restarted) -> tuple[Choice, Bounds, Counts]:
    """Train from new weights until none was the restart's best for `PATIENCE` sequences; then again.

    It ends when the budget is used or the choice is final.
    """
    network = contender.network
    if contender.weights_of is not None:
        network = with_weights(network, weights_in(contender.weights_of.bounds, work.suite), work.suite)
    learning, bounds = contender.learning, network.bounds
    with work.watch.on("compile"):
        trainer = Trainer.of(bounds, work.suite, learning, chain_of(learning, published=contender.published))
        trainee = trainer.start(jax.random.key(work.plan.seed))
    choice = Choice(work.exam(bounds, trainer.network(trainee)))
    restarts = steps = 0
    while not (work.over or choice.final):
        trainee = trainer.start(jax.random.fold_in(jax.random.key(work.plan.seed), restarts))
        restarts, best, stale = restarts + 1, (-1.0, -1.0), 0
        while not (work.over or choice.final) and stale < PATIENCE:
            trainee = work.advanced(trainer, trainee)
            rank = choice.offer(trainer.network(trainee))
            best, stale = (rank, 0) if rank > best else (best, stale + LOOK)
        steps += int(trainee.step)
    return choice, bounds, {"restarts": restarts, "steps": steps}


def halve(work: Work, contender: Halved) -> tuple[Choice, Bounds, Counts]:
    """Successive halving by CPU seconds: each rung gets an equal share, each of its networks an equal part of that."""
    bounds, learning = contender.bounds, contender.learning
    with work.watch.on("compile"):
        trainer = Trainer.of(bounds, work.suite, learning, chain_of(learning))
        keys = [jax.random.fold_in(jax.random.key(work.plan.seed), index) for index in range(contender.candidates)]
        trainees = [trainer.start(key) for key in keys]
    choice = Choice(work.exam(bounds, trainer.network(trainees[0])))
    rungs, steps = contender.candidates.bit_length(), 0
    for rung in range(rungs):
        ranks = []
        for index, trainee in enumerate(trainees):
            until, rank, before = work.plan.budget * (rung + (index + 1) / len(trainees)) / rungs, None, trainee.step
            while rank is None or work.watch["work"] < until:
                trainee = work.advanced(trainer, trainee)
                rank = choice.offer(trainer.network(trainee))
            steps += int(trainee.step - before)
            trainees[index] = trainee
            ranks.append(rank)
        order = sorted(range(len(trainees)), key=lambda index: ranks[index], reverse=True)
        trainees = [trainees[index] for index in order[: max(len(order) // 2, 1)]]
    return choice, bounds, {"candidates": contender.candidates, "steps": steps}


def weights_in(bounds: Bounds, suite: TaskSuite) -> int:
    """Weights of a network of bounds that hold one architecture."""
    draw = functools.partial(random_genome, bounds=bounds, input_size=suite.input_size, output_size=suite.output_size)
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(draw, jax.random.key(0)).params))


def with_weights(network: NetworkConfig, wanted: int, suite: TaskSuite) -> NetworkConfig:
    """The network with the fewest units that give it so many weights."""

    def sized(units: int) -> NetworkConfig:
        return replace(network, controller_size=units)

    def weights(units: int) -> int:
        return weights_in(sized(units).bounds, suite)

    return sized(1 + bisect.bisect_left(range(1, MOST_UNITS), wanted, key=weights))


def measure(plan: Plan) -> dict[str, Any]:
    """One run, as its file holds it. For a process of its own."""
    pin(1)
    suite, contender, watch = make_suite((plan.what.spec,)), plan.who, Stopwatch()
    assert isinstance(suite, TaskSuite)
    work = Work(plan, suite, watch)
    if isinstance(contender, Evolved):
        choice, bounds, counts = evolve(work, contender)
    elif isinstance(contender, Restarted):
        choice, bounds, counts = restart(work, contender)
    else:
        choice, bounds, counts = halve(work, contender)
    best = choice.best
    assert best is not None
    held_out = choice.exam.held_out(best)
    return {
        "task": plan.task,
        "contender": plan.contender,
        "seed": plan.seed,
        "budget": plan.budget,
        "fingerprint": plan.fingerprint,
        "cpu_s": {name: round(seconds, 2) for name, seconds in watch.spent.items()},
        "counts": counts | {"looks": choice.looks},
        "architecture": describe(best.architecture),
        "parameters": int(num_parameters(best, bounds)),
        "multiply_adds": float(multiply_adds(best.architecture, suite.input_size, suite.output_size)),
        "validation": choice.rank[0],
        "held_out": {str(factor): scores for factor, scores in held_out.items()},
        "progress": [(round(seconds, 2), *rank) for seconds, rank in choice.progress],
        "context": context(),
    }
