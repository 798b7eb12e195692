"""What Python gives to a run is checked before anything is traced."""

import dataclasses

import optax
import pytest
import tiny
from helpers import unchecked_types

import etm_jax as etm
import etm_tasks
from etm_jax.evolution import make_problem
from etm_jax.selection import FrontArchive, NSGA2Selection, TournamentSelection


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"suite": "copy"}, "suite must be a suite of tasks"),
        ({"suite": etm_tasks.make("copy", bits=2)}, "etm_tasks.make_suite"),
        ({"suite": etm.TaskSuite}, "suite must be"),
        ({"selector": TournamentSelection}, "selector must be a selector"),
        ({"selector": "nsga2"}, "selector must be a selector"),
        ({"optimiser": "adam"}, "optimiser must be an optax chain"),
        ({"optimiser": optax.adam}, "optimiser must be an optax chain"),
    ],
    ids=["text", "task", "kind-of-suite", "kind-of-selector", "name-of-selector", "name-of-optimiser", "factory"],
)
def test_what_is_no_suite_selector_or_optimiser_is_refused(given, message):
    arguments = {"suite": tiny.SUITE} | given
    with unchecked_types(), pytest.raises(ValueError, match=message):
        make_problem(tiny.CONFIG, **arguments)


@pytest.mark.parametrize("config", [{}, 3, "runs/first", etm.EvolutionaryTuringConfig])
def test_what_is_no_config_is_refused(config):
    with unchecked_types(), pytest.raises(ValueError, match="config must be an EvolutionaryTuringConfig"):
        etm.evolve(config)


def test_a_selector_brings_its_archive_wherever_it_is_given():
    assert make_problem(tiny.CONFIG, tiny.SUITE, selector=NSGA2Selection()).archive == FrontArchive()
    selection = etm.EvolutionaryTuringConfig().selection
    front = dataclasses.replace(tiny.CONFIG, selection=dataclasses.replace(selection, method=NSGA2Selection()))
    assert make_problem(front, tiny.SUITE).archive == FrontArchive()
    assert make_problem(front, tiny.SUITE, selector=TournamentSelection()).archive is None


def test_counts_beyond_32_bits_are_refused():
    with pytest.raises(ValueError, match="population_size must be at most"):
        etm.EvolutionaryTuringConfig(population_size=10**20)


def test_the_folder_of_a_run_may_be_a_string(tmp_path):
    machine = etm.EvolutionaryTuringMachine(tiny.CONFIG, tiny.SUITE, out=str(tmp_path / "run"))
    assert (tmp_path / "run" / "config.toml").exists() and not machine.has_best_model
