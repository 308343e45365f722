"""KNN-Shapley: value of a row for the classification of other rows by their nearest neighbors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from curate.kernels.arrow_categories import encode_categories, unique_categories
from curate.kernels.stats.hash_folds import assign_vector_folds
from curate.kernels.types import Codes, Matrix, Vector
from curate.kernels.valuation.knn_shapley import VoteWeight, knn_shapley
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_FOLDS = 5


def cross_valued(
    x: Matrix, labels: Codes, n_neighbors: int, test_rows: int, rng: np.random.Generator, weight: VoteWeight = "none"
) -> Vector:
    """Compute the value of each row for test rows that are held out.

    Rows are divided into five folds by a hash of their vectors, so that copies share a fold. Test rows of each fold
    value the rows of the other folds; the value of a row is the mean over the folds that valued it.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    labels : (n,) int32; -1 for rows without a label
    n_neighbors : number of neighbors K
    test_rows : maximum number of test rows of all folds
    rng : random generator
    weight : weight of a neighbor's vote, see ``knn_shapley``

    Returns
    -------
    (n,) float32; NaN for rows without a label, and for all rows if there is only one vector with labels
    """
    rounded = x.astype(np.float16).astype(np.float32)  # so that storage in half precision gives the same folds
    labeled = np.flatnonzero(labels >= 0)
    fold = np.full(len(x), -1)
    fold[labeled] = assign_vector_folds(rounded[labeled], _FOLDS, rng)
    sums, counts = np.zeros(len(x)), np.zeros(len(x))
    for number in range(_FOLDS):
        held_out, others = np.flatnonzero(fold == number), np.flatnonzero((fold >= 0) & (fold != number))
        test = np.sort(rng.permutation(held_out)[: -(-test_rows // _FOLDS)])
        if len(test) and len(others):
            sums[others] += knn_shapley(x[others], labels[others], x[test], labels[test], n_neighbors, weight)
            counts[others] += 1
    values: Vector = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)
    return values


@scorer(
    version=1,
    reads={"embedding", "label"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="share of correct votes",
            higher_means="helps its neighbors",
            label_errors="low",
        ),
    ),
    cost="O(m n (d + log n)) for m test rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class KnnShapley:
    """KNN-Shapley: contribution of a row to the accuracy of nearest-neighbor classification of other rows.

    Use it to find wrong labels, whose values are negative, and to rank labeled rows without training a model. Values of
    rows in large classes are small, because many rows do the same work: compare rows of one class, or use it with
    ``within: label``.

    It is the Shapley value of the row: its mean gain of accuracy over all orders in which rows may be added. The sum of
    all values is the accuracy, as the share of neighbors that have the label of the test row. NaN for a row without a
    label, and if all labeled rows have the same vector.

    Notes
    -----
    Deviations: every row is valued by held-out rows of the pool, in five folds; copies of a vector share a fold. Cosine
    similarity instead of Euclidean distance: the order is the same for unit vectors. With ``weight: similarity``, votes
    are added without normalization, so that the values are exact at the same cost.

    References
    ----------
    Jia et al. (2019), Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms, arXiv:1908.08619.
    """

    n_neighbors: Annotated[int, Ge(1), Le(10_000)] = 10
    """Number of neighbors that vote."""

    test_rows: Annotated[int, Ge(1), Le(1_000_000)] = 1_000
    """Maximum number of rows whose classification is measured; the time is proportional to it."""

    weight: VoteWeight = "none"
    """Weight of a neighbor's vote: 1 ("none"), or its cosine similarity to the test row, at least 0 ("similarity").
    With similarities, distant neighbors in sparse regions gain and lose less."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:
        x = require(batch.embeddings)
        values = pa.array(require(batch.labels), pa.string())
        labels = encode_categories(values, unique_categories(values))
        return cross_valued(x, labels, self.n_neighbors, self.test_rows, rng, self.weight)
