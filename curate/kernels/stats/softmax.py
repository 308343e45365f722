"""Softmax, and log-probabilities in half precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels.types import Matrix


def softmax(logits: NDArray[np.floating]) -> Matrix:
    """Convert logits to probabilities, without overflow.

    Parameters
    ----------
    logits : (n, classes) floats

    Returns
    -------
    (n, classes) float32; rows sum to 1

    Examples
    --------
    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    powers: Matrix = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float32, copy=False))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def half_precision_logs(probabilities: Matrix) -> NDArray[np.float16]:
    """Convert probabilities to natural logarithms in half precision, for storage; ``softmax`` inverts it.

    Parameters
    ----------
    probabilities : (n, classes) float32

    Returns
    -------
    (n, classes) float16

    Notes
    -----
    The order of the probabilities of a row is preserved, except that nearly equal ones may become ties. Probabilities
    below 1e-38 are clipped to that.

    Examples
    --------
    >>> half_precision_logs(np.array([[1.0, 0.0]], np.float32)).tolist()
    [[0.0, -87.3125]]
    """
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)).astype(np.float16)
