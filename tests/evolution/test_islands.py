"""Islands: one is the undivided run; the ring; ids; several devices; what crosses devices; wrong settings."""

import dataclasses
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_close, assert_trees_equal
from tiny import CONFIG, COPY, DARWINIAN, compiled_init, compiled_step, settings
from tiny import problem as tiny_problem

from etm_jax._toml import from_toml, to_toml
from etm_jax.config import EvolutionaryTuringConfig, IslandConfig, SelectionConfig
from etm_jax.evolution import make_problem
from etm_jax.evolution._generation import fitness_of, init, step
from etm_jax.evolution._islands import migrate, pick, state_sharding
from etm_jax.evolution._programs import compile_generation, first_state, lower_stages
from etm_jax.evolution._propose import first_population, propose, scored
from etm_jax.evolution._state import unscored
from etm_jax.parallel._devices import device_mesh
from etm_jax.selection import MapElitesArchive, NSGA2Selection

ROOT = Path(__file__).parents[2]
EIGHT = dataclasses.replace(CONFIG, population_size=16, islands=IslandConfig(count=8, migrate_every=2))
GENERATIONS = 4
KINDS = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"


def evolve(config, generations=GENERATIONS):
    """States after each generation, and what happened in it, on the host."""
    problem = make_problem(config, COPY)
    state = first_state(problem)
    generation = compile_generation(problem, state)
    found = []
    for _ in range(generations):
        state, record = generation(state)
        host = dataclasses.replace(state, key=jax.random.key_data(state.key))
        found.append(jax.tree.map(np.asarray, (host, record)))
    return found


def program_texts(config):
    """The compiled programs of a generation, as text."""
    problem = make_problem(config, COPY)
    lowered = lower_stages(problem, first_state(problem))
    return [program.compile().as_text() for program in lowered.values()]


@functools.cache
def on_one_device():
    return evolve(EIGHT)


def undivided(problem, state):
    """A generation without learning as it was before there were islands: its population."""
    key, key_propose, key_evaluate = jax.random.split(state.key, 3)
    warming_up = state.generation < problem.config.selection.warmup_generations
    config, model = problem.config, problem.model
    population = propose(
        key_propose,
        state.population,
        model,
        problem.selector,
        crossover_rate=config.crossover_rate,
        immigrant_rate=config.immigrant_rate,
        warming_up=warming_up,
    )
    genomes = population.genomes
    result = model.evaluate(problem.context, key_evaluate, genomes, state.champion, state.difficulty).result
    fitness = fitness_of(problem.suite, model, config.efficiency_weight, genomes, result)
    population = scored(population, genomes, fitness, result.by_case)
    return dataclasses.replace(state, key=key, generation=state.generation + 1, population=population)


def assert_the_same_population(actual, expected):
    """Architectures, ids and parents exactly; numbers to rounding, which XLA chooses for each program."""
    assert_trees_close(actual, expected, rtol=1e-5, atol=1e-7)
    for name in ("ids", "parents", "next_id"):
        assert_trees_equal(getattr(actual, name), getattr(expected, name))
    assert_trees_equal(actual.genomes.architecture, expected.genomes.architecture)


@pytest.mark.slow
def test_one_island_is_the_undivided_run():
    advance = compiled_step(COPY, lifetime=DARWINIAN)
    expect = jax.jit(functools.partial(undivided, tiny_problem(COPY, lifetime=DARWINIAN)))
    state = compiled_init(COPY, lifetime=DARWINIAN)(jax.random.key(0))
    for _ in range(3):
        expected = expect(state)
        state, _ = advance(state)
        assert_the_same_population(state.population, expected.population)


def test_with_one_island_the_ring_is_not_in_the_program():
    alone = IslandConfig(count=1, migrate_every=1, migrants=99)
    state = jax.eval_shape(compiled_init(COPY, lifetime=DARWINIAN), jax.random.key(0))
    texts = {
        compiled_step(COPY, lifetime=DARWINIAN, **changes).lower(state).as_text()
        for changes in ({}, {"islands": alone})
    }
    assert len(texts) == 1


