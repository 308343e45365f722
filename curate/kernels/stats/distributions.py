"""Evenness of counts, distance between distributions, and min-max scaling."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Indices, Numbers, Vector


def normalized_entropy(counts: Indices) -> float:
    """Compute the entropy of the shares over its maximum: 1 if all groups are equal, 0 if one group has everything.

    Parameters
    ----------
    counts : (g,) size of each group; empty groups count too

    Returns
    -------
    value in [0, 1]; NaN for fewer than two groups, and if all counts are 0

    References
    ----------
    Shannon (1948), doi:10.1002/j.1538-7305.1948.tb01338.x; divided by the logarithm of g: Pielou (1966),
    doi:10.1016/0022-5193(66)90013-0.

    Examples
    --------
    >>> normalized_entropy(np.array([5, 5])), normalized_entropy(np.array([7, 0]))
    (1.0, 0.0)
    """
    if len(counts) < 2 or not counts.sum():
        return float("nan")
    shares = counts[counts > 0] / counts.sum()
    return min(1.0, abs(float((shares * np.log(shares)).sum())) / float(np.log(len(counts))))


def total_variation(a: Indices, b: Indices) -> float:
    """Compute the total variation distance: half the sum of the absolute differences of shares.

    Parameters
    ----------
    a, b : (g,) size of each group

    Returns
    -------
    value in [0, 1]; NaN if all counts of one of them are 0

    Examples
    --------
    >>> total_variation(np.array([1, 1]), np.array([3, 1]))
    0.25
    """
    if not a.sum() or not b.sum():
        return float("nan")
    return min(1.0, 0.5 * float(np.abs(a / a.sum() - b / b.sum()).sum()))


def min_max_scale(values: Vector) -> Numbers:
    """Scale values linearly so that the lowest is 0 and the highest 1; all 0 if there is only one distinct value.

    Parameters
    ----------
    values : (n,) float32

    Returns
    -------
    (n,) float64

    Examples
    --------
    >>> min_max_scale(np.array([-1, 0, 3], np.float32)).tolist()
    [0.0, 0.25, 1.0]
    """
    shifted: Numbers = values.astype(np.float64) - values.min(initial=np.inf)
    scaled: Numbers = shifted / (shifted.max(initial=0) or 1.0)
    return scaled
