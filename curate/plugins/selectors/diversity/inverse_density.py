"""Inverse-density sampling: draw rows the more likely, the emptier the pool is around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le, Lt

from curate.kernels.neighbors.knn import knn_by_cluster
from curate.kernels.neighbors.knn_density import knn_density
from curate.kernels.stats.rounding import floor_count
from curate.kernels.types import Codes, Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def inverse_density(
    log_densities: Vector, budget: int, rng: np.random.Generator, *, exponent: float, clip_rate: float
) -> tuple[Rows, Numbers]:
    """Draw rows without replacement, each in proportion to density^(−exponent) among those that are left.

    Parameters
    ----------
    log_densities : (n,) float32, natural logarithms, finite
    budget : number of rows to keep, 0 <= budget <= n
    exponent : γ in [0, 1]; 0: evenly over the rows; 1: evenly over the space they fill
    clip_rate : share of the rows, those of largest weight, whose weight is lowered to the largest of the others, in
        [0, 1)

    Returns
    -------
    order : (budget,) rows in the order they were drawn; a smaller budget with the same rng gives the first of them
    log_weight : (n,) float64, logarithms of the weights, the largest 0

    Cost: O(n log n) time, O(n) memory. Weights never leave logarithms, so none overflows. A weight that rounds to
    nothing beside the others is still drawn, last.

    References
    ----------
    Sampling without replacement by Gumbel noise: Efraimidis & Spirakis (2006), doi:10.1016/j.ipl.2005.11.003; Kool, van
    Hoof & Welling (2019), arXiv:1903.06059.

    >>> log_densities = np.log(np.array([1e6, 1e6, 1], np.float32))
    >>> order, _ = inverse_density(log_densities, 1, np.random.default_rng(0), exponent=1, clip_rate=0)
    >>> order.tolist()
    [2]
    """
    n = len(log_densities)
    weight = -exponent * log_densities.astype(np.float64)
    if n:
        clipped = min(floor_count(clip_rate * n), n - 1)
        weight = np.minimum(weight, np.partition(weight, n - 1 - clipped)[n - 1 - clipped])
        weight -= weight.max()
    keys = weight + rng.gumbel(size=n)
    return np.argsort(-keys, kind="stable")[:budget], weight


def pool_density(embeddings: Matrix, cluster: Codes, n_neighbors: int, dimensions: int | Literal["auto"]) -> Vector:
    """Compute the logarithm of the density around each row; (n,) float32, all 0 for a pool of one row.

    Above 20,000 rows neighbors are searched in the clusters nearest to a row's own: see ``knn_by_cluster``.
    """
    k = min(n_neighbors, len(embeddings) - 1)
    if k < 1:
        return np.zeros(len(embeddings), np.float32)
    return knn_density(embeddings, *knn_by_cluster(embeddings, k, cluster), dimensions)


@selector(
    version=3,
    reads={"embedding", "cluster"},
    prefix=True,
    cost="a neighbour graph, and O(n log n)",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class InverseDensity:
    """Draw rows in inverse proportion to the density of the pool around them, so that crowded regions are thinned out.

    The density comes from the distance to the k-th nearest row; rows nearer than 0.001 (duplicates) count as that far.
    The gain of a row is the logarithm of its weight, 0 for the largest. Noise is rare too: the largest weights are
    clipped, and junk is best dropped first. In a pool of k rows or fewer, k is the number of other rows.

    References
    ----------
    Loftsgaarden & Quesenberry (1965), doi:10.1214/aoms/1177700079, for the density. Levina & Bickel (2004), "Maximum
    likelihood estimation of intrinsic dimension", NIPS 17, for the dimensions. Efraimidis & Spirakis (2006),
    doi:10.1016/j.ipl.2005.11.003, for the sampling.
    """

    exponent: Annotated[float, Ge(0), Le(1)] = 1.0
    """0: all rows are equally likely; 1: all regions are, whatever the number of rows there."""

    n_neighbors: Annotated[int, Ge(1)] = 10
    """k: the distance to the k-th nearest row tells the density."""

    dimensions: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """How many dimensions the rows spread in; auto: estimated from the same neighbours."""

    clip_rate: Annotated[float, Ge(0), Lt(1)] = 0.01
    """Share of the rows, those of largest weight, whose weight is lowered to the largest of the others."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        density = pool_density(pool.embeddings, pool.cluster, self.n_neighbors, self.dimensions)
        order, weight = inverse_density(density, budget, rng, exponent=self.exponent, clip_rate=self.clip_rate)
        return Selection(order, weight[order].astype(np.float32), reasons=("not drawn",))
