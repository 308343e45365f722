"""A fixed number of rows drawn with unequal probabilities, and the weights that correct for them."""

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

    Returns
    -------
    order : (budget,) rows of falling score, ties to the lowest index
    weights : (budget,) float64, 1 / probability

    Notes
    -----
    α is chosen so that the probabilities sum to the budget.

    Guarantee: weighted sums over the rows drawn are unbiased estimates of sums over all rows. The published bound, that
    Õ(𝔖^(2/p) / ε²) rows for p < 2 and Õ(𝔖^(2 − 2/p) / ε²) for p > 2, where 𝔖 = Σ s, keep ‖X y‖_p within 1 ± ε for
    all y with high probability, is for independent draws. It is not shown for the draws made here.

    Deviations: the paper draws each row independently, so the number of rows varies. Here it is fixed by systematic
    sampling: rows in random order are laid end to end, each as long as its probability, and one is taken at every unit
    of length from a random start.

    Cost: O(n log n) time, O(n) memory.

    References
    ----------
    Woodruff & Yasuda (2023), "Sharper bounds for lp sensitivity sampling", arXiv:2306.00732, Definition 1.1.

    Examples
    --------
    >>> order, weights = systematic_sample(np.array([1.0, 0.01, 0.01]), 2, np.random.default_rng(0))
    >>> int(order[0]), weights.tolist()
    (0, [1.0, 2.0])
    """
    probability = inclusion_probabilities(scores, budget)
    certain = np.flatnonzero(probability >= _CERTAIN)
    others = rng.permutation(np.flatnonzero(probability < _CERTAIN))
    left = budget - len(certain)
    ends = np.cumsum(probability[others])
    marks = (rng.random() + np.arange(left)) * (ends[-1] / left if left else 1)
    drawn = np.concatenate((certain, others[np.searchsorted(ends[:-1], marks, side="right")]))
    drawn.sort()
    order = drawn[np.argsort(-scores[drawn], kind="stable")]
    return order, 1 / probability[order]


def inclusion_probabilities(scores: Numbers, budget: int) -> Numbers:
    """(n,) probabilities min(1, 1/n + s_i / α) of sum ``budget``, α found by bisection over the rows that reach 1.

    Where rows without a score are needed to meet the budget, all others have probability 1, and they the same.

    >>> inclusion_probabilities(np.array([3.0, 1.0, 0.0]), 2).round(6).tolist()
    [1.0, 0.666667, 0.333333]
    >>> inclusion_probabilities(np.array([1.0, 0.0, 0.0]), 2).tolist()
    [1.0, 0.5, 0.5]
    """
    n = len(scores)
    scored = int(np.count_nonzero(scores))
    room, rest = 1 - 1 / max(n, 1), budget - 1.0  # above 1/n: of each row, and to be given
    if not budget or budget == n:
        return np.full(n, float(budget > 0))
    if scored * room <= rest:
        return np.where(scores > 0, 1.0, (budget - scored) / max(n - scored, 1))
    falling = np.sort(scores)[::-1][:scored]
    after = np.cumsum(falling[::-1])[::-1]  # of a row and all of lower score
    # What all rows get when the row has just reached 1; it grows from row to row.
    given = np.arange(scored) * room + room * after / falling
    full = int(np.searchsorted(given, rest, side="right"))
    probability: Numbers = np.minimum(1.0, 1 / n + scores * ((rest - full * room) / after[full]))
    return probability
