"""Hierarchical k-means: each level clusters the centroids of the level below."""

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
    """Fit several levels of k-means with resampling.

    The first level is k-means on the rows, each further level is k-means on the centroids of the previous level. At
    each level k-means is run again several times, each time on the members nearest to each centroid, half as many as an
    average cluster has. Crowded regions thereby lose members, and centroids with them.

    Parameters
    ----------
    vectors : n rows of unit length, n at least 1
    rng : random generator
    n_clusters : number of clusters of the first level
    n_levels : maximum number of levels
    branching : number of clusters of a level for each cluster of the next level; levels of one cluster are omitted
    resamplings : number of times that k-means is run again at each level

    Returns
    -------
    list of (k, d) float32 arrays, rows of unit length: the centroids of each level, first level first

    Notes
    -----
    Cost: that of resamplings + 1 runs of k-means and as many assignments, O(n k d) a pass; 10 n bytes.

    Deviations: spherical k-means.

    References
    ----------
    Vo et al. (2024), Automatic data curation for self-supervised learning, arXiv:2405.15613.
    """
    levels: list[Matrix] = []
    while True:
        levels.append(_fit_level(vectors, rng, n_clusters, resamplings))
        n_clusters = len(levels[-1]) // branching
        if len(levels) == n_levels or n_clusters < 2:
            return levels
        vectors = Vectors.from_array(levels[-1])


def _fit_level(vectors: Vectors, rng: np.random.Generator, n_clusters: int, resamplings: int) -> Matrix:
    centroids = spherical_kmeans(vectors, n_clusters, rng).centroids
    for _ in range(resamplings):
        central = _select_rows(vectors, _central_rows(vectors, centroids))
        centroids = spherical_kmeans(central, n_clusters, rng).centroids
    return centroids


def _central_rows(vectors: Vectors, centroids: Matrix) -> Flags:
    """Mark the rows nearest to the centroid of their cluster, half as many per cluster as an average cluster has."""
    assigned = [assign(block, centroids) for block in vectors.blocks()]
    clusters = np.concatenate([codes for codes, _ in assigned])
    similarities = np.concatenate([cosines for _, cosines in assigned])
    order = np.lexsort((-similarities, clusters))
    sizes = np.bincount(clusters, minlength=len(centroids))
    ranks = concatenate_ranges(np.zeros_like(sizes), sizes)
    central = np.zeros(len(clusters), np.bool_)
    central[order[ranks < max(1, len(clusters) // (2 * len(centroids)))]] = True
    return central


def _select_rows(vectors: Vectors, keep: Flags) -> Vectors:
    def blocks() -> Iterator[Matrix]:
        start = 0
        for block in vectors.blocks():
            yield block[keep[start : start + len(block)]]
            start += len(block)

    return Vectors(int(keep.sum()), vectors.dimensions, blocks)
