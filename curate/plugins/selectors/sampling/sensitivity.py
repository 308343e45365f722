"""Sensitivity sampling: rows are drawn by their largest possible share of a sum of powers, with inverse weights."""

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

_EXACT_ROWS = 2_000  # with 32 dimensions: 80 s for p = 1; time is quadratic

Scores = Literal["sensitivity", "lewis", "root_leverage", "leverage_and_sensitivity"]


def compute_scores(x: Matrix, p: float, scores: Scores) -> Numbers:
    """Compute the sampling scores of rows; see ``SensitivitySampling.scores``.

    Parameters
    ----------
    x : (n, d) float32
    p : power, at least 1
    scores : kind of score

    Returns
    -------
    (n,) float64

    Raises
    ------
    PluginError : if there are too many rows for exact sensitivities

    Examples
    --------
    >>> compute_scores(np.array([[1, 0], [1, 0], [0, 1]], np.float32), 1.0, "root_leverage").round(6).tolist()
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
            f"sensitivity: exact sensitivities for p = {p} support at most {_EXACT_ROWS} rows, got {len(x)}",
            hint='use "scores: lewis", which are upper bounds, or smaller groups: "within: cluster"',
        )
    exact = lp_sensitivities(x, p)
    return exact if scores == "sensitivity" else exact + leverage


@selector(
    version=2,
    scope="pool",
    reads={"embedding"},
    cost="O(n d²)",
    guarantee="unbiased weighted sums; the published 1 ± ε bound is for independent draws",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivitySampling:
    """Draw rows by their largest possible share of a linear model's loss Σ |⟨x, y⟩|^p, with inverse weights.

    Use it for weighted subsamples on which linear models and means of the embeddings are unbiased, in particular for p
    other than 2. For least squares, ``volume_sampling`` is unbiased in the coefficients.

    The gain of a row is its score. Rows unlike all others are drawn nearly always and have a low training weight.
    Typical rows are drawn rarely and have a high one.

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
    """Power: 2 for squared errors; 1 for absolute ones; the higher, the more extremes count."""

    scores: Scores = "sensitivity"
    """``sensitivity``: the largest share of the sum that a row can have; leverage scores for p = 2; for other p, in
    pools of at most 2,000 rows. ``lewis``: Lewis weights, which are upper bounds for p <= 2, and up to a factor for p >
    2. ``root_leverage``: leverage to the power p/2, for p < 2, applied once (an interpretation).
    ``leverage_and_sensitivity``: their sum, for p > 2, in pools of at most 2,000 rows (an interpretation)."""

    def __post_init__(self) -> None:
        if self.scores == "root_leverage" and self.p >= 2:
            raise ValueError("scores: root_leverage requires p below 2")
        if self.scores == "leverage_and_sensitivity" and self.p <= 2:
            raise ValueError("scores: leverage_and_sensitivity requires p above 2")

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        scores = compute_scores(pool.embeddings, self.p, self.scores)
        indices, weights = systematic_sample(scores, budget, rng)
        gains, weight = scores[indices].astype(np.float32), weights.astype(np.float32)
        return Selection(indices, gains, weight, reasons=("not drawn",))
