"""Model files that are damaged, hostile or not what they say: one ValueError, and nothing large is read."""

import io
import json
import zipfile

import jax
import jaxtyping
import numpy as np
import pytest
from helpers import TINY, make_genome

from etm_jax.automata._evolved import EvolvedEM33, EvolvedEM43, save_automaton
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.graphs._evolved import EvolvedGraph, save_graph
from etm_jax.graphs._genome import minimal_graph
from etm_jax.graphs._policy import GraphPolicy, GraphTape
from etm_jax.models._registry import MODELS, load_best, load_model
from etm_jax.networks import compact, save_network
from etm_jax.runs._folder import RunFolder

EM43 = EvolvedEM43(rule="0" * 64, programme="0120", window=40, max_steps=9)
EM33 = EvolvedEM33("0" * 27, "0" * 28, num_variables=2, num_actions=1, bins=2)
AUTOMATA = {"em43": EM43, "em33": EM33}


@pytest.fixture
def network(tmp_path):
    save_network(compact(make_genome(TINY), TINY), tmp_path)
    return tmp_path


@pytest.fixture
def graph(tmp_path):
    policy = GraphPolicy(2, 1, ("tanh", "sine"), GraphTape(4, 1))
    found = minimal_graph(jax.random.key(0), policy.num_inputs, policy.num_outputs, max_nodes=16, max_connections=64)
    save_graph(EvolvedGraph.of(found, policy), tmp_path)
    return tmp_path


