"""What evolves: the protocol of a model, and what its evaluation gives. The engine knows nothing else of genomes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etm_jax._require import require
from etm_jax._typing import BoolScalar, IntScalar, Key, Scalar, pytree
from etm_jax.models._context import Context

Inheritance = Literal["darwinian", "baldwinian", "lamarckian"]


@pytree
class Result:
    """How one individual did on fresh episodes, after learning.

    Attributes:
        performance: by task, 0 at chance and 1 when everything is right.
        accuracy: by task, share of sequences right in every valid step, or of episodes solved.
        loss: the suite's loss.
        finite: True = the loss on the scoring episodes is finite; what diverges in learning ends here.
        cases: what selection may look at one by one, maximised; None for the performances. Where the context asks for
            cases by episode, the performance on each scoring episode: at the trained length, then at the longer ones.
        behaviour: what it did, in [0, 1] by name; None where the context does not ask for it.
        longer: the performance at each of the context's longer lengths, 0 where it is not finite; None for none.
        longer_accuracy: the accuracy there.
    """

    performance: Float[Array, "*population task"]
    accuracy: Float[Array, "*population task"]
    loss: Float[Array, "*population"]
    finite: Bool[Array, "*population"]
    cases: Float[Array, "*population case"] | None = None
    behaviour: dict[str, Float[Array, "*population"]] | None = None
    longer: dict[int, Float[Array, "*population task"]] | None = None
    longer_accuracy: dict[int, Float[Array, "*population task"]] | None = None

    def over_lengths(self, weights: Mapping[int, float], exact: float = 0.0) -> "Result":
        """The result with a performance averaged over lengths and, at each, with the accuracy.

        Args:
            weights: of each longer length; the trained one has weight 1.
            exact: share of the accuracy.

        Raises:
            ValueError: the result lacks one of these lengths.
        """
        if not (weights or exact):
            return self
        longer, accurate = self.longer or {}, self.longer_accuracy or {}
        require(set(longer) == set(weights), "Result.longer", f"the performance at {sorted(weights)}", sorted(longer))
        rule = f"the accuracy at {sorted(weights)}"
        require(not exact or set(accurate) == set(weights), "Result.longer_accuracy", rule, sorted(accurate))

        def earned(performance: Array, accuracy: Any) -> Array:
            return (1 - exact) * performance + exact * accuracy if exact else performance

        total = earned(self.performance, self.accuracy)
        total += sum(weight * earned(longer[length], accurate.get(length)) for length, weight in weights.items())
        return replace(self, performance=total / (1 + sum(weights.values())))

    @property
    def by_case(self) -> Float[Array, "*population case"]:
        """The cases, or the performance at each task."""
        return self.performance if self.cases is None else self.cases


@pytree
class Evaluation:
    """How a population, or each of several islands, did on fresh episodes.

    Attributes:
        result: the individuals' scores.
        validation_scores: how reliable each individual is; NaN for a failed evaluation.
        champion_score: the champion's validation score on the same episodes.
    """

    result: Result
    validation_scores: Float[Array, "*island population"]
    champion_score: Float[Array, "*island"]


@runtime_checkable
class Variation(Protocol):
    """How genomes are drawn and varied: what the next population needs of a model.

    One that can do better than independent draws also has `founders(key, count)`, a population of random genomes.
    """

    def random(self, key: Key) -> Any:
        """One random genome. The key is consumed."""
        ...

    def offspring(self, key: Key, first: Any, second: Any, mates: BoolScalar, diversity: Scalar) -> Any:
        """A child of one genome, or of two if it `mates`; `diversity` is the population's. The key is consumed."""
        ...

    def diversity(self, genomes: Any) -> Scalar:
        """How much a population's genes differ, 0 for none."""
        ...


