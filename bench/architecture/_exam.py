"""Choosing and examining networks: on the same episodes for all contenders of one task and seed."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.architecture._contenders import EXAMINED, Plan
from etm_jax._compiling import compile_options
from etm_jax.networks import Bounds, Genome
from etm_jax.networks.learning import Lifetime, score
from etm_jax.networks.native import choose_backend
from etm_jax.task import TaskSuite

VALIDATION_STREAM, HELD_OUT_STREAM = 2**31 - 4, 2**31 - 3  # folded into the seed: keys that no learning draws from
MODEST = 1e11  # operations of a program that is worth few seconds of compiling

Rank = tuple[float, float]  # mean score and mean performance over the validated sizes: the second tells ties apart


@dataclass
class Stopwatch:
    """CPU seconds of this process by what they were spent on."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count the seconds of the block."""
        start = time.process_time()
        try:
            yield
        finally:
            self.spent[what] = self[what] + time.process_time() - start

    def __getitem__(self, what: str) -> float:
        return self.spent.get(what, 0.0)


class Exam:
    """Scores of networks of one padded space on fixed episodes of one task, at multiples of its trained size.

    At 1 the sizes are mixed as in training; at others all are exactly so many times the greatest.
    """

    def __init__(self, plan: Plan, suite: TaskSuite, bounds: Bounds, watch: Stopwatch):
        self.plan, self.watch = plan, watch
        native = choose_backend("auto", bounds.spec, jnp.result_type(float)).native
        self._programs: dict[int, Callable[..., Any]] = {}

        def program(factor: int) -> Callable[..., Any]:
            asked = suite if factor == 1 else suite.longer(factor)

            def examine(key: jax.Array, genome: Genome) -> Any:
                result = score(Lifetime(bounds, asked, native=native), key, genome, jnp.ones(1), plan.validation)
                return {"accuracy": result.accuracy[0], "performance": result.performance[0]}

            return jax.jit(examine, compiler_options=compile_options(MODEST))

        self._programs = {factor: program(factor) for factor in EXAMINED}

    def __call__(
        self, genome: Genome, stream: int, factors: Sequence[int], episodes: int
    ) -> dict[int, dict[str, float]]:
        """Accuracy and performance at each multiple; 0 where the outputs are not finite."""
        key, found = jax.random.fold_in(jax.random.key(self.plan.seed), stream), {}
        for factor in factors:
            own = jax.random.fold_in(key, factor)
            keys = [jax.random.fold_in(own, batch) for batch in range(episodes // self.plan.validation)]
            batches = [jax.device_get(self._programs[factor](one, genome)) for one in keys]
            found[factor] = {
                name: float(np.mean([np.nan_to_num(batch[name]) for batch in batches])) for name in batches[0]
            }
        return found

    def warm_up(self, genome: Genome) -> None:
        """Compile everything, and count it as that."""
        with self.watch.on("compile"):
            self(genome, VALIDATION_STREAM, EXAMINED, self.plan.validation)

    def rank(self, genome: Genome) -> Rank:
        """How good a network is on the validation episodes."""
        scores = self(genome, VALIDATION_STREAM, EXAMINED, self.plan.validation).values()
        return tuple(  # pyright: ignore[reportReturnType]
            float(np.mean([one[name] for one in scores])) for name in (self.plan.what.score, "performance")
        )

    def held_out(self, genome: Genome) -> dict[int, dict[str, float]]:
        """Scores on episodes that chose nothing."""
        with self.watch.on("held out"):
            return self(genome, HELD_OUT_STREAM, EXAMINED, self.plan.held_out)


@dataclass
class Choice:
    """The best network so far by the validation episodes.

    Attributes:
        exam: how networks are ranked; the time of it counts for no contender.
        best: the network, on the host.
        rank: its rank.
        looks: networks that were ranked.
        progress: CPU seconds of work and rank, of each network that became the best.
    """

    exam: Exam
    best: Genome | None = None
    rank: Rank = (-1.0, -1.0)
    looks: int = 0
    progress: list[tuple[float, Rank]] = field(default_factory=list)

    @property
    def final(self) -> bool:
        """Whether no other network can take its place: it made no mistake."""
        return self.rank == (1.0, 1.0)

    def offer(self, genome: Genome) -> Rank:
        """Rank a network, and keep it if it is better than all before."""
        watch = self.exam.watch
        with watch.on("validation"):
            rank = self.exam.rank(genome)
            self.looks += 1
            if rank > self.rank:
                self.best, self.rank = jax.device_get(genome), rank
                self.progress.append((watch["work"], rank))
        return rank
