"""Settings: checked when made, the same after a round trip through TOML, and clear when wrong."""

import dataclasses

import pytest

from etm_jax._presets import PRESETS
from etm_jax.config import EvolutionaryTuringConfig, SelectionConfig, from_toml, parse_task, read_config, to_toml
from etm_jax.networks import Bounds, LifetimeConfig, VariationRates
from etm_jax.task import CurriculumConfig


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_toml_gives_the_config_back(preset):
    assert from_toml(to_toml(PRESETS[preset])) == PRESETS[preset]


def test_toml_keeps_what_it_does_not_mention():
    config = from_toml("seed = 7\n[lifetime]\nlearning_rate = 1\n", PRESETS["quick"])
    lifetime = dataclasses.replace(PRESETS["quick"].lifetime, learning_rate=1.0)
    assert config == dataclasses.replace(PRESETS["quick"], seed=7, lifetime=lifetime)


def test_text_with_quotes_survives():
    config = EvolutionaryTuringConfig(task=('copy=1,bits="8"\\',))
    assert from_toml(to_toml(config)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("population = 3", "unknown config key 'population'; the keys are population_size"),
        ("[lifetime]\nspeed = 3", "unknown config key lifetime.'speed'"),
        ("seed = 'x'", "seed must be of type int, got 'x'"),
        ("seed = true", "seed must be of type int, got True"),
        ("lifetime = 3", "lifetime must be a table, got 3"),
        ("task = 'copy'", "task must be a list, got 'copy'"),
        ("[bounds]\nnum_slots = [3]", "bounds.num_slots must be a list of 2"),
        ("[lifetime]\ninheritance = 'none'", "lifetime.inheritance must be one of darwinian, baldwinian, lamarckian"),
        ("seed = ", "not valid TOML"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(text, message):
    with pytest.raises(ValueError, match=message):
        from_toml(text)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read the config"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvolutionaryTuringConfig(population_size=0), "population_size must be a whole number of at least 1"),
        (lambda: EvolutionaryTuringConfig(seed=-1), "seed must be a whole number of at least 0, got -1"),
        (lambda: EvolutionaryTuringConfig(input_dim=4), r"output_dim must be input_dim \(4\), got 8"),
        (lambda: EvolutionaryTuringConfig(task=()), "task must be at least one task"),
        (lambda: EvolutionaryTuringConfig(efficiency_weight=float("nan")), "efficiency_weight must be"),
        (lambda: EvolutionaryTuringConfig(variation=VariationRates(gene_rate=2.0)), "variation.gene_rate must be"),
        (lambda: LifetimeConfig(learning_rate=0.0), "lifetime.learning_rate must be a finite number above 0, got 0.0"),
        (lambda: LifetimeConfig(steps=0), "lifetime.steps must be"),
        (lambda: SelectionConfig(truncation_share=0.0), r"selection.truncation_share must be in \(0, 1\]"),
        (lambda: CurriculumConfig(start=1.5), "curriculum.start must be a number from 0 to 1, got 1.5"),
        (lambda: Bounds(slot_width=(8, 4)), "slot_width must be two whole numbers with 1 <= low <= high"),
    ],
)
def test_a_bad_value_is_refused_with_its_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_task_is_a_name_a_weight_and_options():
    assert parse_task("copy=0.5,bits=4,max_length=3") == ("copy", 0.5, {"bits": 4, "max_length": 3})
    assert parse_task("copy") == ("copy", 1.0, {})


@pytest.mark.parametrize("spec", ["", "copy=x", "copy=0", "copy=-1", "copy=nan", "copy=1,bits", "copy=1,bits=x", "=1"])
def test_a_task_that_cannot_be_read_is_refused(spec):
    with pytest.raises(ValueError, match="task must look like name=weight,option=value"):
        parse_task(spec)
