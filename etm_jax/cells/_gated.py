"""Controllers whose units are gated sums of what they see: LSTM, GRU, plain RNN and feed-forward.

Places of the gates, the same for every kind. LSTM: input, forget, candidate, output. GRU: reset, update, and the
candidate's two parts, which the reset gate comes between. RNN and feed-forward: the unit itself.
"""

import jax
import jax.numpy as jnp

from etm_jax.cells._kinds import Controller, Units

FORGET = 1  # its place among the gates; the GRU's update gate, which keeps as well, has the same
CANDIDATE = 2  # its place among the gates of an LSTM


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


LSTM = Controller("lstm", from_inputs=(0, 1, 2, 3), from_units=(0, 1, 2, 3), entering=(2, 2), update=lstm)
GRU = Controller("gru", from_inputs=(0, 1, 2), from_units=(0, 1, 3), entering=(2, 3), update=gru)
RNN = Controller("rnn", from_inputs=(0,), from_units=(0,), entering=(0, 0), update=plain)
FEEDFORWARD = Controller("feedforward", from_inputs=(0,), entering=(0, 0), update=plain)
