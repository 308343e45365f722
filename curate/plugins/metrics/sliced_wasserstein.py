"""Sliced Wasserstein distance: how far the chosen rows' distribution lies from the pool's, seen from many sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Matrix, Numbers
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult

_DIRECTIONS = 8  # projected at a time


def sliced_wasserstein(
    a: Matrix, b: Matrix, directions: Matrix, control: Literal["lower", "upper"] = "lower"
) -> tuple[float, float]:
    """The square root of the mean squared Wasserstein distance between projections on random directions.

    The error of the mean over few directions is lowered by a control variate, a quantity whose mean over all directions
    is known: the squared distance of the projected means, whose mean is that of the means over d ("lower", as it bounds
    the distance from below), to which "upper" adds the variances of both projections.

    Parameters
    ----------
    a : (k, d) float32
    b : (n, d) float32
    directions : (L, d) float32, rows of unit length, drawn evenly; L at least 2
    control : which control variate

    Returns
    -------
    with the control variate, and without it; both at least 0

    Cost: O(L (n d + n log n)) time for k <= n; O(L n) memory, of 8 directions a thread.

    References
    ----------
    Bonneel et al. (2015), doi:10.1007/s10851-014-0506-3; control variates: Nguyen & Ho (2023), arXiv:2305.00402.

    Deviations: the coefficient's covariance and variance are centred at the means of the sample, so that it is exact
    where the control variate is proportional to the distance; the square is clipped at 0 before the root.

    >>> a, b = np.zeros((1, 3), np.float32), np.array([[1, 2, 2]], np.float32)
    >>> [round(value**2, 4) for value in sliced_wasserstein(a, b, np.eye(3, dtype=np.float32)[:2])]
    [3.0, 2.5]
    """
    rows_a, rows_b, share = _quantiles(len(a), len(b))

    def block(part: slice) -> tuple[Numbers, Numbers]:
        on_a, on_b = (np.sort(directions[part] @ points.T, axis=1).astype(np.float64) for points in (a, b))
        distance = ((on_a[:, rows_a] - on_b[:, rows_b]) ** 2) @ share
        variate = (on_a.mean(axis=1) - on_b.mean(axis=1)) ** 2
        return distance, variate + (on_a.var(axis=1) + on_b.var(axis=1) if control == "upper" else 0)

    blocks = list(map_blocks(block, block_slices(len(directions), _DIRECTIONS)))
    distance, variate = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    expected = ((mean_a - mean_b) ** 2).sum()
    if control == "upper":
        expected += a.var(axis=0, dtype=np.float64).sum() + b.var(axis=0, dtype=np.float64).sum()
    spread = variate.var()
    slope = ((distance - distance.mean()) * (variate - variate.mean())).mean() / spread if spread > 0 else 0.0
    squared = distance.mean() - slope * (variate.mean() - expected / a.shape[1])
    return float(np.sqrt(max(squared, 0))), float(np.sqrt(distance.mean()))


def _quantiles(k: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Numbers]:
    """Which of k and of n sorted values meet when both are spread over [0, 1], and over which share of it.

    >>> [part.tolist() for part in _quantiles(1, 2)]
    [[0, 0], [0, 1], [0.5, 0.5]]
    """
    ends = np.union1d(np.arange(1, k + 1, dtype=np.int64) * n, np.arange(1, n + 1, dtype=np.int64) * k)  # of k n parts
    starts = np.concatenate([[0], ends[:-1]])
    return starts // n, starts // k, (ends - starts) / (k * n)


@metric(
    version=1,
    reads={"embedding"},
    measures=(OutputColumn(higher_is_better=False, unit="distance", range=(0, 2)),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SlicedWasserstein:
    """Sliced Wasserstein distance of order 2 between the chosen rows and the pool; 0 if they are the same.

    Over all rows, without a sample. Each row counts once, whatever its weight. Projections of d dimensions are shorter
    than what is projected by √d, and so is this distance: compare it at equal d only.

    References
    ----------
    Bonneel et al. (2015), doi:10.1007/s10851-014-0506-3. Control variates: Nguyen & Ho (2023), arXiv:2305.00402.

    Deviations: moments of the control variate are centred at the sample's means.
    """

    n_projections: Annotated[int, Ge(2), Le(100_000)] = 100
    """How many random directions the rows are projected on."""

    control: Literal["lower", "upper"] = "lower"
    """The control variate: from the means, or from means and variances."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        x = require(trial.embeddings)
        drawn = rng.standard_normal((self.n_projections, x.shape[1]))
        directions = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
        return MetricResult({"": min(sliced_wasserstein(x[trial.chosen], x, directions, self.control)[0], 2.0)})
