"""In which order slots were written (Graves et al. 2016, Nature 538:471, Methods): links from slot to slot.

`link[i, j]` is how much slot i was written right after slot j. Rows and columns sum to at most 1; the diagonal is 0.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Links = Float[Array, "slot slot"]
Followed = Float[Array, "read slot"]


@jax.custom_vjp
def link_then_follow(
    link: Float[Array, "slot slot"],
    precedence: Float[Array, " slot"],
    written: Float[Array, " slot"],
    read: Float[Array, "read slot"],
) -> tuple[Float[Array, "slot slot"], Float[Array, "read slot"], Float[Array, "read slot"]]:
    """Link what one write head has just written to what it wrote before, then follow its links from every read head.

    The backward pass goes over the [slot, slot] arrays a few times only, which makes the gradient of a whole DNC step
    about twice as fast. There is no forward-mode derivative.

    Args:
        link: the head's links before the step.
        precedence: how much each slot was the last one that the head wrote.
        written: the head's weighting in this step.
        read: the weighting of each read head in the step before.

    Returns:
        The links after the step, then where each read head gets by going back one write, and by going on one.
    """
    linked = fade(link, written) + written[:, None] * precedence[None, :]
    linked = without_diagonal(linked)
    return linked, read @ linked, times_transposed(read, linked)


def fade(links: Links, written: Float[Array, " slot"]) -> Links:
    """The links of a slot make room as it is written again."""
    return (1 - written[:, None] - written[None, :]) * links


def without_diagonal(links: Links) -> Links:
    """No slot follows itself."""
    return jnp.where(jnp.eye(links.shape[0], dtype=bool), 0, links)


def times_transposed(rows: Followed, links: Links) -> Followed:
    """`rows @ links.T`, row by row, which takes XLA's CPU code a third of the time of one product."""
    return jnp.stack([links @ row for row in rows])


def _forward(*arguments: Array) -> tuple[tuple[Links, Followed, Followed], tuple[Array, ...]]:
    results = link_then_follow(*arguments)
    return results, (*arguments, results[0])


def _backward(kept: tuple[Array, ...], cotangents: tuple[Links, Followed, Followed]) -> tuple[Array, ...]:
    link, precedence, written, read, linked = kept
    from_later, from_back, from_on = cotangents
    by_linked = from_later + jnp.concatenate([from_on, read]).T @ jnp.concatenate([read, from_back])
    by_linked = without_diagonal(by_linked)
    faded = by_linked * link
    by_written = by_linked @ precedence - jnp.sum(faded, axis=0) - jnp.sum(faded, axis=1)
    by_read = from_on @ linked + times_transposed(from_back, linked)
    return fade(by_linked, written), written @ by_linked, by_written, by_read


link_then_follow.defvjp(_forward, _backward)


def keep_largest(weighting: Float[Array, " slot"], count: int) -> Float[Array, " slot"]:
    """The `count` largest entries, equal ones by index, and 0 in the others."""
    _, largest = jax.lax.top_k(jax.lax.stop_gradient(weighting), min(count, weighting.size))
    is_kept = jnp.any(largest[:, None] == jnp.arange(weighting.size)[None, :], axis=0)
    return jnp.where(is_kept, weighting, 0)
