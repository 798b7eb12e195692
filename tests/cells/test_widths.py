"""Models say in one line which inputs they take, before anything is traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import TINY, make_genome
from tiny import problem

from etm_jax.automata._evolved import EvolvedEM33, EvolvedEM43
from etm_jax.cells import NTMCell
from etm_jax.config import SelectionConfig
from etm_jax.evolution._measure import descriptors_of
from etm_jax.graphs._evolved import EvolvedGraph
from etm_jax.graphs._forward import apply_graph
from etm_jax.graphs._genome import minimal_graph
from etm_jax.graphs._policy import GraphPolicy, GraphTape
from etm_jax.models._model import Result
from etm_jax.networks import Networks, apply, compact
from etm_jax.selection import SpeciesSelection

NETWORK = compact(make_genome(TINY), TINY)
CELL = NTMCell(4, 2, num_slots=5, slot_width=3, controller_size=3, rngs=nnx.Rngs(0))
GRAPH = EvolvedGraph.of(minimal_graph(jax.random.key(0), 2, 1, 9, 9), GraphPolicy(2, 1))
TAPE = GraphPolicy(3, 2, ("tanh",), GraphTape(num_slots=4, slot_width=2))
WITH_TAPE = EvolvedGraph.of(minimal_graph(jax.random.key(0), 5, 9, 16, 64), TAPE)
RINGS = EvolvedEM33("0" * 27, "0" * 28, num_variables=2, num_actions=1, bins=2)
IDENTITY = EvolvedEM43(rule="0" * 8 + "2" + "0" * 6 + "3" + "0" * 44 + "3" + "0" * 3, programme="0000")


def stepped(model, width):
    start, step = model.policy()
    return step(start, jnp.ones(width))


WRONG = {
    "network": (lambda: NETWORK(jnp.ones((2, 5, 4))), r"inputs must have shape \[batch, time, 3\], got \[2, 5, 4\]"),
    "genome": (lambda: apply(make_genome(TINY), jnp.ones((5, 4)), TINY), r"inputs must have shape \[\.\.\., 3\], got"),
    "cell": (lambda: nnx.RNN(CELL)(jnp.ones((2, 5, 3))), r"inputs must have shape \[\.\.\., 4\], got \[2, 3\]"),
    "graph": (lambda: stepped(GRAPH, 3), r"observation must have shape \[2\], got \[3\]"),
    "graph with a tape": (lambda: stepped(WITH_TAPE, 4), r"observation must have shape \[3\], got \[4\]"),
    "feed-forward graph": (lambda: apply_graph(GRAPH.graph, jnp.ones((2, 8)), 1), "more than the 4 nodes"),
    "ring": (lambda: stepped(RINGS, 3), r"observation must have shape \[2\], got \[3\]"),
    "tape of three numbers": (lambda: IDENTITY(np.ones((1, 3), int)), r"shape \[batch\] or \[batch, 2\].*int64.*1, 3"),
    "tape of none": (lambda: IDENTITY([]), r"at least one, got float64 of shape \[0\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_inputs_of_the_wrong_width_are_one_line(name):
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_inputs_of_the_right_width_are_taken():
    assert NETWORK(jnp.ones((2, 5, 3))).shape == (2, 5, 2)
    assert stepped(GRAPH, 2)[1].shape == (1,) and stepped(WITH_TAPE, 3)[1].shape == (2,)
    assert stepped(RINGS, 2)[1].shape == (1,)
    assert IDENTITY([3, 7]).outputs.tolist() == [3, 7]


def test_slots_used_is_a_share_of_the_most_slots(monkeypatch):
    """Four members and the champion, whose networks have counted their slots."""
    made = problem(selection=SelectionConfig(SpeciesSelection(), descriptors=("slots_used", "read_sharpness")))
    zeros, used = jnp.zeros(5), jnp.array([7.0, 3.5, 0.0, 1.75, 7.0])
    counted = Result(zeros, zeros, zeros, zeros == 0, behaviour={"slots_used": used, "read_sharpness": zeros + 1})
    monkeypatch.setattr(Networks, "_spread", lambda *_: (counted, zeros))
    genomes = jax.eval_shape(lambda key: jax.vmap(made.model.random)(jax.random.split(key, 4)), jax.random.key(0))
    genomes = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), genomes)
    asked = jax.random.key(0), genomes, genomes.architecture, jnp.ones(2)
    result = made.model.evaluate_decoded(made.context, *asked, lambda one: one).result
    found = descriptors_of(made.descriptors, made.model, genomes, result)
    np.testing.assert_allclose(found, [[1, 1], [0.5, 1], [0, 1], [0.25, 1]])  # the bounds have 7 slots at most
