"""Facility location: pick rows so that every row of the pool has a similar one among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from curate.kernels.submodular import objectives
from curate.kernels.submodular.greedy import lazy
from curate.kernels.submodular.objectives import find_representatives
from curate.kernels.submodular.similarities import GraphSimilarities, similarity_graph
from curate.kernels.types import Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

if TYPE_CHECKING:
    from scipy import sparse


def facility_location(graph: sparse.csr_array, budget: int) -> tuple[Rows, Vector, Rows, Vector]:
    """Greedy maximisation of f(S) = sum over rows i of the largest similarity s_ij to a row j in S.

    Parameters
    ----------
    graph : (n, n) symmetric, similarities in [0, 1] as ``similarity_graph`` gives them; what is not stored is 0
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    order : (budget,) rows in the order they were picked
    gains : (budget,) float32, by how much each raised f, in rows; never growing
    nearest : (n,) the pick most similar to each row, the earliest of equals; -1 for picks, and where none is in reach
    similarity : (n,) float32, similarity to that pick, NaN where there is none

    When nothing is left to gain, the remaining rows follow in the order of the pool.

    Cost: O(n + budget m²) time for rows with m neighbours; O(n) memory beside the graph. Guarantee: exactly the naive
    greedy sequence, so at least (1 − 1/e) of the optimum of f on the graph. On a neighbour graph f is a lower bound of
    f on all similarities.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971; on neighbour graphs: Lindgren, Wu & Dimakis
    (2016), arXiv:1703.02690.

    >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, -1]], np.float32)
    >>> order, gains, nearest, _ = facility_location(similarity_graph(x, np.zeros(4, np.int32), 3), 2)
    >>> order.tolist(), nearest.tolist()
    ([1, 3], [1, -1, 1, -1])
    """
    similar = GraphSimilarities(graph)
    order, gains = lazy(objectives.FacilityLocation(similar), np.arange(similar.n), budget)
    return order, gains.astype(np.float32), *find_representatives(similar, order)


@selector(
    version=3,
    reads={"embedding", "cluster"},
    prefix=True,
    random=False,
    cost="a neighbour graph, and O(n + k m²) for m neighbours",
    guarantee="1 − 1/e of the optimum on the graph",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityLocation:
    """Keep the rows that best represent the pool: typical ones first, then those that nothing kept resembles.

    Every dropped row names the kept row that is most similar to it, if one is among its neighbours. Gains count rows.
    Two rows that are each other's best cover tie exactly, and the first in the pool wins. Memory: about 4 kB a row at
    64 neighbours.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971.
    """

    n_neighbors: Annotated[int, Ge(1)] = 64
    """Most similar rows that a row can represent, or be represented by; with as many as there are rows, exact."""

    n_probe: Annotated[int, Ge(1)] = 4
    """Above 20,000 rows: clusters in which the neighbours of a row are looked for; more cost time, and bring little."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        graph = similarity_graph(pool.embeddings, pool.cluster, self.n_neighbors, self.n_probe)
        order, gains, nearest, similarity = facility_location(graph, budget)
        reasons = ("adds less coverage than the rows kept",)
        return Selection(order, gains, reasons=reasons, representative=nearest, similarity=similarity)
