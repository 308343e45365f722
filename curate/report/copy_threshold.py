"""Calibration of the cosine similarity that separates near-duplicates from other neighbors, for an embedder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Vector

DEFAULT = 0.95
"""Threshold for pools with too few copies for a calibration."""

FEWEST = 20
"""Minimum number of pairs of copies, and of other pairs, for a calibration."""

OVERLAP = 0.7
"""Jaccard similarity of the character 4-grams of two texts at which they count as copies of each other."""

_LENGTH = 4
_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyThreshold:
    """Cosine similarity at which two rows count as near-duplicates."""

    similarity: float = DEFAULT
    pairs: int = 0
    """Number of pairs of neighboring rows whose texts were compared."""

    copies: int = 0
    """Number of these pairs whose texts are copies of each other."""

    agreement: float = 0.0
    """F1 score of the threshold as a classifier of these copies; 0 for the default threshold."""

    @property
    def calibrated(self) -> bool:
        """Whether the threshold was fitted to the pool."""
        return self.agreement > 0


def calibrate(similarities: Vector, pairs: Sequence[tuple[str, str]]) -> CopyThreshold:
    """Return the similarity that best separates copies from other neighbors.

    Parameters
    ----------
    similarities : ndarray of float32 of shape (m,)
        Cosine similarity of each pair.
    pairs : sequence of m pairs of str
        Texts of the rows of each pair.

    Returns
    -------
    CopyThreshold
        Similarity with the highest F1 score as a classifier of pairs that share ``OVERLAP`` of their character
        4-grams, the highest one in case of ties. ``DEFAULT`` with fewer than ``FEWEST`` copies or other pairs.

    Examples
    --------
    >>> same, other = ("one and the same text", "one and the same text."), ("one text", "something else")
    >>> found = calibrate(np.repeat(np.float32([0.875, 0.5]), 20), [same] * 20 + [other] * 20)
    >>> found.similarity, found.copies, found.agreement
    (0.875, 20, 1.0)
    """
    is_copy = np.array([overlap(one, other) >= OVERLAP for one, other in pairs], np.bool_)
    copies = int(is_copy.sum())
    if min(copies, len(pairs) - copies) < FEWEST:
        return CopyThreshold(pairs=len(pairs), copies=copies)
    order = np.argsort(-similarities, kind="stable")
    descending = similarities[order]
    n_found = np.arange(1, len(order) + 1)
    f1 = 2 * np.cumsum(is_copy[order]) / (n_found + copies)
    f1[:-1][descending[:-1] == descending[1:]] = 0  # pairs with equal similarity are on the same side of a threshold
    best = int(f1.argmax())
    similarity = (
        np.floor(float(descending[best]) * 1000 + 1e-3) / 1000
    )  # as it is written; rounded down, it keeps the pair
    return CopyThreshold(
        similarity=float(similarity), pairs=len(pairs), copies=copies, agreement=round(float(f1[best]), 6)
    )


def overlap(one: str, other: str) -> float:
    """Return the Jaccard similarity of the character 4-grams of two texts, ignoring case and amounts of white space.

    >>> overlap("a  Copy", "A copy"), overlap("abcd", "efgh")
    (1.0, 0.0)
    """
    first, second = _grams(one), _grams(other)
    return len(first & second) / len(first | second)


def _grams(text: str) -> set[str]:
    plain = " ".join(text[:_CHARACTERS].lower().split())
    return {plain[start : start + _LENGTH] for start in range(max(1, len(plain) - _LENGTH + 1))}
