"""Number of rows that each threshold of a deduplication would keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.types import Numbers, Rows, Vector

THRESHOLDS: Numbers = np.arange(101) / 100


@dataclass(frozen=True, slots=True)
class RecallSample:
    """Pairs missed by an approximate comparison, measured on a sample of rows compared with all others."""

    rows: int
    """Number of rows in the sample."""

    pairs: int
    """Number of pairs with a sampled row that reach the threshold."""

    missed: int
    """Number of those pairs that were not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionCurve:
    """Number of rows that each threshold of a deduplicating selector would keep."""

    similarity: str
    """Name of the similarity, such as "cosine similarity"."""

    threshold: float
    """Threshold in use, in [-1, 1]."""

    rows: int
    """Number of rows that reached the selector."""

    kept: tuple[int, ...]
    """Number of rows kept at the thresholds 0, 0.01, …, 1, (101,): rows with no earlier row of that similarity."""

    compared_rates: tuple[float, ...] = ()
    """Probability that two rows of a similarity are compared, shape (101,); empty if all rows are, or if sampled."""

    sample: RecallSample | None = None
    """Measured number of missed pairs, if a sample was taken."""

    def __post_init__(self) -> None:
        n = len(THRESHOLDS)
        if len(self.kept) != n or len(self.compared_rates) not in (0, n) or not -1 <= self.threshold <= 1:
            raise ValueError(
                "kept and compared_rates need one entry per threshold 0, 0.01, …, 1, and threshold must be in [-1, 1]"
            )


@dataclass(frozen=True, slots=True)
class Retention:
    """Similarities that a deduplicating selector computed."""

    similarity: str
    """Name of the similarity, such as "cosine similarity"."""

    threshold: float
    """Similarity from which two rows count as duplicates."""

    nearest: Vector
    """Similarity of each row to the most similar earlier row it was compared with, (n,); -1 if there is none."""

    compared_rates: tuple[float, ...] = ()
    """Probability that two rows are compared, by similarity at ``THRESHOLDS``; empty if all are, or if sampled."""

    sample: RecallSample | None = None
    """Measured number of missed pairs, if a sample was taken."""

    def kept(self) -> list[int]:
        """Count the rows that each of ``THRESHOLDS`` would keep: rows with no earlier row of that similarity.

        Examples
        --------
        >>> Retention("cosine similarity", 0.9, np.array([-1, 0.95, 0.5], np.float32)).kept()[50::45]
        [1, 2]
        """
        kept: list[int] = np.searchsorted(np.sort(self.nearest), THRESHOLDS - ROUNDING).tolist()
        return kept

    def curve(self) -> RetentionCurve:
        """Return the number of rows kept by threshold, without the similarities of the rows."""
        return RetentionCurve(
            similarity=self.similarity,
            threshold=self.threshold,
            rows=len(self.nearest),
            kept=tuple(self.kept()),
            compared_rates=self.compared_rates,
            sample=self.sample,
        )


def merge_retention(n_rows: int, groups: Sequence[Rows], retentions: Sequence[Retention | None]) -> Retention | None:
    """Combine the retention of groups into that of the pool; None if a group has none.

    Parameters
    ----------
    n_rows : number of rows in the pool
    groups : row indices of each group
    retentions : retention of each group
    """
    nearest = np.full(n_rows, -1, np.float32)
    for group, retention in zip(groups, retentions, strict=True):
        if retention is None:
            return None
        nearest[group] = retention.nearest
    if not retentions or retentions[0] is None:
        return None
    samples = [retention.sample for retention in retentions if retention is not None and retention.sample is not None]
    totals = [sum(counts) for counts in zip(*(astuple(sample) for sample in samples), strict=True)]
    return replace(retentions[0], nearest=nearest, sample=RecallSample(*totals) if samples else None)
