"""What a run evolves, on what, and where: everything about it that is static."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from etm_jax._typing import BoolScalar, IntScalar, Key, Scalar
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.environment import AnySuite
from etm_jax.models._behaviour import behaviours_of
from etm_jax.models._model import Result
from etm_jax.networks.genome._bounds import Bounds
from etm_jax.networks.learning._optimisers import MakeOptimiser
from etm_jax.networks.variation._rates import VariationRates
from etm_jax.parallel._devices import default_batch_size
from etm_jax.selection import Archive, Selector


@runtime_checkable
class Family(Protocol):
    """A kind of genome: how one is drawn, varied, judged and described. The engine knows nothing else of genomes.

    Frozen and hashable. A genome is a pytree of arrays of fixed shapes, a population one with a leading axis on every
    array.
    """

    @property
    def born_in_turn(self) -> bool:
        """Whether genomes are so large that they are borne a few at a time, as they live."""
        ...

    def random(self, key: Key) -> Any:
        """One random genome. The key is consumed."""
        ...

    def offspring(
        self, key: Key, first: Any, second: Any, mates: BoolScalar, rates: VariationRates, gene_rate: Scalar | float
    ) -> Any:
        """A child of one genome, or of two if it `mates`. The key is consumed."""
        ...

    def diversity(self, genomes: Any) -> Scalar:
        """How much a population's genes differ, 0 for none."""
        ...

    def efficiency(self, genomes: Any) -> Float[Array, " population"]:
        """How cheap each genome is, 0 to 1."""
        ...

    def costs(self, genomes: Any) -> dict[str, Float[Array, " population"]]:
        """What each genome costs, in [0, 1] by name; objectives that fall."""
        ...

    def traits(self, genomes: Any) -> dict[str, Float[Array, " population"]]:
        """What tells genomes apart before they have lived, in [0, 1] by name; descriptors."""
        ...

    def learn(
        self,
        problem: "Problem",
        key: Key,
        genomes: Any,
        difficulty: Float[Array, " task"],
        generation: IntScalar,
        steps: Int[Array, " population"] | None,
    ) -> Any:
        """The genomes of a population after a lifetime of learning. The key is consumed; `judge` gets the same one."""
        ...

    def judge(
        self, problem: "Problem", key: Key, genomes: Any, champion: Any, difficulty: Float[Array, " task"]
    ) -> tuple[Result, Float[Array, " population"], Scalar]:
        """Score a population and the champion, all on the same fresh episodes. The key is consumed.

        Returns:
            The genomes' results, their validation_scores, and the champion's validation_score.
        """
        ...

    def padding_efficiency(self, problem: "Problem", genomes: Any) -> Scalar:
        """Useful over executed work of an evaluation."""
        ...

    def export(self, champion: Any) -> Any:
        """A genome as a model to be used: it can be called, and has an `architecture`."""
        ...

    def save(self, model: Any, folder: Path) -> None:
        """Write such a model."""
        ...

    def report(self, problem: "Problem", champion: Any) -> dict[str, Any]:
        """What a run's summary says of its champion: `architecture`, `num_parameters`, and scores never evolved on."""
        ...

    def genes(self, genomes: Any) -> dict[str, Int[Array, " population"]]:
        """The genes that a run puts on record."""
        ...

    def learning(self, genomes: Any) -> dict[str, Float[Array, " population"]]:
        """The factors by which each genome learns, if it does; for the record."""
        ...


class LearnsNothing:
    """What a family is whose genomes live as they were born."""

    def learn(
        self,
        problem: "Problem",
        key: Key,
        genomes: Any,
        difficulty: Float[Array, " task"],
        generation: IntScalar,
        steps: Int[Array, " population"] | None,
    ) -> Any:
        """The genomes as they are."""
        del problem, key, difficulty, generation, steps
        return genomes

    def learning(self, genomes: Any) -> dict[str, Any]:
        """Nothing."""
        del genomes
        return {}


@dataclass(frozen=True)
class Problem:
    """What a run evolves and on what; static, so one compiled generation belongs to one problem.

    Attributes:
        config: every setting.
        suite: the tasks, the environments, or the function of numbers.
        family: the kind of genomes.
        selector: who survives and who becomes a parent.
        archive: who is kept beside the population; None for nobody.
        make_optimiser: from an individual's learning genes to an optax chain; it starts anew in every lifetime.
        mesh: the devices that the population is spread over.
        buckets: the padded shapes that networks compute in, cheapest first; the last one holds everybody.
        flat: the optimiser treats every weight by itself, so it may be given all as one vector.
    """

    config: EvolutionaryTuringConfig
    suite: AnySuite
    family: Family
    selector: Selector
    archive: Archive | None
    make_optimiser: MakeOptimiser
    mesh: Mesh = field(repr=False)
    buckets: tuple[Bounds, ...]
    flat: bool = False

    @property
    def batch_size(self) -> int:
        """Individuals that one vmap holds on a device."""
        return self.config.individuals_per_batch or default_batch_size()

    @property
    def offspring_batch_size(self) -> int:
        """Children in one vmap; in turn it is one, since of a vmapped condition both sides are computed."""
        return self.batch_size if self.family.born_in_turn else 0

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is sought at once, if the selector or the archive needs it."""
        return self.config.selection.objectives if self._needs("objectives") else ()

    @property
    def descriptors(self) -> tuple[str, ...]:
        """What tells members apart, if the selector or the archive needs it."""
        return self.config.selection.descriptors if self._needs("descriptors") else ()

    @property
    def behaves(self) -> bool:
        """Whether some descriptor is of what members do."""
        return any(name in behaviours_of(self.suite) for name in self.descriptors)

    def _needs(self, name: str) -> bool:
        return any(name in getattr(one, "needs", ()) for one in (self.selector, self.archive))

    @property
    def dtype(self) -> DTypeLike | None:
        """Precision of the factors of matrix products; None for the weights' own."""
        return jnp.bfloat16 if self.config.precision == "bfloat16" else None
