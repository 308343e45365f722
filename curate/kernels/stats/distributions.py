"""How evenly counts are spread over groups, how far two sets of shares lie apart, values as shares of a range."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Indices, Numbers, Vector


def normalized_entropy(counts: Indices) -> float:
    """Entropy of the shares over its largest value: 1 if all groups are alike, 0 if one has everything.

    Parameters
    ----------
    counts : (g,) how much each group has; those that have nothing count as groups too

    Returns
    -------
    In [0, 1]; NaN for fewer than two groups, and where there is nothing to share

    References
    ----------
    Shannon (1948), doi:10.1002/j.1538-7305.1948.tb01338.x; over the logarithm of g: Pielou (1966),
    doi:10.1016/0022-5193(66)90013-0.

    >>> normalized_entropy(np.array([5, 5])), normalized_entropy(np.array([7, 0]))
    (1.0, 0.0)
    """
    if len(counts) < 2 or not counts.sum():
        return float("nan")
    share = counts[counts > 0] / counts.sum()
    return min(1.0, abs(float((share * np.log(share)).sum())) / float(np.log(len(counts))))


def total_variation(a: Indices, b: Indices) -> float:
    """Half the sum of the absolute differences of shares: how much of one must be moved to make the other.

    Parameters
    ----------
    a, b : (g,) how much each group has

    Returns
    -------
    In [0, 1]; NaN where one of them has nothing

    >>> total_variation(np.array([1, 1]), np.array([3, 1]))
    0.25
    """
    if not a.sum() or not b.sum():
        return float("nan")
    return min(1.0, 0.5 * float(np.abs(a / a.sum() - b / b.sum()).sum()))


def min_max_scale(values: Vector) -> Numbers:
    """Where each value lies between the lowest, 0, and the highest, 1; all 0 if there is one value only.

    >>> min_max_scale(np.array([-1, 0, 3], np.float32)).tolist()
    [0.0, 0.25, 1.0]
    """
    above: Numbers = values.astype(np.float64) - values.min(initial=np.inf)
    share: Numbers = above / (above.max(initial=0) or 1.0)
    return share
