"""Gradients and Hessian of the mean cross-entropy of a softmax layer with respect to its weights.

The gradient of row i is δᵢhᵢᵀ, where hᵢ is the input of the layer and δᵢ its probabilities minus the one-hot label. The
Hessian is the mean over the rows of (diag(pᵢ) − pᵢpᵢᵀ) ⊗ hᵢhᵢᵀ. Both are applied to matrices of weights without being
formed. Rows are processed in fixed blocks and summed in double precision, in row order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers, Rows

_ROWS = 4096


@dataclass(frozen=True, slots=True)
class SoftmaxLayer:
    """Softmax layer and n rows, at least one: its inputs and outputs, and their labels."""

    features: Matrix
    """Inputs of the layer (n, f) float32; for a layer with a bias, the last column is 1."""

    probabilities: Matrix
    """Outputs of the layer (n, classes) float32; rows sum to 1."""

    labels: Codes
    """Class of each row (n,) int32 in 0 … classes − 1."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the weights, (classes, f)."""
        return self.probabilities.shape[1], self.features.shape[1]

    def inputs(self, rows: slice | Rows) -> Numbers:
        """Return the inputs of some rows in double precision, (m, f)."""
        return self.features[rows].astype(np.float64)

    def errors(self, rows: slice | Rows) -> Numbers:
        """Return the errors δ of some rows, (m, classes) float64."""
        error = self.probabilities[rows].astype(np.float64)
        error[np.arange(len(error)), self.labels[rows]] -= 1
        return error


def mean_gradient(layer: SoftmaxLayer) -> Numbers:
    """Compute the gradient of the mean loss of all rows.

    Parameters
    ----------
    layer : layer and n rows

    Returns
    -------
    (classes, f) float64

    Notes
    -----
    Cost: O(n classes f) time.

    Examples
    --------
    >>> x, p = np.eye(2, dtype=np.float32), np.full((2, 2), 0.5, np.float32)
    >>> mean_gradient(SoftmaxLayer(x, p, np.array([0, 1], np.int32))).tolist()
    [[-0.25, 0.25], [0.25, -0.25]]
    """
    parts = map_blocks(lambda rows: layer.errors(rows).T @ layer.inputs(rows), block_slices(len(layer), _ROWS))
    return _sum(parts, layer.shape) / len(layer)


def gradient_products(layer: SoftmaxLayer, vector: Numbers) -> Numbers:
    """Compute the inner product of the gradient of each row with a matrix V of weights, δᵀVh.

    Parameters
    ----------
    layer : layer and n rows
    vector : (classes, f) float64

    Returns
    -------
    (n,) float64

    Notes
    -----
    Cost: O(n classes f) time.
    """

    def products(rows: slice) -> Numbers:
        values: Numbers = np.einsum("ij,ij->i", layer.errors(rows), layer.inputs(rows) @ vector.T)
        return values

    return np.concatenate(list(map_blocks(products, block_slices(len(layer), _ROWS))))


def squared_gradient_norms(layer: SoftmaxLayer) -> Numbers:
    """Compute the squared norm of the gradient of each row, ‖δ‖²‖h‖², (n,) float64."""

    def norms(rows: slice) -> Numbers:
        values: Numbers = np.square(layer.errors(rows)).sum(axis=1) * np.square(layer.inputs(rows)).sum(axis=1)
        return values

    return np.concatenate(list(map_blocks(norms, block_slices(len(layer), _ROWS))))


def mean_squared_error(layer: SoftmaxLayer) -> float:
    """Compute the mean squared norm of the errors, which is the trace of E[δδᵀ]."""
    parts = map_blocks(lambda rows: float(np.square(layer.errors(rows)).sum()), block_slices(len(layer), _ROWS))
    return sum(parts) / len(layer)


def mean_squared_input(layer: SoftmaxLayer) -> float:
    """Compute the mean squared norm of the inputs, which is the trace of E[hhᵀ]."""
    parts = map_blocks(lambda rows: float(np.square(layer.inputs(rows)).sum()), block_slices(len(layer), _ROWS))
    return sum(parts) / len(layer)


def hessian_product(layer: SoftmaxLayer, vector: Numbers, rows: Rows | None = None) -> Numbers:
    """Apply the Hessian of the mean loss to a matrix V of weights.

    Parameters
    ----------
    layer : layer and n rows
    vector : (classes, f) float64
    rows : rows whose mean loss it is, at least one; None for all

    Returns
    -------
    (classes, f) float64: the mean over the rows of (diag(p) − ppᵀ) V hhᵀ

    Notes
    -----
    Cost: O(n classes f) time; memory of a few blocks of 4,096 rows.

    Examples
    --------
    >>> x, p = np.array([[2]], np.float32), np.array([[0.5, 0.5]], np.float32)
    >>> hessian_product(SoftmaxLayer(x, p, np.zeros(1, np.int32)), np.array([[1.0], [0.0]])).tolist()
    [[1.0], [-1.0]]
    """
    n = len(layer) if rows is None else len(rows)

    def product(block: slice) -> Numbers:
        some = block if rows is None else rows[block]
        x, p = layer.inputs(some), layer.probabilities[some].astype(np.float64)
        change = p * (x @ vector.T)
        change -= p * change.sum(axis=1, keepdims=True)
        values: Numbers = change.T @ x
        return values

    return _sum(map_blocks(product, block_slices(n, _ROWS)), layer.shape) / n


