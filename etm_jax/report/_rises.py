"""Which kinds rose in the population, what they displaced, and whether those that had them were fitter."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from etm_jax.networks.genome._genes import CHOICES
from etm_jax.report._run import LineageRow
from etm_jax.report._section import UNKNOWN, Table, counted, gene_word, value_word

HEAD = (
    "gene",
    "share of the population",
    "displaced",
    "by generation",
    "mean fitness with / without, as it began",
    "mean lead up to that generation",
    "families with it",
)


class Comparison(NamedTuple):
    """Those with a kind against those without, in one generation; only evaluations that did not fail count.

    Attributes:
        generation: its number.
        fitness: the mean fitness with the kind, and without.
        counts: how many individuals each mean is over.
    """

    generation: int
    fitness: tuple[float, float]
    counts: tuple[int, int]

    @property
    def lead(self) -> float:
        """The difference of the means."""
        return self.fitness[0] - self.fitness[1]


class Rise(NamedTuple):
    """A kind whose share of the population is greater at the end than at the start.

    Attributes:
        gene: the gene that chooses it.
        kind: the gene's value.
        shares: at the start and at the end.
        displaced: the shares, at the start and at the end, of the kinds that lost some.
        began: the last generation at which its share was the smallest.
        reached: the first one from there on at which its share was that of the end.
        comparisons: of each generation up to `reached` that had both individuals with it and without.
        families: how many families had it when it began, and at the end.
    """

    gene: str
    kind: int
    shares: tuple[float, float]
    displaced: dict[int, tuple[float, float]]
    began: int
    reached: int
    comparisons: tuple[Comparison, ...]
    families: tuple[int, int]


def shares_of(rows: Sequence[LineageRow], gene: str) -> dict[int, np.ndarray]:
    """The share of the population with each value that a gene has had, by generation."""
    kinds = np.unique(np.concatenate([row.genes[gene] for row in rows]))
    return {int(kind): np.array([np.mean(row.genes[gene] == kind) for row in rows]) for kind in kinds}


def rises(rows: Sequence[LineageRow], families: Mapping[int, int]) -> list[Rise]:
    """Every kind that rose, gene by gene, the greatest rise first; `families` is from `_ancestry.families`."""
    found = []
    for gene in CHOICES:
        with_gene = [row for row in rows if gene in row.genes and len(row.ids)]
        if with_gene:
            found += sorted(_rises_of(gene, with_gene, families), key=lambda rise: rise.shares[0] - rise.shares[1])
    return found


def rises_table(rows: Sequence[LineageRow], families: Mapping[int, int]) -> Table | None:
    """The rises in words and numbers; None where nothing rose."""
    found = rises(rows, families)
    return Table("What rose, and what it displaced", HEAD, tuple(_in_words(rise) for rise in found)) if found else None


def _rises_of(gene: str, rows: Sequence[LineageRow], families: Mapping[int, int]) -> list[Rise]:
    shares = shares_of(rows, gene)
    ends = {kind: (float(values[0]), float(values[-1])) for kind, values in shares.items()}
    found = []
    for kind, (first, last) in ends.items():
        if last <= first:
            continue
        values = shares[kind]
        began = int(np.flatnonzero(values == values.min())[-1])
        reached = began + int(np.flatnonzero(values[began:] >= last)[0])
        # Later individuals without the kind are its mutants: they lack its lifetimes, whatever their kind is worth.
        compared = (_compared(row, row.genes[gene] == kind) for row in rows[: reached + 1])
        having = [_families_with(row, gene, kind, families) for row in rows[began:]]
        found.append(
            Rise(
                gene=gene,
                kind=kind,
                shares=(first, last),
                displaced={other: both for other, both in ends.items() if both[1] < both[0]},
                began=rows[began].generation,
                reached=rows[reached].generation,
                comparisons=tuple(comparison for comparison in compared if comparison is not None),
                families=(next(count for count in having if count), having[-1]),
            )
        )
    return found


def _compared(row: LineageRow, having: np.ndarray) -> Comparison | None:
    ones, others = (row.fitness[which & np.isfinite(row.fitness)] for which in (having, ~having))
    if not (ones.size and others.size):
        return None
    return Comparison(row.generation, (float(ones.mean()), float(others.mean())), (ones.size, others.size))


def _families_with(row: LineageRow, gene: str, kind: int, families: Mapping[int, int]) -> int:
    return len({families[id] for id in row.ids[row.genes[gene] == kind].tolist()})


def _in_words(rise: Rise) -> tuple[str, ...]:
    start = next((one for one in rise.comparisons if one.generation >= rise.began), None)
    leads = [one.lead for one in rise.comparisons]
    ahead = sum(lead > 0 for lead in leads)
    return (
        f"{gene_word(rise.gene)}: {value_word(rise.gene, rise.kind)}",
        _from_to(rise.shares),
        ", ".join(f"{value_word(rise.gene, kind)} {_from_to(both)}" for kind, both in rise.displaced.items()),
        f"{rise.reached:,}",
        UNKNOWN
        if start is None
        else f"{start.fitness[0]:.3f} / {start.fitness[1]:.3f} "
        f"({start.counts[0]} / {start.counts[1]}, generation {start.generation:,})",
        f"{np.mean(leads):+.3f}, ahead in {ahead} of {counted(len(leads), 'generation')}" if leads else UNKNOWN,
        f"{rise.families[0]} → {rise.families[1]}",
    )


def _from_to(shares: tuple[float, float]) -> str:
    return f"{shares[0]:.2f} → {shares[1]:.2f}"
