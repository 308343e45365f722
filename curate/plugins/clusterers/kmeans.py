"""Groups of rows that point the same way: spherical k-means."""

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
    """Spherical k-means: rows of unit length, and clusters told by their mean direction.

    Starts by greedy k-means++ on an even sample of the rows, then moves the centroids over all rows (Lloyd's
    iteration), a few blocks in memory at a time. A cluster that loses all its rows starts again from a row that is far
    from its centroid. There are fewer clusters than asked for when there are fewer rows, or fewer distinct ones in the
    sample; rows that are all the same make one cluster.

    References
    ----------
    Dhillon & Modha (2001), doi:10.1023/A:1007612920971, section 3. Start: Arthur & Vassilvitskii (2007), "k-means++:
    the advantages of careful seeding", SODA, sections 2.2 and 7.

    Deviations: the start is chosen from a sample; empty clusters start again; stops by the relative change.
    """

    n_clusters: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """How many clusters; auto: the whole part of the square root of the number of rows, at most 10,000."""

    max_iterations: Annotated[int, Ge(1), Le(100_000)] = 25
    """How many times the rows are read at most to move the centroids."""

    tolerance: Annotated[float, Ge(0)] = 1e-3
    """Stop when an iteration lowers the sum of distances to the own centroid by no more than this share of it."""

    sample_per_cluster: Annotated[int, Ge(1), Le(10_000)] = 16
    """Rows in the sample that the start is chosen from, for each cluster."""

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
