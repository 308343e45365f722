"""How good predicted classes and probabilities are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.integer]


def macro_f1(predicted: Codes, truth: Codes) -> float:
    """The mean over the classes that occur in ``truth`` of F1, the harmonic mean of precision and recall.

    A class that is never predicted has an F1 of 0. Classes that are predicted and do not occur count only by the rows
    that they take from others.

    Parameters
    ----------
    predicted, truth : (m,) class codes of at least 0, m at least 1

    Returns
    -------
    In [0, 1]

    References
    ----------
    Van Rijsbergen (1979), Information Retrieval, chapter 7; the mean over classes: Opitz & Burst (2019),
    arXiv:1911.03347.

    >>> macro_f1(np.array([0, 0, 0]), np.array([0, 0, 1]))
    0.4
    """
    many = int(max(predicted.max(), truth.max())) + 1
    right = np.bincount(truth[predicted == truth], minlength=many)
    said, real = np.bincount(predicted, minlength=many), np.bincount(truth, minlength=many)
    occurs = real > 0
    return float((2 * right[occurs] / (said + real)[occurs]).mean())


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
