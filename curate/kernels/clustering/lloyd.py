"""Spherical k-means: Lloyd's iteration over blocks that are streamed, not held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers, Rows

_ROWS = 2048  # one product: 2048 × k similarities a thread, which the caches hold for k = 1,000
_SUPERBLOCK = 8 * _ROWS  # rows whose float32 sums are added up before they join the float64 ones
_SPARE = 64  # the rows farthest from their centroids that are remembered for empty clusters


class KMeansFit(NamedTuple):
    """What ``lloyd`` found."""

    centroids: Matrix
    inertia: float
    iterations: int
    converged: bool


def lloyd(
    blocks: Callable[[], Iterator[Matrix]], centroids: Matrix, *, max_iterations: int, tolerance: float
) -> KMeansFit:
    """Move ``centroids`` until the rows are no nearer to theirs than the time before.

    Each iteration reads all rows once, gives each to its most similar centroid, and puts every centroid at the mean
    direction of its rows. A cluster left empty starts again from a row farthest from its own centroid (at most 64 a
    time); one still empty at the end is left out. A cluster whose rows cancel out stays where it was.

    Parameters
    ----------
    blocks : starts another pass over the rows; yields (m, d) float32 with rows of unit length
    centroids : (k, d) float32, rows of unit length, where to start
    max_iterations : passes over the rows, at least 1
    tolerance : stop when an iteration lowers the inertia by no more than this share of it

    Returns
    -------
    centroids : (at most k, d) float32, rows of unit length
    inertia : sum of 1 - cosine to the own centroid, as of the last pass, so before the last move
    iterations : passes made
    converged : whether the tolerance was met

    Cost: O(n k d) time an iteration, nearly all of it in one matrix product; O(k d) memory, and per thread 2048 × k
    similarities and 4 k d bytes. Guarantee: but for rounding and for clusters that start again, no iteration raises the
    inertia. The bytes depend on how the blocks are cut, not on the number of threads.

    References
    ----------
    Dhillon & Modha (2001), doi:10.1023/A:1007612920971, section 3 (the spherical objective and its iteration).
    Lloyd (1982), doi:10.1109/TIT.1982.1056489.

    Deviations: stops by the change in inertia, as the paper does by that of its objective, but relative to it; clusters
    that are empty start again.

    >>> x = np.array([[1, 0], [0.96, 0.28], [0, 1], [0.28, 0.96]], np.float32)
    >>> fit = lloyd(lambda: iter([x]), x[:2], max_iterations=10, tolerance=0.0)
    >>> assign(x, fit.centroids)[0].tolist()
    [0, 0, 1, 1]
    """
    previous = np.inf
    for iteration in range(1, max_iterations + 1):
        sums, counts, inertia, farthest = _pass(blocks, centroids)
        centroids = _moved(centroids, sums)
        vacant = np.flatnonzero(counts == 0)
        spare = farthest[: len(vacant)]
        converged = iteration > 1 and not len(spare) and previous - inertia <= tolerance * previous
        if converged or iteration == max_iterations:
            return KMeansFit(np.delete(centroids, vacant, axis=0), inertia, iteration, converged)
        centroids[vacant[: len(spare)]] = spare
        previous = inertia
    raise ValueError("max_iterations is below 1")


def assign(x: Matrix, centroids: Matrix) -> tuple[Codes, Matrix]:
    """The most similar of ``centroids`` for each row.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    centroids : (k, d) float32, rows of unit length, k at least 1

    Returns
    -------
    cluster : (n,) int32, ties to the lowest
    similarity : (n,) float32, cosine to that centroid, in [-1, 1]

    Cost: O(n k d) time; O(n) memory, and 2048 × k similarities a thread.

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
    """One pass: sums (k, d) and counts (k,) of the clusters' rows, the inertia, and the farthest rows in that order."""
    from scipy.sparse import csc_array

    k, d = centroids.shape

    def superblock(x: Matrix) -> tuple[Matrix, Rows, float, Matrix, Matrix]:
        cluster = np.empty(len(x), np.int32)
        similarity = np.empty(len(x), np.float32)
        buffer = np.empty((min(_ROWS, len(x)), k), np.float32)
        for rows in block_slices(len(x), _ROWS):
            cluster[rows], similarity[rows] = _nearest(x[rows], centroids, buffer)
        # Column i has a one in the row of i's cluster: the product adds row after row to its cluster's sum.
        indicator = csc_array(
            (np.ones(len(x), np.float32), cluster, np.arange(len(x) + 1, dtype=np.int32)), (k, len(x))
        )
        cost = (1 - similarity).sum(dtype=np.float64)
        far = _farthest(similarity)
        return indicator @ x, np.bincount(cluster, minlength=k), float(cost), similarity[far], x[far]

    total, counts, inertia = np.zeros((k, d)), np.zeros(k, np.intp), 0.0
    near, far = np.empty(0, np.float32), np.empty((0, d), np.float32)
    pieces = (x[rows] for x in blocks() for rows in block_slices(len(x), _SUPERBLOCK))
    for sums, count, cost, similarity, rows in map_blocks(superblock, pieces):
        total += sums
        counts += count
        inertia += cost
        near, far = np.r_[near, similarity], np.r_[far, rows]
        keep = _farthest(near)
        near, far = near[keep], far[keep]
    return total, counts, inertia, far[near < 1 - ROUNDING]


def _farthest(similarity: Matrix) -> Rows:
    """The rows least similar to their centroid, least first, ties to the lowest index."""
    among = np.arange(len(similarity))
    if len(similarity) > _SPARE:
        among = np.flatnonzero(similarity <= np.partition(similarity, _SPARE - 1)[_SPARE - 1])
    return among[np.argsort(similarity[among], kind="stable")][:_SPARE]


def _moved(centroids: Matrix, sums: Numbers) -> Matrix:
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    still = length[:, 0] < ROUNDING
    moved = (sums / np.where(length < ROUNDING, 1, length)).astype(np.float32)
    moved[still] = centroids[still]
    return moved