@runtime_checkable
class Model(Variation, Protocol):
    """A kind of genome on one suite: how a genome is drawn, varied, evaluated and described.

    Frozen and hashable. A genome is a pytree of arrays of fixed shapes, a population one with a leading axis on every
    array. Models without gradients are `darwinian`; they leave `budgets`, `learn` and `learning` out. Models of one
    padded shape have `rebucket_every = 0`, and leave the methods of size buckets out.
    """

    @property
    def inheritance(self) -> Inheritance:
        """darwinian: no learning; baldwinian: learn, score, discard; lamarckian: learn, score, keep."""
        ...

    @property
    def large_genomes(self) -> bool:
        """Whether children are created in the batches of an evaluation, not all at once."""
        ...

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Names of the behaviours that an evaluation can measure on the suite."""
        ...

    @property
    def computed_by(self) -> str:
        """What computes the genomes here, and why, in words; empty where there is no choice."""
        ...

    @property
    def xla_computes(self) -> bool:
        """Whether XLA computes genomes on the suite, so that its programs should be fast ones; False: a kernel does."""
        ...

    @property
    def rebucket_every(self) -> int:
        """Generations after which size buckets are chosen again; 0 for a model of one padded shape."""
        ...

    def efficiency(self, genomes: Any) -> Float[Array, " population"]:
        """How cheap each genome is, 0 to 1."""
        ...

    def costs(self, genomes: Any) -> dict[str, Float[Array, " population"]]:
        """What each genome costs, in [0, 1] by name; objectives that are minimised."""
        ...

    def traits(self, genomes: Any) -> dict[str, Float[Array, " population"]]:
        """What tells genomes apart before they are evaluated, in [0, 1] by name; descriptors."""
        ...

    def evaluate(
        self, context: Context, key: Key, genomes: Any, champion: Any, difficulty: Float[Array, " task"]
    ) -> Evaluation:
        """Score a population and the champion, all on the same fresh episodes. The key is consumed.

        The context says at which longer lengths a result has a performance, too, and whether its cases are episodes.
        """
        ...

    def padding_efficiency(self, context: Context, genomes: Any) -> Scalar:
        """Useful over executed work of an evaluation."""
        ...

    def export(self, genome: Any) -> Any:
        """A genome as a model to be used: it can be called, and has an `architecture`."""
        ...

    def save(self, exported: Any, folder: Path) -> None:
        """Write such a model; `ModelKind.load` reads it."""
        ...

    def report(self, genome: Any, seed: int) -> dict[str, Any]:
        """What a run's summary says of its champion: `architecture`, `num_parameters`, and scores never evolved on."""
        ...

    def genes(self, genomes: Any) -> dict[str, Int[Array, " population"]]:
        """The genes that a run puts on record."""
        ...


class LearningModel(Model, Protocol):
    """A model whose genomes learn by gradient before they are scored.

    One whose first population is to be chosen by successive halving also has `births`, random genomes for each place.
    """

    @property
    def training(self) -> tuple[int, int]:
        """Gradient steps of a lifetime, and episodes of each task in one."""
        ...

    def budgets(
        self,
        fitness: Float[Array, " population"],
        known: Bool[Array, " population"],
        selected: Bool[Array, " population"],
    ) -> Int[Array, " population"] | None:
        """Gradient steps of each individual, from the fitness that it inherits; None for equal ones.

        Args:
            fitness: of the individual or, at birth, of its first parent, in the generation before.
            known: True = there is such a fitness.
            selected: True = it survived selection; False for all during the warm-up.
        """
        ...

    def learn(
        self,
        context: Context,
        key: Key,
        genomes: Any,
        difficulty: Float[Array, " task"],
        generation: IntScalar,
        steps: Int[Array, " population"] | None,
    ) -> Any:
        """The genomes of a population after learning. The key is consumed; `evaluate` gets the same one."""
        ...

    def learning(self, genomes: Any) -> dict[str, Float[Array, " population"]]:
        """The learning genes, for the record."""
        ...

    def multiply_adds(self, genomes: Any) -> Float[Array, " population"]:
        """What one step of each genome costs, for the record."""
        ...


class BucketedModel(Model, Protocol):
    """A model that computes in several padded shapes."""

    @property
    def full_size(self) -> Int[Array, "bucket gene"] | tuple[()]:
        """The sizes of buckets that all hold every genome; `()` where the settings ask for none."""
        ...

    def in_buckets(self, sizes: Int[Array, "bucket gene"]) -> "BucketedModel":
        """The model that computes in buckets of these sizes."""
        ...

    def architectures(self, genomes: Any) -> Any:
        """The genes that decide on a bucket."""
        ...

    def choose_buckets(self, architectures: Any) -> Int[Array, "bucket gene"]:
        """Sizes that suit genomes like these."""
        ...


def choose(which: Bool[Array, " population"], first: Any, second: Any) -> Any:
    """Each member of one pytree with a leading population axis, where True, or of another."""
    return jax.tree.map(
        lambda one, other: jnp.where(which.reshape(-1, *(1,) * (one.ndim - 1)), one, other), first, second
    )


def member(genomes: Any, index: Int[Array, "..."] | int) -> Any:
    """One individual's part of a pytree with a leading population axis, or several for an array of indices."""
    return jax.tree.map(lambda array: array[index], genomes)
