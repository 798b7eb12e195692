"""Settings: checked when made, the same after a round trip through TOML, and clear when wrong."""

import dataclasses

import pytest

from etm_jax._toml import from_toml, read_table, to_toml
from etm_jax.automata._config import EM33Config, EM43Config
from etm_jax.config import EvolutionaryTuringConfig, FitnessConfig, SelectionConfig
from etm_jax.graphs._config import GraphConfig
from etm_jax.graphs._variation import GraphRates
from etm_jax.models import MODELS
from etm_jax.networks import Bounds, LifetimeConfig, NetworksConfig, VariationRates
from etm_jax.presets import PRESETS
from etm_jax.selection import (
    ARCHIVES,
    SELECTORS,
    LexicaseSelection,
    NoveltyArchive,
    SpeciesSelection,
    TruncationSelection,
)
from etm_jax.task import CurriculumConfig
from etm_tasks import parse_task

DEFAULT = EvolutionaryTuringConfig()


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_toml_gives_the_config_back(preset):
    assert from_toml(to_toml(PRESETS[preset]), DEFAULT) == PRESETS[preset]


@pytest.mark.parametrize("kind", MODELS)
def test_toml_gives_the_model_back(kind):
    config = EvolutionaryTuringConfig(model=MODELS[kind].Config())
    assert f'[model]\nkind = "{kind}"' in to_toml(config)
    assert from_toml(to_toml(config), DEFAULT) == config
    assert from_toml(f'[model]\nkind = "{kind}"', DEFAULT) == config


@pytest.mark.parametrize("kind", SELECTORS)
def test_toml_gives_the_selector_back(kind):
    config = EvolutionaryTuringConfig(selection=SelectionConfig(SELECTORS[kind]()))
    assert from_toml(to_toml(config), DEFAULT) == config


@pytest.mark.parametrize("kind", ARCHIVES)
def test_toml_gives_the_archive_back(kind):
    config = EvolutionaryTuringConfig(archive=ARCHIVES[kind]())
    assert from_toml(to_toml(config), DEFAULT) == config


def test_toml_keeps_what_it_does_not_mention():
    config = from_toml("seed = 7\n[model.lifetime]\nlearning_rate = 1\n", PRESETS["quick"])
    model = PRESETS["quick"].model
    lifetime = dataclasses.replace(model.lifetime, learning_rate=1.0)
    changed = dataclasses.replace(model, lifetime=lifetime)
    assert config == dataclasses.replace(PRESETS["quick"], seed=7, model=changed)


def test_toml_keeps_the_options_of_the_selector_that_it_names_again_and_no_other_s():
    before = EvolutionaryTuringConfig(selection=SelectionConfig(SpeciesSelection(radius=0.5), average_survivors=True))
    same = from_toml('[selection.method]\nkind = "species"\nnum_elites = 3', before).selection
    assert (same.method, same.average_survivors) == (SpeciesSelection(radius=0.5, num_elites=3), True)
    other = from_toml('[selection.method]\nkind = "truncation"', before).selection
    assert (other.method, other.average_survivors) == (TruncationSelection(), True)


