"""Density of the pool around a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from curate.kernels.neighbors.knn import knn
from curate.kernels.neighbors.knn_density import knn_density
from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer


@scorer(
    version=3,
    reads={"embedding", "cluster"},
    within="corpus",
    columns=(OutputColumn(higher_is_better=False, unit="nats", higher_means="more rows like it"),),
    cost="O(n √n d) in cells, O(n² d) below 20,000 rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """Log density of the pool around a row, from the distance to its k-th nearest neighbor.

    Use it to find rare rows, or rows in crowded regions, and to plot a pool. Noise is rare too, so drop junk first. To
    thin out crowded regions directly, use the selector ``inverse_density``.

    Lower counts as better: in crowded regions each row is nearly redundant, and keeping the rare rows evens out the
    pool. Distances are Euclidean distances of unit vectors; neighbors nearer than 0.001 (duplicates) count as that far,
    so that scores are finite. A pool of one row scores 0. In a pool of k rows or fewer, k is the number of other rows.

    The logarithm is linear in the number of dimensions, so its scale is meaningful only if that number is right. The
    dimension of a sentence embedding (hundreds) is far too high, as texts fill few of its dimensions; therefore it is
    estimated. The estimate does not change the order of the rows.

    Above 20,000 rows, neighbors are searched in the nearest clusters only: missed neighbors make a row look rarer.

    Notes
    -----
    Deviations: the estimated number of dimensions instead of that of the space.

    References
    ----------
    Loftsgaarden & Quesenberry (1965), doi:10.1214/aoms/1177700079. Dimensions: Levina & Bickel (2004), "Maximum
    likelihood estimation of intrinsic dimension", NIPS 17, eq. 8.
    """

    n_neighbors: Annotated[int, Ge(1)] = 10
    """k: the distance to the k-th nearest row is measured."""

    dimensions: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Number of dimensions in which the rows spread; auto: estimated from the same neighbors."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        x = require(batch.embeddings)
        k = min(self.n_neighbors, len(x) - 1)
        if k < 1:
            return np.zeros(len(x), np.float32)
        neighbors = knn(x, k, centroids=require(batch.centroids), cluster=require(batch.cluster))
        return knn_density(x, *neighbors, self.dimensions)
