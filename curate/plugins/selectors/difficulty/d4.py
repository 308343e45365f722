"""D4: near-duplicates are dropped, the rest is clustered again, and rows far from the new centroids are kept."""

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
    """Run document deduplication and diversification: SemDeDup, k-means on the remaining rows, SSL prototypes.

    SemDeDup keeps a row if its similarity to every earlier row of its cluster is below a threshold; here the threshold
    is the one that keeps ``dedup_rate`` of the rows.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32; duplicates are searched within clusters: see ``Cells.from_clusters``
    budget : number of rows to keep, 0 <= budget <= n
    rng : random generator
    dedup_rate : share of the rows that the first step keeps, in (0, 1]; never fewer rows than the budget
    n_clusters : number of clusters of the second k-means; "auto": the integer part of the square root of the number of
        rows

    Returns
    -------
    indices : (budget,) rows, farthest from their centroid first
    distance : (budget,) float32, 1 - cosine of each to the nearest centroid
    is_distinct : (n,) bool, rows that the first step kept

    Notes
    -----
    Cost: that of ``similarity_to_earlier``, O(sum of n_c² d) over clusters of n_c rows, where large ones are split, and
    of k-means, O(m k d) a pass for the m remaining rows; O(n + k d) memory plus 65,536 rows.

    Deviations: the order in a cluster and the similarities are those of the selector ``semdedup``. Equally similar rows
    at the threshold are kept in pool order until the share is met; SemDeDup would drop them all.

    References
    ----------
    Tirumala, Simig, Aghajanyan & Morcos (2023), D4, arXiv:2308.12284.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1]], np.float32)
    >>> one = np.zeros(4, np.int32)
    >>> d4(x, one, 3, np.random.default_rng(0), dedup_rate=0.75, n_clusters=1)[2].tolist()
    [True, False, True, True]
    """
    n = len(embeddings)
    n_distinct = max(budget, min(n, int(dedup_rate * n + 0.5)))
    no_quality = np.zeros(n, np.float32)
    cells = Cells.from_clusters(embeddings, cluster, no_quality, first="farthest")
    nearest = similarity_to_earlier(embeddings, cells)
    is_distinct = np.zeros(n, np.bool_)
    is_distinct[np.argsort(nearest, kind="stable")[:n_distinct]] = True
    rows = np.flatnonzero(is_distinct)
    if not budget:
        return rows[:0], np.empty(0, np.float32), is_distinct

    def blocks() -> Iterator[Matrix]:
        return (embeddings[rows[block]] for block in block_slices(n_distinct, _ROWS))

    vectors = Vectors(n_distinct, embeddings.shape[1], blocks)
    k = default_n_clusters(n_distinct) if n_clusters == "auto" else n_clusters
    centroids = spherical_kmeans(vectors, k, rng).centroids
    distance = 1 - np.concatenate([assign(block, centroids)[1] for block in blocks()])
    farthest = np.argsort(-distance, kind="stable")[:budget]
    return rows[farthest], distance[farthest], is_distinct


@selector(
    version=4,
    scope="pool",
    reads={"embedding", "cluster"},
    cost="O(n s d) for clusters of s rows, and k-means",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class D4:
    """Drop near-duplicates, cluster the rest again, and keep the rows far from the new centroids.

    Use it on large web pools with many near-duplicates, in place of ``semdedup`` followed by ``ssl_prototypes``. Rows
    far from centroids may be noise: drop junk first, and compare with ``uniform``.

    Groups of near-duplicates attract centroids; clusters fitted without them are better at finding unusual rows. The
    first step keeps a share of the rows, and the second step the budget's share of those: both rates multiply to the
    final keep rate. Gains are distances (1 - cosine) to the new centroids.

    References
    ----------
    Tirumala, Simig, Aghajanyan & Morcos (2023), D4, arXiv:2308.12284. Its steps: Abbas et al. (2023), SemDeDup,
    arXiv:2303.09540; Sorscher et al. (2022), arXiv:2206.14486.
    """

    dedup_rate: Annotated[float, Gt(0), Le(1)] = 0.75
    """Share of the rows kept after dropping near-duplicates; more are kept if the budget is larger."""

    n_clusters: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Number of clusters of the remaining rows (the paper: 11,000); auto: the integer part of the square root of their
    number."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        indices, distance, is_distinct = d4(
            pool.embeddings, pool.cluster, budget, rng, dedup_rate=self.dedup_rate, n_clusters=self.n_clusters
        )
        reasons = ("near-duplicate of another row of its cluster", "closer to its prototype than the kept rows")
        return Selection(indices, distance, reasons=reasons, reason=is_distinct.astype(np.int16))
