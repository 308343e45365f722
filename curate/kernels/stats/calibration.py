"""Calibration of a classifier: interval of its AUC, Platt scaling, calibration error and Brier score."""

from __future__ import annotations

import numpy as np

from curate.kernels.stats.intervals import Interval
from curate.kernels.types import Flags, Numbers

_NEWTON = 100
_CLOSE = 1e-10


def auc_interval(area: float, good: int, bad: int, confidence: float = 0.95) -> Interval:
    """Which areas under the curve an estimate from so many examples does not refuse.

    The area is in it if the estimate is within so many standard errors of it, where the error is that which the area
    itself would have. So it never leaves [0, 1], and is an interval also where the estimate is 1.

    References
    ----------
    Newcombe (2006), doi:10.1002/sim.2324, method 5, with the variance of Hanley & McNeil (1982),
    doi:10.1148/radiology.143.1.7063747.

    >>> [round(end, 3) for end in auc_interval(0.9, 50, 50)], [round(end, 3) for end in auc_interval(1.0, 50, 50)]
    ([0.816, 0.946], [0.96, 1.0])
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    more = (good + bad) / 2 - 1

    def beyond(true: float) -> float:
        variance = true * (1 - true) * (1 + more * (1 - true) / (2 - true) + more * true / (1 + true)) / (good * bad)
        return (area - true) ** 2 - z**2 * float(variance)

    inside = min(max(area, _CLOSE), 1 - _CLOSE)  # 0 and 1 are roots of their own
    low = 0.0 if area <= 0 else float(brentq(beyond, 0.0, inside))
    high = 1.0 if area >= 1 else float(brentq(beyond, inside, 1.0))
    return Interval(low, high)


def fit_platt(logit: Numbers, good: Flags) -> tuple[float, float]:
    """The slope and the intercept that turn logits into probabilities, where good and bad are as likely beforehand.

    The likelihood is that of both sides with the same weight, whatever their numbers, and of labels that are a little
    less than sure, so that it has a maximum also where the sides lie apart. A slope below 0, of logits that say the
    contrary of what is so, is 0: they then say nothing.

    Parameters
    ----------
    logit : (n,)
    good : (n,), some and not all

    Returns
    -------
    slope, intercept : the probability is 1 / (1 + exp(−slope · logit − intercept))

    Cost: O(n) for each of some ten steps of Newton's method.

    References
    ----------
    Platt (1999), "Probabilistic outputs for support vector machines", with the steps of Lin, Lin & Weng (2007),
    doi:10.1007/s10994-007-5018-6.

    Deviations: the weights.

    >>> slope, intercept = fit_platt(np.array([-2.0, -1.0, 1.0, 3.0]), np.array([False, True, False, True]))
    >>> slope > 0
    True
    """
    from scipy.special import expit

    scale = float(np.abs(logit).max(initial=0)) or 1.0
    x = logit / scale
    numbers = good.sum(), len(good) - good.sum()
    target = np.where(good, (numbers[0] + 1) / (numbers[0] + 2), 1 / (numbers[1] + 2))
    weight = np.where(good, 0.5 / numbers[0], 0.5 / numbers[1])
    at = np.zeros(2)
    loss = _loss(at, x, target, weight)
    for _ in range(_NEWTON):
        p = expit(at[0] * x + at[1])
        error, curve = weight * (p - target), weight * p * (1 - p)
        gradient = np.array([error @ x, error.sum()])
        if np.abs(gradient).max() < _CLOSE:
            break
        cross = curve @ x
        step = np.linalg.solve(np.array([[curve @ x**2 + 1e-12, cross], [cross, curve.sum() + 1e-12]]), gradient)
        for halved in 0.5 ** np.arange(40):
            after = _loss(at - halved * step, x, target, weight)
            if after < loss:
                at, loss = at - halved * step, after
                break
        else:
            break
    return (float(at[0] / scale), float(at[1])) if at[0] > 0 else (0.0, 0.0)


def _loss(at: Numbers, x: Numbers, target: Numbers, weight: Numbers) -> float:
    logit = at[0] * x + at[1]
    return float(weight @ (np.logaddexp(0, logit) - target * logit))


def calibration_error(probability: Numbers, good: Flags, bins: int = 10) -> float:
    """How far, on average, a probability is from the share of good examples among those with one like it.

    Both sides count the same, whatever their numbers. Bins hold as many examples each, in order of their probability,
    and equal ones are in one bin.

    References
    ----------
    Naeini, Cooper & Hauskrecht (2015), doi:10.1609/aaai.v29i1.9602: the expected calibration error; in bins of as many
    examples: Nixon et al. (2019), arXiv:1904.01685.

    >>> good = np.array([1, 0, 0, 0, 0, 1, 1, 1, 1, 0], bool)
    >>> calibration_error(np.array([0.2] * 5 + [0.8] * 5), good, bins=2) < 1e-9
    True
    """
    weight = np.where(good, 0.5 / good.sum(), 0.5 / (len(good) - good.sum()))
    edges = np.quantile(probability, np.arange(1, bins) / bins)
    bin_of = np.searchsorted(np.unique(edges), probability, side="left")
    off = np.bincount(bin_of, weight * (probability - good), bins)
    return float(np.abs(off).sum())


def brier_score(probability: Numbers, good: Flags) -> float:
    """The mean squared distance of the probabilities from what is so; both sides count the same.

    References
    ----------
    Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    >>> brier_score(np.array([0.5, 0.5, 0.5]), np.array([True, False, False]))
    0.25
    """
    squared = (probability - good) ** 2
    return float(squared[good].mean() + squared[~good].mean()) / 2
