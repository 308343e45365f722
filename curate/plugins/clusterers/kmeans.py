"""Spherical k-means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.clustering.spherical_kmeans import default_n_clusters, spherical_kmeans
from curate.kernels.types import Vectors
from curate.plugins.interfaces import clusterer
from curate.plugins.results import Clustering


@clusterer(version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class KMeans:
    """Spherical k-means: clusters of unit-length rows by their mean direction.

    Use it for pools without existing groups, to deduplicate, balance or score within clusters; it is the default
    choice. If rare kinds of rows need their own clusters, ``hierarchical_kmeans`` is better; for existing groups use
    ``column``.

    The centroids start from greedy k-means++ on a uniform sample, then move over all rows (Lloyd's iteration), with a
    few blocks in memory at a time. A cluster that loses all its rows restarts from a row far from its centroid. There
    are fewer clusters than requested if there are fewer rows, or fewer distinct rows in the sample; identical rows form
    one cluster.

    Notes
    -----
    Deviations: the starting centroids are chosen from a sample; empty clusters restart; the stopping rule uses the
    relative change.

    References
    ----------
    Dhillon & Modha (2001), doi:10.1023/A:1007612920971, section 3. Seeding: Arthur & Vassilvitskii (2007), "k-means++:
    the advantages of careful seeding", SODA, sections 2.2 and 7.
    """

    n_clusters: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Number of clusters; auto: the integer part of the square root of the number of rows, at most 10,000."""

    max_iterations: Annotated[int, Ge(1), Le(100_000)] = 25
    """Maximum number of passes over the rows to move the centroids."""

    tolerance: Annotated[float, Ge(0)] = 1e-3
    """Stop when an iteration lowers the sum of distances to the nearest centroid by no more than this share."""

    sample_per_cluster: Annotated[int, Ge(1), Le(10_000)] = 16
    """Number of sampled rows per cluster from which the starting centroids are chosen."""

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Clustering:
        fit = spherical_kmeans(
            vectors,
            default_n_clusters(vectors.rows) if self.n_clusters == "auto" else self.n_clusters,
            rng,
            max_iterations=self.max_iterations,
            tolerance=self.tolerance,
            sample_per_cluster=self.sample_per_cluster,
        )
        facts = {
            "clusters": len(fit.centroids),
            "inertia": fit.inertia,
            "mean_similarity": 1 - fit.inertia / vectors.rows,
            "iterations": fit.iterations,
            "converged": float(fit.converged),
        }
        return Clustering(fit.centroids, facts)
