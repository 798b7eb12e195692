"""Graphs: what they compute, how they vary and match, how species breed; each beside loops of Python."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_equal

from etm_jax.graphs._forward import ACTIVATIONS, apply_graph, unroll_graph
from etm_jax.graphs._genome import minimal_graph, resized
from etm_jax.graphs._neat import NEAT
from etm_jax.graphs._species import NO_SPECIES, NEATParams, assign, breed, distances, no_species
from etm_jax.graphs._variation import GraphRates, add_connection, add_node, change_weights, cross, remove_connection

INPUTS, OUTPUTS, SIZE = 2, 2, 24
SEEN = INPUTS + 1
FUNCTIONS = tuple(ACTIVATIONS)
SOLUTION = minimal_graph(jax.random.key(0), INPUTS, OUTPUTS)
STRATEGY = NEAT(SIZE, SOLUTION, activations=FUNCTIONS)
BUSY = NEATParams(
    add_node_rate=0.6, add_connection_rate=0.8, remove_connection_rate=0.2, toggle_rate=0.2, activation_rate=0.5
)
X = np.random.default_rng(0).normal(size=(5, INPUTS)).astype(np.float32)


def first_graphs(seed=0, size=SIZE, num_inputs=INPUTS, num_outputs=OUTPUTS, **lengths):
    """A population of minimal graphs."""
    keys = jax.random.split(jax.random.key(seed), size)
    return jax.jit(jax.vmap(lambda key: minimal_graph(key, num_inputs, num_outputs, **lengths)))(keys)


@functools.cache
def grown(recurrent=False):
    """A population after some generations of fast growth with random fitness, and the states on the way."""
    strategy = dataclasses.replace(STRATEGY, recurrent=recurrent)

    @jax.jit
    def step(key, state):
        graphs, state = strategy.ask(key, state, BUSY)
        cost = jax.random.uniform(jax.random.fold_in(key, 1), (SIZE,))
        return strategy.tell(key, graphs, cost, state, BUSY)[0]

    states = [strategy.init(jax.random.key(0), first_graphs(), jnp.zeros(SIZE), BUSY)]
    for key in jax.random.split(jax.random.key(1), 8):
        states.append(step(key, strategy.roomy(states[-1])))
    return states


def chances(seed, *shape):
    return jax.random.uniform(jax.random.key(seed), shape, minval=1e-6)


def member(graphs, index):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], graphs)


def links(graph):
    """Connections by their ends' ids: weight and whether enabled."""
    rows = np.flatnonzero(np.asarray(graph.is_connection))
    return {
        (int(graph.sources[row]), int(graph.targets[row])): (float(graph.weights[row]), bool(graph.enabled[row]))
        for row in rows
    }


def nodes(graph):
    """Nodes by id: place and activation."""
    rows = np.flatnonzero(np.asarray(graph.is_node))
    return {int(graph.ids[row]): (float(graph.places[row]), int(graph.activations[row])) for row in rows}


def function(kind, x):
    """The activations in plain Python."""
    return {
        "sigmoid": lambda: 1 / (1 + math.exp(-4.9 * x)),
        "tanh": lambda: math.tanh(x),
        "relu": lambda: max(x, 0.0),
        "identity": lambda: x,
        "sine": lambda: math.sin(math.pi * x),
        "gaussian": lambda: math.exp(-min(x * x, 81.0)),
        "absolute": lambda: abs(x),
    }[FUNCTIONS[kind]]()


def evaluated(graph, row):
    """Outputs of a feed-forward graph, node by node in the order of places."""
    known, values = nodes(graph), {**dict(enumerate(map(float, row))), INPUTS: 1.0}
    for one in sorted(known, key=lambda one: known[one][0]):
        if one >= SEEN:
            total = sum(w * values[s] for (s, t), (w, on) in links(graph).items() if t == one and on)
            values[one] = function(known[one][1], total)
    return [values[SEEN + index] for index in range(OUTPUTS)]


def assert_sound(graph, recurrent=False):
    """What must hold of every graph, whatever varied it."""
    known, ends = nodes(graph), links(graph)
    assert len(ends) == int(graph.num_connections) and len(known) == int(graph.num_nodes)
    for exists in (graph.is_node, graph.is_connection):
        assert np.all(np.diff(np.asarray(exists).astype(int)) <= 0)  # what exists comes first
    for source, target in ends:
        assert {source, target} <= set(known) and target >= SEEN
        assert recurrent or known[source][0] < known[target][0]
    assert all(math.isfinite(weight) for weight, _ in ends.values())


