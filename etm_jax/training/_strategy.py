"""evosax's strategies over the weights of one network, in place of an optimiser."""

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from etm_jax._typing import Key, Mask, Params, Scalar
from etm_jax.cells import num_channels_of
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genome import Genome, genome_of, mask_of
from etm_jax.networks.learning._gradient import batch_loss
from etm_jax.networks.learning._lifetime import Lifetime
from etm_jax.networks.learning._score import score
from etm_jax.parallel._devices import default_batch_size, map_in_batches
from etm_jax.training._config import StrategyConfig, strategies


@contextlib.contextmanager
def promoting() -> Iterator[None]:
    """Promote ranks and dtypes whatever the user's settings: evosax adds vectors to populations, bools to numbers."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@dataclass(frozen=True, eq=False)
class WeightStrategy:
    """A distribution-based algorithm of evosax over the weights of one network that exist, as one flat vector.

    Weights that do not exist are kept and are no dimension of the search. Losses go to evosax unchanged: both sides
    minimise.

    Attributes:
        algorithm: evosax's, of the flat vector.
        params: its settings.
        mask: which weights exist, as NumPy arrays.
    """

    algorithm: Any
    params: Any
    mask: Mask

    def live(self, params: Params) -> Float[Array, " weight"]:
        """The weights that exist as one vector, in the order of the arrays."""

        def keep(array: Array, exists: np.ndarray) -> Array:
            return array if exists.all() else array[np.nonzero(exists)]

        return ravel_pytree(jax.tree.map(keep, params, self.mask))[0]

    def placed(self, live: Float[Array, " weight"], params: Params) -> Params:
        """The inverse of `live`; weights that do not exist are those of `params`."""
        ends = np.cumsum([np.sum(exists) for exists in jax.tree.leaves(self.mask)])[:-1].tolist()
        parts = jax.tree.unflatten(jax.tree.structure(self.mask), jnp.split(live, ends))

        def place(array: Array, exists: np.ndarray, part: Array) -> Array:
            part = part.astype(array.dtype)
            return part.reshape(array.shape) if exists.all() else array.at[np.nonzero(exists)].set(part)

        return jax.tree.map(place, params, self.mask, parts)

    def init(self, key: Key, params: Params) -> optax.ApplyIfFiniteState:
        """The state before the first step, with these weights as the mean; it counts skipped steps as optax does.

        The key is consumed.
        """
        with promoting():
            state = self.algorithm.init(key, self.live(params), self.params)
        zero = jnp.zeros((), jnp.int32)
        typed = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), state)  # none is weakly typed
        return optax.ApplyIfFiniteState(zero, jnp.array(True), zero, typed)

    def step(
        self,
        lifetime: Lifetime,
        key: Key,
        genome: Genome,
        state: optax.ApplyIfFiniteState,
        difficulty: Float[Array, " task"],
    ) -> tuple[Genome, optax.ApplyIfFiniteState, Scalar]:
        """Ask, score all candidates on the same fresh episodes, tell.

        A candidate without a finite loss counts as bad as the worst that has one. If none has one, or the new mean is not
        finite, the step is left out.

        Args:
            lifetime: the tasks, the batch size and how to compute; with environments the loss is minus the mean total
                reward.
            key: consumed.
            genome: the network, with the present mean as its weights.
            state: the strategy's.
            difficulty: of each task, 0 to 1.

        Returns:
            The genome with the new mean, the state, and the candidates' mean loss.
        """
        key_ask, key_tell, key_episodes = jax.random.split(key, 3)
        before = state.inner_state

        def loss_of(candidate: Float[Array, " weight"]) -> Scalar:
            params = self.placed(candidate, genome.params)
            if lifetime.suite.kind == "environments":
                network, num_episodes = replace(genome, params=params), lifetime.config.batch_size
                return score(lifetime, key_episodes, network, difficulty, num_episodes).loss
            return batch_loss(params, lifetime, key_episodes, genome, difficulty)

        with promoting():
            candidates, asked = self.algorithm.ask(key_ask, before, self.params)
        losses = map_in_batches(loss_of, candidates, default_batch_size())
        sound = jnp.isfinite(losses)
        ranked = jnp.where(sound, losses, jnp.max(jnp.where(sound, losses, -jnp.inf)))
        with promoting():
            told, _ = self.algorithm.tell(key_tell, candidates, ranked, asked, self.params)
        taken = jnp.any(sound) & jnp.all(jnp.isfinite(told.mean))
        after = jax.tree.map(lambda new, old: jnp.where(taken, new, old).astype(old.dtype), told, before)
        counted = optax.ApplyIfFiniteState(
            notfinite_count=jnp.where(taken, 0, state.notfinite_count + 1),
            last_finite=taken,
            total_notfinite=state.total_notfinite + (~taken).astype(jnp.int32),
            inner_state=after,
        )
        loss = jnp.sum(jnp.where(sound, losses, 0)) / jnp.maximum(jnp.sum(sound, dtype=losses.dtype), 1)
        params = self.placed(after.mean, genome.params)
        moved = jax.tree.map(lambda new, old: jnp.where(taken, new, old), params, genome.params)
        return replace(genome, params=moved), counted, loss


def make_strategy(config: StrategyConfig, genome: Genome, bounds: Bounds) -> WeightStrategy:
    """The strategy that the settings name, over the weights of one network that exist.

    `sigma` sets the first standard deviation wherever the algorithm has one to set, `learning_rate` replaces its
    optimiser by Adam where it has one, `weight_decay` makes that AdamW (Loshchilov and Hutter 2019).

    Args:
        config: the settings.
        genome: the network; its weights do not matter.
        bounds: the search space that it belongs to.

    Raises:
        ValueError: the algorithm cannot have such a population.

    Example:
        >>> import jax
        >>> from etm_jax.networks import Bounds, num_parameters, random_genome
        >>> from etm_jax.training import StrategyConfig, make_strategy
        >>> bounds = Bounds(num_slots=(4, 8), slot_width=(4, 6), controller_size=(5, 10))
        >>> genome = random_genome(jax.random.key(0), bounds, 3, 2)
        >>> strategy = make_strategy(StrategyConfig("SNES", population=6), genome, bounds)
        >>> strategy.algorithm.num_dims == int(num_parameters(genome, bounds))
        True
    """
    kind = strategies()[config.name]
    mask = jax.tree.map(np.asarray, jax.jit(lambda: mask_of(genome, bounds))())
    size = int(sum(np.sum(exists) for exists in jax.tree.leaves(mask)))
    options, taken = {}, inspect.signature(kind.__init__).parameters
    if "std_schedule" in taken:
        options["std_schedule"] = optax.constant_schedule(config.sigma)
    if "optimizer" in taken and config.learning_rate:
        options["optimizer"] = optax.adamw(config.learning_rate, weight_decay=config.weight_decay)
    if "sampling_fn" in taken:
        channels = num_channels_of(genome.params, bounds.family), genome.params["output"]["bias"].shape[0]
        fresh = WeightStrategy(None, None, mask).live
        options["sampling_fn"] = lambda key: fresh(genome_of(key, bounds, *channels, genome.architecture).params)
    try:
        with promoting():
            algorithm = kind(config.population, np.zeros(size, genome.params["output"]["bias"].dtype), **options)
            params = algorithm.default_params
    except AssertionError as error:
        raise ValueError(
            f"strategy_population must suit {config.name}, got {config.population}; evosax says: {error}"
        ) from None
    if hasattr(params, "std_init"):
        params = params.replace(std_init=jnp.full_like(jnp.asarray(params.std_init, float), config.sigma))
    return WeightStrategy(algorithm, params, mask)
