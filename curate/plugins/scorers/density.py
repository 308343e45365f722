"""How crowded the pool is around a row."""

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
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """Logarithm of the density of the pool around a row, from the distance to its k-th nearest neighbour.

    Lower counts as better: where the pool is crowded, each row is nearly told by its neighbours, and keeping the rare
    rows evens the pool out. Noise is rare too, so drop junk first. Distances are straight lines between unit vectors;
    neighbours nearer than 0.001 (duplicates) count as that far, so that scores are finite. A pool of one row scores 0.
    In a pool of k rows or fewer, k is the number of other rows.

    The logarithm is linear in the number of dimensions, so its scale means something only if that number is right. A
    sentence embedding's own (hundreds) is far too high, as texts fill few of them: therefore the estimate. It does not
    change the order of the rows.

    Above 20,000 rows neighbours are searched in the nearest clusters only: a missed one makes a row look rarer.

    References
    ----------
    Loftsgaarden & Quesenberry (1965), doi:10.1214/aoms/1177700079. Dimensions: Levina & Bickel (2004), "Maximum
    likelihood estimation of intrinsic dimension", NIPS 17, eq. 8.

    Deviations: the estimated number of dimensions in place of the space's.
    """

    n_neighbors: Annotated[int, Ge(1)] = 10
    """k: the distance to the k-th nearest row is measured."""

    dimensions: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """How many dimensions the rows spread in; auto: estimated from the same neighbours."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        x = require(batch.embeddings)
        k = min(self.n_neighbors, len(x) - 1)
        if k < 1:
            return np.zeros(len(x), np.float32)
        neighbors = knn(x, k, centroids=require(batch.centroids), cluster=require(batch.cluster))
        return knn_density(x, *neighbors, self.dimensions)
