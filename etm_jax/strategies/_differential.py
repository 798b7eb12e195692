"""Differential evolution in the unit cube, with the methods of evosax's population-based algorithms."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from etm_jax._ask_tell import best_of, check_fitness, cost_of, metrics_fn, with_best
from etm_jax._require import require, require_count
from etm_jax._typing import IntScalar, Key, Scalar, pytree

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
        population: the parents, in the unit cube, each flat.
        fitness: of each, minimised; +inf for one that was never evaluated with success.
        best_solution: the best point ever told, flat.
        best_fitness: of that point.
        generation_counter: generations told.
    """

    population: Float[Array, "population gene"]
    fitness: Float[Array, " population"]
    best_solution: Float[Array, " gene"]
    best_fitness: Scalar
    generation_counter: IntScalar


@pytree
class DifferentialDraws:
    """The random numbers of one trial.

    Attributes:
        others: three members, different from each other and from the parent.
        fresh: a gene to take where the mutant's lies outside the cube.
        chance: a gene is the mutant's where this is below the crossover rate.
        always: the gene that is the mutant's in any case.
    """

    others: Int[Array, "*population 3"]
    fresh: Float[Array, "*population gene"]
    chance: Float[Array, "*population gene"]
    always: Int[Array, "*population"]


@dataclass(frozen=True)
class DifferentialEvolution:
    """Differential evolution rand/1/bin of points in the unit cube (Storn & Price 1997; for architectures Awad et al.
    2020, arXiv 2012.06400), with the signatures of evosax's population-based algorithms.

    Of parent `x` and three others the mutant is `v = r1 + F (r2 - r3)`, a gene outside [0, 1] redrawn; the trial takes
    each gene from `v` with probability `CR`, one gene for certain, and the others from `x`; it replaces `x` if it
    costs no more. **Costs are minimised**, as everywhere in evosax. A cost that is not finite is a failed evaluation
    and never replaces a parent.

    Args:
        population_size: points, at least 4.
        solution: a point like those of the population, any pytree; `jnp.zeros(len(GENES))` for architectures, see
            `Bounds.from_unit_cube`.
        metrics_fn: replaces evosax's metrics of a generation, with evosax's signature.

    Raises:
        ValueError: there are fewer than 4 points, or a point has no coordinate.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from etm_jax.strategies._differential import DifferentialEvolution
        >>> from etm_jax.networks.genome._genes import GENES
        >>> from etm_jax.networks import Bounds
        >>> bounds = Bounds(num_slots=(4, 64), controllers=("gru", "lstm"))
        >>> def cost_of(point):
        ...     return jnp.abs(bounds.from_unit_cube(point).num_slots - 23).astype(float)
        >>> strategy = DifferentialEvolution(population_size=12, solution=jnp.zeros(len(GENES)))
        >>> params = strategy.default_params
        >>> population = jax.random.uniform(jax.random.key(0), (12, len(GENES)))
        >>> state = strategy.init(jax.random.key(1), population, jax.vmap(cost_of)(population), params)
        >>> for key in jax.random.split(jax.random.key(2), 30):
        ...     population, state = strategy.ask(key, state, params)
        ...     state, metrics = strategy.tell(key, population, jax.vmap(cost_of)(population), state, params)
        >>> int(bounds.from_unit_cube(state.best_solution).num_slots)
        23
    """

    population_size: int
    solution: Any = field(compare=False, repr=False)
    metrics_fn: Callable[..., dict[str, Any]] = metrics_fn
    layout: Any = field(init=False, repr=False)  # of the solution; what programs differ by

    def __post_init__(self) -> None:
        require_count("population_size", self.population_size, LEAST)
        leaves, tree = jax.tree.flatten(self.solution)
        object.__setattr__(self, "layout", (tree, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)))
        require(self.num_dims > 0, "solution", "a point with at least one coordinate", self.solution)

    @property
    def num_dims(self) -> int:
        """Coordinates of a point."""
        return sum(jnp.size(leaf) for leaf in jax.tree.leaves(self.solution))

    @property
    def default_params(self) -> DifferentialRates:
        """F = CR = 1/2."""
        return DifferentialRates()

    # As in evosax, all three are compiled, so that a plain loop is fast. Equal settings share a program.
    @partial(jax.jit, static_argnames="self")
    def init(
        self, key: Key, population: Any, fitness: Float[Array, " population"], params: DifferentialRates
    ) -> DifferentialState:
        """The state of an evaluated first population, such as uniform points; `fitness` is minimised."""
        del key, params
        check_fitness(fitness, self.population_size)
        points = self._flat(population)
        best_solution, best_fitness = best_of(points, fitness)
        return DifferentialState(
            population=points,
            fitness=cost_of(fitness),
            best_solution=best_solution,
            best_fitness=best_fitness,
            generation_counter=jnp.array(0, jnp.int32),
        )

    @partial(jax.jit, static_argnames="self")
    def ask(self, key: Key, state: DifferentialState, params: DifferentialRates) -> tuple[Any, DifferentialState]:
        """The points to evaluate next. The key is consumed."""
        draws = self.draw(key)

        def trial(parent: Float[Array, " gene"], draws: DifferentialDraws) -> Float[Array, " gene"]:
            first, second, third = state.population[draws.others]
            mutant = first + params.scale * (second - third)  # Storn & Price 1997, eq. 2
            mutant = jnp.where((mutant >= 0) & (mutant <= 1), mutant, draws.fresh)
            crosses = (draws.chance < params.crossover_rate) | (jnp.arange(self.num_dims) == draws.always)  # eq. 4
            return jnp.where(crosses, mutant, parent)

        trials = jax.vmap(trial)(state.population, draws)
        return jax.vmap(ravel_pytree(self.solution)[1])(trials), state

    def draw(self, key: Key) -> DifferentialDraws:
        """All random numbers of one generation. The key is consumed."""
        key_others, key_fresh, key_chance, key_always = jax.random.split(key, 4)
        size, genes = self.population_size, self.num_dims
        return DifferentialDraws(
            others=jax.vmap(lambda key, own: three_others(key, own, size))(
                jax.random.split(key_others, size), jnp.arange(size)
            ),
            fresh=jax.random.uniform(key_fresh, (size, genes)),
            chance=jax.random.uniform(key_chance, (size, genes)),
            always=jax.random.randint(key_always, (size,), 0, genes),
        )

    @partial(jax.jit, static_argnames="self")
    def tell(
        self,
        key: Key,
        population: Any,
        fitness: Float[Array, " population"],
        state: DifferentialState,
        params: DifferentialRates,
    ) -> tuple[DifferentialState, dict[str, Any]]:
        """Take in the costs of the points asked for; `fitness` is minimised.

        The metrics are evosax's, and `failed` evaluations and how many trials `replaced` their parents.
        """
        points = self._flat(population)
        state = with_best(state, points, fitness)
        replaces = jnp.isfinite(fitness) & (fitness <= state.fitness)
        metrics = self.metrics_fn(key, points, fitness, state, params) | {
            "best_solution_norm": jnp.linalg.norm(state.best_solution),
            "failed": jnp.sum(~jnp.isfinite(fitness)),
            "replaced": jnp.sum(replaces),
        }
        state = replace(
            state,
            population=jnp.where(replaces[:, None], points, state.population),
            fitness=jnp.where(replaces, fitness, state.fitness),
            generation_counter=state.generation_counter + 1,
        )
        return state, metrics

    def _flat(self, population: Any) -> Float[Array, "population gene"]:
        return jax.vmap(lambda point: ravel_pytree(point)[0])(population)


def three_others(key: Key, own: Int[Array, ""], size: int) -> Int[Array, " 3"]:
    """Three members, different from each other and from `own`, all triples alike. The key is consumed."""
    highest = jnp.arange(size - 1, size - LEAST, -1)
    first, second, third = jax.random.randint(key, (3,), 0, highest)
    second += (second >= first).astype(second.dtype)  # steps over what is taken, from the least on
    third += (third >= jnp.minimum(first, second)).astype(third.dtype)
    third += (third >= jnp.maximum(first, second)).astype(third.dtype)
    return (own + 1 + jnp.stack([first, second, third])) % size
