"""Controllers whose units are gated sums of what they see: LSTM, GRU, plain RNN and feed-forward."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax.cells._active import Active

Units = Float[Array, " unit"]
CANDIDATE = 2  # its place among the gates of an LSTM


def control(active: Active, gates: Float[Array, " gate_unit"], hidden: Units, cell: Units) -> tuple[Units, Units]:
    """The units and the LSTM's cells of the next step, from the sums that arrived at every gate.

    Where several kinds may occur all are computed, and the network's own is taken: they share the sums, which are the
    dear part.

    Args:
        active: the network's kind; those that may occur are static.
        gates: the sums, gate after gate, in the places of `FROM_INPUTS` and `FROM_UNITS`.
        hidden: the units of the step before.
        cell: the LSTM's cells of the step before.
    """
    kinds = [kind for kind in active.family.controllers if kind in UPDATES]
    sums = jnp.split(gates, len(active.family.gates))
    results = {kind: UPDATES[kind](sums, hidden, cell) for kind in kinds}
    new_hidden, new_cell = results.pop(kinds[0])
    for kind, (own_hidden, own_cell) in results.items():
        new_hidden = jnp.where(active.has((kind,)), own_hidden, new_hidden)
        new_cell = jnp.where(active.has((kind,)), own_cell, new_cell)
    return new_hidden, new_cell


def lstm(sums: list[Units], hidden: Units, cell: Units) -> tuple[Units, Units]:
    """Hochreiter & Schmidhuber 1997 with a forget gate: `c = f c + i tanh(g)`, `h = o tanh(c)`."""
    del hidden
    # One sigmoid over all, the candidate too, is one vectorised loop; one a gate takes XLA's CPU code twice the time.
    in_gate, forget_gate, _, out_gate = jnp.split(jax.nn.sigmoid(jnp.concatenate(sums[:4])), 4)
    cell = forget_gate * cell + in_gate * jnp.tanh(sums[CANDIDATE])
    return out_gate * jnp.tanh(cell), cell


def gru(sums: list[Units], hidden: Units, cell: Units) -> tuple[Units, Units]:
    """Cho et al. 2014 (arXiv 1406.1078), the reset gate after the product: `n = tanh(W x + r U h)`,
    `h = (1 - z) n + z h`; one product then makes all of it."""
    reset, update = jax.nn.sigmoid(sums[0]), jax.nn.sigmoid(sums[1])
    candidate = jnp.tanh(sums[2] + reset * sums[3])
    return (1 - update) * candidate + update * hidden, cell


def plain(sums: list[Units], hidden: Units, cell: Units) -> tuple[Units, Units]:
    """Elman 1990: `h = tanh(W x + U h)`; a feed-forward controller has no `U`."""
    del hidden
    return jnp.tanh(sums[0]), cell


UPDATES: dict[str, Callable[[list[Units], Units, Units], tuple[Units, Units]]] = {
    "lstm": lstm,
    "gru": gru,
    "rnn": plain,
    "feedforward": plain,
}
