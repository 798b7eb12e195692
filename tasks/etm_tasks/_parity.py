"""Parity: is the number of ones in a vector of -1, 0 and 1 odd? (Graves 2016, arXiv 1603.08983, section 3.1)"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from etm_jax.task import Episode, bit_right
from etm_tasks._answers import BinaryTask
from etm_tasks._draws import check_range, scaled_length, uniforms, whole


@dataclass(frozen=True)
class Parity(BinaryTask):
    """Say whether the number of ones in a vector is odd.

    An episode is a single step: a vector with -1 or 1, equally likely, at random positions and 0 elsewhere. The number
    of nonzero positions is uniform on `min_nonzero..bits`. Easier episodes use a shorter vector: only its first
    positions can be nonzero.

    Attributes:
        bits: length of the vector.
        min_nonzero: fewest nonzero positions, and the number of positions used at difficulty 0.

    Raises:
        ValueError: not `1 <= min_nonzero <= bits`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("parity", bits=16)
        >>> jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4).inputs.shape
        (4, 1, 16)
    """

    bits: int = 64
    min_nonzero: int = 1

    def __post_init__(self) -> None:
        check_range("parity", "min_nonzero", "bits", (self.min_nonzero, self.bits), least=1)

    @property
    def name(self) -> str:
        """`parity`."""
        return "parity"

    @property
    def input_size(self) -> int:
        """The positions."""
        return self.bits

    @property
    def output_size(self) -> int:
        """The parity."""
        return 1

    @property
    def num_steps(self) -> int:
        """One."""
        return 1

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; difficulty 0 uses the first `min_nonzero` positions, 1 all of them."""
        shape = (batch_size, self.bits)
        numbers, positions, signs = uniforms(key, (batch_size, 1), shape, shape)
        most = scaled_length(self.min_nonzero, self.bits, difficulty)
        number = whole(numbers, self.min_nonzero, most)
        used = jnp.arange(self.bits) < most
        # A position's rank in a random order decides whether it is nonzero; adding 1 ranks unused positions last.
        order = jnp.argsort(jnp.where(used, positions, 1 + positions), axis=1)
        nonzero = jnp.argsort(order, axis=1) < number
        one = nonzero & (signs < 0.5)
        vector = jnp.where(one, 1.0, jnp.where(nonzero, -1.0, 0.0))
        odd = jnp.sum(one, axis=1, keepdims=True) % 2
        return Episode(
            inputs=vector[:, None], targets=odd[:, None].astype(float), step_valid=jnp.ones((batch_size, 1), bool)
        )

    def error_by_bits(
        self, outputs: Float[Array, "batch time output"], episode: Episode
    ) -> tuple[Float[Array, " nonzero"], Int[Array, " nonzero"]]:
        """Error by number of nonzero positions, from 0 to `bits`.

        Returns:
            The share of wrong episodes (0 if there are none), and the number of episodes.
        """
        number = jnp.sum(episode.inputs[:, 0] != 0, axis=-1)
        wrong = ~bit_right(outputs, episode)[:, 0, 0]
        of_number = number[:, None] == jnp.arange(self.bits + 1)[None]
        episodes = jnp.sum(of_number, axis=0)
        return jnp.sum(of_number & wrong[:, None], axis=0) / jnp.maximum(episodes, 1), episodes

    def longer(self, factor: int) -> "Parity":
        """The hardest episodes, whatever the factor: no position is 0.

        The network cannot see more positions than it has inputs, so this measures its hardest episodes, not
        generalisation to unseen lengths.
        """
        del factor
        return replace(self, min_nonzero=self.bits)
