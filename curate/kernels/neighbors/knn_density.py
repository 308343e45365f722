"""Density of the rows around a row, from the distance to its k-th nearest neighbor."""

from __future__ import annotations

from math import lgamma, log, pi
from typing import Literal

import numpy as np

from curate.kernels.linalg.cosines import cosine_distances, euclidean_distances
from curate.kernels.types import Matrix, Positions32, Vector

MIN_DISTANCE = 1e-3  # the distance of duplicates, so that their density is finite


def knn_density(x: Matrix, indices: Positions32, similarities: Matrix, dimensions: int | Literal["auto"]) -> Vector:
    """Compute the logarithm of the k-nearest-neighbor density around each row.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    indices, similarities : (n, k) the neighbors of each row, as ``knn`` returns them
    dimensions : number of dimensions in which the rows spread; "auto": estimated from the same neighbors

    Returns
    -------
    (n,) float32, higher where the rows are more crowded

    Notes
    -----
    Cost: O(n k).

    References
    ----------
    See ``log_density`` and ``intrinsic_dimensions``.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.8, 0.6], [0, -1]], np.float32)
    >>> indices, similarities = np.array([[1], [0], [0]], np.int32), np.array([[0.8], [0.8], [0]], np.float32)
    >>> knn_density(x, indices, similarities, 1).argmin()
    np.int64(2)
    """
    reach = neighbor_distances(x, indices, similarities)
    m = intrinsic_dimensions(reach, max(x.shape[1] - 1, 1)) if dimensions == "auto" else dimensions
    return log_density(reach, len(x), m)


def neighbor_distances(x: Matrix, indices: Positions32, similarities: Matrix) -> Matrix:
    """Compute the Euclidean distances of unit rows to their neighbors, at least 0.001 and at most 2.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    indices, similarities : (n, k) the neighbors of each row, as ``knn`` returns them

    Returns
    -------
    (n, k) float32, ascending

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    >>> indices, similarities = np.array([[1, 2], [0, 2], [1, 0]]), np.array([[0, -1], [0, 0], [0, -1]], np.float32)
    >>> (neighbor_distances(x, indices, similarities) ** 2).round().tolist()
    [[2.0, 4.0], [2.0, 2.0], [2.0, 4.0]]
    """
    rows = np.repeat(np.arange(len(x)), indices.shape[1])
    gap = cosine_distances(similarities.ravel(), x, x, rows, indices.ravel())
    return np.maximum(np.sort(euclidean_distances(gap).reshape(indices.shape), axis=1), np.float32(MIN_DISTANCE))


def intrinsic_dimensions(distances: Matrix, most: int) -> float:
    """The number of dimensions in which the rows spread, as the distances to their neighbours tell it.

    Within a small ball of a set of m dimensions the number of neighbours grows as radiusᵐ, so that ln(r_k / r_j) is
    1 / m on average over the nearer neighbours j; m is one over the mean over all rows.

    Parameters
    ----------
    distances : (n, k) float32, to the k nearest rows, ascending; those of duplicates (0.001) are left out
    most : upper limit of the answer; unit vectors of d numbers lie on a surface of d - 1 dimensions

    Returns
    -------
    m, 1 <= m <= most; 1 where there is nothing to estimate from (no two different distances of one row)

    Cost: O(n k).

    References
    ----------
    Levina & Bickel (2004), "Maximum likelihood estimation of intrinsic dimension", NIPS 17, eq. 8; averaged over rows
    as MacKay & Ghahramani's 2005 comment on it corrects.

    Deviations: duplicates are left out.
    """
    nearer, farthest = distances[:, :-1], distances[:, -1:]
    logs = np.log(farthest / nearer)[nearer > MIN_DISTANCE]
    total = float(logs.sum(dtype=np.float64))
    return min(max(len(logs) / total, 1.0), float(most)) if total > 0 else 1.0


def log_density(distances: Matrix, rows: int, dimensions: float) -> Vector:
    """Natural logarithm of the k-nearest-neighbour density: ln k - ln(rows - 1) - ln V - dimensions · ln r_k.

    V is the volume of the unit ball of that many dimensions, π^(m/2) / Γ(m/2 + 1). All in logarithms: r_k to the power
    of some hundred dimensions is no number that a float holds.

    Parameters
    ----------
    distances : (n, k) float32, to the k nearest rows, ascending, all above 0
    rows : number of rows in the pool; the row itself does not count

    Returns
    -------
    (n,) float32, per unit volume, higher where the pool is more crowded

    Cost: O(n).

    References
    ----------
    Loftsgaarden & Quesenberry (1965), doi:10.1214/aoms/1177700079.

    >>> two_of_eight_rows_on_a_segment_of_half = log_density(np.array([[0.1, 0.25]], np.float32), 9, 1)
    >>> round(float(np.exp(two_of_eight_rows_on_a_segment_of_half)[0]), 4)
    0.5
    """
    volume = dimensions / 2 * log(pi) - lgamma(dimensions / 2 + 1)
    fraction = log(distances.shape[1]) - log(rows - 1)
    return (fraction - volume - dimensions * np.log(distances[:, -1])).astype(np.float32)
