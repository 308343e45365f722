"""Selection in two rounds: a selector runs on each partition of a pool, and then on the union of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from curate.kernels.submodular.two_rounds import compose_representatives
from curate.kernels.types import Numbers, Rows
from curate.plugins.batches import Pool
from curate.plugins.results import Selection


@dataclass(frozen=True, slots=True)
class PartSelection:
    """Selection of the first round from one partition."""

    rows: Rows
    """Rows of the partition in the pool (m,), ascending."""

    selection: Selection
    """Selection from the sub-pool of these rows, whose row i is ``rows[i]``."""

    @property
    def selected(self) -> Rows:
        """Selected rows of the pool, best first."""
        selected: Rows = self.rows[self.selection.indices]
        return selected


class TwoRoundSelector(Protocol):
    """Selector whose two rounds a driver can run as tasks: one for each partition, then one for the union.

    The driver calls the methods in this order, and ``combine`` last. Its generators are ``rng`` for ``partition``, and
    ``rng.spawn(p + 1)`` of the same one afterwards for the p partitions and, last, for ``merge``.
    """

    def partition(self, pool_size: int, rng: np.random.Generator) -> tuple[Rows, ...] | None:
        """Return the ascending rows of each partition, none of them empty; None to select from the pool at once."""

    def select_part(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return a selection of exactly ``budget`` rows of the sub-pool of one partition."""

    def merge(self, pool: Pool, parts: Sequence[PartSelection], budget: int, rng: np.random.Generator) -> Selection:
        """Return a selection of exactly ``budget`` rows of the union, the sub-pool of ``union_rows(parts)``."""


def union_rows(parts: Sequence[PartSelection]) -> Rows:
    """Return the rows of the pool that the first round selected, ascending."""
    return np.sort(np.concatenate([np.empty(0, np.intp), *(part.selected for part in parts)]))


def union_answers(parts: Sequence[PartSelection]) -> list[Rows]:
    """Return the selection of each partition as rows of the union, best first."""
    union = union_rows(parts)
    return [np.searchsorted(union, part.selected) for part in parts]


def represented_rows(parts: Sequence[PartSelection]) -> Numbers:
    """Count the rows of the pool that each row of the union represents in the first round, itself included.

    Returns
    -------
    (u,) float64, at least 1; their sum is the number of rows of the pool that are in the union or represented by it
    """
    union = union_rows(parts)
    counts = np.ones(len(union))
    for part in parts:
        if part.selection.representative is not None:
            representative = part.selection.representative
            nearest = part.rows[representative[representative >= 0]]
            counts += np.bincount(np.searchsorted(union, nearest), minlength=len(union))
    return counts


def combine(pool: Pool, parts: Sequence[PartSelection], merged: Selection) -> Selection:
    """Return the selection from the pool that results from both rounds.

    A dropped row is represented through its representative in its partition, if the cosine is above 0.

    Parameters
    ----------
    pool : all rows
    parts : selections of the first round
    merged : selection of the second round, from the sub-pool of ``union_rows(parts)``
    """
    union = union_rows(parts)
    indices = union[merged.indices]
    if merged.representative is None:
        return replace(merged, indices=indices)
    first, second = np.full(len(pool), -1, np.intp), np.full(len(pool), -1, np.intp)
    for part in parts:
        representative = part.selection.representative
        if representative is not None:
            first[part.rows] = np.where(representative < 0, -1, part.rows[representative])
    first[union] = union
    second[union] = np.where(merged.representative < 0, -1, union[merged.representative])
    nearest, similarity = compose_representatives(pool.embeddings, first, second, indices)
    return replace(merged, indices=indices, representative=nearest, similarity=similarity)


def select_in_two_rounds(
    selector: TwoRoundSelector,
    pool: Pool,
    partitions: Sequence[Rows],
    budget: int,
    rng: np.random.Generator,
) -> Selection:
    """Run both rounds in this process.

    Parameters
    ----------
    selector : selector that runs in each round
    pool : rows to select from
    partitions : rows of each partition, as ``selector.partition`` returned them
    budget : number of rows to keep, in each partition and in all
    rng : random generator
    """
    *part_rngs, merge_rng = rng.spawn(len(partitions) + 1)
    parts = [
        PartSelection(rows, selector.select_part(pool.take(rows), min(budget, len(rows)), part_rng))
        for rows, part_rng in zip(partitions, part_rngs, strict=True)
    ]
    merged = selector.merge(pool.take(union_rows(parts)), parts, budget, merge_rng)
    return combine(pool, parts, merged)
