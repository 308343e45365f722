"""Hierarchical k-means with resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.clustering.kmeans_levels import hierarchical_kmeans
from curate.kernels.clustering.spherical_kmeans import default_n_clusters
from curate.kernels.types import Vectors
from curate.plugins.interfaces import clusterer
from curate.plugins.results import Clustering


@clusterer(version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchicalKMeans:
    """Hierarchical k-means: many small clusters, then clusters of their centroids; the last level counts.

    Use it when rare kinds of rows should get their own clusters: a selector that runs ``within`` these clusters with a
    balanced quota gives them a share. ``kmeans`` is cheaper; the selector ``hierarchical`` balances every level.

    Plain k-means spends most clusters on crowded regions. Centroids are spread more evenly than rows, increasingly so
    with each level, and running k-means again on the members nearest to the centroids evens out each level. A row
    belongs to the most similar centroid of the last level.

    Notes
    -----
    Deviations: spherical k-means; rows are assigned directly to the centroids of the last level, not through the first
    level.

    References
    ----------
    Vo et al. (2024), Automatic data curation for self-supervised learning: a clustering-based approach,
    arXiv:2405.15613.
    """

    n_clusters: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Number of clusters of the last level; auto: the integer part of the square root of the number of rows, at most
    10,000."""

    n_levels: Annotated[int, Ge(1), Le(20)] = 2
    """Number of levels; fewer if there are too few rows, or too few distinct rows in the sample."""

    branching: Annotated[int, Ge(2), Le(10_000)] = 10
    """Number of clusters of a level for each cluster of the next; there are never more clusters than rows."""

    resamplings: Annotated[int, Ge(0), Le(1_000)] = 10
    """Number of times that k-means is repeated at each level, on the members nearest to the centroids."""

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Clustering:
        n_clusters = default_n_clusters(vectors.rows) if self.n_clusters == "auto" else self.n_clusters
        levels = hierarchical_kmeans(
            vectors,
            rng,
            n_clusters=min(vectors.rows, n_clusters * self.branching ** (self.n_levels - 1)),
            n_levels=self.n_levels,
            branching=self.branching,
            resamplings=self.resamplings,
        )
        facts = {"clusters": len(levels[-1]), "levels": len(levels), "first_clusters": len(levels[0])}
        return Clustering(levels[-1], facts)
