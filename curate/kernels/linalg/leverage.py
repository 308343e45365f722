"""Leverage scores: the span of a matrix's rows, and how much each row has of it; in double precision, in blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread
from curate.kernels.types import Matrix, Numbers

_ROWS = 2048
_RANK = 1e-12  # of the largest eigenvalue: what is smaller are rounding errors of float32 rows


class RowSpace(NamedTuple):
    """The space that the rows of a matrix B span, told by the eigenvectors of BᵀB."""

    values: Numbers
    """(r,) eigenvalues above 0, falling; r is the rank of B."""

    directions: Numbers
    """(d, r) their eigenvectors, in columns."""

    def whitening(self) -> Numbers:
        """(d, r) that gives the rows of B coordinates in which its columns are orthonormal."""
        return self.directions / np.sqrt(self.values)


def row_space(x: Matrix, scale: Numbers) -> RowSpace:
    """The space that the rows ``scale[i] * x[i]`` span.

    Parameters
    ----------
    x : (n, d) float32
    scale : (n,) float64; 0 leaves a row out

    Returns
    -------
    Span, of rank 0 if there is no row but zero ones. Eigenvalues below 1e-12 of the largest, and those that rounding
    makes negative, count as 0.

    Cost: O(n d² + d³) time, O(d²) memory.

    >>> row_space(np.array([[2, 0], [2, 0]], np.float32), np.ones(2)).values.tolist()
    [8.0]
    """
    values, vectors = np.zeros(0), np.zeros((x.shape[1], 0))
    gram = np.zeros((x.shape[1], x.shape[1]))

    def block(rows: slice) -> Numbers:
        part = x[rows] * scale[rows, None]
        return part.T @ part

    for part in map_blocks(block, block_slices(len(x), _ROWS)):
        gram += part
    if gram.any():
        with one_blas_thread():
            values, vectors = np.linalg.eigh(gram)
        kept = values > _RANK * values[-1]
        values, vectors = values[kept][::-1], vectors[:, kept][:, ::-1]
    return RowSpace(values, vectors)


def squared_lengths(x: Matrix, scale: Numbers, coordinates: Numbers) -> Numbers:
    """Squared length of each row ``scale[i] * x[i] @ coordinates``: leverage scores, if these whiten the rows.

    Parameters
    ----------
    x : (n, d) float32
    scale : (n,) float64
    coordinates : (d, r) float64

    Returns
    -------
    (n,) float64

    Cost: O(n d r) time, O(n) memory.

    References
    ----------
    Leverage scores: Drineas, Magdon-Ismail, Mahoney & Woodruff (2012), arXiv:1109.3843, section 1.2.

    >>> x = np.array([[1, 0], [1, 0], [0, 3]], np.float32)
    >>> squared_lengths(x, np.ones(3), row_space(x, np.ones(3)).whitening()).round(12).tolist()
    [0.5, 0.5, 1.0]
    """
    lengths = np.empty(len(x))

    def block(rows: slice) -> None:
        part = x[rows].astype(np.float64) @ coordinates
        lengths[rows] = np.einsum("ij,ij->i", part, part) * scale[rows] ** 2

    for _ in map_blocks(block, block_slices(len(x), _ROWS)):
        pass
    return lengths
