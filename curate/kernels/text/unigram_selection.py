"""Greedy selection of texts that lower the cross-entropy of a target under their unigram model."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Counts, Numbers, Positions, Rows


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
    current one, because counts only grow, and texts of the same length have the same penalty. So there is a queue for
    each length, and only the best text of all queues is computed again. The result is that of computing all of them.

    Cost: O(v_x) for each text that is computed, typically a few for each one selected, plus the number of distinct
    lengths for each step; 24 bytes of memory for each distinct word of a text that the target has.

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

    def gain(row: int) -> float:
        entries = slice(texts.starts[row], texts.starts[row + 1])
        words = texts.words[entries]
        return float(target[words] @ np.log1p(texts.counts[entries] / counts[words]))

    lengths, queue_of = np.unique(texts.lengths, return_inverse=True)
    queues: list[list[tuple[float, int, int]]] = [[] for _ in lengths]
    for row, queue in enumerate(queue_of.tolist()):
        queues[queue].append((-gain(row), row, 0))
    best = np.empty(len(lengths))
    for number, queue in enumerate(queues):
        heapq.heapify(queue)
        best[number] = -queue[0][0]
    rows, gains = np.empty(budget, np.intp), np.empty(budget)
    for step in range(budget):
        penalty = np.log1p(lengths / total)
        while True:
            number = int(np.argmax(best - penalty))
            queue = queues[number]
            _, row, computed = queue[0]
            if computed == step:
                break
            heapq.heapreplace(queue, (-gain(row), row, step))
            best[number] = -queue[0][0]
        rows[step], gains[step] = row, best[number] - penalty[number]
        heapq.heappop(queue)
        best[number] = -queue[0][0] if queue else -np.inf
        entries = slice(texts.starts[row], texts.starts[row + 1])
        counts[texts.words[entries]] += texts.counts[entries]
        total += texts.lengths[row]
    return rows, gains
