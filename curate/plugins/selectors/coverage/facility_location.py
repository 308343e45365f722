"""Facility location: selection of rows so that every row of the pool has a similar selected row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from curate.kernels.submodular import greedy, objectives
from curate.kernels.submodular.objectives import find_representatives
from curate.kernels.submodular.similarities import GraphSimilarities, similarity_graph
from curate.kernels.types import Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

if TYPE_CHECKING:
    from scipy import sparse


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


@selector(
    version=3,
    scope="pool",
    reads={"embedding", "cluster"},
    prefix=True,
    random=False,
    cost="a neighbor graph, and O(n + k m²) for m neighbors",
    guarantee="1 − 1/e of the optimum on the graph",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityLocation:
    """Keep the rows that best represent the pool: typical ones first, then those unlike any kept row.

    Use it by default to choose a diverse, representative subset: it scales to large pools, ignores outliers at
    first, and names a representative for dropped rows. ``k_center`` bounds the distance of every row, and picks
    outliers first; ``submodular`` combines it with quality and other objectives.

    Every dropped row names the most similar kept row, if one is among its neighbors. Gains count rows. Two rows that
    cover each other best tie exactly, and the first in the pool wins. Memory: about 4 kB a row at 64 neighbors.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971.
    """

    n_neighbors: Annotated[int, Ge(1)] = 64
    """Number of most similar rows that a row can represent, or be represented by; exact if it is the number of rows."""

    n_probe: Annotated[int, Ge(1)] = 4
    """Number of clusters in which neighbors are searched, above 20,000 rows; more cost time and improve little."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        graph = similarity_graph(pool.embeddings, pool.cluster, self.n_neighbors, self.n_probe)
        indices, gains, nearest, similarity = facility_location(graph, budget)
        reasons = ("adds less coverage than the kept rows",)
        return Selection(indices, gains, reasons=reasons, representative=nearest, similarity=similarity)
