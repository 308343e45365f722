"""Spherical k-means: Lloyd's iteration over streamed blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers, Rows

_ROWS = 2048  # one product: 2048 × k similarities a thread, which fit the caches for k = 1,000
_SUPERBLOCK = 8 * _ROWS  # rows summed in float32 before the sums are added in float64
_SPARE = 64  # rows farthest from their centroids, kept to restart empty clusters


class KMeansFit(NamedTuple):
    """Result of ``lloyd``."""

    centroids: Matrix
    inertia: float
    iterations: int
    converged: bool


def lloyd(
    blocks: Callable[[], Iterator[Matrix]], centroids: Matrix, *, max_iterations: int, tolerance: float
) -> KMeansFit:
    """Move centroids until the inertia stops falling.

    Each iteration reads all rows once, assigns each to its most similar centroid, and moves every centroid to the mean
    direction of its rows. An empty cluster restarts from a row farthest from its own centroid (at most 64 per
    iteration); clusters still empty at the end are omitted. A cluster whose rows cancel out does not move.

    Parameters
    ----------
    blocks : function that starts another pass over the rows and yields (m, d) float32 blocks, rows of unit length
    centroids : (k, d) float32, rows of unit length; the starting point
    max_iterations : maximum number of passes over the rows, at least 1
    tolerance : stop when an iteration lowers the inertia by no more than this share

    Returns
    -------
    centroids : (at most k, d) float32, rows of unit length
    inertia : sum of 1 - cosine of each row to its centroid, measured in the last pass, before the last move
    iterations : number of passes
    converged : whether the tolerance was met

    Notes
    -----
    Cost: O(n k d) time an iteration, nearly all of it in one matrix product; O(k d) memory, and per thread 2048 × k
    similarities and 4 k d bytes.

    Guarantee: except for rounding and restarted clusters, no iteration raises the inertia. The bytes depend on how the
    blocks are cut, not on the number of threads.

    Deviations: the stopping rule uses the relative change of the inertia, the paper's uses the absolute change of its
    objective. Empty clusters restart.

    References
    ----------
    Dhillon & Modha (2001), doi:10.1023/A:1007612920971, section 3 (the spherical objective and its iteration).
    Lloyd (1982), doi:10.1109/TIT.1982.1056489.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.96, 0.28], [0, 1], [0.28, 0.96]], np.float32)
    >>> fit = lloyd(lambda: iter([x]), x[:2], max_iterations=10, tolerance=0.0)
    >>> assign(x, fit.centroids)[0].tolist()
    [0, 0, 1, 1]
    """
    previous = np.inf
    for iteration in range(1, max_iterations + 1):
        sums, counts, inertia, farthest = _pass(blocks, centroids)
        centroids = _update_centroids(centroids, sums)
        empty = np.flatnonzero(counts == 0)
        restarts = farthest[: len(empty)]
        converged = iteration > 1 and not len(restarts) and previous - inertia <= tolerance * previous
        if converged or iteration == max_iterations:
            return KMeansFit(np.delete(centroids, empty, axis=0), inertia, iteration, converged)
        centroids[empty[: len(restarts)]] = restarts
        previous = inertia
    raise ValueError("max_iterations is below 1")


def assign(x: Matrix, centroids: Matrix) -> tuple[Codes, Matrix]:
    """Assign each row to its most similar centroid.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    centroids : (k, d) float32, rows of unit length, k at least 1

    Returns
    -------
    cluster : (n,) int32, ties to the lowest index
    similarity : (n,) float32, cosine to that centroid, in [-1, 1]

    Notes
    -----
    Cost: O(n k d) time; O(n) memory, and 2048 × k similarities a thread.

    Examples
    --------
    >>> cluster, similarity = assign(np.array([[1, 0], [0, 1]], np.float32), np.array([[0, 1]], np.float32))
    >>> cluster.tolist(), similarity.tolist()
    ([0, 0], [0.0, 1.0])
    """
    cluster = np.empty(len(x), np.int32)
    similarity = np.empty(len(x), np.float32)

    def block(rows: slice) -> None:
        cluster[rows], similarity[rows] = _nearest(x[rows], centroids, np.empty((_ROWS, len(centroids)), np.float32))

    for _ in map_blocks(block, block_slices(len(x), _ROWS)):
        pass
    return cluster, similarity


def _nearest(x: Matrix, centroids: Matrix, buffer: Matrix) -> tuple[Rows, Matrix]:
    similarities = np.matmul(x, centroids.T, out=buffer[: len(x)])
    cluster = similarities.argmax(axis=1)
    return cluster, similarities[np.arange(len(x)), cluster].clip(-1, 1)


def _pass(blocks: Callable[[], Iterator[Matrix]], centroids: Matrix) -> tuple[Numbers, Rows, float, Matrix]:
    """Run one pass over the rows.

    Returns the sums (k, d) and counts (k,) of the clusters' rows, the inertia, and the rows farthest from their
    centroids, farthest first.
    """
    from scipy.sparse import csc_array

    k, d = centroids.shape

    def superblock(x: Matrix) -> tuple[Matrix, Rows, float, Matrix, Matrix]:
        cluster = np.empty(len(x), np.int32)
        similarity = np.empty(len(x), np.float32)
        buffer = np.empty((min(_ROWS, len(x)), k), np.float32)
        for rows in block_slices(len(x), _ROWS):
            cluster[rows], similarity[rows] = _nearest(x[rows], centroids, buffer)
        # Column i has a 1 in the row of i's cluster, so the product adds each row to the sum of its cluster.
        indicator = csc_array(
            (np.ones(len(x), np.float32), cluster, np.arange(len(x) + 1, dtype=np.int32)), (k, len(x))
        )
        cost = (1 - similarity).sum(dtype=np.float64)
        farthest = _farthest(similarity)
        return indicator @ x, np.bincount(cluster, minlength=k), float(cost), similarity[farthest], x[farthest]

    total, counts, inertia = np.zeros((k, d)), np.zeros(k, np.intp), 0.0
    similarities_farthest, farthest = np.empty(0, np.float32), np.empty((0, d), np.float32)
    superblocks = (x[rows] for x in blocks() for rows in block_slices(len(x), _SUPERBLOCK))
    for sums, count, cost, similarity, rows in map_blocks(superblock, superblocks):
        total += sums
        counts += count
        inertia += cost
        similarities_farthest, farthest = np.r_[similarities_farthest, similarity], np.r_[farthest, rows]
        selected = _farthest(similarities_farthest)
        similarities_farthest, farthest = similarities_farthest[selected], farthest[selected]
    return total, counts, inertia, farthest[similarities_farthest < 1 - ROUNDING]


def _farthest(similarity: Matrix) -> Rows:
    """Return the rows least similar to their centroid, least similar first, ties to the lowest index."""
    candidates = np.arange(len(similarity))
    if len(similarity) > _SPARE:
        candidates = np.flatnonzero(similarity <= np.partition(similarity, _SPARE - 1)[_SPARE - 1])
    return candidates[np.argsort(similarity[candidates], kind="stable")][:_SPARE]


def _update_centroids(centroids: Matrix, sums: Numbers) -> Matrix:
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    unmoved = lengths[:, 0] < ROUNDING
    moved = (sums / np.where(lengths < ROUNDING, 1, lengths)).astype(np.float32)
    moved[unmoved] = centroids[unmoved]
    return moved
