"""Disagreement of a row's label with the labels of its nearest neighbors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from curate.kernels.arrow_categories import encode_categories, unique_categories
from curate.kernels.neighbors.equal_rows import first_equal_rows
from curate.kernels.neighbors.knn import knn
from curate.kernels.parallel import block_slices
from curate.kernels.types import Codes, Matrix, Numbers, Positions, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_PAIRS = 16_384


def knn_disagreement(
    x: Matrix, labels: Codes, n_neighbors: int, *, centroids: Matrix | None = None, cluster: Codes | None = None
) -> Vector:
    """Compute the share of the nearest neighbors of each row that have another label, weighted by similarity.

    Rows with the same vector are one neighbor, whose labels count by their share of these rows. The vector of the row
    itself is a neighbor only if its rows have different labels, so copies do not confirm each other.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    labels : (n,) int32; -1 for rows without a label, which are not neighbors
    n_neighbors : number of other vectors that are compared, at least 1
    centroids, cluster : cells to search in a large pool; see ``knn``

    Returns
    -------
    (n,) float32 in [0, 1]; NaN for rows without a label, and if all rows have the same vector and label

    Notes
    -----
    Cost: that of ``knn``, and O(n k). Memory: O(n k), and the vectors again if some rows are copies or have no label.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    >>> knn_disagreement(x, np.array([0, 0, 1, -1], np.int32), 2).astype(float).round(2).tolist()
    [0.43, 0.55, 1.0, nan]
    """
    score = np.full(len(x), np.nan, np.float32)
    labeled = np.flatnonzero(labels >= 0)
    if not len(labeled):
        return score
    first, vector = np.unique(first_equal_rows(x, labeled, np.zeros(len(labeled))), return_inverse=True)
    classes = int(labels.max()) + 1
    pairs, pair, counts = np.unique(vector * classes + labels[labeled], return_inverse=True, return_counts=True)
    sizes = np.bincount(vector)

    def share(vectors: Positions, label: Positions) -> Numbers:
        """Return the share of the rows of each vector that have a label."""
        wanted = vectors * classes + label
        position = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
        return np.where(pairs[position] == wanted, counts[position], 0) / sizes[vectors]

    k = min(n_neighbors, len(first) - 1)
    neighbors, similarities = np.empty((len(first), 0), np.int32), np.empty((len(first), 0), np.float32)
    if k:
        distinct = x if len(first) == len(x) else x[first]
        neighbors, similarities = knn(
            distinct, k, centroids=centroids, cluster=None if cluster is None else cluster[first]
        )
    values = np.empty(len(pairs), np.float32)
    for block in block_slices(len(pairs), _PAIRS):
        owner, label = np.divmod(pairs[block], classes)
        own = 1 - share(owner, label)
        weights = np.column_stack([own > 0, np.maximum(similarities[owner], 0)]).astype(np.float64)
        weights[weights.sum(axis=1) == 0, 1:] = 1  # only dissimilar neighbors
        disagreement = np.column_stack([own, 1 - share(neighbors[owner].astype(np.int64), label[:, None])])
        with np.errstate(invalid="ignore"):
            values[block] = (weights * disagreement).sum(axis=1) / weights.sum(axis=1)
    score[labeled] = np.clip(values, 0, 1)[pair]
    return score


@scorer(
    version=1,
    reads={"embedding", "cluster", "label"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=False,
            unit="share of neighbors",
            range=(0, 1),
            higher_means="more neighbors with another label",
            label_errors="high",
        ),
    ),
    cost="O(n √n d) in cells, O(n² d) below 20,000 rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class KnnDisagreement:
    """Share of a row's nearest neighbors that have another label, weighted by their similarity.

    Use it to find wrong labels without training a model: a row whose neighbors all have another label is probably
    mislabeled. Rows between two classes score in the middle. It finds isolated errors; where most rows of a region are
    wrong, they confirm each other.

    Rows with the same vector count as one neighbor, with the shares of their labels. Copies of a row that have its
    label do not confirm it; copies with another label contradict it. NaN for a row without a label, and if all labeled
    rows have the same vector and label.

    Above 20,000 vectors, neighbors are searched in the nearest clusters only.

    Notes
    -----
    Deviations: weighted by the cosine similarity, where the rule of Wilson counts votes and takes their majority;
    neighbors of negative similarity count only if there are no others.

    References
    ----------
    Wilson (1972), "Asymptotic properties of nearest neighbor rules using edited data", doi:10.1109/TSMC.1972.4309137.
    """

    n_neighbors: Annotated[int, Ge(1), Le(10_000)] = 10
    """Number of other vectors whose labels are compared."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        values = pa.array(require(batch.labels), pa.string())
        labels = encode_categories(values, unique_categories(values))
        centroids, cluster = require(batch.centroids), require(batch.cluster)
        return knn_disagreement(
            require(batch.embeddings), labels, self.n_neighbors, centroids=centroids, cluster=cluster
        )
