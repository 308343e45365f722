"""Smoothed cross-entropy that stays finite for classes without training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cross_entropy(probability: NDArray[np.floating], n_train: int, n_classes: int) -> float:
    """Compute the mean of −ln p of the true classes, with each p smoothed towards 1 / n_classes by one additional row.

    p' = (k p + 1 / n_classes) / (k + 1) for k training rows. A class without training rows is thus expensive, but not
    infinitely so.

    Parameters
    ----------
    probability : (m,) probability of the true class of each row, in [0, 1], m at least 1
    n_train : k, number of training rows, at least 1
    n_classes : number of classes, at least 1

    Returns
    -------
    cross-entropy in nats, at least 0

    Examples
    --------
    >>> round(cross_entropy(np.array([1.0, 0.0]), 9, 10), 4)
    2.3497
    """
    smoothed = (n_train * probability.astype(np.float64) + 1 / n_classes) / (n_train + 1)
    return max(0.0, -float(np.log(smoothed).mean()))
