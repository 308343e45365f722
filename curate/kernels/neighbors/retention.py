"""How many rows each threshold of a de-duplication would keep, so that one can be chosen by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.types import Numbers, Rows, Vector

THRESHOLDS: Numbers = np.arange(101) / 100


@dataclass(frozen=True, slots=True)
class RecallSample:
    """Rows that were compared with all others, to tell what is missed where rows are compared with some."""

    rows: int

    pairs: int
    """Those that these rows are in, at least as similar as the threshold."""

    missed: int
    """Of the pairs, those that were not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionCurve:
    """Number of rows that each threshold of a de-duplicating entry would keep."""

    similarity: str
    """Name of the similarity, such as "cosine similarity"."""

    threshold: float
    """The one in use, in [-1, 1]."""

    rows: int
    """Number of rows that reached the entry."""

    kept: tuple[int, ...]
    """(101,) at 0, 0.01, …, 1: rows that no row before them is as similar to."""

    found: tuple[float, ...] = ()
    """(101,) probability with which two rows of each similarity are compared; empty if all are, or if it was
    measured."""

    sample: RecallSample | None = None
    """What is missed, where it was measured."""

    def __post_init__(self) -> None:
        n = len(THRESHOLDS)
        if len(self.kept) != n or len(self.found) not in (0, n) or not -1 <= self.threshold <= 1:
            raise ValueError("thresholds are those from 0 to 1 in steps of 0.01")


@dataclass(frozen=True, slots=True)
class Retention:
    """What a de-duplicating selector saw of the rows' similarities."""

    similarity: str
    """Which it is, as in "cosine similarity"."""

    threshold: float
    """From which two rows counted as duplicates."""

    nearest: Vector
    """(n,) of each row to the most similar of the rows before it that it was compared with; -1 where there is none."""

    found: tuple[float, ...] = ()
    """The probability with which two rows of each similarity in ``THRESHOLDS`` are compared; () if all are, or if a
    sample tells."""

    sample: RecallSample | None = None
    """What is missed, where it was measured."""

    def kept(self) -> list[int]:
        """Rows that no row before them is as similar to as each of ``THRESHOLDS``.

        >>> Retention("cosine similarity", 0.9, np.array([-1, 0.95, 0.5], np.float32)).kept()[50::45]
        [1, 2]
        """
        kept: list[int] = np.searchsorted(np.sort(self.nearest), THRESHOLDS - ROUNDING).tolist()
        return kept

    def curve(self) -> RetentionCurve:
        """Return the number of rows kept by threshold, without the rows."""
        return RetentionCurve(
            similarity=self.similarity,
            threshold=self.threshold,
            rows=len(self.nearest),
            kept=tuple(self.kept()),
            found=self.found,
            sample=self.sample,
        )


def merge_retention(n: int, groups: Sequence[Rows], parts: Sequence[Retention | None]) -> Retention | None:
    """That of the whole pool of n rows, of which each group was looked at alone; None if one has none."""
    nearest = np.full(n, -1, np.float32)
    for group, part in zip(groups, parts, strict=True):
        if part is None:
            return None
        nearest[group] = part.nearest
    if not parts or parts[0] is None:
        return None
    samples = [part.sample for part in parts if part is not None and part.sample is not None]
    together = [sum(counts) for counts in zip(*(astuple(sample) for sample in samples), strict=True)]
    return replace(parts[0], nearest=nearest, sample=RecallSample(*together) if samples else None)
