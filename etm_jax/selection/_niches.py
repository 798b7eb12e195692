"""Natural niches: each case is a resource that the members good at it share."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etm_jax._typing import Key
from etm_jax.selection._scores import Scores, Selection, check_turnover, num_survivors, proportional


@dataclass(frozen=True)
class NichesSelection:
    """Fitness is a member's share of each case, and a mate is good at the cases where the first parent is not.

    From the score s_pd of member p in case d, its share is f_pd = s_pd / (sum_q s_qd)^alpha, and its fitness the sum
    of its shares. The first parent is drawn in proportion to fitness, the second in proportion to
    sum_d max(0, f_d - f_d of the first). The fittest survive. If a case has scores below 0, its least is subtracted.

    Attributes:
        alpha: how much is shared, from 0 (nothing: the fitness is the sum of the scores) to 1 (everything).
        turnover: share of the population that is replaced in a generation, in (0, 1].

    Raises:
        ValueError: `alpha` outside [0, 1] or `turnover` outside (0, 1].

    References:
        Abrantes, Lange, Tang 2025, Competition and attraction improve model fusion (M2N2), GECCO; there one child at a
        time replaces the worst member.
    """

    kind: ClassVar[str] = "niches"
    needs: ClassVar[tuple[str, ...]] = ("cases",)
    alpha: float = 1.0
    turnover: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"the niches' alpha must be in [0, 1], got {self.alpha}")
        check_turnover(self.turnover)

    def __call__(self, key: Key, scores: Scores) -> Selection:
        """Pick survivors and parents by cases; without them by fitness. The key is consumed."""
        scores = scores.sound("cases")
        key_first, key_second = jax.random.split(key)
        share = self.shares(scores)
        fitness = jnp.sum(share, axis=-1)
        count = num_survivors(scores, self.turnover)
        _, survivors = jax.lax.top_k(jnp.where(scores.alive, fitness, -jnp.inf), count)
        num_children = scores.num_places - count
        first = proportional(key_first, fitness, scores.alive, (num_children,))
        attraction = jnp.sum(jnp.maximum(share[None] - share[first][:, None], 0), axis=-1)
        second = proportional(key_second, attraction, scores.alive, (num_children,))
        return Selection(survivors, jnp.stack([first, second], axis=-1))

    def shares(self, scores: Scores) -> Float[Array, "population case"]:
        """Each member's share of each case; 0 if it failed."""
        alive = scores.alive[:, None]
        cases = scores.fitness[:, None] if scores.cases is None else scores.cases
        # A negative score would make a negative chance.
        least = jnp.min(jnp.where(alive, cases, 0), axis=0, initial=0.0)
        score = jnp.where(alive, cases - least[None], 0)
        total = jnp.sum(score, axis=0, keepdims=True)
        return jnp.where(total > 0, score / jnp.where(total > 0, total, 1) ** self.alpha, 0)
