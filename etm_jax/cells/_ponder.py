"""Adaptive computation time (Graves 2016, arXiv 1603.08983): a network thinks over an input until it halts.

At each input the network makes up to M steps; after step n it halts with probability `h_n = sigmoid(halt)`. With N the
first step at which their sum reaches 1 - 0.01, or the last allowed, the steps count by `p_n = h_n` for n < N and by the
rest `R = 1 - sum h_n` at N. State, memory and output after the input are the means of those of its steps under p. The
price of the pondering is `N + R`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import Scalar, pytree
from etm_jax.cells._cell import Drive, Weights, sources_of, transition
from etm_jax.cells._kinds import Carry
from etm_jax.cells._spec import Active

HALTED = 0.99  # a sum of halting probabilities that ends the pondering
NO_PONDERING = 2.0  # N + R of a single step


@pytree
class Step:
    """What one step of a network leaves behind it.

    Attributes:
        hidden: units after it, for the output.
        reads: what was read, for the output.
        weightings: of every head over the slots; no gradient flows through them.
        ponder: N + R.
        factors: with pondering, what each ponder step's two products multiplied, for the gradient.
    """

    hidden: Float[Array, " unit"]
    reads: Float[Array, "read width"]
    weightings: Float[Array, "head slot"]
    ponder: Scalar
    factors: tuple[Float[Array, "ponder source"], Float[Array, "ponder unit"]] | None


def cell_step(weights: Weights, active: Active, carry: Carry, drive: Drive) -> tuple[Carry, Step]:
    """One step of a network: one transition, or up to `ponder_steps` of them and their mean."""
    if active.spec.ponder_steps == 1:
        carry, _ = transition(weights, active, carry, drive)
        return carry, _step(carry, jnp.asarray(NO_PONDERING, carry.hidden.dtype), None)

    def think(thinking: tuple[Carry, Carry, Scalar, Scalar], row: tuple[Drive, Array, Array]):
        state, mean, left, ponder = thinking
        drive, allowed, last = row
        source = sources_of(active, state.hidden, state.reads)
        state, halt = transition(weights, active, state, drive)
        chance = jax.nn.sigmoid(halt)
        running = (left > 0) & allowed
        halts = running & (last | (1 - left + chance >= HALTED))
        share = jnp.where(running, jnp.where(halts, left, chance), 0)
        mean = jax.tree.map(lambda total, own: counted(total, own, share, running), mean, state)
        ponder = ponder + running.astype(ponder.dtype) + jnp.where(halts, left, 0)
        return (state, mean, jnp.where(halts, 0, left - share), ponder), (source, state.hidden)

    ponder_index = jnp.arange(active.ponder.size)
    last = ponder_index == jnp.sum(active.ponder) - 1
    one, zero = jnp.ones((), carry.hidden.dtype), jnp.zeros((), carry.hidden.dtype)
    start = (carry, jax.tree.map(jnp.zeros_like, carry), one, zero)
    (_, carry, _, ponder), factors = jax.lax.scan(think, start, (drive, active.ponder, last))
    return carry, _step(carry, ponder, factors)


def counted(total: Array, own: Array, share: Scalar, running: Array) -> Array:
    """A mean with one more step in it; of what is no real number, such as a place, the last step's counts."""
    if jnp.issubdtype(own.dtype, jnp.floating):
        return total + share * own
    return jnp.where(running, own, total)


def _step(carry: Carry, ponder: Scalar, factors: tuple[Array, Array] | None) -> Step:
    return Step(carry.hidden, carry.reads, jax.lax.stop_gradient(carry.weightings), ponder, factors)