def refused(folder, kind, match):
    """One line of its own: the checks of annotations, which only tests switch on, are off."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=match) as stop:
            load_model(folder, kind)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert len(str(stop.value)) < 1000


@pytest.mark.parametrize("name", ["architecture.json", "weights.npz"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"null", b"[]", b"3", b"[" * 50_000, b"PK\x05\x06"])
def test_a_file_that_is_something_else_is_refused(network, name, content):
    (network / name).unlink()
    if content is None:
        (network / name).mkdir()
    else:
        (network / name).write_bytes(content)
    refused(network, "networks", "holds no network that can be read")


@pytest.mark.parametrize(
    ("gene", "value"),
    [
        ("num_slots", True), ("num_slots", 3.5), ("num_slots", "6"), ("num_slots", -1), ("num_slots", 10**12),
        ("num_slots", None), ("controller_size", 5000), ("attention_width", None), ("ponder_steps", 10**9),
        ("memory", ["ntm"]), ("controller", "gru2"), ("surplus", 1),
    ],
)  # fmt: skip
def test_an_architecture_with_a_wrong_gene_is_refused(network, gene, value):
    path = network / "architecture.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {gene: value}))
    refused(network, "networks", "holds no network that can be read")


def weights_with(folder, name, data):
    """The weights with one entry replaced, or added."""
    with zipfile.ZipFile(folder / "weights.npz") as stored:
        entries = {entry: stored.read(entry) for entry in stored.namelist()}
    with zipfile.ZipFile(folder / "weights.npz", "w", zipfile.ZIP_DEFLATED) as stored:
        for entry, content in (entries | {name: data}).items():
            if content is not None:
                stored.writestr(entry, content)


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


BIAS = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("output.bias.npy", None, "holds other arrays than"),
        ("surplus.npy", npy(BIAS), "holds other arrays than"),
        ("output.bias.npy", npy(np.zeros(7, np.float32)), "the architecture needs"),
        ("output.bias.npy", npy(np.float32(1)), "holds no network"),
        ("output.bias.npy", npy(np.array([np.nan, 1], np.float32)), "not finite"),
        ("output.bias.npy", npy(np.zeros(2, np.int32)), "must hold floating-point numbers"),
        ("output.bias.npy", npy(np.array([{}, 1], object), allow_pickle=True), "must hold floating-point numbers"),
        ("output.bias.npy", npy(BIAS)[:-1], "bytes, which is not what"),
        ("output.bias.npy", npy(BIAS) + b"\0" * 10**8, "bytes, which is not what"),  # a bomb: 100 MB in 100 kB
        ("output.bias.npy", npy(BIAS).replace(b"(2,)", b"(-2)"), "holds no network"),
        ("output.bias.npy", npy(BIAS).replace(b"(2,), ", b"(9**9)"), "holds no network"),
        ("output.bias.npy", b"\x93NUMPY\x09\x00", "later version|holds no network"),
    ],
)
def test_weights_that_are_not_the_architecture_s_are_refused(network, name, data, match):
    load_model(network, "networks")
    weights_with(network, name, data)
    refused(network, "networks", match)


def test_a_flipped_bit_is_refused(network):
    path = network / "weights.npz"
    data = bytearray(path.read_bytes())
    data[data.index(b"\x93NUMPY") + 130] ^= 1
    path.write_bytes(data)
    refused(network, "networks", "holds no network that can be read")


def test_a_huge_file_is_refused_unread(network):
    with (network / "architecture.json").open("r+b") as file:
        file.truncate(2**40)  # sparse: no bytes on disk
    refused(network, "networks", "at most 65,536 are accepted")


@pytest.mark.parametrize("content", ["null", "[]", "{}", "", "[" * 50_000, '{"acts": null}'])
def test_a_graph_file_that_is_something_else_is_refused(graph, content):
    (graph / "graph.json").write_text(content)
    refused(graph, "graph", "holds no graph that can be read")


@pytest.mark.parametrize(
    ("part", "name", "change"),
    [
        ("connections", "sources", lambda c: [99, *c[1:]]),
        ("connections", "targets", lambda c: [99, *c[1:]]),
        ("connections", "targets", lambda c: [0, *c[1:]]),  # an input
        ("connections", "sources", lambda c: c[1:]),
        ("connections", "sources", lambda c: [0.0, *c[1:]]),
        ("connections", "sources", lambda c: [10**30, *c[1:]]),
        ("connections", "weights", lambda c: [float("nan"), *c[1:]]),
        ("connections", "weights", lambda c: [1e300, *c[1:]]),
        ("connections", "weights", lambda c: ["1", *c[1:]]),
        ("connections", "enabled", lambda c: [1, *c[1:]]),
        ("nodes", "ids", lambda c: [1, *c[1:]]),
        ("nodes", "ids", lambda c: [*c[:-1], -1]),
        ("nodes", "ids", lambda c: None),
        ("nodes", "activations", lambda c: [2, *c[1:]]),
        ("nodes", "activations", lambda c: [-1, *c[1:]]),
        ("nodes", "places", lambda c: [*c[:-1], 1.5]),
        ("nodes", "places", lambda c: [float("nan"), *c[1:]]),
        ("acts", "input_size", lambda c: 3),
        ("acts", "input_size", lambda c: True),
        ("acts", "activations", lambda c: ["tanh", "cosine"]),
        ("acts", "tape", lambda c: c | {"num_slots": 10**12}),
        ("acts", "surplus", lambda c: 1),
    ],
)
def test_a_graph_that_cannot_be_is_refused(graph, part, name, change):
    load_model(graph, "graph")
    path = graph / "graph.json"
    found = json.loads(path.read_text())
    found[part][name] = change(found[part].get(name))
    path.write_text(json.dumps(found))
    refused(graph, "graph", "holds no graph that can be read")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("em43", {"rule": "0" * 63 + "4"}), ("em43", {"rule": "0" * 63}), ("em43", {"rule": ["0"] * 64}),
        ("em43", {"programme": "3"}), ("em43", {"programme": ""}), ("em43", {"programme": "٣"}),
        ("em43", {"window": 8}), ("em43", {"window": 10**12}), ("em43", {"window": 40.0}), ("em43", {"window": True}),
        ("em43", {"max_steps": 0}), ("em43", {"max_steps": None}), ("em43", {"surplus": 1}),
        ("em33", {"rule": "0" * 26 + "3"}), ("em33", {"programme": "0" * 27}), ("em33", {"num_actions": 3}),
        ("em33", {"num_variables": 10**9}), ("em33", {"steps": 0}), ("em33", {"steps": 2**31}), ("em33", {"bins": "2"}),
    ],
)  # fmt: skip
def test_an_automaton_that_cannot_be_is_refused(tmp_path, kind, change):
    model = AUTOMATA[kind]
    save_automaton(model, tmp_path)
    assert load_model(tmp_path, kind) == model
    path = tmp_path / "automaton.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(tmp_path, kind, "holds no automaton that can be read")


@pytest.mark.parametrize("kind", AUTOMATA)
@pytest.mark.parametrize("content", ["null", "[]", "7", "", "{", "[" * 50_000])
def test_an_automaton_file_that_is_something_else_is_refused(tmp_path, content, kind):
    (tmp_path / "automaton.json").write_text(content)
    refused(tmp_path, kind, "holds no automaton that can be read")


@pytest.mark.parametrize(("kind", "other"), [("em43", "em33"), ("em33", "em43")])
def test_an_automaton_of_another_kind_is_refused(tmp_path, kind, other):
    save_automaton(AUTOMATA[kind], tmp_path)
    refused(tmp_path, other, "holds no automaton that can be read")


@pytest.mark.parametrize("kind", MODELS)
def test_a_folder_without_a_model_is_refused(tmp_path, kind):
    refused(tmp_path, kind, "holds no (network|automaton|graph) that can be read")


@pytest.mark.parametrize("kind", ["'plants'", "3", "[1]"])
def test_a_run_of_an_unknown_kind_is_refused(tmp_path, kind):
    folder = RunFolder.create(tmp_path / "run", EvolutionaryTuringConfig())
    text = folder.config_file.read_text()
    assert 'kind = "networks"' in text
    folder.config_file.write_text(text.replace('kind = "networks"', f"kind = {kind}"))
    with pytest.raises(ValueError, match=r"model\.kind in .* must be among networks, em43, em33, graph, got"):
        load_best(folder.path)
