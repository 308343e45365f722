"""Sliced Wasserstein distance between the selected rows and the pool."""

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
from curate.plugins.references import Reference, compare_with_target
from curate.plugins.results import MetricResult

_DIRECTIONS = 8  # projected at a time


def sliced_wasserstein(
    a: Matrix, b: Matrix, directions: Matrix, control: Literal["lower", "upper"] = "lower"
) -> tuple[float, float]:
    """Compute the square root of the mean squared Wasserstein distance between projections on random directions.

    The error of the mean over few directions is reduced by a control variate, a quantity whose mean over all directions
    is known: the squared distance of the projected means, whose mean is the squared distance of the means divided by d
    ("lower", as it bounds the distance from below); "upper" adds the variances of both projections.

    Parameters
    ----------
    a : (k, d) float32
    b : (n, d) float32
    directions : (L, d) float32, uniformly drawn rows of unit length; L at least 2
    control : control variate

    Returns
    -------
    distance with the control variate, and without it; both at least 0

    Notes
    -----
    Cost: O(L (n d + n log n)) time for k <= n; O(L n) memory, of 8 directions a thread.

    Deviations: the covariance and variance of the coefficient are centered at the sample means, so that it is exact if
    the control variate is proportional to the distance; the square is clipped at 0 before the root.

    References
    ----------
    Bonneel et al. (2015), doi:10.1007/s10851-014-0506-3; control variates: Nguyen & Ho (2023), arXiv:2305.00402.

    Examples
    --------
    >>> a, b = np.zeros((1, 3), np.float32), np.array([[1, 2, 2]], np.float32)
    >>> [round(value**2, 4) for value in sliced_wasserstein(a, b, np.eye(3, dtype=np.float32)[:2])]
    [3.0, 2.5]
    """
    rows_a, rows_b, shares = _quantiles(len(a), len(b))

    def block(part: slice) -> tuple[Numbers, Numbers]:
        projected_a, projected_b = (
            np.sort(directions[part] @ points.T, axis=1).astype(np.float64) for points in (a, b)
        )
        distance = ((projected_a[:, rows_a] - projected_b[:, rows_b]) ** 2) @ shares
        variate = (projected_a.mean(axis=1) - projected_b.mean(axis=1)) ** 2
        return distance, variate + (projected_a.var(axis=1) + projected_b.var(axis=1) if control == "upper" else 0)

    blocks = list(map_blocks(block, block_slices(len(directions), _DIRECTIONS)))
    distance, variate = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    expected = ((mean_a - mean_b) ** 2).sum()
    if control == "upper":
        expected += a.var(axis=0, dtype=np.float64).sum() + b.var(axis=0, dtype=np.float64).sum()
    control_variance = variate.var()
    slope = (
        ((distance - distance.mean()) * (variate - variate.mean())).mean() / control_variance
        if control_variance > 0
        else 0.0
    )
    squared = distance.mean() - slope * (variate.mean() - expected / a.shape[1])
    return float(np.sqrt(max(squared, 0))), float(np.sqrt(distance.mean()))


def _quantiles(k: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Numbers]:
    """Match k and n sorted values spread over [0, 1]: return pairs of indices, and the share of each pair.

    Examples
    --------
    >>> [part.tolist() for part in _quantiles(1, 2)]
    [[0, 0], [0, 1], [0.5, 0.5]]
    """
    ends = np.union1d(np.arange(1, k + 1, dtype=np.int64) * n, np.arange(1, n + 1, dtype=np.int64) * k)  # of k n parts
    starts = np.concatenate([[0], ends[:-1]])
    return starts // n, starts // k, (ends - starts) / (k * n)


@metric(
    version=1,
    reads={"embedding"},
    optional={"target"},
    measures=(OutputColumn(higher_is_better=False, unit="distance", range=(0, 2)),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SlicedWasserstein:
    """Sliced Wasserstein distance of order 2 between the selection and the pool, or the target; 0 if they are equal.

    Use it to compare distributions over all rows of large pools, without sampling. The distance shrinks with the
    dimension: compare values only for equal embeddings. ``optimal_transport`` is closer to the exact distance.

    Each row counts once, whatever its weight. Projections of d dimensions are shorter than the vectors by √d, and so is
    this distance.

    Notes
    -----
    Deviations: moments of the control variate are centered at the sample means.

    References
    ----------
    Bonneel et al. (2015), doi:10.1007/s10851-014-0506-3. Control variates: Nguyen & Ho (2023), arXiv:2305.00402.
    """

    reference: Reference = "pool"
    """Rows that the selection is compared with: the ``pool``, or the test rows of the section ``target``, with an
    interval from parts of these rows."""

    n_projections: Annotated[int, Ge(2), Le(100_000)] = 100
    """Number of random directions on which the rows are projected."""

    control: Literal["lower", "upper"] = "lower"
    """Control variate: from the means, or from means and variances."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:
        x = require(inputs.embeddings)
        normals = rng.standard_normal((self.n_projections, x.shape[1]))
        directions = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)

        def compare(a: Matrix, b: Matrix) -> dict[str, float]:
            return {"": min(sliced_wasserstein(a, b, directions, self.control)[0], 2.0)}

        if self.reference == "target":
            salt = int(rng.integers(2**63))
            return compare_with_target(inputs, ("",), None, salt, lambda a, b: lambda rows: compare(a, b[rows]))
        return MetricResult(compare(x[inputs.selected], x))
