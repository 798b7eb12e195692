"""Does MAP-Elites here keep what QDax's keeps, and how long does a batch take to come in, beside QDax's?

`python -m bench.quality_diversity --out FILE.json`; `--quick` checks that it works. A planar arm is the problem: angles
are the genome, the place of the hand is the descriptor, and joints that bend alike are fit. Parents are drawn from our
cells; every batch of children goes to our archive and to QDax's repertoire, and after every batch both must hold the
same members in the same cells, or the benchmark stops. QDax is measured where it is installed.
Results: bench/README.md.
"""

# pyright: reportMissingImports=false
# QDax is a peer to measure against, not a dependency.

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._context import context, pin, version
from bench._measure import costs_of, markdown, prepare, save
from etm_jax.evolution import Population
from etm_jax.evolution._archive import empty, take_in
from etm_jax.selection import MapElitesArchive, Scores, UniformSelection

OURS, QDAX = "etm_jax", "QDax"
NOISE = 0.05  # standard deviation of a mutation of an angle, in whole turns
FINER = 16  # lattice points of a descriptor within a cell
FOUND = ("bins", "batches", "coverage", "QD-score", "cells as QDax's")
SPEED = ("cells", "batch", *(f"{name}, ms" for name in (OURS, QDAX)), "QDax's time over ours")


@dataclass(frozen=True)
class Settings:
    """How to run the benchmark.

    Attributes:
        bins: parts of each of the two descriptors, one archive for each number.
        batch_sizes: children that come in at once; the first is that of the comparison.
        joints: of the arm.
        batches: that the comparison runs for.
        rounds: timed rounds.
        threads: cores to use.
        quick: few batches, one archive.
        out: JSON file for the figures.
    """

    bins: tuple[int, ...] = (10, 32)
    batch_sizes: tuple[int, ...] = (256, 4096)
    joints: int = 64
    batches: int = 200
    rounds: int = 5
    threads: int = 1
    quick: bool = False
    out: Path | None = None


def judged(angles: Float[Array, "batch joint"], bins: int) -> Scores:
    """How alike the joints bend, in (0, 1], and where the hand is, in the square around its reach.

    The places are those of a lattice that has no point on an edge between cells: there the two would round differently.
    """
    turned = 2 * jnp.pi * jnp.cumsum(angles - 0.5, axis=1)
    hand = jnp.stack([jnp.mean(jnp.cos(turned), axis=1), jnp.mean(jnp.sin(turned), axis=1)], axis=1)
    place = (jnp.clip(jnp.floor((hand + 1) / 2 * bins * FINER), 0, bins * FINER - 1) + 0.5) / (bins * FINER)
    fitness = 1 / (1 + jnp.std(angles, axis=1))
    alive = jnp.ones(fitness.shape, bool)
    return Scores(fitness, alive, descriptors=place, age=jnp.zeros(fitness.shape, int))


def population_of(angles: Float[Array, "batch joint"], bins: int) -> Population:
    """A batch as the engine hands it to an archive."""
    size = angles.shape[0]
    ids = jnp.arange(size)
    return Population(angles, judged(angles, bins), ids, jnp.stack([ids, ids], axis=1), jnp.array(size))


def children(key: Array, kept: Population, bins: int, batch_size: int) -> Population:
    """A batch of mutants of members drawn uniformly from the cells. The key is consumed."""
    key_select, key_noise = jax.random.split(key)
    parents = UniformSelection()(key_select, replace(kept.scores, places=batch_size)).parents[:, 0]
    angles = kept.genomes[parents]
    noise = NOISE * jax.random.normal(key_noise, angles.shape)
    return population_of(jnp.clip(angles + noise, 0, 1), bins)


def first_batch(settings: Settings, bins: int, batch_size: int) -> Population:
    """Random arms."""
    return population_of(jax.random.uniform(jax.random.key(0), (batch_size, settings.joints)), bins)


def qdax_repertoire(bins: int, joints: int) -> Any:
    """QDax's, empty, with the centres of the same cells."""
    from qdax.core.containers.mapelites_repertoire import MapElitesRepertoire, compute_euclidean_centroids

    return MapElitesRepertoire.init_default(
        genotype=jnp.zeros(joints), centroids=compute_euclidean_centroids((bins, bins), 0.0, 1.0)
    )


def qdax_add(repertoire: Any, batch: Population) -> Any:
    """QDax's insertion."""
    with jax.numpy_rank_promotion("allow"):
        return repertoire.add(batch.genomes, batch.scores.descriptors, batch.fitness)


