"""Regression of expensive ratings on embeddings, so that few ratings score all rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from curate.kernels.types import Counts, Matrix, Numbers, Vector

_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the ratings at which the quality of the regression is measured."""


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Ridge regression of ratings on embeddings."""

    weights: Numbers
    """Weights (d,) float64."""

    intercept: float

    def predict(self, x: Matrix) -> Vector:
        """Return the predicted rating of each row, (n,) float32."""
        predictions: Vector = (x @ self.weights.astype(np.float32) + np.float32(self.intercept)).astype(np.float32)
        return predictions


@dataclass(frozen=True, slots=True)
class SurrogateQuality:
    """Quality of a regression for rows that it was not fitted to."""

    r2: float
    """Share of the variance of the ratings that the predictions explain; below 0, the mean rating is better."""

    rank_correlation: float
    """Spearman correlation of ratings and predictions; NaN if one of them is constant."""

    slope: float
    """Slope of the ratings over the predictions, 1 if they are calibrated; NaN if the predictions are constant."""


def fit_surrogate(x: Matrix, ratings: Numbers, folds: Counts) -> Surrogate:
    """Fit a ridge regression, with the penalty that predicts held-out folds best.

    Parameters
    ----------
    x : (m, d) float32
    ratings : (m,) float64
    folds : (m,) fold of each row

    Returns
    -------
    the regression
    """
    penalty = _best_penalty(x, ratings, folds)
    return fit_ridge(x, ratings, penalty)


def predict_held_out(x: Matrix, ratings: Numbers, folds: Counts) -> Numbers:
    """Predict the rating of each row by a regression that was fitted to the other folds, (m,) float64.

    The penalty of each regression is chosen on its own rows only.
    """
    predictions = np.full(len(ratings), float(ratings.mean()) if len(ratings) else np.nan)
    for fold in np.unique(folds):
        held_out = folds == fold
        if held_out.all():
            continue
        fitted = fit_surrogate(x[~held_out], ratings[~held_out], folds[~held_out])
        predictions[held_out] = fitted.predict(x[held_out])
    return predictions


def measure_quality(ratings: Numbers, predictions: Numbers) -> SurrogateQuality:
    """Compare ratings with predictions for rows that the regression was not fitted to.

    Examples
    --------
    >>> measure_quality(np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 2.5]))
    SurrogateQuality(r2=0.75, rank_correlation=1.0, slope=2.0)
    """
    total = float(((ratings - ratings.mean()) ** 2).sum())
    r2 = 1 - float(((ratings - predictions) ** 2).sum()) / total if total > 0 else float("nan")
    deviations = predictions - predictions.mean()
    varies = float(deviations @ deviations) > 1e-12 and total > 0
    if not varies:
        return SurrogateQuality(r2, float("nan"), float("nan"))
    slope = float(deviations @ (ratings - ratings.mean()) / (deviations @ deviations))
    return SurrogateQuality(r2, float(stats.spearmanr(ratings, predictions).statistic), slope)


def measure_learning_curve(
    x: Matrix, ratings: Numbers, folds: Counts, rng: np.random.Generator
) -> dict[float, SurrogateQuality]:
    """Measure the quality of the regression with growing shares of the ratings; see ``SHARES``.

    The held-out rows are the same for each share, so the curve shows what more ratings are worth.
    """
    order, curve = rng.permutation(len(ratings)), dict[float, SurrogateQuality]()
    rank = np.empty(len(ratings), np.intp)
    rank[order] = np.arange(len(ratings))
    for share in SHARES:
        used, predictions = rank < share * len(ratings), np.full(len(ratings), float(ratings.mean()))
        for fold in np.unique(folds):
            training, held_out = used & (folds != fold), folds == fold
            if training.sum() >= 2:
                predictions[held_out] = fit_surrogate(x[training], ratings[training], folds[training]).predict(
                    x[held_out]
                )
        curve[share] = measure_quality(ratings, predictions)
    return curve


def _best_penalty(x: Matrix, ratings: Numbers, folds: Counts) -> float:
    """Return the penalty whose predictions of held-out folds have the smallest squared error."""
    values = np.unique(folds)
    if len(values) < 2:
        return 1.0
    errors = dict.fromkeys(_PENALTIES, 0.0)
    for fold in values:
        held_out = folds == fold
        for penalty in _PENALTIES:
            predictions = fit_ridge(x[~held_out], ratings[~held_out], penalty).predict(x[held_out])
            errors[penalty] += float(((ratings[held_out] - predictions) ** 2).sum())
    return min(errors, key=lambda penalty: (errors[penalty], -penalty))


def fit_ridge(x: Matrix, ratings: Numbers, penalty: float) -> Surrogate:
    """Fit a ridge regression with an intercept that is not penalized.

    Parameters
    ----------
    x : (m, d) float32
    ratings : (m,) float64
    penalty : times the squared weights, added to the sum of the squared errors, above 0

    Notes
    -----
    Cost: the smaller of O(m d² + d³) and O(m² d + m³).
    """
    mean, center = x.mean(axis=0, dtype=np.float64), float(ratings.mean())
    deviations, targets = x.astype(np.float64) - mean, ratings - center
    m, d = deviations.shape
    if d <= m:
        gram = deviations.T @ deviations + penalty * np.eye(d)
        weights = np.linalg.solve(gram, deviations.T @ targets)
    else:
        gram = deviations @ deviations.T + penalty * np.eye(m)
        weights = deviations.T @ np.linalg.solve(gram, targets)
    return Surrogate(weights, center - float(mean @ weights))
