"""Precision, recall, density and coverage of the selected rows by nearest-neighbor balls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from curate.kernels.linalg.blocked_matmul import for_each_product
from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.neighbors.knn import knn
from curate.kernels.stats.hash_sampling import sample_by_content
from curate.kernels.types import Matrix, Rows, Vector
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult

_NAMES = ("precision", "recall", "density", "coverage")


def neighborhood(x: Matrix, selected: Rows, pool: Rows, n_neighbors: int) -> dict[str, float]:
    """Compute how far the selected rows and the pool are inside each other's nearest-neighbor balls.

    A ball reaches from a row to its k-th nearest row of the same set.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    selected : at least two rows
    pool : at least two rows; may have rows in common with ``selected``
    n_neighbors : k, at least 1; for a set of k rows or fewer, the number of other rows

    Returns
    -------
    precision : share of the selected rows in the ball of another row of the pool
    recall : share of the pool's rows in the ball of a selected row, or selected
    density : number of balls of other pool rows that a selected row is in, mean over the selected rows, divided by k
    coverage : share of the pool's rows with a selected row in their ball, or selected

    Notes
    -----
    Cost: O((|pool| + |selected|)² d) time, O((|pool| + |selected|) k) memory.

    Deviations: the selected rows are rows of the pool, and for precision and density a row does not count as inside its
    own ball; precision would always be 1.

    References
    ----------
    Kynkäänniemi et al. (2019), arXiv:1904.06991, equations 1 to 3; Naeem et al. (2020), arXiv:2002.09797, equations 5
    and 6.

    Examples
    --------
    >>> angle = np.array([0, 0.1, 0.2, 2.0])
    >>> x = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    >>> neighborhood(x, np.array([0, 1]), np.arange(4), 1)["coverage"]
    0.75
    """
    pool_reach, selected_reach = _reach(x[pool], n_neighbors), _reach(x[selected], n_neighbors)
    selected_position = np.full(len(x), -1)
    selected_position[selected] = np.arange(len(selected))
    position_of_pool_row = selected_position[pool]  # position among the selected rows, or -1
    counts = np.zeros(
        (len(pool), 2), np.intp
    )  # per pool row: selected rows in its ball; balls of selected rows it is in
    is_inside = np.zeros(len(selected), np.bool_)

    def update(similarities: Matrix, rows: slice, columns: slice) -> None:
        self_rows = np.flatnonzero(
            (position_of_pool_row[rows] >= columns.start) & (position_of_pool_row[rows] < columns.stop)
        )
        similarities[self_rows, position_of_pool_row[rows][self_rows] - columns.start] = -np.inf
        in_pool_ball = similarities >= pool_reach[rows, None] - np.float32(ROUNDING)
        counts[rows, 0] += in_pool_ball.sum(axis=1)
        counts[rows, 1] += (similarities >= selected_reach[columns] - np.float32(ROUNDING)).sum(axis=1)
        is_inside[np.flatnonzero(in_pool_ball.any(axis=0)) + columns.start] = True  # safe: threads only write True

    for_each_product(x[pool], x[selected], update)
    is_selected = position_of_pool_row >= 0
    k = min(n_neighbors, len(pool) - 1)
    return {
        "precision": float(is_inside.mean()),
        "recall": float(((counts[:, 1] > 0) | is_selected).mean()),
        "density": float(counts[:, 0].sum() / (k * len(selected))),
        "coverage": float(((counts[:, 0] > 0) | is_selected).mean()),
    }


def _reach(rows: Matrix, n_neighbors: int) -> Vector:
    """Compute the similarity of each row to its k-th nearest other row."""
    reach: NDArray[np.float32] = knn(rows, min(n_neighbors, len(rows) - 1))[1][:, -1]
    return reach


@metric(
    version=1,
    reads={"embedding"},
    measures=(
        OutputColumn(name="precision", higher_is_better=True, unit="share of the selected rows", range=(0, 1)),
        OutputColumn(name="recall", higher_is_better=True, unit="share of the pool", range=(0, 1)),
        OutputColumn(name="density", higher_is_better=None, unit="balls of k", range=(0, float("inf"))),
        OutputColumn(name="coverage", higher_is_better=True, unit="share of the pool", range=(0, 1)),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Neighborhood:
    """Nearest-neighbor precision and recall: whether selection and pool cover each other.

    Use it to separate two faults of a selection: outliers lower ``precision``, missed regions lower ``recall`` and
    ``coverage``. ``mauve`` combines both in one number. Compare selections of equal size.

    ``precision``: share of selected rows close to other rows of the pool. ``recall`` and ``coverage``: share of the
    pool close to selected rows, by balls around the selected rows or around the pool's rows; recall is also affected by
    outliers, whose balls are large. ``density``: how crowded the regions of the selected rows are, about 1 for a
    uniform sample. Both sides are sampled; with fewer rows, balls are larger. Each row counts once, whatever its
    weight. NaN for one row. If all rows are selected, recall, density and coverage are 1.

    Notes
    -----
    Deviations: for precision and density, a row does not count as inside its own ball.

    References
    ----------
    Kynkäänniemi et al. (2019), arXiv:1904.06991. Naeem et al. (2020), arXiv:2002.09797.
    """

    n_neighbors: Annotated[int, Ge(1)] = 5
    """k: a ball reaches to the k-th nearest row."""

    sample_size: Annotated[int, Ge(2)] = 4_000
    """Maximum number of rows of the pool, and of the selection, that are compared; sampled by their content."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:
        if len(inputs.selected) < 2:
            return MetricResult(
                dict.fromkeys(_NAMES, float("nan")), notes=("only one row is selected: it has no neighbors",)
            )
        x = require(inputs.embeddings)
        selected, pool = sample_by_content(x, inputs.selected, self.sample_size, int(rng.integers(2**63)))
        return MetricResult(neighborhood(x, selected, pool, self.n_neighbors))
