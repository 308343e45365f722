"""Levels of k-means centroids, each on those of the level below and spread more evenly over what there is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.kernels.clustering.lloyd import assign
from curate.kernels.clustering.spherical_kmeans import spherical_kmeans
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.types import Flags, Matrix, Vectors


def hierarchical_kmeans(
    vectors: Vectors, rng: np.random.Generator, *, n_clusters: int, n_levels: int, branching: int, resamplings: int
) -> list[Matrix]:
    """Hierarchical k-means with resampling.

    The first level is k-means on the rows, each next one on the centroids of the level before. At each level k-means is
    run again and again, each time on the members nearest to each centroid, half as many as a cluster has on average.
    Crowded regions so lose members, and centroids with them.

    Parameters
    ----------
    vectors : n rows of unit length, n at least 1
    n_clusters : of the first level
    n_levels : at most this many
    branching : how many clusters of a level there are for each of the next; there is no next level of one cluster
    resamplings : how many times k-means is run again at each level

    Returns
    -------
    Centroids of each level, the first level first; (k, d) float32, rows of unit length

    Cost: that of resamplings + 1 runs of k-means and as many assignments, O(n k d) a pass; 10 n bytes.

    References
    ----------
    Vo et al. (2024), Automatic data curation for self-supervised learning, arXiv:2405.15613.

    Deviations: spherical k-means.
    """
    levels: list[Matrix] = []
    while True:
        levels.append(_resampled(vectors, rng, n_clusters, resamplings))
        n_clusters = len(levels[-1]) // branching
        if len(levels) == n_levels or n_clusters < 2:
            return levels
        vectors = Vectors.from_array(levels[-1])


def _resampled(vectors: Vectors, rng: np.random.Generator, n_clusters: int, resamplings: int) -> Matrix:
    centroids = spherical_kmeans(vectors, n_clusters, rng).centroids
    for _ in range(resamplings):
        central = _subset(vectors, _nearest(vectors, centroids))
        centroids = spherical_kmeans(central, n_clusters, rng).centroids
    return centroids


def _nearest(vectors: Vectors, centroids: Matrix) -> Flags:
    """Whether a row is among those of its cluster nearest to the centroid, half as many as a cluster has on average."""
    assigned = [assign(block, centroids) for block in vectors.blocks()]
    cluster = np.concatenate([codes for codes, _ in assigned])
    similarity = np.concatenate([cosines for _, cosines in assigned])
    order = np.lexsort((-similarity, cluster))
    size = np.bincount(cluster, minlength=len(centroids))
    place = concatenate_ranges(np.zeros_like(size), size)
    nearest = np.zeros(len(cluster), np.bool_)
    nearest[order[place < max(1, len(cluster) // (2 * len(centroids)))]] = True
    return nearest


def _subset(vectors: Vectors, keep: Flags) -> Vectors:
    def blocks() -> Iterator[Matrix]:
        start = 0
        for block in vectors.blocks():
            yield block[keep[start : start + len(block)]]
            start += len(block)

    return Vectors(int(keep.sum()), vectors.dimensions, blocks)
