"""How networks of one padded shape live: all that is static about their learning and their scoring."""

from dataclasses import dataclass, field

import jax
import optax
from jax.typing import DTypeLike

from etm_jax._typing import Params
from etm_jax.cells import Unrolled
from etm_jax.environment import AnySuite, EnvironmentSuite, Suite
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.genome._genes import Genome
from etm_jax.networks.genome._genome import unroll
from etm_jax.networks.learning._config import LifetimeConfig
from etm_jax.networks.native import why_not
from etm_jax.number_task import NumberSuite
from etm_jax.task import Episode, TaskSuite, clean_inputs

CACHED_BYTES = 2**18  # of memories side by side that a CPU core's cache holds along with what a step makes of them


@dataclass(frozen=True)
class Lifetime:
    """How networks of one padded shape learn on a suite and are scored on it.

    Attributes:
        bounds: the search space, or the size bucket, that the networks are padded to.
        suite: the tasks or environments.
        config: settings of learning.
        dtype: precision of the factors of matrix products; None for the weights' own.
        optimiser: the user's own optax chain, in place of the one that the settings name.
        flat: the optimiser gets all weights as one vector, which is fewer operations to compile and to run; right
            where it treats every weight by itself.
        native: networks run on tasks by the native kernel where that serves them; runs and trainings set it by what
            `choose_backend` says.
    """

    bounds: Bounds
    suite: Suite
    config: LifetimeConfig = field(default_factory=LifetimeConfig)
    dtype: DTypeLike | None = None
    optimiser: optax.GradientTransformation | None = None
    flat: bool = False
    native: bool = False


def unroll_episode(lifetime: Lifetime, genome: Genome, episode: Episode, *, rematerialise: bool = False) -> Unrolled:
    """Run one network over a batch of episodes: the one place where learning and scoring compute a network on tasks."""
    return unroll(
        genome,
        clean_inputs(episode),
        lifetime.bounds,
        rematerialise=rematerialise,
        micro_batch=default_micro_batch(lifetime.bounds, episode.inputs.shape[0]),
        dtype=lifetime.dtype,
        native=lifetime.native,
    )


def learns_live(lifetime: Lifetime, params: Params) -> bool:
    """Whether a lifetime works on the weights that exist, as one vector: by the native kernel, where it serves."""
    dtypes = {array.dtype for array in jax.tree.leaves(params)}
    return lifetime.native and lifetime.flat and not why_not(lifetime.bounds.spec, lifetime.dtype, *dtypes)


def default_micro_batch(bounds: Bounds, batch_size: int) -> int:
    """Sequences of one individual side by side: on CPU few enough for the cache, all elsewhere (0).

    Up to twice the cache's share all run at once: splitting a batch costs one more forward pass in the gradient.
    """
    size = 4 * bounds.num_slots[1] * bounds.slot_width[1]
    if jax.default_backend() != "cpu" or size * batch_size <= 2 * CACHED_BYTES:
        return 0
    most = max(CACHED_BYTES // size, 1)
    return max(count for count in range(1, batch_size + 1) if batch_size % count == 0 and count <= most)


def for_networks(suite: AnySuite) -> Suite:
    """The suite, if networks can evolve on it.

    Raises:
        ValueError: it is a function of numbers.
    """
    if isinstance(suite, NumberSuite):
        raise ValueError(
            f"networks evolve on tasks or environments, got the function {suite.names[0]}; try --model em43"
        )
    return suite


def learnable(suite: AnySuite) -> TaskSuite:
    """The suite, if there is a gradient of its loss to learn by.

    Raises:
        ValueError: it is one of environments, or a function of numbers.
    """
    suite = for_networks(suite)
    if isinstance(suite, EnvironmentSuite):
        raise ValueError(
            f"learning by gradients needs tasks, got the environments {', '.join(suite.names)}, whose rewards have no "
            "gradient; evolve on them with --lifetime.inheritance darwinian, or train with a --strategy such as SNES"
        )
    return suite
