"""Lexicase selection: parents that are best at cases taken in random order."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from etm_jax._require import require_count
from etm_jax._typing import IntScalar, Key
from etm_jax.selection._scores import Scores, Selection, check_elites, elites, uniform_over


@dataclass(frozen=True)
class LexicaseSelection:
    """Each parent is filtered from `size` random members: cases, in random order, keep only their best.

    The first case keeps the members that are best at it, the next the best of these, and so on; a random one of those
    left is the parent. So the only member right about a case becomes a parent whenever that case comes first, however
    wrong it is about all others. The elites are the fittest.

    Attributes:
        size: members, drawn with replacement, that a parent is filtered from.
        num_elites: best members that survive unchanged, fewer than the population.

    Raises:
        ValueError: `size` below 1 or `num_elites` below 0.

    References:
        Spector 2012, Assessment of problem modality by differential performance of lexicase selection in genetic
        programming, GECCO. Hernandez et al. 2019, Random subsampling improves performance in lexicase selection, GECCO.
    """

    kind: ClassVar[str] = "lexicase"
    needs: ClassVar[tuple[str, ...]] = ("cases",)
    size: int = 64
    num_elites: int = 2

    def __post_init__(self) -> None:
        require_count("the lexicase size", self.size, 1)
        check_elites(self.num_elites)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents. The key is consumed."""
        scores = scores.sound("cases")
        survivors = elites(scores, self.num_elites)
        cases = scores.by_case
        num_picks, num_cases = 2 * (scores.num_places - survivors.size), cases.shape[-1]
        key_entrants, key_order = jax.random.split(key)
        entrants = uniform_over(key_entrants, scores.alive, (num_picks, self.size))
        order = jnp.argsort(jax.random.uniform(key_order, (num_picks, num_cases)), axis=-1)

        def keep_best(index: IntScalar, left: Bool[Array, "pick entrant"]) -> Bool[Array, "pick entrant"]:
            at_case = cases[entrants, order[:, index][:, None]]
            best = jnp.max(jnp.where(left, at_case, -jnp.inf), axis=-1, keepdims=True)
            return left & (at_case >= best)

        left = jax.lax.fori_loop(0, num_cases, keep_best, jnp.ones(entrants.shape, bool))
        # Entrants are in random order, so the first one left is a random one.
        chosen: Int[Array, "pick 1"] = jnp.argmax(left, axis=-1, keepdims=True)
        parents = jnp.take_along_axis(entrants, chosen, axis=-1)
        return Selection(survivors=survivors, parents=parents.reshape(-1, 2))
