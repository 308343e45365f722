"""Self-supervised prototypes: keep the rows farthest from the centres of their clusters, or those nearest to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.clustering.lloyd import assign
from curate.kernels.linalg.centroids import group_rows, mean_directions
from curate.kernels.parallel import block_slices
from curate.kernels.types import Codes, Matrix, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

Prefer = Literal["hard", "easy"]

_ROWS = 65_536


def ssl_prototypes(distance: Vector, budget: int, prefer: Prefer) -> Rows:
    """The ``budget`` rows of largest distance to their prototypes ("hard") or of smallest ("easy").

    Parameters
    ----------
    distance : (n,) float32, finite
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    (budget,) rows, the hardest or the easiest first, ties to the lowest index

    Cost: O(n log n) time, O(n) memory.

    References
    ----------
    Sorscher, Geirhos, Shekhar, Ganguli & Morcos (2022), arXiv:2206.14486, section 6.

    >>> ssl_prototypes(np.array([0.1, 0.3, 0.2], np.float32), 2, "hard").tolist()
    [1, 2]
    """
    return np.argsort(-distance if prefer == "hard" else distance, kind="stable")[:budget]


def distance_to_mean_direction(embeddings: Matrix, cluster: Codes) -> Vector:
    """1 - cosine of each row to the mean direction of the rows of its cluster.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32; a row in no cluster (-1) is measured to the most similar mean direction

    Returns
    -------
    (n,) float32 in [0, 2]; 1 everywhere if no row is in a cluster

    Cost: O(n d) time, plus O(k d) for each row in no cluster of k; O(n + k d) memory, and a copy of a cluster.

    >>> x = np.array([[1, 0], [1, 0], [-1, 0]], np.float32)
    >>> distance_to_mean_direction(x, np.array([0, 0, -1], np.int32)).tolist()
    [0.0, 0.0, 2.0]
    """
    distance = np.ones(len(cluster), np.float32)
    members = group_rows(cluster)
    centres = mean_directions(embeddings, members)
    for rows, centre in zip(members, centres, strict=True):
        distance[rows] = 1 - np.einsum("ij,j->i", embeddings[rows], centre)
    strays = np.flatnonzero(cluster < 0)
    for block in block_slices(len(strays) if members else 0, _ROWS):
        distance[strays[block]] = 1 - assign(embeddings[strays[block]], centres)[1]
    return distance.clip(0, 2)


@selector(
    version=1,
    reads={"embedding", "cluster"},
    prefix=True,
    random=False,
    cost="O(n d)",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SSLPrototypes:
    """Keep hard rows, far from the centre of their cluster; or easy ones, near it, which is better where data are few.

    Nothing but clusters of embeddings tells what is hard: no label, no training. Noise is far from every centre too,
    so drop junk first. The paper partly balances classes besides: run it ``within`` the label's column with a
    ``quota``. Gains are distances (1 - cosine). A cluster of one is its own centre: easy.

    References
    ----------
    Sorscher, Geirhos, Shekhar, Ganguli & Morcos (2022), "Beyond neural scaling laws", arXiv:2206.14486, section 6.

    Deviations: cosine, where the paper leaves the distance open. The mean direction of the rows at hand takes the place
    of the k-means centroid, and each row keeps the cluster it was given.
    """

    prefer: Prefer = "hard"
    """The rows to keep: hard, far from the prototype, or easy, near it."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        distance = distance_to_mean_direction(pool.embeddings, pool.cluster)
        order = ssl_prototypes(distance, budget, self.prefer)
        side = "nearer to" if self.prefer == "hard" else "farther from"
        return Selection(order, distance[order], reasons=(f"{side} its prototype than the rows kept",))
