"""Precision, recall, density and coverage of the chosen rows, by balls that reach to the k-th nearest row."""

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


def neighborhood(x: Matrix, chosen: Rows, pool: Rows, n_neighbors: int) -> dict[str, float]:
    """How chosen rows and the pool lie in each other's balls; a ball reaches from a row to its k-th nearest of its set.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    chosen : at least two rows
    pool : at least two rows; may have rows in common with ``chosen``
    n_neighbors : k, at least 1; of a set with k rows or fewer, the number of others

    Returns
    -------
    precision : share of the chosen rows in the ball of another row of the pool
    recall : share of the pool's rows in the ball of a chosen row, or chosen
    density : balls of other rows of the pool that a chosen row lies in, mean over the chosen rows, over k
    coverage : share of the pool's rows that have a chosen row in their ball, or are chosen

    Cost: O((|pool| + |chosen|)² d) time, O((|pool| + |chosen|) k) memory.

    References
    ----------
    Kynkäänniemi et al. (2019), arXiv:1904.06991, equations 1 to 3; Naeem et al. (2020), arXiv:2002.09797, equations 5
    and 6.

    Deviations: the chosen rows are rows of the pool, and a row is not looked for in its own ball for
    precision and density; precision would always be 1.

    >>> angle = np.array([0, 0.1, 0.2, 2.0])
    >>> x = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    >>> neighborhood(x, np.array([0, 1]), np.arange(4), 1)["coverage"]
    0.75
    """
    reach_pool, reach_chosen = _reach(x[pool], n_neighbors), _reach(x[chosen], n_neighbors)
    place = np.full(len(x), -1)
    place[chosen] = np.arange(len(chosen))
    own = place[pool]  # where among the chosen a row of the pool stands
    inside = np.zeros((len(pool), 2), np.intp)  # by row of the pool: chosen rows in its ball; chosen balls it is in
    found = np.zeros(len(chosen), np.bool_)

    def use(similarities: Matrix, rows: slice, columns: slice) -> None:
        itself = np.flatnonzero((own[rows] >= columns.start) & (own[rows] < columns.stop))
        similarities[itself, own[rows][itself] - columns.start] = -np.inf
        within_pool = similarities >= reach_pool[rows, None] - np.float32(ROUNDING)
        inside[rows, 0] += within_pool.sum(axis=1)
        inside[rows, 1] += (similarities >= reach_chosen[columns] - np.float32(ROUNDING)).sum(axis=1)
        found[np.flatnonzero(within_pool.any(axis=0)) + columns.start] = True  # threads write nothing but True

    for_each_product(x[pool], x[chosen], use)
    taken = own >= 0
    k = min(n_neighbors, len(pool) - 1)
    return {
        "precision": float(found.mean()),
        "recall": float(((inside[:, 1] > 0) | taken).mean()),
        "density": float(inside[:, 0].sum() / (k * len(chosen))),
        "coverage": float(((inside[:, 0] > 0) | taken).mean()),
    }


def _reach(rows: Matrix, n_neighbors: int) -> Vector:
    """The similarity of each row to its k-th nearest other."""
    reach: NDArray[np.float32] = knn(rows, min(n_neighbors, len(rows) - 1))[1][:, -1]
    return reach


@metric(
    version=1,
    reads={"embedding"},
    measures=(
        OutputColumn(name="precision", higher_is_better=True, unit="share of the chosen rows", range=(0, 1)),
        OutputColumn(name="recall", higher_is_better=True, unit="share of the pool", range=(0, 1)),
        OutputColumn(name="density", higher_is_better=None, unit="balls of k", range=(0, float("inf"))),
        OutputColumn(name="coverage", higher_is_better=True, unit="share of the pool", range=(0, 1)),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Neighborhood:
    """Whether the chosen rows lie where the pool does, and the pool where the chosen rows do, by nearest neighbours.

    ``precision``: chosen rows among other rows of the pool; few are where outliers were chosen. ``recall`` and
    ``coverage``: how much of the pool the chosen rows reach, by balls around them and around the pool's rows, where
    recall falls for outliers that make balls large. ``density``: how crowded the chosen rows' places are, about 1 for
    an even choice. On samples of both, in which fewer rows make larger balls: compare choices of equal size. Each row
    counts once, whatever its weight. NaN for one row. Of everything: recall, density and coverage are 1.

    References
    ----------
    Kynkäänniemi et al. (2019), arXiv:1904.06991. Naeem et al. (2020), arXiv:2002.09797.

    Deviations: a row is not looked for in its own ball, for precision and density.
    """

    n_neighbors: Annotated[int, Ge(1)] = 5
    """k: a ball reaches to the k-th nearest row."""

    sample_size: Annotated[int, Ge(2)] = 4_000
    """The most rows of the pool, and of the chosen ones, that are compared; drawn by what they hold."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        if len(trial.chosen) < 2:
            return MetricResult(dict.fromkeys(_NAMES, float("nan")), notes=("one row is chosen: it has no neighbours",))
        x = require(trial.embeddings)
        chosen, pool = sample_by_content(x, trial.chosen, self.sample_size, int(rng.integers(2**63)))
        return MetricResult(neighborhood(x, chosen, pool, self.n_neighbors))
