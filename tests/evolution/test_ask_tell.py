"""The four ask/tell classes behave as evosax's: its own example loops run on them, and each solves its problem."""

import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evosax.algorithms.distribution_based.base import metrics_fn as distribution_metrics
from evosax.algorithms.population_based.base import PopulationBasedAlgorithm
from evosax.problems import BBOBProblem
from tiny import BOUNDS

from etm_jax.evolution import EvolvingTuringMachine, EvolvingTuringMachineParams
from etm_jax.graphs._forward import apply_graph
from etm_jax.graphs._genome import minimal_graph
from etm_jax.graphs._neat import NEAT
from etm_jax.networks import VariationRates, apply, random_genome
from etm_jax.selection import TruncationSelection
from etm_jax.strategies._differential import DifferentialEvolution, DifferentialRates
from etm_jax.training import StrategyConfig, make_strategy

SIZE = 8
RANGES = "num_slots", "slot_width", "num_read_heads", "num_write_heads", "controller_size"
X = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


class Problem:
    """The methods of evosax's problems, for solutions of any kind."""

    def __init__(self, sample, cost):
        self.sample = sample
        self._costs = jax.jit(jax.vmap(cost))

    def init(self, key):
        del key
        return ()

    def eval(self, key, solutions, state):
        del key
        return self._costs(solutions), state, {}


def network_cost(genome):
    return jnp.sum(jnp.stack([getattr(genome.architecture, name) for name in RANGES])).astype(float)


def graph_cost(graph):
    return jnp.mean((apply_graph(graph, jnp.asarray(X), 1)[:, 0] - (X[:, 0] != X[:, 1])) ** 2)


def point_cost(point):
    return (point["at"] - 0.3) ** 2 + jnp.sum((point["by"] - 0.7) ** 2)


def weight_cost(params):
    """Of one array alone: a sum over all would compile for longer."""
    return jnp.sum((params["output"]["bias"] - 1) ** 2)


def draw_network(key):
    return random_genome(key, BOUNDS, 3, 2)


def weights_strategy(population_size, solution):
    genome = draw_network(jax.random.key(0)).replace(params=solution)
    return make_strategy(StrategyConfig("SNES", population=population_size), genome, BOUNDS)


# Algorithm and problem, by the line of evosax's examples that makes the algorithm.
POPULATION_BASED = {
    "EvolvingTuringMachine": (functools.partial(EvolvingTuringMachine, bounds=BOUNDS), draw_network, network_cost),
    "NEAT": (NEAT, lambda key: minimal_graph(key, 2, 1), graph_cost),
    "DifferentialEvolution": (
        DifferentialEvolution,
        lambda key: {"at": jax.random.uniform(key), "by": jax.random.uniform(key, (2,))},
        point_cost,
    ),
}
DISTRIBUTION_BASED = {"WeightStrategy": (weights_strategy, lambda key: draw_network(key).params, weight_cost)}
ALGORITHMS = POPULATION_BASED | DISTRIBUTION_BASED
METRICS = {"generation_counter", "best_fitness_in_generation", "best_solution_in_generation"}
METRICS |= {"best_fitness", "best_solution"}