def a_population(num_islands):
    """Islands of 4 with fitness in no order; on each the second of two equals fails, on the first all but one."""
    size = 4 * num_islands
    draws = np.random.default_rng(0)
    fitness = draws.permutation(size).astype(np.float32)
    fitness[1::4] = fitness[0::4]
    alive = np.ones(size, bool)
    alive[2::4] = draws.random(num_islands) < 0.5
    alive[1:4] = False
    draw = jax.jit(lambda key: first_population(key, unscored(size), tiny_problem(COPY).model))
    population = jax.tree.map(np.asarray, draw(jax.random.key(1)))
    scores = dataclasses.replace(population.scores, fitness=fitness, alive=alive)
    return dataclasses.replace(population, scores=scores)


def moved(population, num_islands, num_migrants):
    """Which member each place holds after a migration: indices into the population, by plain loops."""
    fitness, alive = population.scores.fitness, population.scores.alive
    holds, ids = np.arange(fitness.size), np.asarray(population.ids)
    size = fitness.size // num_islands

    def ranking(island):
        places = range(island * size, (island + 1) * size)
        return sorted(places, key=lambda place: -fitness[place] if alive[place] else np.inf)

    for island in range(num_islands):
        there = ranking((island + 1) % num_islands)
        for rank, one in enumerate(ranking(island)[:num_migrants]):
            if alive[one] and ids[one] not in ids[there]:
                holds[there[-1 - rank]] = one
    return holds


@pytest.mark.parametrize(("num_islands", "devices"), [(3, 1), (2, 2), (6, 3)])
def test_the_best_replace_the_worst_of_the_next_island(num_islands, devices):
    population = a_population(num_islands)
    mesh = device_mesh(4 * num_islands, devices, num_islands)
    assert mesh.size == devices
    placed = jax.device_put(population, state_sharding(num_islands, mesh).population)
    after_it = jax.jit(lambda population, due: migrate(population, due, num_islands, 2, mesh))
    holds = moved(population, num_islands, 2)
    assert np.sum(holds != np.arange(holds.size)) >= num_islands  # some move
    expected = jax.tree.map(lambda leaf: leaf[holds] if leaf.ndim else leaf, population)
    assert_trees_equal(after_it(placed, jnp.asarray(True)), expected)
    assert_trees_equal(after_it(placed, jnp.asarray(False)), population)


def test_a_copy_is_not_let_in_where_its_id_lives():
    population = a_population(2)
    population = dataclasses.replace(population, ids=np.tile(population.ids[:4], 2))
    same = jax.jit(lambda population: migrate(population, jnp.asarray(True), 2, 1, device_mesh(8, 1, 2)))(population)
    assert_trees_equal(same, population)


def test_islands_migrate_at_their_generations_and_at_no_other():
    differ = [bool(np.any(state.population.ids != record.ids)) for state, record in on_one_device()]
    assert differ == [False, True, False, True]
    for state, record in on_one_device()[1::2]:
        before, now = record.ids.reshape(8, 2), state.population.ids.reshape(8, 2)
        best = np.argmax(record.fitness.reshape(8, 2), axis=1)
        for island in range(8):
            assert before[island - 1, best[island - 1]] in now[island]


def test_an_id_is_given_once_and_is_alone_on_its_island():
    seen = set()
    for _, record in on_one_device():
        ids = record.ids.tolist()
        created = [one for one in ids if one not in seen]
        assert len(created) == len(set(created))
        assert all(len(set(island)) == 2 for island in record.ids.reshape(8, 2).tolist())
        seen |= set(ids)
    assert len(seen) > 16