def test_text_with_quotes_survives():
    config = EvolutionaryTuringConfig(task=('copy=1,bits="8"\\',))
    assert from_toml(to_toml(config), DEFAULT) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("population = 3", "unknown config key 'population'; the keys are population_size"),
        ("[model.lifetime]\nspeed = 3", "unknown config key model.lifetime.'speed'"),
        ("[lifetime]\nsteps = 3", "unknown config key 'lifetime'"),
        ('[model]\nkind = "graph"\n[model.lifetime]\nsteps = 3', "unknown config key model.'lifetime'"),
        ('[model]\nkind = "ntm"', "model.kind must be one of networks, em43, em33, graph, got 'ntm'"),
        ("[model]\nkind = 3", "model.kind must be one of networks, em43, em33, graph, got 3"),
        ('kind = "networks"', "unknown config key 'kind'"),
        ('[selection.method]\nkind = "best"', "selection.method.kind must be one of tournament, truncation"),
        ("[selection.method]\nradius = 3", "unknown config key selection.method.'radius'"),
        ('[archive]\nkind = "novelty"\nbins = 3', "unknown config key archive.'bins'"),
        ("seed = 'x'", "seed must be of type int, got 'x'"),
        ("seed = true", "seed must be of type int, got True"),
        ("model = 3", "model must be a table, got 3"),
        ("[model]\nlifetime = 3", "model.lifetime must be a table, got 3"),
        ("task = 'copy'", "task must be a list, got 'copy'"),
        ("[model.bounds]\nnum_slots = [3]", "model.bounds.num_slots must be a list of 2"),
        (
            "[model.lifetime]\ninheritance = 'none'",
            "lifetime.inheritance must be one of darwinian, baldwinian, lamarckian",
        ),
        ("seed = ", "not valid TOML"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        from_toml(text, DEFAULT)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read the config"):
        read_table(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvolutionaryTuringConfig(population_size=0), "population_size must be a whole number of at least 1"),
        (lambda: EvolutionaryTuringConfig(seed=-1), "seed must be a whole number of at least 0, got -1"),
        (lambda: EvolutionaryTuringConfig(input_dim=4), r"output_dim must be input_dim \(4\), got 8"),
        (lambda: EvolutionaryTuringConfig(task=()), "task must be at least one task"),
        (lambda: EvolutionaryTuringConfig(efficiency_weight=float("nan")), "efficiency_weight must be"),
        (lambda: EvolutionaryTuringConfig(crossover_rate=2.0), "crossover_rate must be a number from 0 to 1, got 2.0"),
        (lambda: EvolutionaryTuringConfig(immigrant_rate=-0.1), "immigrant_rate must be a number from 0 to 1"),
        (lambda: NetworksConfig(variation=VariationRates(gene_rate=2.0)), "variation.gene_rate must be"),
        (lambda: NetworksConfig(variation=VariationRates(change_rate=-0.5)), "variation.change_rate must be"),
        (lambda: NetworksConfig(size_buckets=0), "size_buckets must be a whole number of at least 1, got 0"),
        (lambda: NetworksConfig(native="on", size_buckets=2), "size_buckets must be 1 with native on, where .*, got 2"),
        (lambda: LifetimeConfig(learning_rate=0.0), "lifetime.learning_rate must be a finite number above 0, got 0.0"),
        (lambda: LifetimeConfig(steps=0), "lifetime.steps must be"),
        (lambda: EM43Config(window=20), "window must be a whole number of at least 37, got 20"),
        (lambda: EM33Config(bins=0), "bins must be a whole number of at least 1, got 0"),
        (
            lambda: GraphConfig(variation=GraphRates(add_node_rate=2.0)),
            "variation.add_node_rate must be a number from 0 to 1, got 2.0",
        ),
        (lambda: TruncationSelection(share=0.0), r"truncation share must be in \(0, 1\], got 0.0"),
        (lambda: NoveltyArchive(size=0), "novelty's size must be a whole number of at least 1, got 0"),
        (lambda: FitnessConfig(exact=1.5), "fitness.exact must be a number from 0 to 1, got 1.5"),
        (lambda: SelectionConfig(renew_every=-1), "selection.renew_every must be a whole number of at least 0"),
        (lambda: SelectionConfig(warmup_generations=0), "selection.warmup_generations must be a whole number of at"),
        (
            lambda: SelectionConfig(cases="episodes"),
            "selection.cases must be tasks with tournament, which looks at none",
        ),
        (
            lambda: SelectionConfig(LexicaseSelection(), cases="episodes", average_survivors=True),
            "selection.cases must be tasks with average_survivors",
        ),
        (lambda: FitnessConfig(("1=0.5",)), "fitness.longer must be multiples from 2 to 1000 .* 5=0.25, got '1=0.5'"),
        (lambda: FitnessConfig(("2",)), "fitness.longer must be multiples from 2 to 1000 .*, got '2'"),
        (lambda: FitnessConfig(("2.5=1",)), "fitness.longer must be multiples from 2 to 1000 .*, got '2.5=1'"),
        (lambda: FitnessConfig(("2=0",)), "the weight in fitness.longer 2=0 must be a finite number above 0, got 0.0"),
        (lambda: FitnessConfig(("2=nan",)), "the weight in fitness.longer 2=nan must be a finite number above 0"),
        (lambda: FitnessConfig(("2=1", "2=2")), "fitness.longer must be of different multiples, got "),
        (lambda: FitnessConfig(("2=3e38", "3=3e38")), "the sum of the weights in fitness.longer must be"),
        (
            lambda: FitnessConfig(longer_episodes=0),
            "fitness.longer_episodes must be a whole number of at least 1, got 0",
        ),
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