@functools.cache
def started(name):
    """What evosax's examples have before their loops, in their words."""
    ES, sample, cost = ALGORITHMS[name]
    problem, population_size = Problem(jax.jit(sample), cost), SIZE
    key = jax.random.key(0)
    problem_state = problem.init(key)

    key, subkey = jax.random.split(key)
    solution = problem.sample(subkey)
    es = ES(population_size=population_size, solution=solution)
    params = es.default_params

    if name in DISTRIBUTION_BASED:  # examples/00_getting_started.ipynb
        key, subkey = jax.random.split(key)
        state = es.init(subkey, solution, params)
        return key, es, params, state, problem, problem_state

    # examples/05_diffusion_evolution.ipynb: Initialize population
    key, subkey = jax.random.split(key)
    keys = jax.random.split(subkey, population_size)
    population = jax.vmap(problem.sample)(keys)

    key, subkey = jax.random.split(key)
    fitness, problem_state, _ = problem.eval(subkey, population, problem_state)

    key, subkey = jax.random.split(key)
    state = es.init(subkey, population, fitness, params)
    assert float(state.best_fitness) == np.min(fitness)
    return key, es, params, state, problem, problem_state


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_loop_of_evosax_getting_started_runs(name):
    key, es, params, state, problem, problem_state = started(name)
    num_generations = 4

    metrics_log = []
    for i in range(num_generations):  # noqa: B007
        key, subkey = jax.random.split(key)
        key_ask, key_eval, key_tell = jax.random.split(subkey, 3)

        population, state = es.ask(key_ask, state, params)

        fitness, problem_state, _info = problem.eval(key_eval, population, problem_state)

        state, metrics = es.tell(key_tell, population, fitness, state, params)

        # Log metrics
        metrics_log.append(metrics)

    assert [int(metrics["generation_counter"]) for metrics in metrics_log] == list(range(num_generations))
    assert set(metrics_log[0]) >= METRICS
    best = [float(metrics["best_fitness"]) for metrics in metrics_log]
    assert best == sorted(best, reverse=True)
    assert all(
        one <= float(metrics["best_fitness_in_generation"]) for one, metrics in zip(best, metrics_log, strict=True)
    )
    assert best[-1] == float(state.best_fitness) and int(state.generation_counter) == num_generations
    assert float(metrics["best_fitness_in_generation"]) == np.min(fitness)
    assert jax.tree.structure(population) == jax.tree.structure(problem.sample(key))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_scan_of_evosax_examples_runs_and_descends(name):
    key, es, params, state, problem, problem_state = started(name)
    num_generations = 60
    before = float(state.best_fitness)

    def step(carry, key):
        state, params, problem_state = carry
        key_ask, key_eval, key_tell = jax.random.split(key, 3)

        population, state = es.ask(key_ask, state, params)

        fitness, problem_state, _ = problem.eval(key_eval, population, problem_state)

        state, metrics = es.tell(key_tell, population, fitness, state, params)

        return (state, params, problem_state), metrics

    keys = jax.random.split(key, num_generations)
    (state, params, problem_state), metrics = jax.lax.scan(step, (state, params, problem_state), keys)

    best = np.asarray(metrics["best_fitness"])
    np.testing.assert_array_equal(metrics["generation_counter"], np.arange(num_generations))
    assert np.all(np.diff(best) <= 0) and best[-1] < before
    if name == "EvolvingTuringMachine":
        assert best[-1] == sum(getattr(BOUNDS, name)[0] for name in RANGES)
    if name in POPULATION_BASED:
        assert jax.tree.leaves(state.population)[0].shape[0] == SIZE and state.fitness.shape == (SIZE,)
    if name in ("EvolvingTuringMachine", "NEAT"):
        one = jax.tree.map(lambda leaf: leaf[None], state.best_solution)
        np.testing.assert_allclose(problem.eval(key, one, ())[0], [state.best_fitness], rtol=1e-6)


@pytest.mark.parametrize("name", POPULATION_BASED)
def test_a_metrics_function_of_evosax_kind_replaces_the_metrics(name):
    """As in examples/00_getting_started.ipynb; our own figures stay beside what it gives."""
    key, es, params, state, problem, _ = started(name)

    def custom_metrics_fn(key, population, fitness, state, params):
        return {"worst": jnp.max(fitness), "so_far": state.best_fitness}

    es = dataclasses.replace(es, metrics_fn=custom_metrics_fn)
    population, state = es.ask(key, state, params)
    fitness, *_ = problem.eval(key, population, ())
    _, metrics = es.tell(key, population, fitness, state, params)
    assert float(metrics["worst"]) == np.max(fitness) and {"so_far", "failed"} <= set(metrics)
    assert not METRICS & set(metrics)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_signatures_are_those_of_evosax(name):
    """Names and order of the arguments, so that calls by keyword work, too."""
    es = started(name)[1]
    base = PopulationBasedAlgorithm if name in POPULATION_BASED else type(es.algorithm)
    for method in ("init", "ask", "tell"):
        ours, theirs = (list(inspect.signature(getattr(kind, method)).parameters) for kind in (type(es), base))
        assert ours == theirs, method


def test_names_of_metrics_are_those_of_evosax():
    _, es, params, state, problem, _ = started("WeightStrategy")
    theirs = set(jax.eval_shape(lambda: distribution_metrics(None, jnp.ones((2, 3)), jnp.ones(2), Fake(), params)))
    assert theirs >= METRICS
    _, es, params, state, problem, _ = started("DifferentialEvolution")
    population, state = es.ask(jax.random.key(0), state, params)
    _, metrics = es.tell(jax.random.key(0), population, problem.eval(None, population, ())[0], state, params)
    assert theirs - {"mean", "mean_norm"} <= set(metrics)


class Fake:
    """A state of a distribution-based algorithm of three weights."""

    best_solution = mean = jnp.ones(3)
    best_fitness, generation_counter = 0.0, 0


@pytest.mark.parametrize("name", POPULATION_BASED)
def test_failed_evaluations_are_counted_and_never_the_best(name):
    _, es, params, state, _, _ = started(name)
    population, state = es.ask(jax.random.key(1), state, params)
    cost = jnp.arange(float(SIZE)).at[0].set(jnp.nan).at[2].set(-jnp.inf) - 10
    state, metrics = es.tell(jax.random.key(2), population, cost, state, params)
    assert int(metrics["failed"]) == 2
    assert float(metrics["best_fitness"]) == float(metrics["best_fitness_in_generation"]) == -9
    with pytest.raises(ValueError, match=r"fitness must have shape \(8,\), one of each individual, got \(7,\)"):
        es.init(jax.random.key(0), population, cost[1:], params)
    none = es.init(jax.random.key(0), population, jnp.full(SIZE, jnp.nan), params)
    assert float(none.best_fitness) == np.inf


