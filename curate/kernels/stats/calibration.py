"""Calibration of a classifier: AUC interval, Platt scaling, calibration error and Brier score."""

from __future__ import annotations

import numpy as np

from curate.kernels.stats.intervals import Interval
from curate.kernels.types import Flags, Numbers

_NEWTON = 100
_CLOSE = 1e-10


def auc_interval(area: float, n_positive: int, n_negative: int, confidence: float = 0.95) -> Interval:
    """Compute a confidence interval for the area under the ROC curve from the number of examples.

    An area is inside the interval if the estimate is within z standard errors of it, where the error is computed from
    that area. The interval therefore stays in [0, 1], and is informative even if the estimate is 1.

    Parameters
    ----------
    area : estimated area under the curve
    n_positive, n_negative : number of examples of each class
    confidence : confidence level

    Returns
    -------
    Interval

    References
    ----------
    Newcombe (2006), doi:10.1002/sim.2324, method 5, with the variance of Hanley & McNeil (1982),
    doi:10.1148/radiology.143.1.7063747.

    Examples
    --------
    >>> [round(end, 3) for end in auc_interval(0.9, 50, 50)], [round(end, 3) for end in auc_interval(1.0, 50, 50)]
    ([0.816, 0.946], [0.96, 1.0])
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    extra = (n_positive + n_negative) / 2 - 1

    def excess(true: float) -> float:
        variance = (
            true
            * (1 - true)
            * (1 + extra * (1 - true) / (2 - true) + extra * true / (1 + true))
            / (n_positive * n_negative)
        )
        return (area - true) ** 2 - z**2 * float(variance)

    start = min(max(area, _CLOSE), 1 - _CLOSE)  # 0 and 1 are roots as well
    low = 0.0 if area <= 0 else float(brentq(excess, 0.0, start))
    high = 1.0 if area >= 1 else float(brentq(excess, start, 1.0))
    return Interval(low, high)


def fit_platt(logit: Numbers, positive: Flags) -> tuple[float, float]:
    """Fit the slope and intercept that turn logits into probabilities, assuming equal class priors.

    Both classes have the same total weight in the likelihood, whatever their numbers, and labels are slightly smoothed,
    so that a maximum exists even if the classes are separable. A negative slope, of logits that contradict the labels,
    is replaced with 0: the logits are then uninformative.

    Parameters
    ----------
    logit : (n,) float64
    positive : (n,) bool, both values occur

    Returns
    -------
    slope, intercept : the probability is 1 / (1 + exp(−slope · logit − intercept))

    Notes
    -----
    Cost: O(n) for each of about ten Newton steps.

    Deviations: the class weights.

    References
    ----------
    Platt (1999), "Probabilistic outputs for support vector machines", with the steps of Lin, Lin & Weng (2007),
    doi:10.1007/s10994-007-5018-6.

    Examples
    --------
    >>> slope, intercept = fit_platt(np.array([-2.0, -1.0, 1.0, 3.0]), np.array([False, True, False, True]))
    >>> slope > 0
    True
    """
    from scipy.special import expit

    scale = float(np.abs(logit).max(initial=0)) or 1.0
    x = logit / scale
    counts = positive.sum(), len(positive) - positive.sum()
    target = np.where(positive, (counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2))
    weight = np.where(positive, 0.5 / counts[0], 0.5 / counts[1])
    coefficients = np.zeros(2)
    loss = _loss(coefficients, x, target, weight)
    for _ in range(_NEWTON):
        p = expit(coefficients[0] * x + coefficients[1])
        error, curvature = weight * (p - target), weight * p * (1 - p)
        gradient = np.array([error @ x, error.sum()])
        if np.abs(gradient).max() < _CLOSE:
            break
        cross = curvature @ x
        step = np.linalg.solve(
            np.array([[curvature @ x**2 + 1e-12, cross], [cross, curvature.sum() + 1e-12]]), gradient
        )
        for scale_step in 0.5 ** np.arange(40):
            new_loss = _loss(coefficients - scale_step * step, x, target, weight)
            if new_loss < loss:
                coefficients, loss = coefficients - scale_step * step, new_loss
                break
        else:
            break
    return (float(coefficients[0] / scale), float(coefficients[1])) if coefficients[0] > 0 else (0.0, 0.0)


def _loss(coefficients: Numbers, x: Numbers, target: Numbers, weight: Numbers) -> float:
    logit = coefficients[0] * x + coefficients[1]
    return float(weight @ (np.logaddexp(0, logit) - target * logit))


def calibration_error(probability: Numbers, positive: Flags, bins: int = 10) -> float:
    """Compute the mean absolute difference between probabilities and the share of positive examples, by bins.

    Both classes have the same total weight, whatever their numbers. Bins contain equally many examples, in order of
    probability; equal probabilities share a bin.

    Parameters
    ----------
    probability : (n,) float64
    positive : (n,) bool, both values occur
    bins : number of bins

    Returns
    -------
    expected calibration error in [0, 1]

    References
    ----------
    Naeini, Cooper & Hauskrecht (2015), doi:10.1609/aaai.v29i1.9602: the expected calibration error. Bins of equally
    many examples: Nixon et al. (2019), arXiv:1904.01685.

    Examples
    --------
    >>> positive = np.array([1, 0, 0, 0, 0, 1, 1, 1, 1, 0], bool)
    >>> calibration_error(np.array([0.2] * 5 + [0.8] * 5), positive, bins=2) < 1e-9
    True
    """
    weights = np.where(positive, 0.5 / positive.sum(), 0.5 / (len(positive) - positive.sum()))
    edges = np.quantile(probability, np.arange(1, bins) / bins)
    bins_of_rows = np.searchsorted(np.unique(edges), probability, side="left")
    errors = np.bincount(bins_of_rows, weights * (probability - positive), bins)
    return float(np.abs(errors).sum())


def brier_score(probability: Numbers, positive: Flags) -> float:
    """Compute the mean squared difference between probabilities and labels, with equal total weight for both classes.

    Parameters
    ----------
    probability : (n,) float64
    positive : (n,) bool, both values occur

    Returns
    -------
    Brier score in [0, 1]

    References
    ----------
    Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Examples
    --------
    >>> brier_score(np.array([0.5, 0.5, 0.5]), np.array([True, False, False]))
    0.25
    """
    squared = (probability - positive) ** 2
    return float(squared[positive].mean() + squared[~positive].mean()) / 2
