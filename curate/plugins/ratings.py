"""Ratings of a sample of rows, extended to all rows by a regression on embeddings, and what is reported about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curate.kernels.stats.hash_folds import assign_vector_folds
from curate.kernels.stats.surrogate import (
    SHARES,
    fit_surrogate,
    measure_learning_curve,
    measure_quality,
    predict_held_out,
)
from curate.kernels.types import Matrix, Numbers, Rows, Vector

_FOLDS = 5
MIN_RATED = 20
"""Number of rated rows below which no regression is fitted."""

_POOR = 0.1
"""Share of the variance of the ratings, below which predictions are of little use."""


@dataclass(frozen=True, slots=True)
class Extension:
    """Ratings of all rows that were predicted from those of some rows."""

    values: Vector
    """Predicted ratings (n,) float32."""

    facts: Mapping[str, float]
    """Quality of the predictions for rows that were not used to fit them."""

    warnings: tuple[str, ...]


def sample_rows(x: Matrix, size: int | None, rng: np.random.Generator) -> Rows:
    """Return a random sample of the rows in ascending order; all rows for None or a size that is not smaller."""
    n = len(x)
    return np.arange(n) if size is None or size >= n else np.sort(rng.choice(n, size, replace=False))


def extend_ratings(x: Matrix, rows: Rows, ratings: Numbers, rng: np.random.Generator, kind: str) -> Extension:
    """Predict the rating of every row from the ratings of some rows, by a ridge regression on the embeddings.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    rows : (m,) rated rows
    ratings : (m,) float64, finite
    rng : random generator
    kind : what a rating is called in warnings

    Returns
    -------
    the ratings

    Notes
    -----
    Rated rows get the prediction, too: ratings vary more than predictions, so a mixture of both would favor the rated
    rows at both ends of a ranking. Copies share a fold, so the quality is that for texts that were not rated.
    """
    if len(rows) < MIN_RATED:
        message = f"only {len(rows)} rows have a {kind}, and a regression needs {MIN_RATED}, so all rows get the mean"
        mean = float(ratings.mean()) if len(ratings) else np.nan
        return Extension(np.full(len(x), mean, np.float32), {"rated": float(len(rows))}, (message,))
    if np.ptp(ratings) == 0:
        message = f"all {len(rows):,} rows have the same {kind}, so nothing can be learned from it"
        return Extension(np.full(len(x), ratings[0], np.float32), {"rated": float(len(rows))}, (message,))
    sample = x[rows]
    rounded = sample.astype(np.float16).astype(np.float32)  # so that storage in half precision gives the same folds
    folds = assign_vector_folds(rounded, _FOLDS, rng)
    quality = measure_quality(ratings, predict_held_out(sample, ratings, folds))
    curve = measure_learning_curve(sample, ratings, folds, rng)
    facts = {
        "rated": float(len(rows)),
        "r2": quality.r2,
        "rank_correlation": quality.rank_correlation,
        "slope": quality.slope,
        **{f"r2_with_{share:.0%}".replace("%", "_percent"): curve[share].r2 for share in SHARES},
    }
    warnings = []
    if not quality.r2 > _POOR:
        message = f"the regression on embeddings explains {quality.r2:.0%} of the variance of the {kind}s"
        warnings.append(f"{message}, so they are hardly better than their mean: rate more rows, or all of them")
    values = fit_surrogate(sample, ratings, folds).predict(x)
    return Extension(values, {key: value for key, value in facts.items() if np.isfinite(value)}, tuple(warnings))
