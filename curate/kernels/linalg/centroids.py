"""Groups of rows by their codes, the mean directions of groups, and both as cells to look for neighbours in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.types import Codes, Matrix, Rows


def group_rows(cluster: Codes) -> list[Rows]:
    """The rows of each cluster that has some, ascending, clusters in ascending order; those of cluster -1 are left out.

    >>> [rows.tolist() for rows in group_rows(np.array([3, -1, 0, 3], np.int32))]
    [[2], [0, 3]]
    """
    rows = np.argsort(cluster, kind="stable")
    rows = rows[np.searchsorted(cluster[rows], 0) :]
    if not len(rows):
        return []
    return np.split(rows, np.flatnonzero(np.diff(cluster[rows])) + 1)


def mean_directions(x: Matrix, members: list[Rows]) -> Matrix:
    """The mean of each group, at unit length; of a group whose rows cancel out, its first row.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    members : the rows of each of k groups, none empty

    Returns
    -------
    (k, d) float32, rows of unit length

    Cost: O(n d).

    >>> mean_directions(np.array([[1, 0], [0.6, 0.8], [0.6, -0.8]], np.float32), [np.array([0, 1, 2])]).tolist()
    [[1.0, 0.0]]
    """
    centres = np.empty((len(members), x.shape[1]), np.float32)
    for group, rows in enumerate(members):
        mean = x[rows].mean(axis=0, dtype=np.float64)
        length = np.linalg.norm(mean)
        centres[group] = mean / length if length > ROUNDING else x[rows[0]]
    return centres


def streamed_mean_directions(blocks: Iterable[tuple[Codes, Matrix]], n_groups: int, dimensions: int) -> Matrix:
    """Compute the mean of each group at unit length over blocks of rows, of which one is in memory at a time.

    Parameters
    ----------
    blocks : codes (m,) of some rows, -1 for rows in no group, and the rows, (m, d) float32 of unit length
    n_groups : number of groups; codes are below it

    Returns
    -------
    (n_groups, dimensions) float32, rows of unit length; the first axis for a group without rows or whose rows cancel
    out exactly

    Notes
    -----
    Cost: O(n d) time; O(n_groups × d) memory besides a block. The bytes depend on how the blocks are cut.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.6, 0.8], [0.6, -0.8]], np.float32)
    >>> streamed_mean_directions([(np.zeros(3, np.int32), x)], 1, 2).tolist()
    [[1.0, 0.0]]
    """
    from scipy.sparse import csr_array

    total = np.zeros((n_groups, dimensions))
    for codes, x in blocks:
        members = np.flatnonzero(codes >= 0)
        one_each = np.ones(len(members), np.float32)
        total += csr_array((one_each, (codes[members], members)), shape=(n_groups, len(x))) @ x
    norms = np.linalg.norm(total, axis=1, keepdims=True)
    total[norms[:, 0] == 0, 0] = 1
    return (total / np.where(norms == 0, 1, norms)).astype(np.float32)


def clusters_as_cells(x: Matrix, cluster: Codes) -> tuple[Matrix | None, Codes | None]:
    """The clusters that have rows, as ``neighbours.knn`` takes them: their mean directions, and each row's number.

    Returns
    -------
    centroids : (k, d) float32, rows of unit length
    cell : (n,) int32, 0 … k − 1 in the order of the clusters, -1 for rows of cluster -1

    Both are None if no row has a cluster. Cost: O(n d).

    >>> clusters_as_cells(np.array([[1, 0], [0, 1], [0, 1]], np.float32), np.array([7, -1, 3], np.int32))[1].tolist()
    [1, -1, 0]
    """
    members = group_rows(cluster)
    if not members:
        return None, None
    cell = np.full(len(x), -1, np.int32)
    for number, rows in enumerate(members):
        cell[rows] = number
    return mean_directions(x, members), cell
