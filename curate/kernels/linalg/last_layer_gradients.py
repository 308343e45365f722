"""Approximate gradients of a linear last layer, for selectors that match gradients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from curate.errors import PluginError
from curate.kernels.types import Matrix, Vector


def last_layer_gradients(
    embeddings: Matrix, scores: Mapping[str, Vector], error_by: str | None, selector: str
) -> Matrix:
    """Return the embeddings, scaled by the score ``error_by`` if one is given.

    The gradient of the cross-entropy loss with respect to the weights of a linear last layer is the outer product of
    the error, probabilities minus one-hot label, and the layer's input. Its length is that of the error (the score
    el2n) times that of the input. For rows of one class whose errors point the same way, inner products of the
    gradients equal those of the inputs times the lengths of both errors.

    Parameters
    ----------
    embeddings : (n, d) float32
    scores : (n,) float32 arrays by name
    error_by : name of the score that is the length of the error, or None
    selector : name of the calling selector, for the error

    Returns
    -------
    (n, d) float32

    Raises
    ------
    PluginError : if a value of the score is missing, infinite or negative
    """
    if error_by is None:
        return embeddings
    errors = scores[error_by]
    n_invalid = np.count_nonzero(~(np.isfinite(errors) & (errors >= 0)))
    if n_invalid:
        raise PluginError(
            f"{selector}: the score {error_by!r} is missing, infinite or negative for {n_invalid} rows",
            hint=f'drop these rows first with {{use: where, drop: "score_{error_by} is null"}}, or change `error_by`',
        )
    return embeddings * errors[:, None]
