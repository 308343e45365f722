"""Embedder of projected gradients of one or several checkpoints of a language model, as LESS compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, MinLen

from curate.kernels.types import Matrix
from curate.plugins.interfaces import embedder
from curate.plugins.language_models import GradientRequest, ModelRequest, Outputs, Parameters


def join_checkpoints(gradients: Sequence[Matrix], weights: Sequence[float]) -> Matrix:
    """Join vectors of several checkpoints, so that inner products are weighted means of the cosines.

    Parameters
    ----------
    gradients : sequence of (n, d) float32
        Vectors of each checkpoint.
    weights : sequence of float
        Weight of each checkpoint, above 0.

    Returns
    -------
    (n, sum of d) float32
        Rows of unit length; NaN for a row with a vector that is all zero or not finite.

    Notes
    -----
    Cost: O(n d) time. The inner product of two rows is Σ_i w_i cos_i / Σ_i w_i over the checkpoints i.

    Examples
    --------
    >>> first, second = np.array([[3, 0], [0, 2]], np.float32), np.array([[1, 0], [5, 0]], np.float32)
    >>> x = join_checkpoints([first, second], [3, 1])
    >>> (x @ x.T).round(3).tolist()
    [[1.0, 0.25], [0.25, 1.0]]
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    parts = []
    for vectors, share in zip(gradients, shares, strict=True):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        lengths[~(np.isfinite(lengths) & (lengths > 0))] = np.nan
        parts.append((vectors * (np.sqrt(share) / lengths)).astype(np.float32))
    joined = np.concatenate(parts, axis=1)
    joined[~np.isfinite(joined).all(axis=1)] = np.nan
    return joined


@embedder(version=1, reads="model")
@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """Gradients of the loss of the response, projected at random: rows are similar if they teach a model the same.

    Use it with a section ``target`` and the selector ``less``: a step on a row lowers the loss of the target rows to
    which it is similar. In LESS, the model was trained on a small part of the pool first, with adapters, and each epoch
    has a checkpoint: set ``models`` to these, ``weights`` to their mean learning rates, and ``adam`` to true.

    The vectors of each checkpoint are scaled to unit length and joined, so the inner product of two rows is the mean of
    the checkpoints' cosines by their weights. Rows without a predicted token, such as an empty response, are
    quarantined. A row takes about as long as a step of training with it; ``language_model`` needs a third of that.

    References
    ----------
    Xia et al. (2024), "LESS: Selecting Influential Data for Targeted Instruction Tuning", ICML, arXiv:2402.04333,
    sections 3 and 4.1. The projection is not that of LESS, a dense matrix of signs, but has the same expectation.
    """

    models: Annotated[tuple[Annotated[str, MinLen(1)], ...], MinLen(1)] | None = None
    """Names of the model entries with the checkpoints; null = the first entry."""

    weights: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] | None = None
    """Weight of each checkpoint, such as the mean learning rate of its epoch; null = equal weights."""

    dimension: Annotated[int, Ge(1)] = 8192
    """Number of dimensions of each checkpoint's vectors. Four times as many halve the error of the projection."""

    parameters: Parameters = "all"
    """Parameters: ``all`` weights of linear layers and embeddings, or the ``lora`` adapters of the checkpoint; without
    any, new adapters of all linear layers but the last."""

    rank: Annotated[int, Ge(1)] = 8
    """Rank of new adapters."""

    adam: bool = False
    """Whether the rows of the pool have the direction of a step of Adam in place of the gradient, from the moments in
    the checkpoint's ``optimizer.pt``. Target rows always have the gradient."""

    seed: Annotated[int, Ge(0)] = 0
    """Seed of the projection and of new adapters."""

    def __post_init__(self) -> None:
        count = 1 if self.models is None else len(self.models)
        if self.weights is not None and len(self.weights) != count:
            raise ValueError(f"weights: must have a number for each of {count} models; got {len(self.weights)}")
        if self.models is not None and len(set(self.models)) < count:
            raise ValueError("models: a model is listed twice")

    def requests(self, *, target: bool) -> tuple[ModelRequest, ...]:
        request = GradientRequest(
            dimension=self.dimension,
            parameters=self.parameters,
            rank=self.rank,
            adam=self.adam and not target,
            seed=self.seed,
        )
        return tuple(ModelRequest(request, model) for model in self.models or (None,))

    def encode(self, outputs: tuple[Outputs, ...]) -> Matrix:
        return join_checkpoints([one["vector"] for one in outputs], self.weights or (1.0,) * len(outputs))
