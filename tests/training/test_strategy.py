"""Weights by evosax's strategies: every one of them, compact weights, failures, a run and its resume, bad names."""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import TINY, assert_trees_equal, make_genome
from test_train import CONFIG, FLAGS, Broken, fails, main, rows, suite_of, weights

import etm_jax as etm
from etm_jax._toml import from_toml, to_toml
from etm_jax.networks import mask_of, num_parameters, pad
from etm_jax.runs._folder import RunFolder
from etm_jax.training import (
    StrategyConfig,
    TrainConfig,
    init,
    make_strategy,
    make_training,
    network_of,
    strategies,
    train,
)
from etm_jax.training._run import MOST_SKIPPED
from etm_jax.training._strategy import flat, strategy_step

SNES = [*FLAGS, "--strategy=SNES", "--strategy-population=8"]
SMALL = StrategyConfig("SNES", population=6)
# evosax's own ClipUp calls what optax has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning")


# By default a few: with and without a covariance, a momentum, an adaptive step.
SOME = ("SNES", "Sep_CMA_ES", "Open_ES", "ARS", "CMA_ES")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SOME else pytest.mark.slow) for name in sorted(strategies())]
)
def test_every_strategy_moves_the_weights_and_stays_finite(name):
    """Three steps downhill on the sum of squares, of a network whose padding is not a number."""
    genome = make_genome(TINY, seed=1)
    genome = genome.replace(
        params=jax.tree.map(lambda array, here: jnp.where(here, array, jnp.nan), genome.params, mask_of(genome, TINY))
    )
    strategy = make_strategy(StrategyConfig(name, population=6, learning_rate=0.01), genome, TINY)
    assert strategy.num_dims == int(num_parameters(genome, TINY))
    params = strategy.default_params

    def step(state, key):
        candidates, state = strategy.ask(key, state, params)
        costs = jnp.sum(jax.vmap(lambda one: flat(one, strategy.mask))(candidates) ** 2, axis=-1)
        return strategy.tell(key, candidates, costs, state, params)[0], None

    @jax.jit
    def descend(key, weights):
        state, _ = jax.lax.scan(step, strategy.init(key, weights, params), jax.random.split(key, 3))
        return strategy.placed(state.mean, weights)

    moved = descend(jax.random.key(0), genome.params)
    mask = mask_of(genome, TINY)
    for before, after, here in zip(*map(jax.tree.leaves, (genome.params, moved, mask)), strict=True):
        assert np.isfinite(np.asarray(after)[np.asarray(here)]).all()
        np.testing.assert_array_equal(np.asarray(after)[~np.asarray(here)], np.asarray(before)[~np.asarray(here)])
    # ESMC moves only once a candidate beats the mean.
    assert not np.array_equal(*(flat(one, strategy.mask) for one in (moved, genome.params))) or name == "ESMC"


def test_weight_decay_takes_its_share_of_the_mean_in_every_step():
    genome = make_genome(TINY, seed=1)
    key, means = jax.random.key(0), []
    for decay in (0.0, 0.5):
        config = StrategyConfig("Open_ES", population=6, learning_rate=0.1, weight_decay=decay)
        strategy = make_strategy(config, genome, TINY)
        params = strategy.default_params
        before = strategy.init(key, genome.params, params)
        candidates, asked = strategy.ask(key, before, params)
        costs = jnp.sum(jax.vmap(lambda one, mask=strategy.mask: flat(one, mask))(candidates) ** 2, axis=-1)
        means.append(strategy.tell(key, candidates, costs, asked, params)[0].mean)
    np.testing.assert_allclose(means[0] - means[1], 0.1 * 0.5 * before.mean, rtol=1e-5, atol=1e-6)


def test_live_weights_are_those_that_exist_and_go_back_to_their_places():
    genome = make_genome(TINY, seed=2)
    strategy = make_strategy(SMALL, genome, TINY)
    live = flat(genome.params, strategy.mask)
    kept = [
        np.asarray(array)[np.asarray(here)]
        for array, here in zip(*map(jax.tree.leaves, (genome.params, mask_of(genome, TINY))), strict=True)
    ]
    np.testing.assert_array_equal(live, np.concatenate(kept))
    assert_trees_equal(strategy.placed(live, genome.params), genome.params)


def easy(**changes):
    """SNES on copy of at most two vectors of two bits."""
    return dataclasses.replace(
        CONFIG,
        steps=150,
        steps_per_chunk=50,
        batch_size=16,
        score_episodes=256,
        strategy=StrategyConfig("SNES", population=32, sigma=0.2),
        **changes,
    )


