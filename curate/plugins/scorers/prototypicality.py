"""Distance of a row to the centroid of its cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.clustering.lloyd import assign
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_ROWS = 4096


def distance_to_centroid(embeddings: Matrix, cluster: Codes, centroids: Matrix) -> Vector:
    """Compute 1 - cosine between each row and its centroid.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32; a row in no cluster (-1) is compared with the most similar centroid
    centroids : (k, d) float32, rows of unit length; without any centroid, every distance is 1

    Returns
    -------
    (n,) float32 in [0, 2]: 0 = at the centroid, 1 = orthogonal, 2 = opposite

    Notes
    -----
    Cost: O(n d) time, plus O(k d) for each row in no cluster; O(n) memory.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    >>> distance_to_centroid(x, np.array([0, 0, -1], np.int32), x[:2]).tolist()
    [0.0, 1.0, 1.0]
    """
    if not len(centroids):
        return np.ones(len(embeddings), np.float32)
    nearest: Codes = cluster.copy()
    unassigned = np.flatnonzero(cluster < 0)
    nearest[unassigned] = assign(embeddings[unassigned], centroids)[0]

    def block(rows: slice) -> Vector:
        cosine: Vector = np.einsum("ij,ij->i", embeddings[rows], centroids[nearest[rows]])
        return 1 - cosine

    distance = np.concatenate([np.empty(0, np.float32), *map_blocks(block, block_slices(len(nearest), _ROWS))])
    return distance.clip(0, 2)


@scorer(
    version=1,
    reads={"embedding", "cluster"},
    columns=(
        OutputColumn(
            higher_is_better=True, unit="cosine distance", range=(0, 2), higher_means="less typical of its cluster"
        ),
    ),
    cost="O(n d)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Prototypicality:
    """Distance (1 - cosine) of a row to the centroid of its cluster: low for typical, high for unusual rows.

    Use it as a difficulty score without labels or training. If data is plentiful, hard, unusual examples teach more; if
    it is scarce (a few examples per class), typical ones do: then invert the order with ``quality: -prototypicality``.
    Noise is unusual too, so drop junk first.

    Higher counts as better, as in the paper. A row in no cluster is compared with the most similar centroid.

    Notes
    -----
    Deviations: cosine distance, which the paper leaves open.

    References
    ----------
    Sorscher, Geirhos, Shekhar, Ganguli & Morcos (2022), arXiv:2206.14486, section 6 (self-supervised prototypes).
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return distance_to_centroid(require(batch.embeddings), require(batch.cluster), require(batch.centroids))
