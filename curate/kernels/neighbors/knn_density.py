"""Density around a row, from the distance to its k-th nearest neighbor."""

from __future__ import annotations

from math import lgamma, log, pi
from typing import Literal

import numpy as np

from curate.kernels.linalg.cosines import cosine_distances, euclidean_distances
from curate.kernels.types import Matrix, Positions32, Rows, Vector

MIN_DISTANCE = 1e-3  # the distance of duplicates, so that their density is finite


def knn_density(x: Matrix, indices: Positions32, similarities: Matrix, dimensions: int | Literal["auto"]) -> Vector:
    """Compute the logarithm of the k-nearest-neighbor density around each row.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    indices, similarities : (n, k) the neighbors of each row, as ``knn`` returns them
    dimensions : number of dimensions in which the rows spread; "auto" estimates it from the same neighbors

    Returns
    -------
    (n,) float32, higher in crowded regions

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
    distances = neighbor_distances(x, indices, similarities)
    n_dimensions = intrinsic_dimensions(distances, max(x.shape[1] - 1, 1)) if dimensions == "auto" else dimensions
    return log_density(distances, len(x), n_dimensions)


def neighbor_distances(x: Matrix, indices: Positions32, similarities: Matrix, *, queries: Rows | None = None) -> Matrix:
    """Compute the Euclidean distances of unit rows to their neighbors, at least 0.001 and at most 2.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    indices, similarities : (m, k) the neighbors of each of the ``queries``, as ``knn`` returns them
    queries : (m,) rows of ``x``; None = all n

    Returns
    -------
    (m, k) float32, ascending

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    >>> indices, similarities = np.array([[1, 2], [0, 2], [1, 0]]), np.array([[0, -1], [0, 0], [0, -1]], np.float32)
    >>> (neighbor_distances(x, indices, similarities) ** 2).round().tolist()
    [[2.0, 4.0], [2.0, 2.0], [2.0, 4.0]]
    """
    rows = np.repeat(np.arange(len(x)) if queries is None else queries, indices.shape[1])
    gaps = cosine_distances(similarities.ravel(), x, x, rows, indices.ravel())
    return np.maximum(np.sort(euclidean_distances(gaps).reshape(indices.shape), axis=1), np.float32(MIN_DISTANCE))


def intrinsic_dimensions(distances: Matrix, upper_limit: int) -> float:
    """Estimate the number of dimensions in which the rows spread from their neighbor distances.

    Within a small ball of a set of m dimensions, the number of neighbors grows as radiusᵐ, so ln(r_k / r_j) is 1 / m on
    average over the nearer neighbors j. The estimate is one over the mean over all rows.

    Parameters
    ----------
    distances : (n, k) float32, to the k nearest rows, ascending; distances of duplicates (0.001) are ignored
    upper_limit : upper limit of the estimate; unit vectors of d numbers lie on a surface of d - 1 dimensions

    Returns
    -------
    estimate in [1, upper_limit]; 1 if no row has two different distances

    Notes
    -----
    Cost: O(n k).

    Deviations: duplicates are ignored.

    References
    ----------
    Levina & Bickel (2004), "Maximum likelihood estimation of intrinsic dimension", NIPS 17, eq. 8; averaged over rows
    as MacKay & Ghahramani's 2005 comment on it corrects.
    """
    nearer, farthest = distances[:, :-1], distances[:, -1:]
    logs = np.log(farthest / nearer)[nearer > MIN_DISTANCE]
    log_sum = float(logs.sum(dtype=np.float64))
    return min(max(len(logs) / log_sum, 1.0), float(upper_limit)) if log_sum > 0 else 1.0


def log_density(distances: Matrix, rows: int, dimensions: float) -> Vector:
    """Compute the k-nearest-neighbor log density ln k - ln(rows - 1) - ln V - dimensions · ln r_k.

    V is the volume of the unit ball of that many dimensions, π^(m/2) / Γ(m/2 + 1). The computation stays in logarithms
    because r_k to the power of some hundred dimensions is outside the range of floats.

    Parameters
    ----------
    distances : (n, k) float32, to the k nearest rows, ascending, all above 0
    rows : number of rows in the pool; the row itself does not count
    dimensions : number of dimensions

    Returns
    -------
    (n,) float32, natural logarithm per unit volume, higher in crowded regions

    Notes
    -----
    Cost: O(n).

    References
    ----------
    Loftsgaarden & Quesenberry (1965), doi:10.1214/aoms/1177700079.

    Examples
    --------
    >>> two_of_eight_rows_on_a_segment_of_half = log_density(np.array([[0.1, 0.25]], np.float32), 9, 1)
    >>> round(float(np.exp(two_of_eight_rows_on_a_segment_of_half)[0]), 4)
    0.5
    """
    log_volume = dimensions / 2 * log(pi) - lgamma(dimensions / 2 + 1)
    log_fraction = log(distances.shape[1]) - log(rows - 1)
    return (log_fraction - log_volume - dimensions * np.log(distances[:, -1])).astype(np.float32)