@pytest.mark.parametrize("recurrent", [False, True])
def test_graphs_stay_sound_and_grow(recurrent):
    last = grown(recurrent)[-1].population
    for index in range(SIZE):
        assert_sound(member(last, index), recurrent)
    assert int(jnp.max(last.num_nodes)) >= SEEN + OUTPUTS + 3
    cycles = []
    for index in range(SIZE):
        places = {one: place for one, (place, _) in nodes(member(last, index)).items()}
        cycles += [places[source] >= places[target] for source, target in links(member(last, index))]
    assert any(cycles) == recurrent


def test_outputs_are_those_of_node_by_node_evaluation():
    graphs = grown()[-1].population
    found = jax.jit(jax.vmap(lambda graph: apply_graph(graph, jnp.asarray(X), OUTPUTS, FUNCTIONS)))(graphs)
    expected = [[evaluated(member(graphs, index), row) for row in X] for index in range(SIZE)]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_a_recurrent_graph_keeps_its_values_over_time():
    graphs = grown(True)[-1].population
    found = jax.jit(jax.vmap(lambda graph: unroll_graph(graph, jnp.asarray(X), OUTPUTS, FUNCTIONS)))(graphs)
    for index in range(SIZE):
        graph = member(graphs, index)
        known, ends = nodes(graph), links(graph)
        values = dict.fromkeys(known, 0.0)
        for row, outputs in zip(X, found[index], strict=True):
            values |= {**dict(enumerate(map(float, row))), INPUTS: 1.0}
            sums = {one: sum(w * values[s] for (s, t), (w, on) in ends.items() if t == one and on) for one in known}
            values |= {one: function(known[one][1], sums[one]) for one in known if one >= SEEN}
            np.testing.assert_allclose(outputs, [values[SEEN + i] for i in range(OUTPUTS)], rtol=2e-3, atol=2e-4)


def test_longer_tables_change_nothing_and_shorter_ones_are_refused():
    graphs = grown()[-1].population
    longer = resized(graphs, 50, 90)
    run = jax.jit(jax.vmap(lambda graph: apply_graph(graph, jnp.asarray(X), OUTPUTS, FUNCTIONS)))
    np.testing.assert_allclose(run(longer), run(graphs), rtol=1e-5, atol=1e-6)
    back = resized(longer, graphs.ids.shape[1], graphs.weights.shape[1])
    for index in range(SIZE):
        assert nodes(member(back, index)) == nodes(member(graphs, index))
        assert links(member(back, index)) == links(member(graphs, index))
    with pytest.raises(ValueError, match="shorter than the graphs'"):
        resized(graphs, 6, 90)


def test_who_splits_the_same_connection_makes_the_same_node_in_whatever_generation():
    one = minimal_graph(jax.random.key(0), INPUTS, OUTPUTS, 16, 32)
    graphs = jax.tree.map(lambda leaf: jnp.stack([leaf] * SIZE), one)
    splits = jax.jit(jax.vmap(lambda chance, graph: add_node(chance, graph, GraphRates(add_node_rate=1.0))))
    after = splits(chances(1, SIZE, 2), graphs)
    by_ends = {}
    for index in range(SIZE):
        graph = member(after, index)
        assert_sound(graph)
        (fresh,) = set(nodes(graph)) - set(nodes(one))
        ((source, target),) = [ends for ends, (_, on) in links(graph).items() if not on]
        weight = links(one)[source, target][0]
        assert links(graph)[source, fresh] == (1.0, True) and links(graph)[fresh, target] == (weight, True)
        assert fresh >= 2**30  # no input's or output's
        by_ends.setdefault((source, target), set()).add((fresh, nodes(graph)[fresh][0]))
    assert len(by_ends) == 6 and all(len(made) == 1 for made in by_ends.values())
    assert len(set.union(*by_ends.values())) == 6
    # The same connection, switched on again and the only one that is: the graph has its node already.
    renewed = dataclasses.replace(after, enabled=after.is_connection & ~after.enabled)
    assert_trees_equal(splits(chances(2, SIZE, 2), renewed), renewed)