def test_parents_live_on_the_same_island():
    (first, _), (_, second) = on_one_device()[1:3]
    by_island = second.ids.reshape(8, 2), second.parents.reshape(8, 2, 2)
    lived = first.population.ids.reshape(8, 2)  # migrants included
    for island, (ids, parents) in enumerate(zip(*by_island, strict=True)):
        for one, pair in zip(ids, parents, strict=True):
            assert one in lived[island] or set(pair.tolist()) <= set(lived[island].tolist())


@pytest.fixture(scope="module", params=[4, 8])
def on_many_devices(request, tmp_path_factory):
    """Arrays of the run over so many devices, and the text of its programs; 8 in a process that has them."""
    if request.param == 4:
        config = dataclasses.replace(EIGHT, devices=4)
        return named_arrays(config), "".join(program_texts(config))
    folder = tmp_path_factory.mktemp("eight")
    path = os.pathsep.join(str(ROOT / part) for part in ("", "tasks", "tests"))
    environment = os.environ | {"PYTHONPATH": path, "JAX_NUM_CPU_DEVICES": "8"}
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    subprocess.run([sys.executable, __file__, str(folder)], env=environment | cache, check=True, timeout=600)
    return dict(np.load(folder / "arrays.npz")), (folder / "programs.txt").read_text()


def named_arrays(config):
    """What is compared between devices: the ids of every generation, and the last state."""
    found = evolve(config)
    state = found[-1][0]
    leaves = jax.tree.leaves_with_path((state.population, state.champion, state.champion_id))
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves} | {
        "ids": np.stack([record.ids for _, record in found])
    }


@pytest.mark.slow
def test_many_devices_are_the_same_run_as_one(on_many_devices):
    many, _ = on_many_devices
    one = on_one_device()
    state = one[-1][0]
    np.testing.assert_array_equal(many["ids"], np.stack([record.ids for _, record in one]))
    leaves = jax.tree.leaves_with_path((state.population, state.champion, state.champion_id))
    assert len(leaves) + 1 == len(many)
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path)
        if np.issubdtype(leaf.dtype, np.floating):
            np.testing.assert_allclose(many[name], leaf, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(many[name], leaf, err_msg=name)


def collectives(text):
    """Kind and bytes of each array that a compiled program exchanges."""
    width = {"f32": 4, "s32": 4, "u32": 4, "pred": 1, "s8": 1, "u8": 1}
    found = []
    for shapes, kind in re.findall(rf"= (.*?) ({KINDS})(?:-start)?\(", text):
        for dtype, sizes in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            found.append((kind, width[dtype] * int(np.prod([int(size) for size in sizes.split(",") if size]))))
    return found


def sequences(text):
    """Names of the sequences in a compiled program, the outermost, loops and conditions, in which devices exchange."""
    name, found = "", set()
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            name = line.removeprefix("ENTRY ").split()[0]
        if re.search(rf" ({KINDS})(-start)?\(", line):
            found.add(name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"islands": IslandConfig(count=8)},
        {"islands": IslandConfig(count=2)},
        {},
        {"individuals_per_batch": 0},
        {"lifetime": dataclasses.replace(CONFIG.model.lifetime, budget="swarm")},
        {"archive": MapElitesArchive()},
    ],
    ids=str,
)
def test_devices_exchange_in_one_sequence_of_a_program(changes):
    """An executable that jaxlib 0.10 loads from the compile cache on CPU orders collectives within one sequence only.

    With collectives both inside a loop or `cond` and outside it, the devices deadlock.
    """
    texts = program_texts(settings(population_size=16, devices=4, **changes))
    assert any(collectives(text) for text in texts)
    assert [len(sequences(text)) <= 1 for text in texts] == [True] * len(texts)


@pytest.mark.slow
def test_only_migrants_and_small_tables_cross_devices(on_many_devices):
    many, text = on_many_devices
    weights = sum(array.nbytes for name, array in many.items() if name.startswith("[0].genomes.params"))
    exchanged = collectives(text)
    assert {"collective-permute", "all-gather"} <= {kind for kind, _ in exchanged}
    elsewhere = sum(size for kind, size in exchanged if kind != "collective-permute")
    # The champion, and of each individual genes twice, ids, fitness, and two numbers of four bytes: what it spent.
    assert elsewhere < weights / 16 + 16 * (320 + 8)
    assert sum(size for kind, size in exchanged if kind == "collective-permute") < weights / 8  # 1 of 16, twice at most


