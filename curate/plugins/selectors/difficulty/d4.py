"""D4: drop near-duplicates, cluster what is left again, and keep the rows far from the new centroids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.clustering.lloyd import assign
from curate.kernels.clustering.spherical_kmeans import default_n_clusters, spherical_kmeans
from curate.kernels.neighbors.cells import Cells, similarity_to_earlier
from curate.kernels.parallel import block_slices
from curate.kernels.types import Codes, Flags, Matrix, Rows, Vector, Vectors
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_ROWS = 65_536


def d4(
    embeddings: Matrix,
    cluster: Codes,
    budget: int,
    rng: np.random.Generator,
    *,
    dedup_rate: float,
    n_clusters: int | Literal["auto"],
) -> tuple[Rows, Vector, Flags]:
    """Document de-duplication and diversification: SemDeDup, k-means on what it leaves, SSL prototypes on that.

    SemDeDup keeps a row while its similarity to every earlier row of its cluster is below a threshold; here the
    threshold is the one that leaves ``dedup_rate`` of the rows.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32; where duplicates are looked for: see ``Cells.from_clusters``
    budget : number of rows to keep, 0 <= budget <= n
    dedup_rate : share of the rows that the first step keeps, in (0, 1]; never fewer rows than the budget
    n_clusters : of the second k-means; "auto": the whole part of the square root of the number of rows left

    Returns
    -------
    order : (budget,) rows, farthest from their centroid first
    distance : (budget,) float32, 1 - cosine of each to the nearest centroid
    distinct : (n,) bool, rows that the first step kept

    Cost: that of ``similarity_to_earlier``, O(sum of n_c² d) over clusters of n_c rows, large ones split, and of
    k-means, O(m k d) a pass for the m rows left; O(n + k d) memory besides 65,536 rows.

    References
    ----------
    Tirumala, Simig, Aghajanyan & Morcos (2023), D4, arXiv:2308.12284.

    Deviations: the order in a cluster and the similarities are those of the selector ``semdedup``. Equally similar
    rows at the threshold are kept in the order of the pool until the share is met, where SemDeDup would drop them all.

    >>> x = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1]], np.float32)
    >>> one = np.zeros(4, np.int32)
    >>> d4(x, one, 3, np.random.default_rng(0), dedup_rate=0.75, n_clusters=1)[2].tolist()
    [True, False, True, True]
    """
    n = len(embeddings)
    left = max(budget, min(n, int(dedup_rate * n + 0.5)))
    unused = np.zeros(n, np.float32)
    cells = Cells.from_clusters(embeddings, cluster, unused, first="farthest")
    nearest = similarity_to_earlier(embeddings, cells)
    distinct = np.zeros(n, np.bool_)
    distinct[np.argsort(nearest, kind="stable")[:left]] = True
    rows = np.flatnonzero(distinct)
    if not budget:
        return rows[:0], np.empty(0, np.float32), distinct

    def blocks() -> Iterator[Matrix]:
        return (embeddings[rows[block]] for block in block_slices(left, _ROWS))

    vectors = Vectors(left, embeddings.shape[1], blocks)
    k = default_n_clusters(left) if n_clusters == "auto" else n_clusters
    centroids = spherical_kmeans(vectors, k, rng).centroids
    distance = 1 - np.concatenate([assign(block, centroids)[1] for block in blocks()])
    chosen = np.argsort(-distance, kind="stable")[:budget]
    return rows[chosen], distance[chosen], distinct


@selector(
    version=3,
    reads={"embedding", "cluster"},
    cost="O(n s d) for clusters of s rows, and k-means",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class D4:
    """Drop near-duplicates, cluster the rest again, and keep the rows far from the new centroids.

    Dense groups of near-duplicates draw centroids to themselves; clusters made without them tell better what is
    unusual. The first step leaves a share of the rows, and the second what the budget leaves of those: both rates
    multiply to the rate that is kept. Gains are distances (1 - cosine) to the new centroids.

    References
    ----------
    Tirumala, Simig, Aghajanyan & Morcos (2023), D4, arXiv:2308.12284. Its steps: Abbas et al. (2023), SemDeDup,
    arXiv:2303.09540; Sorscher et al. (2022), arXiv:2206.14486.
    """

    dedup_rate: Annotated[float, Gt(0), Le(1)] = 0.75
    """Share of the rows that are left when near-duplicates are dropped; more are, if the budget is larger."""

    n_clusters: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Clusters made of the rows left (the paper: 11,000); auto: the whole part of the square root of their number."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        order, distance, distinct = d4(
            pool.embeddings, pool.cluster, budget, rng, dedup_rate=self.dedup_rate, n_clusters=self.n_clusters
        )
        reasons = ("near-duplicate of another row of its cluster", "nearer to its prototype than the rows kept")
        return Selection(order, distance, reasons=reasons, reason=distinct.astype(np.int16))
