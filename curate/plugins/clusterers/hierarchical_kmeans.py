"""Groups of rows spread more evenly over the space they fill: k-means of k-means, with resampling."""

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
    """Hierarchical k-means: many small clusters first, then clusters of their centroids; those of the last level count.

    Plain k-means spends most clusters on crowded regions. Centroids are spread more evenly than rows, the more so
    level by level, and running k-means again on the members nearest to the centroids evens each level out. A selector
    that runs ``within`` these clusters with a balanced quota so gives rare kinds of rows their share; the selector
    ``hierarchical`` balances every level. A row belongs to the most similar centroid of the last level.

    References
    ----------
    Vo et al. (2024), Automatic data curation for self-supervised learning: a clustering-based approach,
    arXiv:2405.15613.

    Deviations: spherical k-means; rows are given to the centroids of the last level, not by way of the first.
    """

    n_clusters: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """How many clusters of the last level; auto: the whole part of the square root of the number of rows, at most
    10,000."""

    n_levels: Annotated[int, Ge(1), Le(20)] = 2
    """How many levels; there are fewer when the rows, or the distinct ones in the sample, are too few."""

    branching: Annotated[int, Ge(2), Le(10_000)] = 10
    """How many clusters of a level there are for each cluster of the next; never more than there are rows."""

    resamplings: Annotated[int, Ge(0), Le(1_000)] = 10
    """How many times k-means is run again at each level, on the members nearest to the centroids."""

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Clustering:
        last = default_n_clusters(vectors.rows) if self.n_clusters == "auto" else self.n_clusters
        levels = hierarchical_kmeans(
            vectors,
            rng,
            n_clusters=min(vectors.rows, last * self.branching ** (self.n_levels - 1)),
            n_levels=self.n_levels,
            branching=self.branching,
            resamplings=self.resamplings,
        )
        facts = {"clusters": len(levels[-1]), "levels": len(levels), "first_clusters": len(levels[0])}
        return Clustering(levels[-1], facts)
