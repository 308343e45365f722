"""Systematic sampling of a fixed number of rows with unequal probabilities, with inverse weights."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Numbers, Rows

_CERTAIN = 1 - 1e-9


def systematic_sample(scores: Numbers, budget: int, rng: np.random.Generator) -> tuple[Rows, Numbers]:
    """Draw exactly ``budget`` rows, each with probability min(1, 1/n + s_i / α).

    Parameters
    ----------
    scores : (n,) float64 >= 0, s: sensitivities, or bounds of them
    budget : number of rows to keep, 0 <= budget <= n
    rng : random generator

    Returns
    -------
    indices : (budget,) rows by descending score, ties to the lowest index
    weights : (budget,) float64, 1 / probability

    Notes
    -----
    α is chosen so that the probabilities sum to the budget.

    Cost: O(n log n) time, O(n) memory.

    Guarantee: weighted sums over the drawn rows are unbiased estimates of sums over all rows. The published bound is
    for independent draws: Õ(𝔖^(2/p) / ε²) rows for p < 2 and Õ(𝔖^(2 − 2/p) / ε²) for p > 2, where 𝔖 = Σ s, keep ‖X y‖_p
    within 1 ± ε for all y with high probability. It is not proven for the draws made here.

    Deviations: the paper draws each row independently, so the number of rows varies. Here it is fixed by systematic
    sampling: rows in random order are placed on a line, each as long as its probability, and one is drawn at every unit
    of length from a random start.

    References
    ----------
    Woodruff & Yasuda (2023), "Sharper bounds for lp sensitivity sampling", arXiv:2306.00732, Definition 1.1.

    Examples
    --------
    >>> indices, weights = systematic_sample(np.array([1.0, 0.01, 0.01]), 2, np.random.default_rng(0))
    >>> int(indices[0]), weights.tolist()
    (0, [1.0, 2.0])
    """
    probability = inclusion_probabilities(scores, budget)
    certain_rows = np.flatnonzero(probability >= _CERTAIN)
    uncertain_rows = rng.permutation(np.flatnonzero(probability < _CERTAIN))
    remaining = budget - len(certain_rows)
    cumulative = np.cumsum(probability[uncertain_rows])
    points = (rng.random() + np.arange(remaining)) * (cumulative[-1] / remaining if remaining else 1)
    indices = np.concatenate((certain_rows, uncertain_rows[np.searchsorted(cumulative[:-1], points, side="right")]))
    indices.sort()
    sorted_indices = indices[np.argsort(-scores[indices], kind="stable")]
    return sorted_indices, 1 / probability[sorted_indices]


def inclusion_probabilities(scores: Numbers, budget: int) -> Numbers:
    """Compute probabilities (n,) min(1, 1/n + s_i / α) of sum ``budget``; α is found by binary search.

    If rows of score 0 are needed to meet the budget, all others have probability 1, and rows of score 0 share the rest
    equally.

    Parameters
    ----------
    scores : (n,) float64 >= 0, s
    budget : sum of the probabilities, 0 <= budget <= n

    Returns
    -------
    (n,) float64

    Examples
    --------
    >>> inclusion_probabilities(np.array([3.0, 1.0, 0.0]), 2).round(6).tolist()
    [1.0, 0.666667, 0.333333]
    >>> inclusion_probabilities(np.array([1.0, 0.0, 0.0]), 2).tolist()
    [1.0, 0.5, 0.5]
    """
    n = len(scores)
    scored = int(np.count_nonzero(scores))
    capacity, remaining = 1 - 1 / max(n, 1), budget - 1.0  # above 1/n: per row, and in total
    if not budget or budget == n:
        return np.full(n, float(budget > 0))
    if scored * capacity <= remaining:
        return np.where(scores > 0, 1.0, (budget - scored) / max(n - scored, 1))
    descending = np.sort(scores)[::-1][:scored]
    suffix_sums = np.cumsum(descending[::-1])[::-1]  # sums over a row and all of lower score
    # Total probability distributed when the row just reaches 1; increases from row to row.
    distributed = np.arange(scored) * capacity + capacity * suffix_sums / descending
    n_certain = int(np.searchsorted(distributed, remaining, side="right"))
    probability: Numbers = np.minimum(
        1.0, 1 / n + scores * ((remaining - n_certain * capacity) / suffix_sums[n_certain])
    )
    return probability