def test_a_new_connection_is_between_nodes_that_had_none_until_none_is_left():
    graph = resized(jax.tree.map(jnp.asarray, member(grown()[-1].population, 0)), 32, 256)
    add = jax.jit(lambda chance, graph: add_connection(chance, graph, GraphRates(add_connection_rate=1.0), False))
    places = [place for place, _ in nodes(graph).values()]
    most = sum(one < other for one in places for other in places)
    for chance in chances(3, most - len(links(graph)) + 2, 3):
        before, graph = graph, add(chance, graph)
        assert_sound(graph)
        assert set(links(before)) <= set(links(graph))
    assert len(links(graph)) == most


def test_a_graph_loses_connections_and_the_nodes_that_nothing_joins_any_more():
    graph = max((member(grown()[-1].population, index) for index in range(SIZE)), key=lambda one: len(nodes(one)))
    remove = jax.jit(lambda chance, graph: remove_connection(chance, graph, GraphRates(remove_connection_rate=1.0)))
    hidden, gone = len(nodes(graph)) - SEEN - OUTPUTS, set()
    for chance in chances(4, len(links(graph)), 2):
        before, graph = graph, remove(chance, graph)
        assert_sound(graph)
        (lost,) = set(links(before)) - set(links(graph))
        assert all(links(before)[ends] == link for ends, link in links(graph).items())
        alone = {end for end in lost if end >= SEEN + OUTPUTS} - {end for ends in links(graph) for end in ends}
        assert set(nodes(before)) - set(nodes(graph)) == alone
        gone |= alone
    assert links(graph) == {} and len(gone) == hidden > 0
    assert links(remove(chances(5, 2), graph)) == {}


def test_neat_takes_connections_away_at_their_rate():
    """From twins: one of them survives as it is, every child has one connection less."""
    still = {
        name: 0 for name in ("perturb_rate", "replace_rate", "add_node_rate", "add_connection_rate", "toggle_rate")
    }
    state = grown()[-1]
    twins = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * SIZE), state.population)
    rates = NEATParams(remove_connection_rate=1.0, **still)
    state = STRATEGY.init(jax.random.key(4), twins, jnp.arange(float(SIZE)), rates)
    children, _ = STRATEGY.ask(jax.random.key(5), state, rates)
    had = int(twins.num_connections[0])
    assert sorted(np.asarray(children.num_connections).tolist()) == [had - 1] * (SIZE - 1) + [had]


def test_full_tables_stop_growth():
    limits = {"max_nodes": 7, "max_connections": 10}
    small = NEAT(SIZE, minimal_graph(jax.random.key(0), INPUTS, OUTPUTS, **limits), **limits)

    @jax.jit
    def step(key, state):
        graphs, state = small.ask(key, state, BUSY)
        return graphs, small.tell(key, graphs, jnp.arange(float(SIZE)), state, BUSY)[0]

    state = small.init(jax.random.key(0), first_graphs(**limits), jnp.zeros(SIZE), BUSY)
    for key in jax.random.split(jax.random.key(1), 6):
        graphs, state = step(key, small.roomy(state))
    assert graphs.ids.shape == (SIZE, 7) and int(graphs.num_connections.max()) == 10
    for index in range(SIZE):
        assert_sound(member(graphs, index))


def test_a_child_has_the_fitter_parents_graph_and_common_weights_of_either():
    graphs = grown()[-1].population
    child_of = jax.jit(lambda chance, one, two: cross(chance, one, two, True, GraphRates()))
    taken = {True: 0, False: 0}
    for index in range(SIZE - 1):
        one, two = member(graphs, index), member(graphs, index + 1)
        child = child_of(chances(index, 2, one.weights.size), one, two)
        assert nodes(child) == nodes(one) and set(links(child)) == set(links(one))
        for ends, (weight, on) in links(child).items():
            (first, first_on), (second, second_on) = links(one)[ends], links(two).get(ends, links(one)[ends])
            assert weight in (first, second)
            assert on or not (first_on and second_on)
            if first != second:
                taken[weight == second] += 1
    assert min(taken.values()) > 0.3 * sum(taken.values())


