"""Per-row statistics of a softmax layer, from which scores of training dynamics are computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.kernels.types import Codes, Vector

Statistic = Literal["loss", "margin", "error", "correct", "gradient"]
"""Statistic of a row after an epoch.

- ``loss``: cross-entropy in nats.
- ``margin``: logit of the label minus the largest other logit.
- ``error``: Euclidean distance between the probabilities and the one-hot label.
- ``correct``: 1 if the label has the largest logit (the first of equal ones), else 0.
- ``gradient``: Euclidean norm of the gradient of the loss with respect to the weights and biases of the last layer.
"""

STATISTICS: tuple[Statistic, ...] = ("loss", "margin", "error", "correct", "gradient")


def softmax_statistics(
    logits: NDArray[np.floating], labels: Codes, squared_norms: NDArray[np.floating] | None
) -> Mapping[Statistic, Vector]:
    """Compute the statistics of each row from the logits of a softmax layer.

    Parameters
    ----------
    logits : (n, classes) floats, or logarithms of probabilities; at least two classes
    labels : (n,) int32 in 0 … classes − 1; -1 for rows without a label
    squared_norms : (n,) squared Euclidean norms of the inputs of the layer, 1 for its bias included; None if unknown

    Returns
    -------
    (n,) float32 arrays by name, NaN for rows without a label; without ``gradient`` if the norms are unknown

    Notes
    -----
    Cost: O(n classes) time and memory. The gradient of a row with respect to the weights is the outer product of its
    error (probabilities minus one-hot label) and its input, so the norm is the product of theirs.

    References
    ----------
    Paul, Ganguli & Dziugaite (2021), arXiv:2107.07075, definitions 2.1 (gradient) and 2.2 (error). Pleiss, Zhang,
    Elenberg & Weinberger (2020), arXiv:2001.10528, section 3.1 (margin).

    Examples
    --------
    >>> found = softmax_statistics(np.log([[0.7, 0.2, 0.1]]), np.array([1], np.int32), np.array([5.0]))
    >>> {name: round(float(values[0]), 5) for name, values in found.items()}
    {'loss': 1.60944, 'margin': -1.25276, 'error': 1.06771, 'correct': 0.0, 'gradient': 2.38747}
    """
    rows, labeled = np.arange(len(labels)), labels >= 0
    code = np.where(labeled, labels, 0)
    shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float32, copy=False)
    powers = np.exp(shifted)
    totals = powers.sum(axis=1)
    own = shifted[rows, code]
    correct = shifted.argmax(axis=1) == code
    loss = np.log(totals) - own
    powers /= totals[:, None]
    powers[rows, code] -= 1
    error = np.sqrt(np.einsum("ij,ij->i", powers, powers))
    shifted[rows, code] = -np.inf
    margin = own - shifted.max(axis=1)
    statistics: dict[Statistic, Vector] = {"loss": loss, "margin": margin, "error": error}
    statistics["correct"] = correct.astype(np.float32)
    if squared_norms is not None:
        statistics["gradient"] = error * np.sqrt(squared_norms, dtype=np.float32)
    return {name: np.where(labeled, values, np.float32(np.nan)) for name, values in statistics.items()}
