"""Cross-entropy that stays finite where a class was never seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cross_entropy(probability: NDArray[np.floating], trained_on: int, classes: int) -> float:
    """Mean of −ln p of the true classes, after each p has been moved towards 1 / classes as if by one row of k + 1.

    p' = (k p + 1 / classes) / (k + 1) for k training rows. So a class that the training rows do not have costs a good
    deal, and not infinitely much.

    Parameters
    ----------
    probability : (m,) of the true class of each row, in [0, 1], m at least 1
    trained_on : k, at least 1
    classes : how many there are, at least 1

    Returns
    -------
    In nats, at least 0

    >>> round(cross_entropy(np.array([1.0, 0.0]), 9, 10), 4)
    2.3497
    """
    moved = (trained_on * probability.astype(np.float64) + 1 / classes) / (trained_on + 1)
    return max(0.0, -float(np.log(moved).mean()))