def test_distances_are_those_of_a_loop_over_connections():
    graphs = grown()[-1].population
    one = member(graphs, 3)
    found = jax.jit(distances)(graphs, one, 1.0, 0.4)
    for index in range(SIZE):
        mine, other = links(one), links(member(graphs, index))
        both = set(mine) & set(other)
        apart = np.mean([abs(mine[ends][0] - other[ends][0]) for ends in both]) if both else 0.0
        unmatched = len(set(mine) ^ set(other)) / max(len(mine), len(other))
        np.testing.assert_allclose(found[index], unmatched + 0.4 * apart, rtol=1e-5, atol=1e-6)
    assert found[3] == 0


def test_no_graph_joins_a_species_that_has_died():
    graphs = grown()[-1].population
    table = no_species(graphs, 3, 100.0)  # every row is represented by the first graph, within reach of all
    lives = jnp.array([False, True, False])
    belongs, after = jax.jit(lambda table: assign(graphs, table, NEATParams()))(table.replace(lives=lives))
    assert set(np.asarray(belongs).tolist()) == {1}
    np.testing.assert_array_equal(after.lives, lives)


def test_species_breed_by_their_mean_and_keep_their_best():
    belongs = jnp.array([0] * 8 + [1] * 8 + [2] * 8)
    fitness = jnp.concatenate([jnp.arange(8.0), jnp.full(8, 7.0), jnp.full(8, -jnp.inf)])  # means 3.5, 7, none
    table = no_species(grown()[0].population, 4, 1.0)
    survivors, parents, species = jax.jit(breed)(
        chances(0, 3, SIZE), belongs, fitness, table, NEATParams(survival=0.25)
    )
    kept = [int(one) for one in survivors if one != NO_SPECIES]
    assert kept[0] == 7 and len(kept) == 2 and 8 <= kept[1] < 16
    of = belongs[parents]
    np.testing.assert_array_equal(of[:, 0], of[:, 1])
    np.testing.assert_allclose(np.bincount(of[:, 0], minlength=3) / SIZE, [1 / 3, 2 / 3, 0], atol=1.5 / SIZE)
    assert set(np.asarray(parents[of[:, 0] == 0]).ravel().tolist()) <= {6, 7}  # a quarter of eight
    assert np.all(fitness[parents[:, 0]] >= fitness[parents[:, 1]])
    np.testing.assert_array_equal(species.idle, [0, 0, 1, 1])


def test_an_idle_species_has_no_children_unless_it_has_the_best():
    belongs, fitness = jnp.array([0, 1] * 12), jnp.array([1.0, 2.0] * 12)
    table = no_species(grown()[0].population, 4, 1.0).replace(best=jnp.full(4, 9.0), idle=jnp.full(4, 15))
    survivors, parents, _ = jax.jit(breed)(chances(0, 3, SIZE), belongs, fitness, table, NEATParams())
    assert set(np.asarray(belongs[parents]).ravel().tolist()) == {1}
    assert sum(int(one) != NO_SPECIES for one in survivors) == 1


def test_failed_graphs_are_no_parents_and_all_may_fail():
    cost = np.where(np.arange(SIZE) < 20, np.nan, 1.0)
    for told in (cost, np.full(SIZE, np.nan)):
        state = STRATEGY.init(jax.random.key(0), first_graphs(), jnp.zeros(SIZE), BUSY)
        graphs, state = STRATEGY.ask(jax.random.key(1), state, BUSY)
        state, metrics = STRATEGY.tell(jax.random.key(2), graphs, jnp.asarray(told), state, BUSY)
        assert int(metrics["failed"]) == int(np.isnan(told).sum())
        children, _ = STRATEGY.ask(jax.random.key(3), state, BUSY)
        for index in range(SIZE):
            assert_sound(member(children, index))
    still = NEATParams(perturb_rate=0, replace_rate=0, add_node_rate=0, add_connection_rate=0, toggle_rate=0)
    state = STRATEGY.init(jax.random.key(4), state.population, jnp.asarray(cost), still)
    children, _ = STRATEGY.ask(jax.random.key(4), state, still)
    weights = {tuple(np.asarray(row)) for row in state.population.weights[20:, :6]}
    mixed = np.asarray(children.weights[:, :6])
    allowed = [{row[column] for row in weights} for column in range(6)]
    assert all(value in allowed[column] for row in mixed for column, value in enumerate(row))


