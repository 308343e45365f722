"""Row counts of a step: how many rows it read, kept, dropped and quarantined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """Row counts of one step, where rows in = kept + dropped + quarantined."""

    rows_in: int = 0
    kept: int = 0
    dropped: int = 0
    quarantined: int = 0

    def __sub__(self, other: Count) -> Count:
        return Count(
            self.rows_in - other.rows_in,
            self.kept - other.kept,
            self.dropped - other.dropped,
            self.quarantined - other.quarantined,
        )

    def is_balanced(self) -> bool:
        """Return whether every row is accounted for."""
        return self.rows_in == self.kept + self.dropped + self.quarantined


def sum_counts(counts: Iterable[Count]) -> Count:
    """Return the sum of the counts of several sources.

    >>> sum_counts([Count(9, 8, 1), Count(2, 2)])
    Count(rows_in=11, kept=10, dropped=1, quarantined=0)
    """
    total = [0, 0, 0, 0]
    for count in counts:
        total[0] += count.rows_in
        total[1] += count.kept
        total[2] += count.dropped
        total[3] += count.quarantined
    return Count(*total)


def chain_counts(counts: Sequence[Count]) -> Count:
    """Return the count of several stages, each of which reads the rows that the previous one kept.

    >>> chain_counts([Count(9, 8, quarantined=1), Count(8, 5, dropped=3)])
    Count(rows_in=9, kept=5, dropped=3, quarantined=1)
    """
    total = sum_counts(counts)
    return Count(counts[0].rows_in, counts[-1].kept, total.dropped, total.quarantined)
