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
from etm_jax.cells._weights import num_channels_of
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import Genome
from etm_jax.networks.genome._genome import mask_of, random_genome
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
    """A distribution-based algorithm of evosax over the weights of one network that exist, with evosax's signatures.

    evosax sees one flat vector of these weights; `init`, `ask` and `tell` take and give whole pytrees. Weights that do
    not exist are no dimension of the search, and are those of `solution` in every candidate. Both sides minimise.

    Attributes:
        algorithm: evosax's, of the flat vector.
        default_params: its settings.
        solution: weights of the network.
        mask: which of them exist, as NumPy arrays.
    """

    algorithm: Any
    default_params: Any
    solution: Params
    mask: Mask

    @property
    def population_size(self) -> int:
        """Candidates of a step."""
        return self.algorithm.population_size

    @property
    def num_dims(self) -> int:
        """Weights that exist."""
        return self.algorithm.num_dims

    def init(self, key: Key, mean: Params, params: Any) -> Any:
        """evosax's state before the first step, about these weights. The key is consumed."""
        with promoting():
            state = self.algorithm.init(key, flat(mean, self.mask), params)
        # No leaf weakly typed: the state of every later step has the same types.
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), state)

    def ask(self, key: Key, state: Any, params: Any) -> tuple[Params, Any]:
        """The candidates to score, with a leading axis. The key is consumed."""
        with promoting():
            candidates, asked = self.algorithm.ask(key, state, params)
        return jax.vmap(self.placed)(candidates), _like(asked, state)

    def tell(
        self, key: Key, population: Params, fitness: Float[Array, " population"], state: Any, params: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Take in the losses of the candidates asked for; solutions in the metrics are flat. The key is consumed.

        A candidate without a finite loss counts as bad as the worst that has one.
        """
        sound = jnp.isfinite(fitness)
        ranked = jnp.where(sound, fitness, jnp.max(jnp.where(sound, fitness, -jnp.inf)))
        candidates = jax.vmap(lambda candidate: flat(candidate, self.mask))(population)
        with promoting():
            told, metrics = self.algorithm.tell(key, candidates, ranked, state, params)
        return _like(told, state), metrics

    def placed(self, live: Float[Array, " weight"], params: Params | None = None) -> Params:
        """The inverse of `flat`; what does not exist is as in `params`, or as in the solution."""
        ends = np.cumsum([np.sum(exists) for exists in jax.tree.leaves(self.mask)])[:-1].tolist()
        parts = jax.tree.unflatten(jax.tree.structure(self.mask), jnp.split(live, ends))

        def place(array: Array, exists: np.ndarray, part: Array) -> Array:
            part = part.astype(array.dtype)
            return part.reshape(array.shape) if exists.all() else array.at[np.nonzero(exists)].set(part)

        return jax.tree.map(place, self.solution if params is None else params, self.mask, parts)


def flat(params: Params, mask: Mask) -> Float[Array, " weight"]:
    """The weights that exist, in the order of the arrays."""

    def keep(array: Array, exists: np.ndarray) -> Array:
        return array if exists.all() else array[np.nonzero(exists)]

    return ravel_pytree(jax.tree.map(keep, params, mask))[0]


def _like(new: Any, old: Any) -> Any:
    """The same state with the types of another, since evosax's arithmetic promotes some."""
    return jax.tree.map(lambda one, other: one.astype(other.dtype), new, old)


def first_strategy_state(key: Key, strategy: WeightStrategy, params: Params) -> optax.ApplyIfFiniteState:
    """The state of `strategy_step` about these weights; it counts steps left out as optax does. The key is consumed."""
    zero = jnp.zeros((), jnp.int32)
    return optax.ApplyIfFiniteState(zero, jnp.array(True), zero, strategy.init(key, params, strategy.default_params))


def strategy_step(
    lifetime: Lifetime,
    strategy: WeightStrategy,
    key: Key,
    genome: Genome,
    state: optax.ApplyIfFiniteState,
    difficulty: Float[Array, " task"],
) -> tuple[Genome, optax.ApplyIfFiniteState, Scalar]:
    """Ask, score all candidates on the same fresh episodes, tell.

    If no candidate has a finite loss, or the new mean is not finite, the step is left out.

    Args:
        lifetime: the tasks, the batch size and how to compute; with environments the loss is minus the mean total
            reward.
        strategy: over the network's weights.
        key: consumed.
        genome: the network, with the present mean as its weights.
        state: from `first_strategy_state`, or of the step before.
        difficulty: of each task, 0 to 1.

    Returns:
        The genome with the new mean, the state, and the candidates' mean loss.
    """
    key_ask, key_tell, key_episodes = jax.random.split(key, 3)
    before = state.inner_state

    def loss_of(params: Params) -> Scalar:
        if lifetime.suite.kind == "environments":
            network, num_episodes = replace(genome, params=params), lifetime.config.batch_size
            return score(lifetime, key_episodes, network, difficulty, num_episodes).loss
        return batch_loss(params, lifetime, key_episodes, genome, difficulty)

    candidates, asked = strategy.ask(key_ask, before, strategy.default_params)
    losses = map_in_batches(loss_of, candidates, default_batch_size())
    told, _ = strategy.tell(key_tell, candidates, losses, asked, strategy.default_params)
    sound = jnp.isfinite(losses)
    taken = jnp.any(sound) & jnp.all(jnp.isfinite(told.mean))
    after = jax.tree.map(lambda new, old: jnp.where(taken, new, old), told, before)
    counted = optax.ApplyIfFiniteState(
        notfinite_count=jnp.where(taken, 0, state.notfinite_count + 1),
        last_finite=taken,
        total_notfinite=state.total_notfinite + (~taken).astype(jnp.int32),
        inner_state=after,
    )
    loss = jnp.sum(jnp.where(sound, losses, 0)) / jnp.maximum(jnp.sum(sound, dtype=losses.dtype), 1)
    params = strategy.placed(after.mean, genome.params)
    moved = jax.tree.map(lambda new, old: jnp.where(taken, new, old), params, genome.params)
    return replace(genome, params=moved), counted, loss


def make_strategy(config: StrategyConfig, genome: Genome, bounds: Bounds) -> WeightStrategy:
    """The strategy that the settings name, over the weights of one network that exist.

    `sigma` sets the first standard deviation wherever the algorithm has one to set, `learning_rate` replaces its
    optimiser by Adam where it has one, `weight_decay` makes that AdamW (Loshchilov and Hutter 2019).

    Args:
        config: the settings.
        genome: the network; of its weights only those that do not exist matter.
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
        >>> strategy.num_dims == int(num_parameters(genome, bounds))
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
        channels = num_channels_of(genome.params, bounds.spec), genome.params["output"]["bias"].shape[0]
        options["sampling_fn"] = lambda key: flat(
            random_genome(key, bounds, *channels, genome.architecture).params, mask
        )
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
    return WeightStrategy(algorithm, params, genome.params, mask)
