"""Genomes stored as seeds: exact weights, inert padding, small checkpoints, a run and its resume, bad settings."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import TINY, assert_trees_equal, start_command
from tiny import BOUNDS, CONFIG, SUITE, settings

import etm_jax as etm
from etm_jax._toml import from_toml
from etm_jax.evolution import make_problem
from etm_jax.evolution._generation import init
from etm_jax.evolve import main
from etm_jax.models._model import member
from etm_jax.models._registry import MODELS
from etm_jax.networks import LifetimeConfig, VariationRates, mask_of
from etm_jax.networks._model import Networks
from etm_jax.networks._seeded import SeededNetworks, seeded_noise
from etm_jax.parallel._devices import with_champion

RATES = VariationRates(gene_rate=0.0, noise_rate=1.0, noise_scale=0.0213)
SEEDED = settings(
    crossover_rate=0.0,
    population_storage="seeds",
    seed_capacity=8,
    lifetime=LifetimeConfig(inheritance="darwinian"),
    variation=RATES,
)
FLAGS = [
    "--population-storage=seeds", "--seed-capacity=8", "--lifetime.inheritance=darwinian", "--variation.gene-rate=0",
    "--crossover-rate=0", "--variation.noise-rate=1", "--population-size=4", "--score-episodes=4",
    "--task=copy=1,bits=2,max_length=2", "--bounds.num-slots", "5", "7", "--bounds.slot-width", "3", "4",
    "--bounds.controller-size", "4", "6", "--devices=1",
]  # fmt: skip
OWN = dataclasses.replace(SEEDED.model, bounds=TINY, seed_capacity=5)
MODEL = SeededNetworks(Networks.of(OWN, SUITE))
decode = jax.jit(MODEL.decode)


def lineage(generations, seed=0):
    """A random genome, its child, its grandchild, down so many generations."""
    child_of = jax.jit(lambda key, parent: MODEL.offspring(key, parent, parent, jnp.asarray(False), jnp.zeros(())))
    line = [jax.jit(MODEL.random)(jax.random.key(seed))]
    for key in jax.random.split(jax.random.key(seed + 1), generations):
        line.append(child_of(key, line[-1]))
    return line


def test_a_child_is_its_parent_and_sigma_times_noise_bit_for_bit():
    """In NumPy, which rounds product and sum one after the other; alone, under vmap, in a scan."""
    line = lineage(4)
    networks = [decode(genome) for genome in line]
    exists = mask_of(networks[0], TINY)
    for index, (parent, child) in enumerate(itertools.pairwise(networks), 1):
        assert int(line[index].length) == index + 1
        noise = jax.jit(seeded_noise)(line[index].seeds[index], exists)
        sigma = np.asarray(line[index].sigmas[index])
        assert sigma == pytest.approx(RATES.noise_scale, rel=2**-11)
        expected = jax.tree.map(lambda old, draw, s=sigma: np.asarray(old) + s * np.asarray(draw), parent.params, noise)
        assert_trees_equal(child.params, expected)
        assert_trees_equal(child.architecture, parent.architecture)
    together = jax.jit(jax.vmap(MODEL.decode))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *line))
    for index, network in enumerate(networks):
        assert_trees_equal(jax.tree.map(lambda leaf, index=index: leaf[index], together), network)


def test_noise_is_standard_normal_and_padding_gets_none():
    network = decode(lineage(4, seed=3)[-1])
    exists = mask_of(network, TINY)
    many = jax.jit(jax.vmap(lambda seed: seeded_noise(seed, exists)))(jnp.arange(40, dtype=jnp.uint32))
    live = []
    for array, noise, here in zip(*map(jax.tree.leaves, (network.params, many, exists)), strict=True):
        assert not np.any(np.asarray(array)[~np.asarray(here)])
        assert not np.any(np.asarray(noise)[:, ~np.asarray(here)])
        live.append(np.asarray(noise)[:, np.asarray(here)].ravel())
    live = np.concatenate(live)
    assert (np.mean(live), np.std(live)) == pytest.approx((0, 1), abs=5 / np.sqrt(live.size))
    assert len(np.unique(live)) > 0.4 * live.size  # rounding leaves 2**12 numbers an octave


def test_a_full_genome_has_identical_children_and_rate_zero_mutates_none():
    last = lineage(6)[-3:]
    assert [int(genome.length) for genome in last] == [5, 5, 5]
    assert_trees_equal(last[0], last[2])
    own = dataclasses.replace(OWN, variation=dataclasses.replace(RATES, noise_rate=0.0))
    still = SeededNetworks(Networks.of(own, SUITE))
    founder = lineage(0)[0]
    child = still.offspring(jax.random.key(0), founder, founder, jnp.asarray(False), jnp.zeros(()))
    assert_trees_equal(child, founder)


def stored_bytes(**changes):
    """Of a state between two generations, besides what does not depend on the genomes."""
    problem = make_problem(settings(SEEDED, **changes), SUITE)
    state = jax.eval_shape(lambda key: init(problem, key), jax.random.key(0))
    genomes = (state.population.genomes, state.champion)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(genomes))


def test_a_checkpoint_grows_with_generations_and_not_with_weights():
    individuals = SEEDED.population_size + 1  # and the champion
    large = dataclasses.replace(BOUNDS, controller_size=(4, 600))
    for capacity in (8, 80):
        assert stored_bytes(seed_capacity=capacity) == individuals * (8 * capacity + 4)
        assert stored_bytes(seed_capacity=capacity, bounds=large) == individuals * (8 * capacity + 4)


def test_it_scores_the_networks_that_it_decodes():
    """Mutants as seeds, and the same as weights, get the same scores to the bit."""
    problem = make_problem(dataclasses.replace(SEEDED, devices=1), SUITE)
    model, context, alone = problem.model, problem.context, jnp.asarray(False)
    founders = jax.vmap(model.random)(jax.random.split(jax.random.key(2), 4))
    mutants = jax.vmap(lambda key, genome: model.offspring(key, genome, genome, alone, jnp.zeros(())))(
        jax.random.split(jax.random.key(3), 4), founders
    )
    champion = member(founders, 0)
    shared = jax.random.key(7), jnp.ones(2)

    @jax.jit
    def both(mutants, champion):
        decoded = jax.vmap(model.decode)(mutants), model.decode(champion)
        key, difficulty = shared
        own = model.evaluate(context, key, mutants, champion, difficulty)
        everyone = with_champion(*decoded, context.mesh)
        same = everyone, everyone.architecture, difficulty, lambda network: network
        return own, model.networks.evaluate_decoded(context, key, *same)

    own, theirs = both(mutants, champion)
    assert_trees_equal(own, theirs)
    assert len(np.unique(own.result.loss)) == 4


@pytest.mark.slow
def test_a_run_of_the_command_line_is_resumed_and_leaves_a_network(tmp_path):
    folders = [tmp_path / name for name in ("whole", "resumed")]
    runs = [
        [*FLAGS, "--max-generations=4", "--out", str(folders[0])],
        [*FLAGS, "--max-generations=2", "--out", str(folders[1])],
        ["--resume", str(folders[1]), "--max-generations=4"],
    ]
    for flags in runs:
        done = start_command(*flags)
        assert done.returncode == 0, done.stderr
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    for summary in summaries:
        del summary["seconds"]
    assert summaries[0] == summaries[1]
    assert summaries[0]["mutations"] <= 4
    with np.load(folders[0] / "best" / "weights.npz") as one, np.load(folders[1] / "best" / "weights.npz") as other:
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])
    model = etm.load_best(folders[1])
    assert model(jnp.zeros((1, 5, 3))).shape == (1, 5, 2)
    assert "mutations" in (folders[1] / "report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            ["--lifetime.inheritance=lamarckian"],
            'lifetime.inheritance must be darwinian with population_storage "seeds", since what is learnt has no seed; '
            "set --lifetime.inheritance darwinian, or store genomes, got 'lamarckian'",
        ),
        (["--crossover-rate=0.1"], 'crossover_rate must be 0 with population_storage "seeds"'),
        (["--variation.gene-rate=0.2"], "only weights mutate; set --variation.gene-rate 0, or store genomes, got 0.2"),
        (["--size-buckets=2"], 'size_buckets must be 1 with population_storage "seeds"'),
        (["--max-generations=9"], "seed_capacity must be at least max_generations (9)"),
        (["--seed-capacity=0"], "seed_capacity must be a whole number of at least 1, got 0"),
    ],
)
def test_what_has_no_seed_is_refused_in_one_line(flags, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*FLAGS, *flags, "--out", str(tmp_path / "run"), "--compile-cache=off"])
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and says in errors and errors.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", sorted(set(MODELS) - {"networks"}))
def test_other_models_have_no_seeds(kind, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([f"--model={kind}", "--population-storage=seeds", "--out", str(tmp_path / "run")])
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and "--population-storage" in errors and errors.count("\n") == 1
    with pytest.raises(ValueError, match=r"unknown config key model\.'population_storage'; the keys are "):
        from_toml(f'[model]\nkind = "{kind}"\npopulation_storage = "seeds"', CONFIG)
