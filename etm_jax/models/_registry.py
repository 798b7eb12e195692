"""All models by name; one listed here is tested, offered on the command line, and loaded from run folders."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from etm_jax.automata._config import EM33Config, EM43Config
from etm_jax.automata._evolved import load_em33, load_em43
from etm_jax.automata._number_automata import NumberAutomata
from etm_jax.automata._ring_automata import RingAutomata
from etm_jax.environment import AnySuite
from etm_jax.graphs._config import GraphConfig
from etm_jax.graphs._evolved import load_graph
from etm_jax.graphs._model import Graphs
from etm_jax.models._model import Model
from etm_jax.networks._config import NetworksConfig
from etm_jax.networks._seeded import make_networks
from etm_jax.networks.genome._export import load_network
from etm_jax.runs._folder import RunFolder

BITS = ("input_dim", "output_dim")  # settings that only tasks of bits read


@dataclass(frozen=True)
class ModelKind:
    """How the library makes and reads a kind of model.

    Attributes:
        Config: its own settings, with the name of the kind under `kind`.
        make: from these settings, a suite and the settings of the engine to the model.
        load: from a folder that the model's `save` wrote to what can be used.
        report: `module:function` of the sections that the report shows of a champion at work; it needs matplotlib.
        unread: settings of the engine that it does not read.
    """

    Config: type[Any]
    make: Callable[[Any, AnySuite, Any], Model]
    load: Callable[[Path], Any]
    report: str
    unread: tuple[str, ...] = ()


MODELS: dict[str, ModelKind] = {
    NetworksConfig.kind: ModelKind(NetworksConfig, make_networks, load_network, "etm_jax.networks._report:sections"),
    EM43Config.kind: ModelKind(
        EM43Config,
        lambda own, suite, _: NumberAutomata.of(own, suite),
        load_em43,
        "etm_jax.automata._report:number_sections",
        (*BITS, "score_episodes", "curriculum"),
    ),
    EM33Config.kind: ModelKind(
        EM33Config,
        lambda own, suite, _: RingAutomata.of(own, suite),
        load_em33,
        "etm_jax.automata._report:ring_sections",
        BITS,
    ),
    GraphConfig.kind: ModelKind(
        GraphConfig, lambda own, suite, _: Graphs.of(own, suite), load_graph, "etm_jax.graphs._report:sections", BITS
    ),
}
if TYPE_CHECKING:
    AnyModelConfig = Any
else:  # a type that the command line makes flags of
    AnyModelConfig = Union[tuple(kind.Config for kind in MODELS.values())]  # noqa: UP007


def make_model(config: Any, suite: AnySuite) -> Model:
    """The model that a run's settings name, for a suite.

    Raises:
        ValueError: the model does not evolve on such a suite; the settings change what it does not read; or they break
            a rule that needs the suite.
    """
    kind, defaults = MODELS[config.model.kind], type(config)()
    for name in kind.unread:
        value = getattr(config, name)
        if value != getattr(defaults, name):
            readers = [other for other, one in MODELS.items() if name not in one.unread]
            raise ValueError(
                f"{name} is read by the models {' and '.join(readers)}, not by {config.model.kind}, got {value!r}; "
                "leave it out"
            )
    return kind.make(config.model, suite, config)


def load_model(folder: Path, kind: str) -> Any:
    """The network, the automaton or the graph of a folder that a model of this kind saved it in.

    Raises:
        ValueError: there is none.
    """
    return MODELS[kind].load(folder)


def load_best(run: str | Path) -> Any:
    """The compact network, the automaton or the graph that a run saved as its best.

    Args:
        run: the run folder, of a run that may still go on.

    Returns:
        A flax module: `model(inputs [batch time input]) -> logits [batch time output]`, an `EvolvedEM43`, or what
        acts by its `policy()`: an `EvolvedEM33` or an `EvolvedGraph`.

    Raises:
        ValueError: the folder holds no network; a run writes it with each checkpoint.
    """
    folder = RunFolder.open(Path(run))
    return load_model(folder.best, kind_of_run(folder))


def kind_of_run(folder: RunFolder) -> str:
    """The kind of model that a run is of; a training is of a network."""
    model = folder.raw_config().get("model", {})
    kind = model.get("kind", NetworksConfig.kind) if isinstance(model, dict) else model
    if kind not in tuple(MODELS):  # it may be anything, a list too
        raise ValueError(f"model.kind in {folder.config_file} must be among {', '.join(MODELS)}, got {kind!r}")
    return kind
