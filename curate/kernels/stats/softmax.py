"""Logits to probabilities and back to their logarithms, without overflow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels.types import Matrix


def softmax(logits: NDArray[np.floating]) -> Matrix:
    """The probabilities of (n, classes) logits, each row less its highest first; float32, rows sum to 1.

    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    powers: Matrix = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float32, copy=False))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def half_precision_logs(probabilities: Matrix) -> NDArray[np.float16]:
    """Their natural logarithms in half precision, for storage; ``softmax`` gives the probabilities back.

    The order of a row's probabilities stays as it is, but for those so near to each other that they become ties. A
    probability below 1e-38 counts as that.

    >>> half_precision_logs(np.array([[1.0, 0.0]], np.float32)).tolist()
    [[0.0, -87.3125]]
    """
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)).astype(np.float16)