@pytest.mark.slow
def test_several_devices_may_share_each_island():
    """2 islands on 4 devices, 3 of which would otherwise rest."""
    islands = IslandConfig(count=2, migrate_every=1)
    config = settings(population_size=8, islands=islands, lifetime=DARWINIAN, devices=0)
    assert make_problem(config, COPY).mesh.size == 4
    many, one = (evolve(dataclasses.replace(config, devices=devices), 3)[-1] for devices in (0, 1))
    for name in ("ids", "parents"):
        np.testing.assert_array_equal(getattr(many[1], name), getattr(one[1], name))
    assert_trees_close(many[0].population, one[0].population, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("individuals_per_batch", [pytest.param(0, marks=pytest.mark.slow), 8])
def test_budgets_and_batches_are_an_islands_own(individuals_per_batch):
    """Traced only: all individuals of every island in one vmap, and budgets within islands."""
    lifetime = dataclasses.replace(CONFIG.model.lifetime, budget="swarm")
    problem = tiny_problem(
        COPY,
        population_size=8,
        islands=IslandConfig(2),
        lifetime=lifetime,
        individuals_per_batch=individuals_per_batch,
        devices=0,
    )
    state = jax.eval_shape(lambda key: init(problem, key), jax.random.key(0))
    _, record = jax.eval_shape(lambda state: step(problem, state), state)
    assert record.ids.shape == (8,)
    assert record.performance.shape == (8, 1)


def test_an_entry_is_picked_exactly():
    tree = {"a": jnp.asarray([[1.0, jnp.nan], [2.5, 3.5]]), "b": jnp.asarray([7, 8], jnp.int8)}
    picked = pick(tree, jnp.asarray(1))
    assert picked["a"].tolist() == [2.5, 3.5]
    assert (int(picked["b"]), picked["b"].dtype) == (8, jnp.int8)


@pytest.mark.parametrize(
    ("islands", "message"),
    [
        ({"count": 0}, "islands.count must be a whole number of at least 1, got 0"),
        ({"count": 3}, r"islands.count must be a divisor of population_size \(16\), got 3"),
        ({"count": 8, "migrants": 2}, r"islands.migrants must be fewer than the members of an island \(2\), got 2"),
        ({"count": 16}, r"islands.migrants must be fewer than the members of an island \(1\), got 1"),
        ({"count": 2, "migrants": 0}, "islands.migrants must be a whole number of at least 1, got 0"),
        ({"count": 2, "migrate_every": 0}, "islands.migrate_every must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_islands_are_refused_with_the_rule(islands, message):
    with pytest.raises(ValueError, match=message):
        EvolutionaryTuringConfig(population_size=16, islands=IslandConfig(**islands))


@pytest.mark.parametrize("changes", [{"archive": MapElitesArchive()}, {"selection": SelectionConfig(NSGA2Selection())}])
def test_islands_with_an_archive_are_refused(changes):
    with pytest.raises(
        ValueError, match=r"islands\.count must be 1 with nsga2, or with an archive, which all members share, got 2"
    ):
        settings(population_size=8, islands=IslandConfig(count=2), **changes)


def test_islands_survive_a_round_trip_through_toml():
    default = EvolutionaryTuringConfig()
    assert from_toml(to_toml(EIGHT), default) == EIGHT
    assert from_toml("[islands]\ncount = 4\n", default).islands == IslandConfig(count=4)


if __name__ == "__main__":
    config = dataclasses.replace(EIGHT, devices=8)
    Path(sys.argv[1], "programs.txt").write_text("".join(program_texts(config)))
    np.savez(Path(sys.argv[1], "arrays.npz"), **named_arrays(config))