def test_a_candidate_without_a_loss_counts_as_the_worst():
    _, es, params, state, _, _ = started("WeightStrategy")
    population, state = es.ask(jax.random.key(1), state, params)
    cost = np.arange(float(SIZE), dtype=np.float32)
    with_nan = np.where(cost == 3, np.nan, cost)
    as_worst = np.where(cost == 3, cost.max(), cost)
    told = [es.tell(jax.random.key(2), population, jnp.asarray(one), state, params)[0] for one in (with_nan, as_worst)]
    np.testing.assert_array_equal(told[0].mean, told[1].mean)


@pytest.mark.slow
def test_a_failed_member_is_replaced_whatever_the_kinds_of_network():
    """Pondering adds a channel to the inputs, and a window controller has no kernel of its own for them."""
    kinds = dataclasses.replace(BOUNDS, ponder_steps=(1, 2), controllers=("window",), memories=("none",))
    keys = jax.random.split(jax.random.key(0), 4)
    population = jax.vmap(lambda key: random_genome(key, kinds, 3, 2))(keys)
    machine = EvolvingTuringMachine(4, random_genome(keys[0], kinds, 3, 2), kinds)
    params = machine.default_params
    state = machine.init(jax.random.key(1), population, jnp.array([jnp.nan] * 3 + [1.0]), params)
    following, _ = machine.ask(jax.random.key(3), state, params)
    assert jax.tree.map(jnp.shape, following) == jax.tree.map(jnp.shape, population)
    outputs = jax.vmap(lambda genome: apply(genome, jnp.ones((2, 3)), kinds))(following)
    assert np.isfinite(outputs).all()


def minimised(es, params, problem, sample, point_of, generations):
    """The least cost of each generation on a problem of evosax; both sides minimise, so no sign changes."""

    def costs(key, population, judge):
        with jax.numpy_rank_promotion("allow"):  # evosax broadcasts over ranks
            return problem.eval(key, jax.vmap(point_of)(population), judge)[:2]

    def generation(carry, key):
        state, judge = carry
        key_ask, key_eval, key_tell = jax.random.split(key, 3)
        population, state = es.ask(key_ask, state, params)
        cost, judge = costs(key_eval, population, judge)
        state, metrics = es.tell(key_tell, population, cost, state, params)
        return (state, judge), metrics["best_fitness"]

    @jax.jit
    def run(key):
        population = jax.vmap(sample)(jax.random.split(key, es.population_size))
        cost, judge = costs(key, population, problem.init(key))
        start = es.init(key, population, cost, params), judge
        return jax.lax.scan(generation, start, jax.random.split(key, generations))[1]

    return np.asarray(run(jax.random.key(0))) - problem.f_opt


def test_networks_solve_a_problem_of_evosax():
    """The point is what a network answers to a constant input; noise on its weights moves it."""

    def sample(key):
        return random_genome(key, BOUNDS, 1, 3)

    machine = EvolvingTuringMachine(40, sample(jax.random.key(0)), BOUNDS, selector=TruncationSelection(0.25))
    variation = VariationRates(gene_rate=0.0, noise_rate=1.0, noise_scale=0.05)
    rates = EvolvingTuringMachineParams(variation=variation)

    def point_of(genome):
        return 5 * jnp.tanh(apply(genome, jnp.ones((1, 1)), BOUNDS)[0])

    best = minimised(machine, rates, BBOBProblem("sphere", num_dims=3), sample, point_of, 100)
    assert np.all(np.diff(best) <= 0)
    assert best[-1] < 1e-3 < 1 < best[0]


def test_differential_evolution_solves_a_problem_of_evosax():
    strategy = DifferentialEvolution(20, jnp.zeros(3))
    params = DifferentialRates(crossover_rate=0.9)

    def sample(key):
        return jax.random.uniform(key, (3,))

    problem = BBOBProblem("ellipsoidal", num_dims=3)
    best = minimised(strategy, params, problem, sample, lambda point: 10 * point - 5, 80)
    assert best[-1] < 1e-2 < 1e3 < best[0]


def test_a_collapsed_population_regains_its_diversity():
    """Clones under selection that favours nothing: the boosted gene rate spreads them again."""
    genome = draw_network(jax.random.key(0))
    machine = EvolvingTuringMachine(SIZE, genome, BOUNDS)
    rates = EvolvingTuringMachineParams(variation=VariationRates(gene_rate=0.05, diversity_floor=0.2))
    clones = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], SIZE, axis=0), genome)
    state = machine.init(jax.random.key(2), clones, jnp.zeros(SIZE), rates)

    def generation(state, key):
        population, state = machine.ask(key, state, rates)
        state, metrics = machine.tell(key, population, jnp.zeros(SIZE), state, rates)
        return state, metrics["diversity"]

    _, diversity = jax.lax.scan(generation, state, jax.random.split(jax.random.key(3), 30))
    assert float(jnp.mean(diversity[-10:])) > 0.1
