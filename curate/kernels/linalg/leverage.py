"""Row space and leverage scores of a matrix, in double precision and in blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread
from curate.kernels.types import Matrix, Numbers

_ROWS = 2048
_RANK = 1e-12  # smaller shares of the largest eigenvalue are rounding errors of float32 rows


class RowSpace(NamedTuple):
    """Row space of a matrix B, described by the eigenvectors of BᵀB."""

    eigenvalues: Numbers
    """Positive eigenvalues (r,), descending; r is the rank of B."""

    eigenvectors: Numbers
    """Their eigenvectors (d, r), in columns."""

    def whitening(self) -> Numbers:
        """Return the matrix (d, r) that maps the rows of B to coordinates with orthonormal columns."""
        return self.eigenvectors / np.sqrt(self.eigenvalues)


def row_space(x: Matrix, scale: Numbers) -> RowSpace:
    """Compute the row space of the matrix with rows ``scale[i] * x[i]``.

    Parameters
    ----------
    x : (n, d) float32
    scale : (n,) float64; 0 excludes a row

    Returns
    -------
    RowSpace, of rank 0 if all rows are zero

    Notes
    -----
    Eigenvalues below 1e-12 of the largest, and those that rounding makes negative, count as 0.

    Cost: O(n d² + d³) time, O(d²) memory.

    Examples
    --------
    >>> row_space(np.array([[2, 0], [2, 0]], np.float32), np.ones(2)).eigenvalues.tolist()
    [8.0]
    """
    values, vectors = np.zeros(0), np.zeros((x.shape[1], 0))
    gram = np.zeros((x.shape[1], x.shape[1]))

    def block(rows: slice) -> Numbers:
        scaled = x[rows] * scale[rows, None]
        return scaled.T @ scaled

    for scaled in map_blocks(block, block_slices(len(x), _ROWS)):
        gram += scaled
    if gram.any():
        with one_blas_thread():
            values, vectors = np.linalg.eigh(gram)
        significant = values > _RANK * values[-1]
        values, vectors = values[significant][::-1], vectors[:, significant][:, ::-1]
    return RowSpace(values, vectors)


def squared_lengths(x: Matrix, scale: Numbers, coordinates: Numbers) -> Numbers:
    """Compute the squared length of each row ``scale[i] * x[i] @ coordinates``.

    Parameters
    ----------
    x : (n, d) float32
    scale : (n,) float64
    coordinates : (d, r) float64; with ``RowSpace.whitening`` the results are leverage scores

    Returns
    -------
    (n,) float64

    Notes
    -----
    Cost: O(n d r) time, O(n) memory.

    References
    ----------
    Leverage scores: Drineas, Magdon-Ismail, Mahoney & Woodruff (2012), arXiv:1109.3843, section 1.2.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 3]], np.float32)
    >>> squared_lengths(x, np.ones(3), row_space(x, np.ones(3)).whitening()).round(12).tolist()
    [0.5, 0.5, 1.0]
    """
    lengths = np.empty(len(x))

    def block(rows: slice) -> None:
        projected = x[rows].astype(np.float64) @ coordinates
        lengths[rows] = np.einsum("ij,ij->i", projected, projected) * scale[rows] ** 2

    for _ in map_blocks(block, block_slices(len(x), _ROWS)):
        pass
    return lengths
