"""Sensitivity sampling: draw rows by how much each can matter to a sum of p-th powers, with weights that make up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from curate.errors import PluginError
from curate.kernels.linalg.leverage import row_space, squared_lengths
from curate.kernels.linalg.lewis import lewis_weights, lp_sensitivities
from curate.kernels.stats.systematic_sampling import systematic_sample
from curate.kernels.types import Matrix, Numbers
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_EXACT_ROWS = 2_000  # of 32 dimensions: 80 s for p = 1, and time grows with the square

Scores = Literal["sensitivity", "lewis", "root_leverage", "leverage_and_sensitivity"]


def scores_of(x: Matrix, p: float, scores: Scores) -> Numbers:
    """(n,) float64, the ``scores`` of the rows of ``x``: what ``SensitivitySampling.scores`` says of each kind.

    >>> scores_of(np.array([[1, 0], [1, 0], [0, 1]], np.float32), 1.0, "root_leverage").round(6).tolist()
    [0.707107, 0.707107, 1.0]
    """
    if scores == "lewis":
        return lewis_weights(x, p)
    ones = np.ones(len(x))
    leverage = squared_lengths(x, ones, row_space(x, ones).whitening())
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
        order, weights = systematic_sample(scores, budget, rng)
        gains, weight = scores[order].astype(np.float32), weights.astype(np.float32)
        return Selection(order, gains, weight, reasons=("not drawn",))
