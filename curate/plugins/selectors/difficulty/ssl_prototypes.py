"""Self-supervised prototypes: selection of rows farthest from, or nearest to, the centroids of their clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.kernels.clustering.lloyd import assign
from curate.kernels.linalg.centroids import exact_sums, means_of_sums
from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.parallel import block_slices
from curate.kernels.types import Codes, FittedState, Matrix, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

Prefer = Literal["hard", "easy"]

_ROWS = 65_536


def ssl_prototypes(distance: Vector, budget: int, prefer: Prefer) -> Rows:
    """Return the ``budget`` rows of largest distance to their prototypes ("hard") or of smallest ("easy").

    Parameters
    ----------
    distance : (n,) float32, finite
    budget : number of rows to keep, 0 <= budget <= n
    prefer : "hard" or "easy"

    Returns
    -------
    (budget,) rows, the hardest or the easiest first, ties to the lowest index

    Notes
    -----
    Cost: O(n log n) time, O(n) memory.

    References
    ----------
    Sorscher, Geirhos, Shekhar, Ganguli & Morcos (2022), arXiv:2206.14486, section 6.

    Examples
    --------
    >>> ssl_prototypes(np.array([0.1, 0.3, 0.2], np.float32), 2, "hard").tolist()
    [1, 2]
    """
    return np.argsort(-distance if prefer == "hard" else distance, kind="stable")[:budget]


def distance_to_mean_direction(embeddings: Matrix, cluster: Codes) -> Vector:
    """Compute 1 - cosine of each row to the mean direction of its cluster.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32; a row in no cluster (-1) is compared with the most similar mean direction

    Returns
    -------
    (n,) float32 in [0, 2]; 1 everywhere if no row is in a cluster

    Notes
    -----
    Cost: O(n d) time, plus O(k d) for each row in no cluster of k; O(n + k d) memory, and a copy of a cluster.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [-1, 0]], np.float32)
    >>> distance_to_mean_direction(x, np.array([0, 0, -1], np.int32)).tolist()
    [0.0, 0.0, 2.0]
    """
    return distance_to_directions(embeddings, cluster, directions(*exact_sums(embeddings, cluster)))


def directions(sums: NDArray[np.int64], counts: NDArray[np.int64]) -> Matrix:
    """Return the mean direction of each cluster, (k, d) float32; 0 if it has no rows, or if they cancel out.

    Parameters
    ----------
    sums, counts : see ``exact_sums``
    """
    means = means_of_sums(sums, counts)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.where(lengths > ROUNDING, means / np.maximum(lengths, ROUNDING), 0).astype(np.float32)


def distance_to_directions(embeddings: Matrix, cluster: Codes, centroids: Matrix) -> Vector:
    """Compute the cosine distance of each row to the direction of its cluster; see ``distance_to_mean_direction``."""
    distance = np.ones(len(cluster), np.float32)
    if not len(centroids):
        return distance
    unassigned = cluster < 0
    for block in block_slices(len(cluster), _ROWS):
        x = embeddings[block]
        distance[block] = 1 - np.einsum("ij,ij->i", x, centroids[cluster[block]])
        lone = np.flatnonzero(unassigned[block])
        if len(lone):
            distance[block][lone] = 1 - assign(x[lone], centroids)[1]
    return distance.clip(0, 2)


@selector(
    version=2,
    scope="merge",
    reads={"embedding", "cluster"},
    prefix=True,
    random=False,
    cost="O(n d)",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SSLPrototypes:
    """Keep hard rows, far from the centroid of their cluster, or easy rows near it.

    Use it to prune plentiful clean data without labels or training: keep hard rows of large pools, easy rows of small
    ones. Noise is far from every centroid too, so drop junk first. With labels, ``el2n``
    measures difficulty during training instead.

    The paper also partly balances classes: run it ``within`` the label's column with a ``quota``. Gains are distances
    (1 - cosine). The only row of a cluster is its centroid, and easy.

    Notes
    -----
    Deviations: cosine distance, which the paper leaves open. The mean direction of the current rows replaces the
    k-means centroid, and each row stays in its cluster.

    References
    ----------
    Sorscher, Geirhos, Shekhar, Ganguli & Morcos (2022), "Beyond neural scaling laws", arXiv:2206.14486, section 6.
    """

    prefer: Prefer = "hard"
    """Rows to keep: hard, far from the prototype, or easy, near it."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        return self.choose(self.measure(pool, self.summarize(pool)), budget)

    def summarize(self, pool: Pool) -> FittedState:
        """Return the sum and the number of the vectors of each cluster."""
        sums, counts = exact_sums(pool.embeddings, pool.cluster)
        return {"sums": sums, "counts": counts}

    def measure(self, pool: Pool, summary: FittedState) -> Vector:
        """Return the distance of each row to the mean direction of its cluster."""
        centroids = directions(summary["sums"], summary["counts"])
        return distance_to_directions(pool.embeddings, pool.cluster, centroids)

    def choose(self, distance: Vector, budget: int) -> Selection:
        """Return the rows at the preferred end of the distances."""
        indices = ssl_prototypes(distance, budget, self.prefer)
        relation = "closer to" if self.prefer == "hard" else "farther from"
        return Selection(indices, distance[indices], reasons=(f"{relation} its prototype than the kept rows",))