def test_snes_lowers_the_loss():
    outcome = train(make_training(easy(), suite_of()))
    losses = [row["loss"] for row in outcome.history.rows]
    assert losses[-1] < 0.85 * losses[0] and losses[-1] < 0.6
    assert all(row["learning_rate"] is None and row["skipped"] == 0 for row in outcome.history.rows)


def test_a_candidate_without_a_loss_is_the_worst_and_a_step_in_which_none_has_one_is_left_out():
    training = make_training(dataclasses.replace(CONFIG, strategy=SMALL), suite_of())
    strategy, state = training.strategy, jax.jit(lambda key: init(training, key))(jax.random.key(0))

    class Spoilt:
        """Spoils what the algorithm asks."""

        def __init__(self, spoilt):
            self.spoilt = spoilt

        def ask(self, key, state, params):
            candidates, state = strategy.algorithm.ask(key, state, params)
            return candidates.at[: self.spoilt].set(jnp.nan), state

        def tell(self, key, candidates, fitness, state, params):
            return strategy.algorithm.tell(key, jnp.nan_to_num(candidates), fitness, state, params)

    difficulty, lifetime = jnp.ones(1), training.lifetime
    for spoilt, left_out in ((2, 0), (6, 1)):
        spied = dataclasses.replace(strategy, algorithm=Spoilt(spoilt))
        step = jax.jit(functools.partial(strategy_step, lifetime, spied))
        genome, after, loss = step(jax.random.key(1), state.genome, state.optimiser, difficulty)
        assert (int(after.total_notfinite), int(after.notfinite_count)) == (left_out, left_out)
        assert np.isfinite(loss)
        same = np.array_equal(*(flat(one.params, strategy.mask) for one in (genome, state.genome)))
        assert same == bool(left_out)
        assert bool(after.last_finite) == (not left_out)
        assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(genome.params))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, made by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, main(*SNES, "--out", folder)


def test_the_command_line_leaves_a_folder_like_that_of_gradients(whole):
    folder, printed = whole
    expected = dataclasses.replace(CONFIG, strategy=StrategyConfig("SNES", population=8))
    assert RunFolder.open(folder).config(TrainConfig()) == expected
    assert "at most 8 strategy steps" in printed and "SNES; run folder" in printed
    text = (folder / "report.html").read_text()
    assert "Finished after 8 strategy steps." in text and "gradient step" not in text
    assert "Learning rate over" not in text
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["ending"], summary["steps"]) == ("all steps done", 8)
    model = etm.load_best(folder)
    training = make_training(expected, suite_of())
    state = train(training).state
    assert_trees_equal(pad(model, training.bounds).params, network_of(state).params)


@pytest.mark.slow
def test_a_run_killed_and_resumed_is_the_uninterrupted_run_bit_for_bit(whole, tmp_path):
    folder = tmp_path / "killed"
    shutil.copytree(whole[0], folder)
    for name in ("2", "3"):
        shutil.rmtree(folder / "checkpoints" / name)
    (folder / "best" / "weights.npz").unlink()
    main("--resume", folder)
    assert rows(folder) == rows(whole[0])
    for name, array in weights(whole[0]).items():
        np.testing.assert_array_equal(weights(folder)[name], array, err_msg=name)


def test_losses_that_are_never_finite_end_the_run():
    training = make_training(
        dataclasses.replace(CONFIG, steps=1000, steps_per_chunk=MOST_SKIPPED, strategy=SMALL), suite_of(Broken)
    )
    outcome = train(training)
    assert (outcome.ending, int(outcome.state.step)) == ("diverged", MOST_SKIPPED)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--strategy=CMAES"], "strategy must be one of ARS, ASEBO, CMAAnchoredLES, CMA_ES, CR_FM_NES, DES, ESMC"),
        (["--strategy=SV_Open_ES"], "Open_ES, PGPE, PersistentES, RandomSearch"),
        (["--strategy=SNES", "--strategy-population=1"], "strategy_population must be a whole number of at least 2"),
        (["--strategy=SNES", "--strategy-sigma=0"], "strategy_sigma must be a finite number above 0"),
        (["--strategy=Open_ES", "--strategy-weight-decay=0.1"], "strategy_weight_decay must be 0 without a strategy_l"),
        (
            ["--strategy=Open_ES", "--strategy-population=5"],
            "got 5; evosax says: Population size must be even",
        ),
        (["--strategy=SNES", "--schedule=cosine"], "schedule must be constant with strategy SNES, which takes no"),
        (["--strategy=SNES", "--warmup-steps=3"], "warmup_steps must be 0 with strategy SNES"),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(capsys, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *flags)
    assert list(tmp_path.iterdir()) == []


def test_the_settings_survive_a_file():
    config = dataclasses.replace(CONFIG, strategy=StrategyConfig("Open_ES", population=10, learning_rate=0.05))
    assert from_toml(to_toml(config), TrainConfig()) == config
