"""Differential evolution in the unit cube, behind evosax's protocol."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etm_jax._require import require_count
from etm_jax._typing import Key, pytree

LEAST = 4  # a parent and three others


@pytree
class DifferentialRates:
    """How far and how often differential evolution changes a gene; plain numbers, or traced ones.

    Attributes:
        scale: F, the factor on the difference of two members.
        crossover_rate: CR, probability that a gene is the mutant's; one gene always is.
    """

    scale: float = 0.5
    crossover_rate: float = 0.5


@pytree
class DifferentialState:
    """What differential evolution remembers from one generation to the next.

    Attributes:
        points: the parents, in the unit cube.
        costs: what each was told to cost, minimised; +inf before it has ever been evaluated with success.
        generation: generations told.
    """

    points: Float[Array, "population gene"]
    costs: Float[Array, " population"]
    generation: Int[Array, ""]


@pytree
class DifferentialDraws:
    """What chance decides about one trial.

    Attributes:
        others: three members, unlike each other and the parent.
        fresh: a gene to take where the mutant's lies outside the cube.
        chance: a gene is the mutant's where this is below the crossover rate.
        always: the gene that is the mutant's whatever happens.
    """

    others: Int[Array, "*population 3"]
    fresh: Float[Array, "*population gene"]
    chance: Float[Array, "*population gene"]
    always: Int[Array, "*population"]


@dataclass(frozen=True)
class DifferentialEvolution:
    """Differential evolution rand/1/bin of points in the unit cube (Storn & Price 1997; for architectures Awad et al.
    2020, arXiv 2012.06400), behind evosax's `init / ask / tell / default_params`.

    Of parent `x` and three others the mutant is `v = r1 + F (r2 - r3)`, a gene outside [0, 1] redrawn; the trial takes
    each gene from `v` with probability `CR`, one gene for certain, and the others from `x`; it replaces `x` if it
    costs no more. **Costs are minimised**, as everywhere in evosax. A cost that is not finite is a failed evaluation
    and never replaces anybody. The first `ask` gives the random parents themselves.

    Args:
        population_size: points, at least 4.
        num_genes: coordinates of a point; `len(GENES)` for architectures, see `from_unit_cube`.

    Raises:
        ValueError: there are too few of either.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.strategies._differential import DifferentialEvolution
        >>> from etm_jax.networks.genome._architecture import GENES
        >>> from etm_jax.networks import Bounds
        >>> from etm_jax.networks.genome._unit_cube import from_unit_cube
        >>> bounds = Bounds(num_slots=(4, 64), controllers=("gru", "lstm"))
        >>> strategy = DifferentialEvolution(12, len(GENES))
        >>> params = strategy.default_params
        >>> state = strategy.init(jax.random.key(0), params)
        >>> for key in jax.random.split(jax.random.key(1), 30):
        ...     points, state = strategy.ask(key, state, params)
        ...     architectures = jax.vmap(lambda point: from_unit_cube(point, bounds))(points)
        ...     cost = jnp.abs(architectures.num_slots - 23).astype(float)
        ...     state, metrics = strategy.tell(key, points, cost, state, params)
        >>> int(from_unit_cube(metrics["best_solution"], bounds).num_slots)
        23
    """

    population_size: int
    num_genes: int

    def __post_init__(self) -> None:
        require_count("population_size", self.population_size, LEAST)
        require_count("num_genes", self.num_genes, 1)

    @property
    def default_params(self) -> DifferentialRates:
        """F = CR = 1/2."""
        return DifferentialRates()

    def init(self, key: Key, params: DifferentialRates) -> DifferentialState:
        """Random points. The key is consumed."""
        del params
        points = jax.random.uniform(key, (self.population_size, self.num_genes))
        costs = jnp.full(self.population_size, jnp.inf)
        return DifferentialState(points=points, costs=costs, generation=jnp.array(0, jnp.int32))

    def ask(
        self, key: Key, state: DifferentialState, params: DifferentialRates
    ) -> tuple[Float[Array, "population gene"], DifferentialState]:
        """The points to evaluate next. The key is consumed."""
        draws = self.draw(key)

        def trial(parent: Float[Array, " gene"], draws: DifferentialDraws) -> Float[Array, " gene"]:
            first, second, third = state.points[draws.others]
            mutant = first + params.scale * (second - third)  # Storn & Price 1997, eq. 2
            mutant = jnp.where((mutant >= 0) & (mutant <= 1), mutant, draws.fresh)
            crosses = (draws.chance < params.crossover_rate) | (jnp.arange(self.num_genes) == draws.always)  # eq. 4
            return jnp.where(crosses, mutant, parent)

        trials = jax.vmap(trial)(state.points, draws)
        trials = jnp.where(state.generation == 0, state.points, trials)
        return trials, state

    def draw(self, key: Key) -> DifferentialDraws:
        """All that chance decides about one generation. The key is consumed."""
        key_others, key_fresh, key_chance, key_always = jax.random.split(key, 4)
        size, genes = self.population_size, self.num_genes
        return DifferentialDraws(
            others=jax.vmap(lambda key, own: three_others(key, own, size))(
                jax.random.split(key_others, size), jnp.arange(size)
            ),
            fresh=jax.random.uniform(key_fresh, (size, genes)),
            chance=jax.random.uniform(key_chance, (size, genes)),
            always=jax.random.randint(key_always, (size,), 0, genes),
        )

    def tell(
        self,
        key: Key,
        population: Float[Array, "population gene"],
        fitness: Float[Array, " population"],
        state: DifferentialState,
        params: DifferentialRates,
    ) -> tuple[DifferentialState, dict[str, Any]]:
        """Take in the costs of the points asked for; `fitness` is minimised."""
        del key, params
        replaces = jnp.isfinite(fitness) & (fitness <= state.costs)
        state = DifferentialState(
            points=jnp.where(replaces[:, None], population, state.points),
            costs=jnp.where(replaces, fitness, state.costs),
            generation=state.generation + 1,
        )
        best = jnp.argmin(state.costs)
        metrics = {
            "best_fitness": state.costs[best],
            "best_solution": state.points[best],
            "failed": jnp.sum(~jnp.isfinite(fitness)),
            "replaced": jnp.sum(replaces),
        }
        return state, metrics


def three_others(key: Key, own: Int[Array, ""], size: int) -> Int[Array, " 3"]:
    """Three members of a population, unlike each other and one's own, all such triples alike. The key is consumed."""
    highest = jnp.arange(size - 1, size - LEAST, -1)
    first, second, third = jax.random.randint(key, (3,), 0, highest)
    second += (second >= first).astype(second.dtype)  # steps over what is taken, from the least on
    third += (third >= jnp.minimum(first, second)).astype(third.dtype)
    third += (third >= jnp.maximum(first, second)).astype(third.dtype)
    return (own + 1 + jnp.stack([first, second, third])) % size
