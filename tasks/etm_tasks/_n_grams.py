"""Dynamic n-grams: predict bits drawn from a context table that is new in every episode (Graves 2014, section 4.4)."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from etm_jax.task import Episode, bit_loss
from etm_tasks._draws import check_range, scaled_length, uniform_integers

MAX_CONTEXT = 10  # the estimator's counts take 2^context numbers per step
TOLERANCE = 0.02  # a sequence counts as right up to this excess over the estimator, in bits per prediction


@dataclass(frozen=True)
class NGrams:
    """Predict the next bit from how often it followed the same context before.

    An episode of L bits: each context of `context` bits has a probability of a 1, drawn from Beta(1/2, 1/2). The first
    `context` bits are fair; each further bit is drawn with the probability of its context. Bit t is shown at step t,
    where bit t + 1 is due, from the first complete context on. No network can beat the Krichevsky-Trofimov estimator
    (`estimate`) on average, so scores are relative to it:

    - performance: bits saved against always predicting 1/2, as a share of what the estimator saves on these sequences;
    - accuracy: share of sequences whose code is at most 0.02 bits per prediction longer than the estimator's (3.9 bits
      for the 195 predictions of a 200-bit sequence); the task is solved at 0.95.

    Attributes:
        context: bits that a probability depends on; 5 makes 6-grams.
        min_length: fewest bits. Shorter episodes are prefixes of longer ones and no easier.
        max_length: most bits at difficulty 1.
        solved: accuracy on new episodes at which the task counts as solved.

    Raises:
        ValueError: not `1 <= context <= 10`, or not `context + 1 <= min_length <= max_length`.

    Example:
        >>> import jax, etm_tasks
        >>> task = etm_tasks.make("n_grams", context=2, min_length=50, max_length=50)
        >>> episode = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 4)
        >>> episode.inputs.shape, task.optimal_bits(episode).shape
        ((4, 49, 1), (4,))
    """

    context: int = 5
    min_length: int = 200
    max_length: int = 200

    solved = 0.95

    def __post_init__(self) -> None:
        if not 1 <= self.context <= MAX_CONTEXT:
            raise ValueError(f"n_grams needs 1 <= context <= {MAX_CONTEXT}, got context={self.context}")
        lengths = (self.min_length, self.max_length)
        check_range("n_grams", "min_length", "max_length", lengths, least=self.context + 1)

    @property
    def name(self) -> str:
        """`n_grams`."""
        return "n_grams"

    @property
    def input_size(self) -> int:
        """The bit."""
        return 1

    @property
    def output_size(self) -> int:
        """The next bit."""
        return 1

    @property
    def num_steps(self) -> int:
        """All bits but the last."""
        return self.max_length - 1

    def sample(self, key: PRNGKeyArray, batch_size: int, difficulty: Float[Array, ""] | float = 1.0) -> Episode:
        """New episodes; at difficulty 0 of length `min_length`, at 1 of all lengths."""
        key_length, key_table, key_bits = jax.random.split(key, 3)
        longest = scaled_length(self.min_length, self.max_length, difficulty)
        length = uniform_integers(key_length, (batch_size, 1), self.min_length, longest)
        angle = jax.random.uniform(key_table, (batch_size, 2**self.context)) * (jnp.pi / 2)
        table = jnp.sin(angle) ** 2  # Beta(1/2, 1/2) is the arcsine law
        draws = jax.random.uniform(key_bits, (self.max_length, batch_size))

        def draw_bit(context: Array, step: Array) -> tuple[Array, Array]:
            probability = jnp.take_along_axis(table, context[:, None], axis=1)[:, 0]
            bit = draws[step] < jnp.where(step < self.context, 0.5, probability)
            return (2 * context + bit.astype(context.dtype)) % 2**self.context, bit

        _, bits = jax.lax.scan(draw_bit, jnp.zeros(batch_size, jnp.int32), jnp.arange(self.max_length))
        step = jnp.arange(self.num_steps)[None]
        exists = jnp.arange(self.max_length)[None] < length
        bits = (bits.T & exists).astype(float)[..., None]
        return Episode(
            inputs=bits[:, :-1],
            targets=bits[:, 1:],
            step_valid=(step >= self.context - 1) & (step < length - 1),
        )

    def loss(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Mean cross-entropy of the predictions, in nats."""
        return bit_loss(outputs, episode)

    def accuracy(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Share of sequences whose code is at most 0.02 bits per prediction longer than the estimator's."""
        predictions = jnp.sum(episode.step_valid, axis=1, dtype=outputs.dtype)
        right = self.excess_bits(outputs, episode) <= TOLERANCE * predictions
        return jnp.sum(right & (predictions > 0)) / jnp.maximum(jnp.sum(predictions > 0), 1)

    def performance(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, ""]:
        """Bits saved against always predicting 1/2, over the bits that the estimator saves; clipped to [0, 1]."""
        predictions = jnp.sum(episode.step_valid, dtype=outputs.dtype)
        saved = predictions - jnp.sum(self.bits_per_sequence(outputs, episode))
        savable = predictions - jnp.sum(self.optimal_bits(episode))
        return jnp.clip(saved / jnp.maximum(savable, 1e-6), 0, 1)  # in a tiny batch the estimator may save nothing

    def bits_per_sequence(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, " batch"]:
        """Code length of each sequence under the predictions, in bits; infinite if a prediction is not finite.

        The fair bits at the start are not counted. The paper counts them: `context` bits more.
        """
        return self._code_length(outputs[..., 0], episode)

    def optimal_bits(self, episode: Episode) -> Float[Array, " batch"]:
        """Code length of each sequence under the estimator, in bits."""
        probability = self.estimate(episode)
        return self._code_length(jnp.log(probability) - jnp.log1p(-probability), episode)

    def excess_bits(self, outputs: Float[Array, "batch time output"], episode: Episode) -> Float[Array, " batch"]:
        """Code length of each sequence minus the estimator's.

        Compare means of this rather than of code lengths, which vary far more between sequences than between
        predictors.
        """
        return self.bits_per_sequence(outputs, episode) - self.optimal_bits(episode)

    def estimate(self, episode: Episode) -> Float[Array, "batch time"]:
        """Probability of a 1 at each step by the Krichevsky-Trofimov estimator, from the bits so far.

        p = (N1 + 1/2) / (N0 + N1 + 1), where N1 and N0 count the ones and zeros that followed the same context.
        """
        bits = (episode.inputs[..., 0] > 0.5).astype(jnp.int32)
        # The context as a number, newest bit lowest, one-hot so that counts are cumulative sums without a loop.
        shifted = [jnp.pad(bits, ((0, 0), (age, 0)))[:, : bits.shape[1]] << age for age in range(self.context)]
        now = jax.nn.one_hot(jnp.sum(jnp.stack(shifted), axis=0), 2**self.context)
        seen = now * episode.step_valid[..., None].astype(now.dtype)
        ones = seen * episode.targets
        count, count_ones = (jnp.sum(now * (jnp.cumsum(each, axis=1) - each), axis=-1) for each in (seen, ones))
        return (count_ones + 0.5) / (count + 1)  # Graves 2014, eq. 10

    def longer(self, factor: int) -> "NGrams":
        """Sequences of exactly `factor * max_length` bits."""
        return replace(self, min_length=factor * self.max_length, max_length=factor * self.max_length)

    def _code_length(self, logits: Float[Array, "batch time"], episode: Episode) -> Float[Array, " batch"]:
        """Sum of the cross-entropy over valid steps, in bits; infinite if a valid logit is not finite."""
        finite, is_one = jnp.isfinite(logits), episode.targets[..., 0] > 0.5
        nats = jax.nn.softplus(jnp.where(finite, jnp.where(is_one, -logits, logits), 0))
        return jnp.sum(jnp.where(episode.step_valid, jnp.where(finite, nats, jnp.inf), 0), axis=1) / jnp.log(2)
