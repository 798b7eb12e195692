"""Which of the native kernel and XLA computes networks: chosen once, by one rule, and told."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from helpers import TINY, assert_trees_close, assert_trees_equal, genes, make_genome, make_inputs

import etm_tasks
from etm_jax._console import evolution_progress, training_progress
from etm_jax.cells import CellSpec
from etm_jax.evolution import make_problem
from etm_jax.evolution._generation import init
from etm_jax.evolution._run import run, summarise
from etm_jax.graphs import GraphConfig
from etm_jax.networks import Networks, NetworksConfig, apply
from etm_jax.networks.genome._genes import architecture_from
from etm_jax.networks.native import _build, choose_backend
from etm_jax.runs._checkpoint import Checkpoints
from etm_jax.training import NetworkConfig, StrategyConfig, TrainConfig, make_training

ACTS = etm_tasks.make_suite(("cart_pole",))
MIXED = dataclasses.replace(tiny.BOUNDS, memories=("ntm", "dnc"), controllers=("lstm", "window"))
NONE_HERE = "no C++ compiler was found"


@pytest.fixture
def no_kernel(monkeypatch):
    monkeypatch.setattr(_build, "_library", lambda: _build.Library(reason=NONE_HERE))


# 1. the rule


def test_off_asks_for_nothing(monkeypatch):
    monkeypatch.setattr(_build, "_library", None)  # not even whether there is one
    assert choose_backend("off", CellSpec()).why_xla == "native is off"


def test_auto_takes_the_kernel_where_it_can_be_used(kernel):
    assert choose_backend("auto", CellSpec(), jnp.float32, None) == choose_backend("on", CellSpec())
    assert choose_backend("auto", CellSpec()).native


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        ((CellSpec(memories=("dnc",), controllers=("window", "lstm")),), {}, "it does not know window, dnc"),
        ((CellSpec(ponder_steps=3),), {}, "it does not know pondering"),
        ((CellSpec(), jnp.float32, jnp.bfloat16), {}, "it computes in float32, not bfloat16"),
        ((CellSpec(), jnp.float64), {}, "it computes in float32, not float64"),
        ((CellSpec(),), {"step_by_step": True}, "in environments it would be called for each step"),
        ((CellSpec(),), {"any_process": lambda here: True}, "another process of the run cannot use it"),
    ],
)
def test_elsewhere_auto_takes_xla_and_on_is_an_error(kernel, arguments, options, reason):
    assert choose_backend("auto", *arguments, **options).why_xla == reason
    message = f"native must be auto or off here, since the kernel cannot be used: {reason}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        choose_backend("on", *arguments, **options)


def test_a_process_tells_the_others_that_it_has_no_kernel(no_kernel):
    told = []
    choose_backend("auto", CellSpec(), any_process=lambda here: told.append(here) or here)
    assert told == [True]


# 2. what takes it


def backends_of(**changes):
    """Of a model, of seeded networks and of a training with the same settings."""
    config = tiny.settings(**changes)
    darwinian = tiny.settings(**changes, lifetime=tiny.DARWINIAN).model
    seeded = dataclasses.replace(
        config,
        crossover_rate=0.0,
        model=dataclasses.replace(
            darwinian,
            population_storage="seeds",
            variation=dataclasses.replace(darwinian.variation, gene_rate=0.0),
        ),
    )
    network = NetworkConfig(num_slots=5, slot_width=3, controller_size=4)
    kinds = {"precision": config.model.precision, "native": config.model.native}
    training = make_training(TrainConfig(network=network, **kinds), tiny.COPY)
    models = make_problem(config, tiny.COPY).model, make_problem(seeded, tiny.COPY).model.networks
    assert {one.lifetime(tiny.BOUNDS).native for one in models} == {models[0].backend.native}
    assert training.lifetime.native == training.backend.native
    return {models[0].backend, models[1].backend, training.backend}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"native": "off"}, "native is off"),
        ({"precision": "bfloat16"}, "it computes in float32, not bfloat16"),
    ],
)
def test_models_and_trainings_have_it_as_the_settings_say(kernel, changes, reason):
    assert {backend.why_xla for backend in backends_of(**changes)} == {reason}


def test_double_precision_is_computed_by_xla(kernel):
    with jax.enable_x64(True):
        assert Networks.of(tiny.CONFIG.model, tiny.COPY).backend.why_xla == "it computes in float32, not float64"


def test_individuals_of_kinds_that_the_kernel_does_not_know_are_computed_by_xla(kernel):
    mixed = Networks.of(NetworksConfig(MIXED, native="on"), tiny.COPY)
    others = "window, dnc by XLA at padded sizes, since the kernel does not know them"
    assert mixed.computed_by == f"the native kernel at live sizes; {others}"
    with pytest.raises(ValueError, match=r"native must be auto or off here, .*: it does not know dnc"):
        make_training(TrainConfig(network=NetworkConfig(cell="dnc"), native="on"), tiny.COPY)


def test_networks_that_act_are_computed_by_xla(kernel):
    acting = Networks.of(NetworksConfig(tiny.BOUNDS, lifetime=tiny.DARWINIAN), ACTS)
    strategy = TrainConfig(network=NetworkConfig(num_slots=5), strategy=StrategyConfig("SNES"))
    for backend in (acting.backend, make_training(strategy, ACTS).backend):
        assert "each step" in backend.why_xla
    assert make_training(strategy, tiny.COPY).lifetime.native


def test_size_buckets_are_not_used_at_live_sizes(kernel):
    live = Networks.of(NetworksConfig(tiny.BOUNDS, size_buckets=3), tiny.COPY)
    assert live.rebucket_every == 0
    assert live.computed_by == "the native kernel at live sizes; size_buckets is not used"
    padded = Networks.of(NetworksConfig(tiny.BOUNDS, size_buckets=3, native="off"), tiny.COPY)
    assert padded.rebucket_every == 20


# 3. what is said


def first_lines(progress, capsys):
    with progress:
        pass
    return capsys.readouterr().out.splitlines()


def test_a_run_begins_with_what_computes_it(kernel, tmp_path, capsys):
    training = TrainConfig(network=NetworkConfig(num_slots=5))
    assert "computed by the native kernel at live sizes" in first_lines(
        evolution_progress(tiny.problem(), tmp_path), capsys
    )
    assert "computed by the native kernel" in first_lines(
        training_progress(make_training(training, tiny.COPY), tmp_path), capsys
    )


def test_without_a_kernel_a_run_begins_with_the_reason(no_kernel, tmp_path, capsys):
    problem = make_problem(tiny.CONFIG, tiny.COPY)
    line = f"computed by XLA at padded sizes, not the native kernel: {NONE_HERE}"
    assert line in first_lines(evolution_progress(problem, tmp_path), capsys)
    training = make_training(TrainConfig(network=NetworkConfig(num_slots=5)), tiny.COPY)
    line = f"computed by XLA, not the native kernel: {NONE_HERE}"
    assert line in first_lines(training_progress(training, tmp_path), capsys)


def test_models_without_a_choice_say_nothing(tmp_path, capsys):
    graphs = make_problem(tiny.settings(model=GraphConfig()), ACTS)
    assert "computed" not in " ".join(first_lines(evolution_progress(graphs, tmp_path), capsys))


def test_a_vmap_over_kinds_known_and_unknown_computes_what_xla_does(kernel):
    """Both forms run for every individual there, and the kernel must not refuse what is not its own."""
    bounds = dataclasses.replace(TINY, memories=("dnc", "tape"))
    members = [make_genome(bounds, seed, memory=memory) for seed, memory in enumerate(("tape", "dnc", "tape"))]
    population, inputs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), make_inputs()

    def over_all(native):
        run = jax.jit(jax.vmap(lambda genome: apply(genome, inputs, bounds, native=native)))
        return run(population)

    assert_trees_close(over_all(True), over_all(False), rtol=1e-5, atol=1e-5)


# 4. padding


@pytest.mark.parametrize("individuals_per_batch", [0, 3])
def test_at_live_sizes_nothing_is_padded_and_individuals_run_one_by_one(kernel, individuals_per_batch):
    live, padded = (
        tiny.problem(tiny.COPY, individuals_per_batch=individuals_per_batch, native=native) for native in ("on", "off")
    )
    chosen = [genes(num_slots=slots, controller_size=4) for slots in (5, 7, 6, 5)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(architecture_from, chosen))
    assert float(live.model.padding_efficiency_of(live.context, stacked)) == 1
    assert float(padded.model.padding_efficiency_of(padded.context, stacked)) < 1
    batched = [problem.model._batch_size(problem.context) for problem in (live, padded)]
    assert batched == [1, individuals_per_batch or 1]


def test_only_individuals_that_the_kernel_does_not_know_are_padded(kernel):
    chosen = [genes(num_slots=slots, controller_size=4) for slots in (5, 7, 6, 5)]
    known = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(architecture_from, chosen))
    model = Networks.of(NetworksConfig(MIXED), tiny.COPY)
    context = tiny.problem().context
    assert model.padding_efficiency_of(context, known) == 1
    unknown = known.replace(memory=known.memory.at[0].set(architecture_from(genes(memory="dnc")).memory))
    assert model.padding_efficiency_of(context, unknown) < 1


# 5. the same run


@pytest.mark.parametrize("size_buckets", [1, 3])
def test_a_state_has_the_same_arrays_whatever_computes(kernel, size_buckets):
    shapes = [
        jax.eval_shape(
            lambda key, native=native: init(tiny.problem(tiny.COPY, size_buckets=size_buckets, native=native), key),
            jax.random.key(0),
        )
        for native in ("auto", "off")
    ]
    assert jax.tree.structure(shapes[0]) == jax.tree.structure(shapes[1])
    assert jax.tree.leaves(shapes[0]) == jax.tree.leaves(shapes[1])


@pytest.mark.slow
def test_a_generation_is_the_same_to_rounding(kernel):
    (live, ours), (padded, theirs) = (tiny.after(2, native=native) for native in ("on", "off"))
    assert_trees_equal(live.population.ids, padded.population.ids)
    assert_trees_equal(live.population.genomes.architecture, padded.population.genomes.architecture)
    assert_trees_close(live.population.genomes, padded.population.genomes, rtol=1e-4, atol=1e-5)
    assert_trees_close(ours.loss, theirs.loss, rtol=1e-4, atol=1e-5)
    assert float(ours.padding_efficiency) == 1 > float(theirs.padding_efficiency)


@pytest.mark.slow
@pytest.mark.parametrize("size_buckets", [1, 2])
def test_a_run_is_resumed_where_there_is_no_kernel_and_back(kernel, tmp_path, monkeypatch, size_buckets):
    def session(generations):
        changes = {"lifetime": tiny.DARWINIAN, "size_buckets": size_buckets, "rebucket_every": 1}
        problem = make_problem(tiny.settings(max_generations=generations, **changes), tiny.COPY)
        checkpoints = Checkpoints(tmp_path / "checkpoints", "settings")
        outcome = run(problem, checkpoints=checkpoints)
        checkpoints.close()
        return problem, outcome

    assert session(1)[0].model.backend.native
    with monkeypatch.context() as patch:
        patch.setattr(_build, "_library", lambda: _build.Library(reason=NONE_HERE))
        problem, outcome = session(2)
        assert problem.model.backend.why_xla == NONE_HERE
        assert NONE_HERE in summarise(problem, outcome, 0.0)["computed_by"]
    problem, outcome = session(3)
    assert problem.model.backend.native
    assert int(outcome.state.generation) == 3
    assert np.isfinite(np.asarray(outcome.state.population.fitness)).all()
