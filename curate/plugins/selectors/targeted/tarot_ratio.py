"""TAROT that estimates how many rows to select, by the transport cost to held-out target rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.errors import DataError
from curate.kernels.neighbors.transport_layers import WhitenedSpace, select_by_folds
from curate.kernels.stats.hash_sampling import content_order
from curate.plugins.batches import Pool, TargetRows, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


@selector(
    version=1,
    scope="pool",
    reads={"embedding", "target"},
    budgeted=False,
    cost="O(n d² + n m d) for m target rows, and transport problems of the kept rows",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TarotRatio:
    """Keep as many of the rows nearest to the target rows as bring the selection nearest to held-out target rows.

    TAROT with an estimated ratio: the target rows are divided into folds. Those of a fold select their nearest rows, k
    each, in whitened features, and k grows as long as the cost of optimal transport to the target rows of the other
    folds falls. The union over the folds is kept. Use it when you do not know how much of the pool serves the task;
    ``tarot`` selects a given number of rows. Needs a section ``target`` with at least two rows; its tasks are not
    distinguished.

    Rows with a negative cosine to a target row are never selected for it. The gain of a row is its cosine with the
    target row that selects it.

    Notes
    -----
    Deviations: the rows of the best k are kept, where the published code keeps those of the next one. Folds are drawn
    by the content of the target rows.

    References
    ----------
    Feng et al. (2024), "TAROT: Targeted Data Selection via Optimal Transport", arXiv:2412.00420, section 3.4.
    """

    n_folds: Annotated[int, Ge(2)] = 10
    """Number of folds; with fewer target rows, each row is a fold."""

    max_neighbors: Annotated[int, Ge(1)] = 2_000
    """Largest number of rows that a target row selects."""

    ridge: Annotated[float, Gt(0), Le(1_000)] = 1e-5
    """Number added to the variance in each direction, so that directions with none can be whitened."""

    regularization: Annotated[float, Gt(0), Le(100)] = 0.01
    """Entropic regularization ε of the transport problems, in the unit of the distance, which is at most 2."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        target: TargetRows = require(pool.target)
        m = len(target)
        if m < 2:
            message = f"tarot_ratio: the target has {m} row, but some rows must be held out"
            raise DataError(message, hint="add target rows, or use tarot with a number of rows")
        space = WhitenedSpace.fit(pool.embeddings, target.embeddings, self.ridge, self.regularization)
        folds = np.empty(m, np.intp)
        folds[content_order(target.embeddings, int(rng.integers(2**63)))] = np.arange(m) % min(self.n_folds, m)
        rows, similarity, _ = select_by_folds(space, folds, self.max_neighbors)
        return Selection(
            rows, similarity, reasons=("not among the rows that bring the selection nearer to the target",)
        )
