"""Inverse-density sampling: rows in sparse regions of the pool are drawn with higher probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le, Lt

from curate.kernels.neighbors.knn import knn_by_cluster
from curate.kernels.neighbors.knn_density import knn_density
from curate.kernels.stats.rounding import floor_count
from curate.kernels.stats.weighted_sampling import draw_rows
from curate.kernels.types import Codes, Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def inverse_density(
    log_densities: Vector, budget: int, rng: np.random.Generator, *, exponent: float, clip_rate: float
) -> tuple[Rows, Numbers]:
    """Draw rows without replacement, each in proportion to density^(−exponent) among the remaining rows.

    Parameters
    ----------
    log_densities : (n,) float32, natural logarithms, finite
    budget : number of rows to keep, 0 <= budget <= n
    rng : random generator
    exponent : γ in [0, 1]; 0: uniform over the rows; 1: uniform over the space they fill
    clip_rate : share of rows, those of largest weight, whose weight is lowered to the largest of the others, in [0, 1)

    Returns
    -------
    indices : (budget,) rows in the order they were drawn; a smaller budget with the same rng gives a prefix
    log_weights : (n,) float64, logarithms of the weights, the largest 0

    Notes
    -----
    Cost: O(n log n) time, O(n) memory. See ``draw_rows``.

    References
    ----------
    Efraimidis & Spirakis (2006), doi:10.1016/j.ipl.2005.11.003.

    Examples
    --------
    >>> log_densities = np.log(np.array([1e6, 1e6, 1], np.float32))
    >>> indices, _ = inverse_density(log_densities, 1, np.random.default_rng(0), exponent=1, clip_rate=0)
    >>> indices.tolist()
    [2]
    """
    n = len(log_densities)
    log_weights = -exponent * log_densities.astype(np.float64)
    if n:
        n_clipped = min(floor_count(clip_rate * n), n - 1)
        log_weights = np.minimum(log_weights, np.partition(log_weights, n - 1 - n_clipped)[n - 1 - n_clipped])
        log_weights -= log_weights.max()
    return draw_rows(log_weights, budget, rng), log_weights


def pool_density(embeddings: Matrix, cluster: Codes, n_neighbors: int, dimensions: int | Literal["auto"]) -> Vector:
    """Compute the logarithm of the density around each row; all 0 for a pool of one row.

    Above 20,000 rows neighbors are searched in the clusters nearest to a row's own cluster: see ``knn_by_cluster``.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32, -1 for rows in no cluster
    n_neighbors : k
    dimensions : number of dimensions, or "auto"

    Returns
    -------
    (n,) float32
    """
    k = min(n_neighbors, len(embeddings) - 1)
    if k < 1:
        return np.zeros(len(embeddings), np.float32)
    return knn_density(embeddings, *knn_by_cluster(embeddings, k, cluster), dimensions)


@selector(
    version=3,
    scope="pool",
    reads={"embedding", "cluster"},
    prefix=True,
    cost="a neighbor graph, and O(n log n)",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class InverseDensity:
    """Draw rows in inverse proportion to the density around them, so that crowded regions are thinned out.

    Use it to flatten an unbalanced pool while sampling at random. It favors noise, which is rare too: drop junk first.
    ``hierarchical`` balances topics rather than points; ``k_center`` covers the space deterministically.

    The density is computed from the distance to the k-th nearest row; rows nearer than 0.001 (duplicates) count as that
    far. The gain of a row is the logarithm of its weight, 0 for the largest. The largest weights are clipped. In a pool
    of k rows or fewer, k is the number of other rows.

    References
    ----------
    Loftsgaarden & Quesenberry (1965), doi:10.1214/aoms/1177700079, for the density. Levina & Bickel (2004), "Maximum
    likelihood estimation of intrinsic dimension", NIPS 17, for the dimensions. Efraimidis & Spirakis (2006),
    doi:10.1016/j.ipl.2005.11.003, for the sampling.
    """

    exponent: Annotated[float, Ge(0), Le(1)] = 1.0
    """0: all rows are equally likely; 1: all regions are equally likely, whatever their number of rows."""

    n_neighbors: Annotated[int, Ge(1)] = 10
    """k: the distance to the k-th nearest row determines the density."""

    dimensions: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Number of dimensions in which the rows spread; auto: estimated from the same neighbors."""

    clip_rate: Annotated[float, Ge(0), Lt(1)] = 0.01
    """Share of rows, those of largest weight, whose weight is lowered to the largest of the others."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        density = pool_density(pool.embeddings, pool.cluster, self.n_neighbors, self.dimensions)
        indices, log_weights = inverse_density(density, budget, rng, exponent=self.exponent, clip_rate=self.clip_rate)
        return Selection(indices, log_weights[indices].astype(np.float32), reasons=("not drawn",))
