"""Facility location: selection of rows so that every row of the pool has a similar selected row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.submodular import greedy, objectives
from curate.kernels.submodular.objectives import find_representatives
from curate.kernels.submodular.similarities import GraphSimilarities, similarity_graph
from curate.kernels.submodular.two_rounds import WeightedSimilarities, partition_rows
from curate.kernels.types import Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection
from curate.plugins.two_rounds import PartSelection, represented_rows, select_in_two_rounds

if TYPE_CHECKING:
    from scipy import sparse


MAX_PARTITIONS = 1_000


def facility_location(graph: sparse.csr_array, budget: int) -> tuple[Rows, Vector, Rows, Vector]:
    """Maximize f(S) = sum over rows i of the largest similarity s_ij to a row j in S greedily.

    When no gain is left, the remaining rows follow in pool order.

    Parameters
    ----------
    graph : (n, n) symmetric similarities in [0, 1], as ``similarity_graph`` returns them; missing entries are 0
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    indices : (budget,) rows in the order they were picked
    gains : (budget,) float32, increase of f by each, in rows; never growing
    nearest : (n,) the pick most similar to each row, ties to the earliest; -1 for picks, and if no pick is a neighbor
    similarity : (n,) float32, similarity to that pick, NaN if there is none

    Notes
    -----
    Cost: O(n + budget m²) time for rows with m neighbors; O(n) memory plus the graph.

    Guarantee: exactly the naive greedy sequence, so at least (1 − 1/e) of the optimum of f on the graph. On a neighbor
    graph, f is a lower bound of f on all similarities.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971; on neighbor graphs: Lindgren, Wu & Dimakis (2016),
    arXiv:1703.02690.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, -1]], np.float32)
    >>> indices, gains, nearest, _ = facility_location(similarity_graph(x, np.zeros(4, np.int32), 3), 2)
    >>> indices.tolist(), nearest.tolist()
    ([1, 3], [1, -1, 1, -1])
    """
    similarities = GraphSimilarities(graph)
    indices, gains = greedy.lazy(objectives.FacilityLocation(similarities), np.arange(similarities.n), budget)
    return indices, gains.astype(np.float32), *find_representatives(similarities, indices)


def merge_facility_location(
    graph: sparse.csr_array, weights: Numbers, budget: int
) -> tuple[Rows, Vector, Rows, Vector]:
    """Run the second round of facility location: select from the rows that partitions selected.

    The objective is g(S) = sum over rows u of the union of weights_u times the largest similarity s_uj to a row j in S.

    Parameters
    ----------
    graph : (u, u) similarities of the union, as for ``facility_location``
    weights : (u,) float64, number of rows of its partition that each row represents, itself included
    budget : number of rows to keep, 0 <= budget <= u

    Returns
    -------
    indices, gains, nearest, similarity : as for ``facility_location``, on the union; gains are increases of g

    Notes
    -----
    Cost: as for ``facility_location`` on the union.

    Guarantee: at least (1 − 1/e) of the optimum of g on the graph. If the gains of the partitions sum to G1, these
    gains to G2 and the weights to W, the coverage f(S) of the pool, on all similarities, is at least 2 (G1 + G2) − 3 W:
    1 − cosine is half the squared distance, and the square of a sum is at most twice the sum of the squares. No share
    of the optimum of f is guaranteed, because a partition ignores how well its rows cover those of others.

    Deviations: the published second round measures f on a random sample of rows, and compares its result with those of
    the partitions. Here, every row of the union counts for the rows of its partition that it covers best, and the
    result is that of the second round.

    References
    ----------
    Mirzasoleiman et al. (2013), "Distributed submodular maximization", arXiv:1411.0541, Alg. 2 and its section on
    decomposable functions; random partitions: Barbosa et al. (2015), arXiv:1502.02606.
    """
    similarities = GraphSimilarities(graph)
    f = objectives.FacilityLocation(WeightedSimilarities(similarities, weights))
    indices, gains = greedy.lazy(f, np.arange(similarities.n), budget)
    return indices, gains.astype(np.float32), *find_representatives(similarities, indices)


@selector(
    version=4,
    scope="pool",
    two_rounds=True,
    reads={"embedding", "cluster"},
    prefix=True,
    random={"n_partitions": tuple(range(2, MAX_PARTITIONS + 1))},
    cost="a neighbor graph, and O(n + k m²) for m neighbors",
    guarantee="1 − 1/e of the optimum on the graph; in two rounds, of that of each round",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityLocation:
    """Keep the rows that best represent the pool: typical ones first, then those unlike any kept row.

    Use it by default to choose a diverse, representative subset: it scales to large pools, ignores outliers at
    first, and names a representative for dropped rows. ``k_center`` bounds the distance of every row, and picks
    outliers first; ``submodular`` combines it with quality and other objectives.

    Every dropped row names the most similar kept row, if one is among its neighbors. Gains count rows. Two rows that
    cover each other best tie exactly, and the first in the pool wins. Memory: about 4 kB a row at 64 neighbors.

    With ``n_partitions``, it selects in two rounds: the budget's number of rows from each of as many random partitions,
    then from the union of these, where each row counts as many times as it represents rows of its partition. A dropped
    row then names a kept row through the row that represents it in its partition, and gains are estimates. Each round
    is within 1 − 1/e of the optimum on the rows that it sees; no share of the optimum of the pool is guaranteed. Of
    20,000 rows, 1 % in 16 partitions kept 96 % of the gain in coverage over a random selection; 5 % in 4 kept 79 %.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971.
    """

    n_neighbors: Annotated[int, Ge(1)] = 64
    """Number of most similar rows that a row can represent, or be represented by; exact if it is the number of rows."""

    n_probe: Annotated[int, Ge(1)] = 4
    """Number of clusters in which neighbors are searched, above 10,000 rows; more cost time and improve little."""

    n_partitions: Annotated[int, Ge(2), Le(MAX_PARTITIONS)] | None = None
    """Number of random partitions to select from in a first round, each as its own task; null selects at once. The
    second round processes n_partitions times the budget, at most all rows: use it for pools too large for one machine
    and budgets far below rows / n_partitions; the square root of rows / budget makes both rounds equally large."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        partitions = self.partition(len(pool), rng)
        if partitions is None:
            return self.select_part(pool, budget, rng)
        return select_in_two_rounds(self, pool, partitions, budget, rng)

    def partition(self, pool_size: int, rng: np.random.Generator) -> tuple[Rows, ...] | None:
        """Return the rows of each partition; None to select at once."""
        return None if self.n_partitions is None else partition_rows(pool_size, self.n_partitions, rng)

    def select_part(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        """Select from one partition, or from a pool that is not partitioned."""
        graph = similarity_graph(pool.embeddings, pool.cluster, self.n_neighbors, self.n_probe)
        return _selection(*facility_location(graph, budget))

    def merge(
        self,
        pool: Pool,
        parts: Sequence[PartSelection],
        budget: int,
        rng: np.random.Generator,  # noqa: ARG002
    ) -> Selection:
        """Select from the union of the partitions' answers."""
        graph = similarity_graph(pool.embeddings, pool.cluster, self.n_neighbors, self.n_probe)
        return _selection(*merge_facility_location(graph, represented_rows(parts), budget))


def _selection(indices: Rows, gains: Vector, nearest: Rows, similarity: Vector) -> Selection:
    reasons = ("adds less coverage than the kept rows",)
    return Selection(indices, gains, reasons=reasons, representative=nearest, similarity=similarity)
