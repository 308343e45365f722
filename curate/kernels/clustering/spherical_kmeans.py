"""Spherical k-means on streamed embeddings: seeding on a sample, then Lloyd's iteration over all rows."""

from __future__ import annotations

from math import isqrt

import numpy as np

from curate.kernels.clustering.kmeans_plusplus import choose_seeds
from curate.kernels.clustering.lloyd import KMeansFit, lloyd
from curate.kernels.types import Matrix, Rows, Vectors

MAX_CLUSTERS = 10_000


def default_n_clusters(rows: int) -> int:
    """Return the default number of clusters for a number of rows: the integer part of √rows, at most 10,000.

    Parameters
    ----------
    rows : number of rows

    Notes
    -----
    With that number a cluster holds about as many rows as there are clusters, so the pairs within clusters and the
    comparisons of rows with centroids cost about the same.

    Examples
    --------
    >>> default_n_clusters(2_000), default_n_clusters(10**9)
    (44, 10000)
    """
    return min(isqrt(rows), MAX_CLUSTERS)


def spherical_kmeans(
    vectors: Vectors,
    n_clusters: int,
    rng: np.random.Generator,
    *,
    max_iterations: int = 25,
    tolerance: float = 1e-3,
    sample_per_cluster: int = 16,
) -> KMeansFit:
    """Fit centroids to rows of unit length: greedy k-means++ on a uniform sample, then Lloyd's iteration over all rows.

    Parameters
    ----------
    vectors : n rows of unit length, n at least 1
    n_clusters : number of clusters, at least 1; fewer are fitted if the sample has fewer distinct rows
    rng : random generator
    max_iterations, tolerance : see ``lloyd``
    sample_per_cluster : number of sampled rows per cluster

    Returns
    -------
    KMeansFit, see ``lloyd``

    Notes
    -----
    Cost: that of ``choose_seeds`` on the sample and of ``lloyd`` on all rows.

    Deviations: the starting centroids are chosen from a sample.

    References
    ----------
    Dhillon & Modha (2001), doi:10.1023/A:1007612920971, section 3. Arthur & Vassilvitskii (2007), "k-means++: the
    advantages of careful seeding", SODA, sections 2.2 and 7.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.96, 0.28], [0, 1], [0.28, 0.96]], np.float32)
    >>> len(spherical_kmeans(Vectors.from_array(x), 2, np.random.default_rng(0)).centroids)
    2
    """
    size = min(vectors.rows, n_clusters * sample_per_cluster)
    sample = sample_rows(vectors, np.sort(rng.choice(vectors.rows, size, replace=False)))
    start = sample[choose_seeds(sample, n_clusters, rng)]
    return lloyd(vectors.blocks, start, max_iterations=max_iterations, tolerance=tolerance)


def sample_rows(vectors: Vectors, indices: Rows) -> Matrix:
    """Read some rows in one pass.

    Parameters
    ----------
    vectors : n rows
    indices : (m,) ascending row indices

    Returns
    -------
    (m, d) float32
    """
    sample = np.empty((len(indices), vectors.dimensions), np.float32)
    start = 0
    for block in vectors.blocks():
        first, last = np.searchsorted(indices, (start, start + len(block)))
        sample[first:last] = block[indices[first:last] - start]
        start += len(block)
    return sample