def hessian(layer: SoftmaxLayer) -> Numbers:
    """Compute the Hessian of the mean loss as a dense matrix.

    Parameters
    ----------
    layer : layer and n rows

    Returns
    -------
    (classes f, classes f) float64, symmetric; weight (c, j) has the index c f + j

    Notes
    -----
    Cost: O(n classes² f²) time; twice the memory of the result.
    """
    n_classes, f = layer.shape
    result = np.zeros((n_classes, f, n_classes, f))
    for rows in block_slices(len(layer), _ROWS):
        x, p = layer.inputs(rows), layer.probabilities[rows].astype(np.float64)

        def add(c: int, x: Numbers = x, p: Numbers = p) -> None:
            for other in range(c, n_classes):
                weights = p[:, c] * (float(c == other) - p[:, other])
                result[c, :, other] += (weights[:, None] * x).T @ x

        for _ in map_blocks(add, range(n_classes)):
            pass
    for c in range(n_classes):
        for other in range(c):
            result[c, :, other] = result[other, :, c].T
    return result.reshape(n_classes * f, n_classes * f) / len(layer)


def mean_hessian_eigenvalue(layer: SoftmaxLayer) -> float:
    """Compute the mean eigenvalue of the Hessian: its trace, divided by the number of weights."""

    def trace(rows: slice) -> float:
        p = layer.probabilities[rows].astype(np.float64)
        spread = (p * (1 - p)).sum(axis=1)
        return float(spread @ np.square(layer.inputs(rows)).sum(axis=1))

    return sum(map_blocks(trace, block_slices(len(layer), _ROWS))) / (len(layer) * layer.shape[0] * layer.shape[1])


def max_hessian_eigenvalue(layer: SoftmaxLayer) -> float:
    """Compute an upper bound of the largest eigenvalue of the Hessian of every subset of the rows.

    That of diag(p) − ppᵀ is at most 1/2, and at most max(p): the bound is the largest product of the lower of both with
    the squared length of the input of a row.
    """

    def bound(rows: slice) -> float:
        curvature = np.minimum(layer.probabilities[rows].max(axis=1), 0.5)
        return float((curvature * np.square(layer.inputs(rows)).sum(axis=1)).max())

    return max(map_blocks(bound, block_slices(len(layer), _ROWS)))


def error_moments(layer: SoftmaxLayer) -> tuple[Numbers, Numbers]:
    """Compute the Kronecker factors of the empirical Fisher matrix, E[δδᵀ] and E[hhᵀ].

    Parameters
    ----------
    layer : layer and n rows

    Returns
    -------
    errors : (classes, classes) float64
    inputs : (f, f) float64

    Notes
    -----
    Cost: O(n (classes² + f²)) time.
    """

    def moments(rows: slice) -> tuple[Numbers, Numbers]:
        error, x = layer.errors(rows), layer.inputs(rows)
        return error.T @ error, x.T @ x

    return _mean_of_pairs(layer, map_blocks(moments, block_slices(len(layer), _ROWS)))


def curvature_moments(layer: SoftmaxLayer) -> tuple[Numbers, Numbers]:
    """Compute the Kronecker factors of the Hessian, E[diag(p) − ppᵀ] and E[hhᵀ].

    Parameters
    ----------
    layer : layer and n rows

    Returns
    -------
    outputs : (classes, classes) float64
    inputs : (f, f) float64

    Notes
    -----
    Cost: O(n (classes² + f²)) time.
    """

    def moments(rows: slice) -> tuple[Numbers, Numbers]:
        p, x = layer.probabilities[rows].astype(np.float64), layer.inputs(rows)
        return np.diag(p.sum(axis=0)) - p.T @ p, x.T @ x

    return _mean_of_pairs(layer, map_blocks(moments, block_slices(len(layer), _ROWS)))


def _mean_of_pairs(layer: SoftmaxLayer, parts: Iterable[tuple[Numbers, Numbers]]) -> tuple[Numbers, Numbers]:
    n, (n_classes, f) = len(layer), layer.shape
    outputs, inputs = np.zeros((n_classes, n_classes)), np.zeros((f, f))
    for output_part, input_part in parts:
        outputs += output_part / n
        inputs += input_part / n
    return outputs, inputs


def _sum(parts: Iterable[Numbers], shape: tuple[int, int]) -> Numbers:
    total = np.zeros(shape)
    for part in parts:
        total += part
    return total
