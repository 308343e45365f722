"""Approximate gradients of a linear last layer, for selectors that match gradients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from curate.errors import PluginError
from curate.kernels.types import Matrix, Vector


def last_layer_gradients(
    embeddings: Matrix, scores: Mapping[str, Vector], error_by: str | None, selector: str
) -> Matrix:
    """Return the embeddings, or each times its value of the score ``error_by``; (n, d) float32.

    The gradient of the cross-entropy loss by the weights of a linear last layer is the outer product of the error,
    probabilities less one-hot label, and the layer's input. Its length is that of the error (the score el2n) times that
    of the input. For rows of one class whose errors point the same way, inner products of the gradients are those of
    the inputs times both errors' lengths.

    Raises
    ------
    PluginError : if a value of the score is missing, infinite or below 0
    """
    if error_by is None:
        return embeddings
    error = scores[error_by]
    wrong = np.count_nonzero(~(np.isfinite(error) & (error >= 0)))
    if wrong:
        raise PluginError(
            f"{selector}: the score {error_by!r} is missing, infinite or negative for {wrong} rows",
            hint=f'drop them first, with {{use: where, drop: "score_{error_by} is null"}}, or name another error',
        )
    return embeddings * error[:, None]
