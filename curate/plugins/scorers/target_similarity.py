"""Scorer of the similarity of rows to the rows of a task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.linalg.blocked_matmul import similarity_to_nearest
from curate.kernels.types import Matrix
from curate.plugins.batches import ScoreBatch, TargetRows, require
from curate.plugins.interfaces import OutputColumn, scorer


def target_similarity(x: Matrix, targets: Matrix) -> Matrix:
    """Compute the mean and the largest cosine of each row with the target rows.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    targets : (m, d) float32, rows of unit length, m at least 1

    Returns
    -------
    (n, 2) float32, in [-1, 1]

    Notes
    -----
    Cost: O(n m d) time, O(n) memory.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1]], np.float32)
    >>> target_similarity(x, np.array([[1, 0], [0.6, 0.8]], np.float32)).round(2).tolist()
    [[0.800000011920929, 1.0], [0.4000000059604645, 0.800000011920929]]
    """
    mean = x @ targets.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.stack([np.clip(mean, -1, 1), similarity_to_nearest(x, targets)], axis=1)


@scorer(
    version=1,
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
    ),
    cost="O(n m d) for m target rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSimilarity:
    """Cosine of a row with the rows of a task, the mean and the largest one.

    A simple baseline for ``rds_plus`` and ``less``, which select by the same similarities. Use it to see the
    similarities in the report, to drop rows below a threshold with ``where``, or as ``quality`` of a selector that also
    keeps the selection diverse. Needs a section ``target``.

    References
    ----------
    Salton, Wong & Yang (1975), "A vector space model for automatic indexing", Communications of the ACM 18(11).
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002
        target: TargetRows = require(batch.target)
        return target_similarity(require(batch.embeddings), target.embeddings)
