"""How many CPU seconds does a network of Graves' shape take to learn to copy, beside pytorch-ntm's recipe?

`python -m bench.pytorch_ntm --out FILE.json`; `--quick` checks in a minute that it works. Results: bench/README.md.
The file is written after every run, and the runs that it holds are not done again: more forms and seeds can be added.
"""

# pyright: reportMissingImports=false
# PyTorch is a peer to measure against, not a dependency.

import functools
import importlib.util
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))

import etm_tasks
from bench._context import context, pin
from bench._measure import in_fresh_process, markdown
from etm_jax._compiling import compile_options
from etm_jax.networks import apply
from etm_jax.networks.native import why_not
from etm_jax.task import CurriculumConfig, Episode, TaskSuite, bits_right, clean_inputs, sequences_right
from etm_jax.training import NetworkConfig, TrainConfig, make_training, network_of
from etm_jax.training._chunk import chunk, init

ETM_JAX, PUBLISHED, OUR_RECIPE = "etm_jax.train", "pytorch-ntm", "pytorch-ntm's network, our recipe"
BITS, MAX_LENGTH, TINY_LENGTH = 8, 20, 2
GRAVES = NetworkConfig(num_slots=128, slot_width=20, controller_size=100)
TINY = NetworkConfig(num_slots=5, slot_width=3, controller_size=4)
BATCH_SIZE, LEARNING_RATE, CLIP_NORM = 16, 3e-3, 1.0  # our recipe, the defaults of `etm_jax.train`
HELD_OUT_KEY = 2**31 - 3  # of the episodes that all networks are examined on; no training draws from it
EXAMINED = ("wanted", "look", "held_out", "quick")  # settings that the runs of one file share
HEADINGS = ("form", "seed", "sequences", "CPU s", "CPU s, 99% of bits", "compile s", "sequences right", "bits right")


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        forms: what learns.
        seeds: of weights and episodes, a run each.
        wanted: share of held-out sequences that must be right in every bit.
        look: training sequences between two looks at the held-out episodes.
        held_out: episodes that every network is examined on; the time of a look counts for none.
        most_s: CPU seconds after which a run gives up.
        quick: tiny networks, three looks.
        out: JSON file for the figures.
    """

    forms: tuple[str, ...] = (ETM_JAX, PUBLISHED, OUR_RECIPE)
    seeds: tuple[int, ...] = (1, 2, 3)
    wanted: float = 0.99
    look: int = 1600
    held_out: int = 1000
    most_s: float = 1800.0
    quick: bool = False
    out: Path | None = None

    @property
    def network(self) -> NetworkConfig:
        """The shape of all networks."""
        return TINY if self.quick else GRAVES

    @property
    def task(self) -> etm_tasks.Copy:
        """What all of them learn: 1 to 20 vectors."""
        return etm_tasks.Copy(BITS, max_length=TINY_LENGTH if self.quick else MAX_LENGTH)


@dataclass(frozen=True)
class Learner:
    """A network that learns.

    Attributes:
        learn: learns from the next `look` sequences.
        answer: its logits for inputs.
        compile_s: CPU seconds of tracing and compiling.
    """

    learn: Callable[[], None]
    answer: Callable[[jax.Array], Any]
    compile_s: float = 0.0


def by_etm_jax(settings: Settings, seed: int) -> Learner:
    """What `etm_jax.train` does between two looks of its own, which are part of it, with the native kernel."""
    config = TrainConfig(
        seed=seed,
        steps=10**9,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        clip_norm=CLIP_NORM,
        steps_per_chunk=settings.look // BATCH_SIZE,
        network=settings.network,
        curriculum=CurriculumConfig(start=1.0),
        native="on",
    )
    training = make_training(config, TaskSuite((settings.task,), (1.0,)))
    if reason := why_not(training.bounds.spec):
        raise SystemExit(f"there is no native kernel: {reason}")
    state = jax.jit(init, static_argnums=0)(training, jax.random.key(seed))
    start, last = time.process_time(), jnp.asarray(config.steps, jnp.int32)
    lowered = jax.jit(functools.partial(chunk, training), donate_argnums=0).lower(state, last)
    compiled = lowered.compile(compiler_options=compile_options(math.inf))
    compile_s = time.process_time() - start
    run = jax.jit(functools.partial(apply, bounds=training.bounds, native=True))

    def learn() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(compiled(state, last))

    return Learner(learn, lambda inputs: run(network_of(state), inputs), compile_s)


def by_pytorch(settings: Settings, seed: int, published: bool) -> Learner:
    """pytorch-ntm's network, by its recipe (RMSprop, one sequence a step) or by ours (Adam, 16 sequences)."""
    import torch

    from bench._published_ntm import PublishedNTM

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    draws, task, shape = np.random.default_rng(seed), settings.task, settings.network
    network = PublishedNTM(task.input_size, task.output_size, shape.num_slots, shape.slot_width, shape.controller_size)
    parameters = list(network.parameters())
    if published:
        batch_size = 1
        optimiser = torch.optim.RMSprop(parameters, lr=1e-4, alpha=0.95, momentum=0.9)
        clip = functools.partial(torch.nn.utils.clip_grad_value_, parameters, 10.0)
    else:
        batch_size = BATCH_SIZE
        optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
        clip = functools.partial(torch.nn.utils.clip_grad_norm_, parameters, CLIP_NORM)

    def learn() -> None:
        for _ in range(settings.look // batch_size):
            length = int(draws.integers(task.min_length, task.max_length, endpoint=True))
            bits = torch.from_numpy(draws.integers(0, 2, (batch_size, length, BITS)).astype(np.float32))
            inputs = torch.zeros(batch_size, 2 * length + 1, task.input_size)
            inputs[:, :length, :BITS] = bits
            inputs[:, length, BITS] = 1
            optimiser.zero_grad()
            logits = network(inputs)[:, length + 1 :]
            torch.nn.functional.binary_cross_entropy_with_logits(logits, bits).backward()
            clip()
            optimiser.step()

    def answer(inputs: jax.Array) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(np.array(inputs))).numpy()

    return Learner(learn, answer)


