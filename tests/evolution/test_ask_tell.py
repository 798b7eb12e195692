"""Ask and tell, behind evosax's protocol."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evosax.problems import BBOBProblem
from tiny import BOUNDS

from etm_jax.evolution import EvolvingTuringMachine, EvolvingTuringMachineParams
from etm_jax.networks import VariationRates, apply
from etm_jax.selection import TruncationSelection
from etm_jax.strategies._differential import DifferentialEvolution, DifferentialRates


def strategy():
    return EvolvingTuringMachine(8, BOUNDS, input_size=3, output_size=2)


def test_ask_and_tell_run_in_a_scan_and_minimise():
    """Cost = slots + width: evolution drives both to their lower bounds."""
    machine = strategy()
    params = machine.default_params

    def generation(state, key):
        key_ask, key_tell = jax.random.split(key)
        population, state = machine.ask(key_ask, state, params)
        genes = population.architecture
        cost = (genes.num_slots + genes.slot_width).astype(float)
        state, metrics = machine.tell(key_tell, population, cost, state, params)
        return state, metrics["best_fitness"]

    start = machine.init(jax.random.key(0), params)
    _, best = jax.jit(lambda state: jax.lax.scan(generation, state, jax.random.split(jax.random.key(1), 25)))(start)
    assert float(best[-1]) == BOUNDS.num_slots[0] + BOUNDS.slot_width[0]
    assert np.all(np.diff(np.asarray(best)) <= 0)  # elites make it monotone


def test_tell_counts_nan_as_failed():
    machine = strategy()
    params = machine.default_params
    population, state = machine.ask(jax.random.key(1), machine.init(jax.random.key(0), params), params)
    cost = jnp.arange(8.0).at[0].set(jnp.nan)
    state, metrics = machine.tell(jax.random.key(2), population, cost, state, params)
    assert int(metrics["failed"]) == 1
    assert float(metrics["best_fitness"]) == 1.0


@pytest.mark.slow
def test_a_failed_member_is_replaced_whatever_the_kinds_of_network():
    """Pondering adds a channel to the inputs, and a window controller has no kernel of its own for them."""
    kinds = dataclasses.replace(BOUNDS, ponder_steps=(1, 2), controllers=("window",), memories=("none",))
    machine = EvolvingTuringMachine(4, kinds, input_size=3, output_size=2)
    params = machine.default_params
    population, state = machine.ask(jax.random.key(1), machine.init(jax.random.key(0), params), params)
    state, _ = machine.tell(jax.random.key(2), population, jnp.array([jnp.nan] * 3 + [1.0]), state, params)
    following, _ = machine.ask(jax.random.key(3), state, params)
    assert jax.tree.map(jnp.shape, following) == jax.tree.map(jnp.shape, population)
    outputs = jax.vmap(lambda genome: apply(genome, jnp.ones((2, 3)), kinds))(following)
    assert np.isfinite(outputs).all()


def minimised(strategy, params, problem, point_of, generations):
    """The least cost of each generation on a problem of evosax; both sides minimise, so no sign changes."""

    def generation(carry, key):
        state, problem_state = carry
        key_ask, key_eval, key_tell = jax.random.split(key, 3)
        population, state = strategy.ask(key_ask, state, params)
        with jax.numpy_rank_promotion("allow"):  # evosax broadcasts over ranks
            cost, problem_state, _ = problem.eval(key_eval, jax.vmap(point_of)(population), problem_state)
        state, metrics = strategy.tell(key_tell, population, cost, state, params)
        return (state, problem_state), metrics["best_fitness"]

    @jax.jit
    def run(key):
        start = strategy.init(key, params), problem.init(key)
        return jax.lax.scan(generation, start, jax.random.split(key, generations))[1]

    return np.asarray(run(jax.random.key(0))) - problem.f_opt


def test_networks_solve_a_problem_of_evosax():
    """The point is what a network answers to a constant input; noise on its weights moves it."""
    machine = EvolvingTuringMachine(40, BOUNDS, input_size=1, output_size=3, selector=TruncationSelection(0.25))
    rates = VariationRates(gene_rate=0.0, noise_rate=1.0, noise_scale=0.05)
    params = EvolvingTuringMachineParams(variation=rates)

    def point_of(genome):
        return 5 * jnp.tanh(apply(genome, jnp.ones((1, 1)), BOUNDS)[0])

    best = minimised(machine, params, BBOBProblem("sphere", num_dims=3), point_of, 100)
    assert np.all(np.diff(best) <= 0)
    assert best[-1] < 1e-3 < 1 < best[0]


def test_differential_evolution_solves_a_problem_of_evosax():
    strategy = DifferentialEvolution(20, 3)
    params = DifferentialRates(crossover_rate=0.9)
    best = minimised(strategy, params, BBOBProblem("ellipsoidal", num_dims=3), lambda point: 10 * point - 5, 80)
    assert best[-1] < 1e-2 < 1e3 < best[0]


def test_a_collapsed_population_regains_its_diversity():
    """Clones under selection that favours nothing: the boosted gene rate spreads them again."""
    machine = strategy()
    params = EvolvingTuringMachineParams(variation=VariationRates(gene_rate=0.05, diversity_floor=0.2))
    population, state = machine.ask(jax.random.key(1), machine.init(jax.random.key(0), params), params)
    clones = jax.tree.map(lambda array: jnp.repeat(array[:1], 8, axis=0), population)
    state, _ = machine.tell(jax.random.key(2), clones, jnp.zeros(8), state, params)

    def generation(state, key):
        population, state = machine.ask(key, state, params)
        state, metrics = machine.tell(key, population, jnp.zeros(8), state, params)
        return state, metrics["diversity"]

    _, diversity = jax.jit(lambda state: jax.lax.scan(generation, state, jax.random.split(jax.random.key(3), 30)))(
        state
    )
    assert float(jnp.mean(diversity[-10:])) > 0.1
