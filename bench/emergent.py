"""How many genomes of the automaton EM-43 run in a second, packed into bits and cell by cell?

`python -m bench.emergent --out FILE.json`; `--quick` checks that it works. Results: bench/README.md.
"""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._context import context, pin
from bench._measure import Program, costs_of, markdown, prepare, save
from etm_jax.automata import EM43, random_genome

TARGET = 1000  # genomes a second, on one core
PACKED, GATHER = "packed into bits, open genomes only", "a gather for each cell, every genome to its end"
HEADINGS = ("form", "genomes", "genomes/s", "ns a cell and step, all steps", "compile s")


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        genomes: random ones.
        length: cells of a programme.
        inputs: every genome runs on 1 to this.
        window: cells of a tape.
        max_steps: after so many steps a tape counts as one that does not halt.
        batch_size: genomes that are computed together.
        rounds: timed rounds.
        threads: cores to use.
        quick: few genomes, inputs and steps.
        out: JSON file for the figures.
    """

    genomes: int = 1000
    length: int = 32
    inputs: int = 30
    window: int = 200
    max_steps: int = 800
    batch_size: int = 64
    rounds: int = 3
    threads: int = 1
    quick: bool = False
    out: Path | None = None


def forms(settings: Settings) -> tuple[dict[str, Program], float]:
    """Both forms, compiled, and the share of tapes that halt; their outputs and steps are the same, or it ends here."""
    keys = jax.random.split(jax.random.key(0), settings.genomes)
    rules, programmes = jax.vmap(lambda key: random_genome(key, settings.length))(keys)
    em, inputs = EM43(settings.window, settings.max_steps), jnp.arange(1, settings.inputs + 1)

    def packed(rules: jax.Array, programmes: jax.Array) -> tuple[jax.Array, ...]:
        return em.run_population(rules, programmes, inputs, settings.batch_size)[:3]

    def gather(rules: jax.Array, programmes: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(jax.vmap(lambda rule, programme: em.run(rule, programme, inputs))(rules, programmes))

    programs = {name: prepare(form, rules, programmes) for name, form in ((PACKED, packed), (GATHER, gather))}
    answers = [jax.jit(form)(rules, programmes) for form in (packed, gather)]
    for have, want in zip(*answers, strict=True):
        np.testing.assert_array_equal(have, want)
    return programs, float(answers[0][2].mean())


def main(settings: Settings) -> None:
    """Measure, print, save."""
    pin(settings.threads)
    if settings.quick:
        settings = replace(settings, genomes=40, length=8, inputs=4, window=64, max_steps=60, rounds=1)
    where = context()
    programs, halting = forms(settings)
    costs = dict(zip(programs, costs_of(list(programs.values()), settings.rounds), strict=True))
    steps = settings.genomes * settings.inputs * settings.window * settings.max_steps
    rows = [
        {"name": name, "genomes_per_s": settings.genomes / cost.seconds, "ns": cost.seconds / steps * 1e9}
        | asdict(cost)
        for name, cost in costs.items()
    ]
    lines = [
        (
            row["name"],
            str(settings.genomes),
            f"{row['genomes_per_s']:.0f}",
            f"{row['ns']:.3f}",
            f"{row['compile_s']:.1f}",
        )
        for row in rows
    ]
    print(f"{where}\n{halting:.3f} of the tapes halt; outputs and steps of both forms are the same\n")
    print(markdown(HEADINGS, lines), end="\n\n")
    reached = "reached" if rows[0]["genomes_per_s"] >= TARGET else "missed"
    print(f"target {TARGET} genomes/s: {reached}")
    save(settings, context=where, target=TARGET, halting=halting, forms=rows)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