LEARNERS: dict[str, Callable[[Settings, int], Learner]] = {
    ETM_JAX: by_etm_jax,
    PUBLISHED: functools.partial(by_pytorch, published=True),
    OUR_RECIPE: functools.partial(by_pytorch, published=False),
}


def measure(settings: Settings, form: str, seed: int) -> dict[str, Any]:
    """Learn until enough held-out sequences are right, or too many seconds have passed. For a process of its own."""
    pin(1)
    episode = settings.task.sample(jax.random.key(HELD_OUT_KEY), settings.held_out)
    learner = LEARNERS[form](settings, seed)
    looks: list[dict[str, float]] = []
    spent = 0.0
    while spent < settings.most_s:
        start = time.process_time()
        learner.learn()
        spent += time.process_time() - start
        looks.append({"sequences": settings.look * (len(looks) + 1), "cpu_s": spent, **exam(learner, episode)})
        print(f"{form}, seed {seed}: {looks[-1]}", flush=True)
        if looks[-1]["sequences_right"] >= settings.wanted or (settings.quick and len(looks) == 3):
            break
    return {"form": form, "seed": seed, "compile_s": learner.compile_s, "looks": looks}


def exam(learner: Learner, episode: Episode) -> dict[str, float]:
    """Shares of the held-out bits that are right, and of the sequences that are right in every bit."""
    logits = jnp.asarray(learner.answer(clean_inputs(episode)))
    return {
        "bits_right": float(bits_right(logits, episode)),
        "sequences_right": float(sequences_right(logits, episode)),
    }


def first_at(run: dict[str, Any], share: str, wanted: float) -> dict[str, float] | None:
    """The first look at which so much was right; None where there was none."""
    return next((look for look in run["looks"] if look[share] >= wanted), None)


def line(run: dict[str, Any], wanted: float) -> tuple[str, ...]:
    """One line of the table."""
    last, solved, bits = run["looks"][-1], *(first_at(run, f"{what}_right", wanted) for what in ("sequences", "bits"))
    unsolved = f"not reached in {last['cpu_s']:.0f}"
    return (
        run["form"],
        str(run["seed"]),
        f"{last['sequences']:,}",
        f"{solved['cpu_s']:.1f}" if solved else unsolved,
        f"{bits['cpu_s']:.1f}" if bits else unsolved,
        f"{run['compile_s']:.1f}",
        f"{last['sequences_right']:.3f}",
        f"{last['bits_right']:.4f}",
    )


def sentence(form: str, runs: list[dict[str, Any]], wanted: float) -> str:
    """The seeds of one form in a sentence."""
    found = [look["cpu_s"] for run in runs if (look := first_at(run, "sequences_right", wanted))]
    median = f", median {statistics.median(found):.1f} CPU s" if found else ""
    return f"{form}: {len(found)} of {len(runs)} seeds reach {wanted:.0%} of the sequences{median}"


def saved(settings: Settings) -> list[dict[str, Any]]:
    """The runs that the file holds; none where there is no file.

    Raises:
        SystemExit: they were examined in another way.
    """
    if not settings.out or not settings.out.exists():
        return []
    found = json.loads(settings.out.read_text())
    for name in EXAMINED:
        if found["settings"][name] != getattr(settings, name):
            theirs = found["settings"][name]
            raise SystemExit(f"{settings.out} has runs with {name} {theirs}, not {getattr(settings, name)}; move it")
    return found["runs"]


def main(settings: Settings) -> None:
    """Train every form with every seed, then print what it took; save it after every run."""
    if settings.quick:
        settings = replace(settings, seeds=settings.seeds[:1], look=32, held_out=20)
    if unknown := [form for form in settings.forms if form not in LEARNERS]:
        raise SystemExit(f"unknown forms {', '.join(unknown)}; there are {', '.join(LEARNERS)}")
    forms = settings.forms
    if not importlib.util.find_spec("torch"):
        print("PyTorch is not installed, so nothing is compared with it; pip install 'etm-jax[bench]'")
        forms = tuple(form for form in forms if form == ETM_JAX)
    runs = saved(settings)
    known = {(run["form"], run["seed"]) for run in runs}
    for seed in settings.seeds:
        for form in forms:
            if (form, seed) in known:
                continue
            runs.append(in_fresh_process(measure, settings, form, seed))
            if settings.out:
                shown = {name: value for name, value in vars(settings).items() if name != "out"}
                figures = {"settings": shown, "context": context(), "runs": runs}
                settings.out.write_text(json.dumps(figures, indent=2) + "\n")
    pin(1)
    print(context())
    print(markdown(HEADINGS, [line(run, settings.wanted) for run in runs]), end="\n\n")
    for form in forms:
        print(sentence(form, [run for run in runs if run["form"] == form], settings.wanted))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
