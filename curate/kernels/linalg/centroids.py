"""Groups of rows by code, mean directions of groups, and clusters as search cells."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.parallel import block_slices
from curate.kernels.types import Codes, Matrix, Rows


def group_rows(codes: Codes) -> list[Rows]:
    """Return the ascending rows of each non-empty group, in the order of the codes; code -1 is omitted.

    Parameters
    ----------
    codes : (n,) int32, group of each row

    Returns
    -------
    list of arrays of row indices

    Examples
    --------
    >>> [rows.tolist() for rows in group_rows(np.array([3, -1, 0, 3], np.int32))]
    [[2], [0, 3]]
    """
    rows = np.argsort(codes, kind="stable")
    rows = rows[np.searchsorted(codes[rows], 0) :]
    if not len(rows):
        return []
    return np.split(rows, np.flatnonzero(np.diff(codes[rows])) + 1)


def mean_directions(x: Matrix, groups: list[Rows]) -> Matrix:
    """Compute the mean of each group, at unit length; for a group whose rows cancel out, its first row.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    groups : row indices of each of k groups, none empty

    Returns
    -------
    (k, d) float32, rows of unit length

    Notes
    -----
    Cost: O(n d).

    Examples
    --------
    >>> mean_directions(np.array([[1, 0], [0.6, 0.8], [0.6, -0.8]], np.float32), [np.array([0, 1, 2])]).tolist()
    [[1.0, 0.0]]
    """
    directions = np.empty((len(groups), x.shape[1]), np.float32)
    for group, rows in enumerate(groups):
        mean = x[rows].mean(axis=0, dtype=np.float64)
        length = np.linalg.norm(mean)
        directions[group] = mean / length if length > ROUNDING else x[rows[0]]
    return directions


def streamed_mean_directions(blocks: Iterable[tuple[Codes, Matrix]], n_groups: int, dimensions: int) -> Matrix:
    """Compute the mean of each group, at unit length, over blocks of rows, with one block in memory at a time.

    Parameters
    ----------
    blocks : pairs of codes (m,), -1 for rows in no group, and rows (m, d) float32 of unit length
    n_groups : number of groups; codes are below it
    dimensions : d

    Returns
    -------
    (n_groups, dimensions) float32, rows of unit length; the first axis for a group that has no rows or whose rows
        cancel out exactly

    Notes
    -----
    Cost: O(n d) time; O(n_groups × d) memory plus one block. The bytes depend on how the blocks are cut.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.6, 0.8], [0.6, -0.8]], np.float32)
    >>> streamed_mean_directions([(np.zeros(3, np.int32), x)], 1, 2).tolist()
    [[1.0, 0.0]]
    """
    from scipy.sparse import csr_array

    sums = np.zeros((n_groups, dimensions))
    for codes, x in blocks:
        members = np.flatnonzero(codes >= 0)
        ones = np.ones(len(members), np.float32)
        sums += csr_array((ones, (codes[members], members)), shape=(n_groups, len(x))) @ x
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    sums[norms[:, 0] == 0, 0] = 1
    return (sums / np.where(norms == 0, 1, norms)).astype(np.float32)


_SCALE = float(1 << 36)


def exact_sums(x: Matrix, codes: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sum the rows of each group in fixed-point numbers, so that sums of parts add up to the same bits in any order.

    Parameters
    ----------
    x : (n, d) float32, values in [-1, 1]
    codes : (n,) int32, group of each row, -1 for none

    Returns
    -------
    sums : (k, d) int64, in units of 2⁻³⁶, for k - 1 the largest code; rounding changes a value by at most 2⁻³⁷
    counts : (k,) int64, number of rows of each group

    Notes
    -----
    Cost: O(n d). Sums are exact for up to 2²⁶ rows a group.

    Examples
    --------
    >>> sums, counts = exact_sums(np.array([[1, 0], [0.5, 0.25]], np.float32), np.array([1, 1], np.int32))
    >>> (sums / 2**36).tolist(), counts.tolist()
    ([[0.0, 0.0], [1.5, 0.25]], [0, 2])
    """
    from scipy.sparse import csr_array

    k = int(codes.max(initial=-1)) + 1
    sums = np.zeros((k, x.shape[1]), np.int64)
    for block in block_slices(len(x) if k else 0, 65_536):
        members = np.flatnonzero(codes[block] >= 0)
        ones = np.ones(len(members), np.int64)
        fixed = np.rint(x[block][members] * np.float64(_SCALE)).astype(np.int64)
        indicator = csr_array((ones, (codes[block][members], np.arange(len(members)))), shape=(k, len(members)))
        sums += np.asarray(indicator @ fixed, np.int64)
    return sums, np.bincount(codes[codes >= 0], minlength=k).astype(np.int64)


def means_of_sums(sums: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of each group from ``exact_sums``, (k, d) float64; 0 for a group without rows."""
    means: NDArray[np.float64] = sums / _SCALE / np.maximum(counts, 1)[:, None]
    return means


def clusters_as_cells(x: Matrix, codes: Codes) -> tuple[Matrix | None, Codes | None]:
    """Convert clusters to the cells that ``knn`` searches: mean directions, and consecutive cell numbers.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    codes : (n,) int32, cluster of each row, -1 for none

    Returns
    -------
    centroids : (k, d) float32, rows of unit length, one for each cluster with rows; None if no row has a cluster
    cell : (n,) int32, 0 … k − 1 in the order of the clusters, -1 for rows in no cluster; None if no row has a cluster

    Notes
    -----
    Cost: O(n d).

    Examples
    --------
    >>> clusters_as_cells(np.array([[1, 0], [0, 1], [0, 1]], np.float32), np.array([7, -1, 3], np.int32))[1].tolist()
    [1, -1, 0]
    """
    groups = group_rows(codes)
    if not groups:
        return None, None
    cell = np.full(len(x), -1, np.int32)
    for number, rows in enumerate(groups):
        cell[rows] = number
    return mean_directions(x, groups), cell
