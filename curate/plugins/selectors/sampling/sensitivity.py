"""Sensitivity sampling: draw rows by how much each can matter to a sum of p-th powers, with weights that make up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels.linalg.leverage import span, squared_lengths
from curate.kernels.linalg.lewis import lewis_weights, lp_sensitivities
from curate.kernels.types import Matrix, Rows
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_EXACT_ROWS = 2_000  # of 32 dimensions: 80 s for p = 1, and time grows with the square
_CERTAIN = 1 - 1e-9

Numbers = NDArray[np.float64]
Scores = Literal["sensitivity", "lewis", "root_leverage", "leverage_and_sensitivity"]


def sensitivity(scores: Numbers, budget: int, rng: np.random.Generator) -> tuple[Rows, Numbers]:
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
    >>> order, weights = sensitivity(np.array([1.0, 0.01, 0.01]), 2, np.random.default_rng(0))
    >>> int(order[0]), weights.tolist()
    (0, [1.0, 2.0])
    """
    probability = inclusion(scores, budget)
    certain = np.flatnonzero(probability >= _CERTAIN)
    others = rng.permutation(np.flatnonzero(probability < _CERTAIN))
    left = budget - len(certain)
    ends = np.cumsum(probability[others])
    marks = (rng.random() + np.arange(left)) * (ends[-1] / left if left else 1)
    drawn = np.concatenate((certain, others[np.searchsorted(ends[:-1], marks, side="right")]))
    drawn.sort()
    order = drawn[np.argsort(-scores[drawn], kind="stable")]
    return order, 1 / probability[order]


def inclusion(scores: Numbers, budget: int) -> Numbers:
    """(n,) probabilities min(1, 1/n + s_i / α) of sum ``budget``, α found by bisection over the rows that reach 1.

    Where rows without a score are needed to meet the budget, all others have probability 1, and they the same.

    >>> inclusion(np.array([3.0, 1.0, 0.0]), 2).round(6).tolist()
    [1.0, 0.666667, 0.333333]
    >>> inclusion(np.array([1.0, 0.0, 0.0]), 2).tolist()
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


def scores_of(x: Matrix, p: float, scores: Scores) -> Numbers:
    """(n,) float64, the ``scores`` of the rows of ``x``: what ``SensitivitySampling.scores`` says of each kind.

    >>> scores_of(np.array([[1, 0], [1, 0], [0, 1]], np.float32), 1.0, "root_leverage").round(6).tolist()
    [0.707107, 0.707107, 1.0]
    """
    if scores == "lewis":
        return lewis_weights(x, p)
    ones = np.ones(len(x))
    leverage = squared_lengths(x, ones, span(x, ones).whitening())
    if scores == "root_leverage":
        root: Numbers = leverage ** (p / 2)
        return root
    if p == 2:
        return leverage
    if len(x) > _EXACT_ROWS:
        raise PluginError(
            f"sensitivity: exact sensitivities for p = {p} are for at most {_EXACT_ROWS} rows, there are {len(x)}",
            hint='use "scores: lewis", which bound them, or smaller groups: "within: cluster"',
        )
    exact = lp_sensitivities(x, p)
    return exact if scores == "sensitivity" else exact + leverage


@selector(
    version=2,
    reads={"embedding"},
    cost="O(n d²)",
    guarantee="unbiased weighted sums; the published 1 ± ε bound is for independent draws",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivitySampling:
    """Draw rows by how much each can matter to a linear model's loss Σ |⟨x, y⟩|^p, with weights that correct for it.

    The gain of a row is its score. Rows unlike all others are drawn nearly always and have a low training weight.
    Typical rows are drawn seldom and have a high one.

    Notes
    -----
    Deviations: the number of rows is fixed, so draws are not independent. Two scores are interpretations, because the
    abstract leaves the scheme open: ``root_leverage`` applies root leverage scores once instead of recursively, and
    ``leverage_and_sensitivity`` adds leverage scores and sensitivities.

    References
    ----------
    Woodruff & Yasuda (2023), "Sharper bounds for lp sensitivity sampling", arXiv:2306.00732. Cohen & Peng (2015), "lp
    row sampling by Lewis weights", arXiv:1412.0588.
    """

    p: Annotated[float, Ge(1), Le(10)] = 2.0
    """The power: 2 for squared errors; 1 for absolute ones; the higher, the more the extremes count."""

    scores: Scores = "sensitivity"
    """``sensitivity``: the largest share of the sum that the row can have; leverage scores for p = 2; for other p, in
    pools of at most 2,000 rows. ``lewis``: Lewis weights, which bound it for p <= 2, and up to a factor for p > 2.
    ``root_leverage``: leverage to the power p/2, for p < 2, applied once (an interpretation).
    ``leverage_and_sensitivity``: their sum, for p > 2, in pools of at most 2,000 rows (an interpretation)."""

    def __post_init__(self) -> None:
        if self.scores == "root_leverage" and self.p >= 2:
            raise ValueError("scores: root_leverage is for p below 2")
        if self.scores == "leverage_and_sensitivity" and self.p <= 2:
            raise ValueError("scores: leverage_and_sensitivity is for p above 2")

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        scores = scores_of(pool.embeddings, self.p, self.scores)
        order, weights = sensitivity(scores, budget, rng)
        gains, weight = scores[order].astype(np.float32), weights.astype(np.float32)
        return Selection(order, gains, weight, reasons=("not drawn",))
