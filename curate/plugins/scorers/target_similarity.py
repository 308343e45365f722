"""Scorer of the similarity of rows to the rows of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from curate.kernels.linalg.blocked_matmul import for_each_product
from curate.kernels.types import Matrix
from curate.plugins.batches import ScoreBatch, TargetRows, require
from curate.plugins.interfaces import OutputColumn, scorer


def target_similarity(x: Matrix, targets: Matrix, neighbors: int) -> Matrix:
    """Compute the mean and the largest cosine of each row with the target rows, and the mean of the largest ones.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    targets : (m, d) float32, rows of unit length, m at least 1
    neighbors : number of largest cosines in their mean, at least 1; all if there are fewer target rows

    Returns
    -------
    (n, 3) float32, in [-1, 1]: the mean, the largest, and the mean of the largest ones

    Notes
    -----
    Cost: O(n m d) time, O(n neighbors) memory.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1]], np.float32)
    >>> target_similarity(x, np.array([[1, 0], [0.6, 0.8]], np.float32), 2).round(2).tolist()
    [[0.800000011920929, 1.0, 0.800000011920929], [0.4000000059604645, 0.800000011920929, 0.4000000059604645]]
    """
    k = min(neighbors, len(targets))
    nearest = np.full((len(x), k), -1, np.float32)

    def update(similarities: Matrix, rows: slice, columns: slice) -> None:  # noqa: ARG001 - the position does not matter
        both = np.concatenate([nearest[rows], similarities], axis=1)
        nearest[rows] = np.partition(both, both.shape[1] - k, axis=1)[:, -k:]

    for_each_product(x, targets, update)
    mean = x @ targets.mean(axis=0, dtype=np.float64).astype(np.float32)
    scores = np.stack([mean, nearest.max(axis=1), np.sort(nearest, axis=1).mean(axis=1)], axis=1)
    return np.clip(scores, -1, 1, out=scores)


@scorer(
    version=2,
    reads={"embedding", "target"},
    columns=(
        OutputColumn(
            higher_is_better=True, unit="cosine", range=(-1, 1), higher_means="nearer to the target rows on average"
        ),
        OutputColumn(
            name="max",
            higher_is_better=True,
            unit="cosine",
            range=(-1, 1),
            higher_means="nearer to the most similar target row",
        ),
        OutputColumn(
            name="nearest",
            higher_is_better=True,
            unit="cosine",
            range=(-1, 1),
            higher_means="nearer to the most similar target rows",
        ),
    ),
    cost="O(n m d) for m target rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSimilarity:
    """Cosine of a row with the rows of a task: the mean, the largest one, and the mean of the few largest ones.

    A simple baseline for ``rds_plus`` and ``less``, which select by the same similarities. Use it to see the
    similarities in the report, to drop rows below a threshold with ``where``, or as ``quality`` of a selector that also
    keeps the selection diverse. Needs a section ``target``.

    References
    ----------
    Salton, Wong & Yang (1975), "A vector space model for automatic indexing", Communications of the ACM 18(11).
    """

    neighbors: Annotated[int, Ge(1)] = 5
    """Number of most similar target rows in the mean of the few largest ones."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002
        target: TargetRows = require(batch.target)
        return target_similarity(require(batch.embeddings), target.embeddings, self.neighbors)
