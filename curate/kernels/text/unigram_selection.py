"""Greedy selection of texts that lower the cross-entropy of a target under their unigram model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate.kernels.ragged import concatenate_ranges
from curate.kernels.types import Counts, Numbers, Positions, Rows

_FIRST, _GROWTH = 64, 16


@dataclass(frozen=True, slots=True)
class WordCounts:
    """Counts of the words of the target in n texts, row by row."""

    starts: Positions
    """First entry of each text, and their number, (n + 1,) int64."""

    words: Positions
    """Number of the word of each entry, int64 in 0 … v − 1."""

    counts: Counts
    """Number of times that the text has the word, at least 1, int64."""

    lengths: Counts
    """Number of words of each text, (n,) int64, with those that the target lacks."""


def select_by_cross_entropy(texts: WordCounts, target: Numbers, budget: int, smoothing: float) -> tuple[Rows, Numbers]:
    """Add, one after another, the text that lowers the cross-entropy of the target most, or raises it least.

    Parameters
    ----------
    texts : WordCounts
        Words of n texts.
    target : (v,) float64, v at least 1
        Share of each word in the target, sum 1.
    budget : int
        Number of texts to select, 0 <= budget <= n.
    smoothing : float
        Number of times that the selection has each word in the beginning, above 0.

    Returns
    -------
    rows : (budget,) in the order in which they are added; of equal ones, the shortest and then the first
    gains : (budget,) float64
        Decrease of the cross-entropy in nats a word, negative for an increase.

    Notes
    -----
    The cross-entropy is −Σ q_v ln (c_v / w), where the selection has the word v of the target c_v times, among w words.
    Adding a text with w_x words changes it by

        ln(1 + w_x / w) − Σ q_v ln(1 + c_xv / c_v),

    a penalty for the length minus a gain from the words of the target. A gain computed earlier is an upper bound of the
    current one, because counts only grow. So only the texts of the largest bounds are computed again, more of them
    until the best one is above the bounds of the others. The result is that of computing all of them.

    Cost: O(n) for each step, and the words of the texts that are computed, typically a few dozen, but all if most texts
    are equally good; 24 bytes of memory for each distinct word of a text that the target has.

    References
    ----------
    Axelrod (2017), "Cynical Selection of Language Model Training Data", arXiv:1709.02279, section 4. Lazy evaluation:
    Minoux (1978), doi:10.1007/BFb0006528.

    Examples
    --------
    >>> counts = WordCounts(np.array([0, 1, 2, 2]), np.array([0, 1]), np.array([2, 1]), np.array([2, 1, 1]))
    >>> select_by_cross_entropy(counts, np.array([0.5, 0.5]), 2, 0.1)[0].tolist()
    [1, 0]
    """
    counts = np.full(len(target), float(smoothing))
    total = counts.sum()

    def gains_of(rows: Rows) -> Numbers:
        sizes = np.diff(texts.starts)[rows]
        entries = concatenate_ranges(texts.starts[rows], sizes)
        words = texts.words[entries]
        values = target[words] * np.log1p(texts.counts[entries] / counts[words])
        return np.asarray(np.bincount(np.repeat(np.arange(len(rows)), sizes), values, len(rows)), np.float64)

    lengths, length_of = np.unique(texts.lengths, return_inverse=True)
    by_length = np.argsort(texts.lengths, kind="stable")  # ties go to the shortest, and then to the first
    rank = np.empty(len(by_length), np.intp)
    rank[by_length] = np.arange(len(by_length))
    bounds = gains_of(np.arange(len(texts.lengths)))
    rows, gains = np.empty(budget, np.intp), np.empty(budget)
    for step in range(budget):
        row, gains[step] = _find_best(bounds, np.log1p(lengths / total)[length_of], gains_of, rank)
        rows[step], bounds[row] = row, -np.inf
        entries = slice(texts.starts[row], texts.starts[row + 1])
        counts[texts.words[entries]] += texts.counts[entries]
        total += texts.lengths[row]
    return rows, gains


def _find_best(
    bounds: Numbers, penalties: Numbers, gains_of: Callable[[Rows], Numbers], rank: Rows
) -> tuple[int, float]:
    """Return the text with the largest gain minus penalty, and the difference; computed gains replace their bounds."""
    size = _FIRST
    while True:
        values = bounds - penalties
        if size < len(values):
            best = np.argpartition(-values, size)[: size + 1]
            best = best[np.argsort(-values[best], kind="stable")]
            rest, best = values[best[size]], best[:size]
        else:
            rest, best = -np.inf, np.arange(len(values))
        best = best[bounds[best] > -np.inf]  # texts that are not selected yet
        bounds[best] = gains_of(best)
        exact = bounds[best] - penalties[best]
        largest = exact.max(initial=-np.inf)
        if largest > rest:
            ties = best[exact == largest]
            return int(ties[np.argmin(rank[ties])]), float(largest)
        size *= _GROWTH