def compare(settings: Settings, bins: int, peer: bool) -> dict[str, Any]:
    """Feed both the same batches; coverage and QD-score after each.

    Raises:
        AssertionError: coverage or QD-score fell, or the two do not hold the same.
    """
    archive, batch_size = MapElitesArchive(num_descriptors=2, bins=bins), settings.batch_sizes[0]
    admit = jax.jit(lambda key, kept, batch: take_in(archive, key, kept, batch))
    breed = jax.jit(lambda key, kept: children(key, kept, bins, batch_size))
    add = jax.jit(qdax_add)
    batch = first_batch(settings, bins, batch_size)
    kept, curve = empty(archive, batch), []
    theirs = qdax_repertoire(bins, settings.joints) if peer else None
    for key in jax.random.split(jax.random.key(1), settings.batches):
        key_admit, key_breed = jax.random.split(key)
        kept = admit(key_admit, kept, batch)
        curve.append(archive.summary(archive.record(kept.scores)))
        if peer:
            theirs = add(theirs, batch)
            check_same(archive, kept, theirs, curve[-1])
        batch = breed(key_breed, kept)
    for name in ("coverage", "qd_score"):
        assert np.all(np.diff([row[name] for row in curve]) >= 0), f"{name} fell with {bins} bins"
    return {"bins": bins, "batch_size": batch_size, "same": peer, "curve": curve}


def check_same(archive: MapElitesArchive, kept: Population, theirs: Any, ours: dict[str, float]) -> None:
    """Hold the two beside each other, cell by cell.

    Raises:
        AssertionError: they differ.
    """
    from qdax.utils.metrics import default_qd_metrics

    cells = np.asarray(archive.cell_of(theirs.centroids))  # QDax numbers them in another order
    mine = [np.asarray(leaf)[cells] for leaf in (kept.alive, kept.fitness, kept.genomes)]
    fitness, genomes = np.asarray(theirs.fitnesses)[:, 0], np.asarray(theirs.genotypes)
    taken = mine[0]
    np.testing.assert_array_equal(taken, np.isfinite(fitness))
    np.testing.assert_array_equal(mine[1][taken], fitness[taken])
    np.testing.assert_array_equal(mine[2][taken], genomes[taken])
    metrics = default_qd_metrics(theirs, qd_offset=0.0)
    np.testing.assert_allclose(ours["coverage"], metrics["coverage"] / 100, rtol=1e-5)
    np.testing.assert_allclose(ours["qd_score"], metrics["qd_score"], rtol=1e-5)


def speed(settings: Settings, bins: int, batch_size: int, peer: bool) -> dict[str, Any]:
    """Seconds that a batch takes to come in, where others have come before."""
    archive = MapElitesArchive(num_descriptors=2, bins=bins)
    batch = first_batch(settings, bins, batch_size)
    kept = take_in(archive, jax.random.key(0), empty(archive, batch), batch)
    newcomers = children(jax.random.key(1), kept, bins, batch_size)
    programs = {OURS: prepare(lambda kept, new: take_in(archive, jax.random.key(2), kept, new), kept, newcomers)}
    if peer:
        add: Callable[[Any, Population], Any] = qdax_add
        programs[QDAX] = prepare(add, add(qdax_repertoire(bins, settings.joints), batch), newcomers)
    costs = dict(zip(programs, costs_of(list(programs.values()), settings.rounds), strict=True))
    return {"cells": archive.num_places, "batch": batch_size} | {name: asdict(cost) for name, cost in costs.items()}


def found_line(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the first table."""
    last = row["curve"][-1]
    same = "all, after every batch" if row["same"] else "not compared"
    return (str(row["bins"]), str(len(row["curve"])), f"{last['coverage']:.3f}", f"{last['qd_score']:.1f}", same)


def speed_line(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the second table."""
    seconds = [row[name]["seconds"] if name in row else None for name in (OURS, QDAX)]
    shown = ["" if one is None else f"{1e3 * one:.3g}" for one in seconds]
    ratio = "" if seconds[0] is None or seconds[1] is None else f"{seconds[1] / seconds[0]:.2f}x"
    return (str(row["cells"]), str(row["batch"]), *shown, ratio)


def main(settings: Settings) -> None:
    """Compare, time, print, save."""
    pin(settings.threads)
    if settings.quick:
        settings = replace(settings, bins=(4,), batch_sizes=(16,), joints=3, batches=5, rounds=1)
    where, peer = context() | {"qdax": version("qdax")}, importlib.util.find_spec("qdax") is not None
    found = [compare(settings, bins, peer) for bins in settings.bins]
    times = [speed(settings, bins, size, peer) for bins in settings.bins for size in settings.batch_sizes]
    print(f"{where}\nseconds are CPU seconds on a CPU, wall seconds elsewhere\n")
    print(markdown(FOUND, [found_line(row) for row in found]))
    print(f"\n{markdown(SPEED, [speed_line(row) for row in times])}")
    if not peer:
        print("\nQDax is not installed, so our figures stand alone; pip install 'etm-jax[bench]'")
    save(settings, context=where, found=found, speed=times)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