def test_weights_change_as_often_as_the_rates_say():
    graph = minimal_graph(jax.random.key(0), 99, 10, 120, 1000)
    rates = GraphRates(perturb_rate=0.6, perturb_scale=0.1, replace_rate=0.2, toggle_rate=0)
    after = jax.jit(lambda chance: change_weights(chance, graph, rates))(chances(1, 2002))
    step = np.abs(np.asarray(after.weights - graph.weights))
    assert abs(np.mean(step == 0) - 0.2) < 0.05
    assert abs(np.mean((step > 0) & (step < 0.35)) - 0.6) < 0.12  # some of those redrawn are near
    assert np.all(np.asarray(after.enabled) == np.asarray(graph.enabled))
    sure = dataclasses.replace(rates, perturb_rate=1.0, replace_rate=0.0)
    moved = jax.jit(lambda chance: change_weights(chance, graph, sure))(chances(2, 2002))
    size = np.abs(np.asarray(moved.weights - graph.weights)) / 0.1
    # Of a normal distribution, within three standard deviations of 1,000 draws.
    assert np.mean(size < 1) == pytest.approx(0.683, abs=0.045)
    assert np.mean(size < 2) == pytest.approx(0.954, abs=0.02)


def test_neat_solves_xor_and_compiles_once():
    """150 graphs, at most 100 generations, two of three seeds."""
    x = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    y = jnp.array([0.0, 1, 1, 0])
    strategy = NEAT(150, minimal_graph(jax.random.key(0), 2, 1), max_nodes=16, max_connections=32)
    params, traced = strategy.default_params, []

    def scored(graphs):
        outputs = jax.vmap(lambda graph: apply_graph(graph, x, 1))(graphs)[..., 0]
        wrong = jnp.min(jnp.sum((outputs > 0.5) != (y[None] > 0.5), axis=1))
        return jnp.mean((outputs - y[None]) ** 2, axis=1), wrong

    @jax.jit
    def step(key, state):
        traced.append(True)
        graphs, state = strategy.ask(key, state, params)
        cost, wrong = scored(graphs)
        return strategy.tell(key, graphs, cost, state, params)[0], wrong

    def solved(seed):
        graphs = first_graphs(seed, 150, 2, 1)
        state = strategy.init(jax.random.key(seed), graphs, jax.jit(scored)(graphs)[0], params)
        for key in jax.random.split(jax.random.key(seed), 100):
            state, wrong = step(key, state)
            if wrong == 0:
                return True
        return False

    assert sum(map(solved, range(3))) >= 2
    assert len(traced) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"population_size": 1}, "population_size must be a whole number of at least 2, got 1"),
        ({"max_species": 0}, "max_species must be a whole number of at least 1, got 0"),
        ({"max_nodes": 15}, "max_nodes must be a whole number of at least 16, got 15"),
        ({"max_connections": 31}, "max_connections must be a whole number of at least 32, got 31"),
        ({"solution": first_graphs(size=2)}, "solution must be one graph"),
        ({"activations": ("softplus",)}, "activations must be some of sigmoid, tanh"),
        ({"activations": ()}, "activations must be some of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        NEAT(**{"population_size": 4, "solution": SOLUTION} | changes)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (GraphRates(add_node_rate=1.5), "graph.add_node_rate must be a number from 0 to 1, got 1.5"),
        (GraphRates(perturb_scale=-1.0), "graph.perturb_scale must be a finite number of at least 0, got -1.0"),
        (NEATParams(toggle_rate="often"), "graph.toggle_rate must be a number, got 'often'"),
        (NEATParams(survival=2), "graph.survival must be a number from 0 to 1, got 2.0"),
        (NEATParams(patience=math.nan), "graph.patience must be a finite number of at least 0, got nan"),
    ],
)
def test_rates_outside_their_ranges_are_refused(rates, message):
    with pytest.raises(ValueError, match=message):
        rates.check("graph.")


def test_traced_rates_are_not_checked():
    jax.eval_shape(lambda rates: rates.check(), NEATParams())


def test_scores_of_another_number_of_graphs_are_refused():
    with pytest.raises(ValueError, match=r"fitness must have shape \(24,\), one of each individual, got \(23,\)"):
        STRATEGY.init(jax.random.key(0), first_graphs(), jnp.zeros(SIZE - 1), BUSY)
