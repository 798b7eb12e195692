"""Several searches as one problem, told by a number which of them it is, so that they share a compiled program."""

from dataclasses import dataclass, replace
from typing import Any

import jax
from jaxtyping import Array, Int

from etm_jax.evolution import Problem
from etm_jax.selection import NoveltyArchive, Scores, Selection


@dataclass(frozen=True)
class OneOf:
    """A selector that is one of several, by a number that may be traced."""

    selectors: tuple[Any, ...]
    number: Any
    needs = ("objectives", "descriptors")

    def __call__(self, key: Array, scores: Scores) -> Selection:
        """The chosen one's answer."""
        return jax.lax.switch(self.number, self.selectors, key, scores)


class SomeNovel:
    """The ring of novelty beside searches of which some look at it; all of them fill it."""

    needs = ("descriptors",)
    keeps_genomes = breeds = False

    def __init__(self, archives: tuple[NoveltyArchive | None, ...], number: Any) -> None:
        self.archives, self.number = archives, number
        self.ring = next(one for one in archives if one is not None)
        self.num_places, self.admit, self.record = self.ring.num_places, self.ring.admit, self.ring.record

    def view(self, kept: Scores, scores: Scores) -> Scores:
        """What the chosen search is shown: novelty, a mixture, or the fitness."""
        views = [(lambda kept, scores: scores) if one is None else one.view for one in self.archives]
        return jax.lax.switch(self.number, views, kept, scores)


def problem_of(problems: list[Problem], number: Int[Array, ""] | int) -> Problem:
    """The problem whose search is that of one of these, by a number that may be traced."""
    if len(problems) == 1:
        return problems[0]
    archives: tuple[Any, ...] = tuple(problem.archive for problem in problems)
    archive: Any = SomeNovel(archives, number) if any(archives) else None
    return replace(problems[0], selector=OneOf(tuple(one.selector for one in problems), number), archive=archive)
