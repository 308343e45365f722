"""Cross-fitted logistic regressions of two classes: each row is scored by a model that was not fitted on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curate.kernels.stats.calibration import fit_platt
from curate.kernels.types import Counts, Flags, Matrix, Numbers

if TYPE_CHECKING:
    from scipy import sparse

N_FOLDS = 5


def fit_folds(
    vectors: Matrix | sparse.csr_array, positive: Flags, folds: Counts, l2_penalty: float
) -> tuple[Matrix, Numbers]:
    """Fit a calibrated logistic regression for each fold on the examples of the other folds.

    Every example is scored by a model that was not fitted on it. The calibration of a fold's model (``fit_platt``) uses
    these scores of the examples of the other folds.

    Parameters
    ----------
    vectors : (n, d) float32, dense or sparse
    positive : (n,) bool, both values occur in the union of any N_FOLDS − 1 folds
    folds : (n,) in 0 … N_FOLDS − 1
    l2_penalty : half of it, times the squared weights, is added to the sum of the losses; both classes have the same
        total weight

    Returns
    -------
    weights : (N_FOLDS, d) float32
    bias : (N_FOLDS,) float64, so that expit(x · weights[f] + bias[f]) is the probability

    Notes
    -----
    Cost: N_FOLDS fits of O(non-zeros) for each of some 50 to 100 steps.
    """
    from sklearn.linear_model import LogisticRegression

    weights = np.zeros((N_FOLDS, vectors.shape[1]), np.float32)
    bias = np.zeros(N_FOLDS)
    for fold in range(N_FOLDS):
        others = np.flatnonzero(folds != fold)
        model = LogisticRegression(C=1 / l2_penalty, class_weight="balanced", max_iter=10_000)
        model.fit(vectors[others], positive[others])
        weights[fold], bias[fold] = model.coef_[0], model.intercept_[0]
    logit = fold_logits(vectors, folds, weights, bias)
    for fold in range(N_FOLDS):
        others = folds != fold
        slope, intercept = fit_platt(logit[others], positive[others])
        weights[fold] *= np.float32(slope)
        bias[fold] = slope * bias[fold] + intercept
    return weights, bias


def fold_logits(vectors: Matrix | sparse.csr_array, folds: Counts, weights: Matrix, bias: Numbers) -> Numbers:
    """Compute the logit of each row by the model of its fold.

    Parameters
    ----------
    vectors : (n, d) float32, dense or sparse
    folds : (n,) int64
    weights : (N_FOLDS, d) float32
    bias : (N_FOLDS,) float64

    Returns
    -------
    (n,) float64; that of a row does not depend, in any bit, on the other rows
    """
    if isinstance(vectors, np.ndarray):
        return np.asarray(np.einsum("ij,ij->i", vectors, weights[folds], dtype=np.float64) + bias[folds])
    products = vectors.data * weights[np.repeat(folds, np.diff(vectors.indptr)), vectors.indices].astype(np.float64)
    owners = np.repeat(np.arange(len(folds)), np.diff(vectors.indptr))
    return np.asarray(np.bincount(owners, products, len(folds)) + bias[folds])
