"""LESS: selection of the rows of largest influence on the target rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, FittedState, Matrix, Vector
from curate.plugins.batches import Pool, TargetRows, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_ROWS = 1024


def task_influence(x: Matrix, targets: Matrix, tasks: Codes) -> Vector:
    """Compute the largest mean similarity of each row to the target rows of a task.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    targets : (m, d) float32, rows of unit length, m at least 1
    tasks : (m,) int32
        Task of each target row.

    Returns
    -------
    (n,) float32, in [-1, 1]

    Notes
    -----
    Cost: O(n t d) time for t tasks, because the mean similarity is the product with the mean of the target rows; O(n)
    memory. Products are summed row by row, so that the influence of a row does not depend on the rows next to it.

    References
    ----------
    Xia et al. (2024), LESS, arXiv:2402.04333, section 4.2.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    >>> task_influence(x, x[[0, 0, 1]], np.array([0, 0, 1], np.int32)).round(2).tolist()
    [1.0, 1.0, 0.800000011920929]
    """
    means = [targets[tasks == task].mean(axis=0, dtype=np.float64) for task in np.unique(tasks)]
    best = np.empty(len(x), np.float32)

    def block(rows: slice) -> None:
        part = x[rows].astype(np.float64)
        best[rows] = np.max([np.einsum("ij,j->i", part, mean) for mean in means], axis=0)

    for _ in map_blocks(block, block_slices(len(x), _ROWS)):
        pass
    return best


@selector(
    version=1,
    scope="merge",
    reads={"embedding", "target"},
    prefix=True,
    equivariant=True,
    random=False,
    cost="O(n t d + n log n) for t tasks",
    guarantee="the rows of largest mean similarity to a task",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Less:
    """Keep the rows that are most similar to the rows of a task on average; of several tasks, the best one counts.

    With the embedder ``gradients``, this is LESS: the inner product of the gradients of two rows estimates by how much
    a step on one lowers the loss of the other. Other embeddings work too. Needs a section ``target``; its ``task``
    column divides the target rows into tasks. One task can take all of the budget, and rows near the mean of a task's
    rows are preferred to rows near a few of them: ``rds_plus`` serves every target row, and ``top_k`` by the column
    ``nearest`` of ``target_similarity`` was mostly better in tests (page Evidence).

    The gain of a row is its mean similarity to the task.

    References
    ----------
    Xia et al. (2024), "LESS: Selecting Influential Data for Targeted Instruction Tuning", ICML, arXiv:2402.04333.
    """

    def summarize(self, pool: Pool) -> FittedState:  # noqa: ARG002 - a row's influence depends on no other row
        """Return nothing."""
        return {}

    def measure(self, pool: Pool, summary: FittedState) -> Vector:  # noqa: ARG002
        """Return the influence of each row."""
        target: TargetRows = require(pool.target)
        return task_influence(pool.embeddings, target.embeddings, target.tasks)

    def choose(self, influence: Vector, budget: int) -> Selection:
        """Return the rows of largest influence, ties to the lowest index."""
        rows = np.argsort(-influence, kind="stable")[:budget]
        return Selection(rows, influence[rows], reasons=("less influence on the target than the kept rows",))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        return self.choose(self.measure(pool, self.summarize(pool)), budget)
