"""Maximum mean discrepancy between the selected rows and the pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from curate.kernels.linalg.blocked_matmul import for_each_product
from curate.kernels.linalg.cosines import similarity_threshold
from curate.kernels.parallel import one_blas_thread
from curate.kernels.stats.hash_sampling import sample_by_content
from curate.kernels.types import Matrix, Rows
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.references import Reference, compare_with_target
from curate.plugins.results import MetricResult

_MEDIAN_ROWS = 1_000  # half a million pairs


def squared_mmd(x: Matrix, a: Rows, b: Rows, bandwidth: float) -> float:
    """Estimate the squared maximum mean discrepancy between the rows ``a`` and ``b`` of one matrix.

    It is the mean kernel value over pairs in a, plus that over pairs in b, minus twice that over pairs of both, where a
    row is never paired with itself. So it is 0 in expectation if a is a uniform sample of b, and 0 if a is b.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    a, b : row indices, at least two each, without duplicates
    bandwidth : σ of the kernel exp(−|x − y|² / 2 σ²), above 0

    Returns
    -------
    value in [-2, 2]

    Notes
    -----
    Cost: O((|a| + |b|)² d) time, O(|a| + |b|) memory.

    Deviations: rows that a and b have in common are excluded from the pairs of both, as the sets are not independent.

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test, JMLR 13, equation 3 (unbiased); section 8 on the median.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [-1, 0], [-1, 0]], np.float32)
    >>> round(squared_mmd(x, np.array([0, 1]), np.array([2, 3]), 0.5), 4), squared_mmd(x, np.arange(4), np.arange(4), 1)
    (1.9993, 0.0)
    """
    common = len(np.intersect1d(a, b, assume_unique=True))
    within = [(_kernel_sum(x[rows], x[rows], bandwidth) - len(rows)) / (len(rows) * (len(rows) - 1)) for rows in (a, b)]
    across = (_kernel_sum(x[a], x[b], bandwidth) - common) / (len(a) * len(b) - common)
    return float(np.clip(within[0] + within[1] - 2 * across, -2, 2))


def _kernel_sum(x: Matrix, y: Matrix, bandwidth: float) -> float:
    totals = np.zeros(len(x))

    def update(similarities: Matrix, rows: slice, columns: slice) -> None:  # noqa: ARG001 - the position does not matter
        kernel = np.minimum(similarities, 1, out=similarities)
        kernel -= 1  # −|x − y|² / 2
        kernel /= np.float32(bandwidth**2)
        totals[rows] += np.exp(kernel, out=kernel).sum(axis=1, dtype=np.float64)

    for_each_product(x, y, update)
    return float(totals.sum())


def median_distance(x: Matrix) -> float:
    """Compute the median distance between two rows; if it is 0, the mean distance; 0 if all rows are equal.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length

    Examples
    --------
    >>> round(median_distance(np.array([[1, 0], [0, 1], [-1, 0]], np.float32)), 4)
    1.4142
    """
    with one_blas_thread():
        similarities = (x @ x.T)[np.triu_indices(len(x), 1)]
    distances = np.sqrt(2 - 2 * np.where(similarities > similarity_threshold(1), 1, similarities).astype(np.float64))
    return float(np.median(distances) or distances.mean())


def _prepare(selected: Matrix, target: Matrix) -> Callable[[Rows], dict[str, float]]:
    x, bandwidth = np.concatenate([selected, target]), median_distance(target[:_MEDIAN_ROWS])
    n = len(selected)
    return lambda rows: {"": squared_mmd(x, np.arange(n), n + rows, bandwidth) if bandwidth else 0.0}


@metric(
    version=1,
    reads={"embedding"},
    optional={"target"},
    measures=(OutputColumn(higher_is_better=False, unit="squared discrepancy", range=(-2, 2)),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMD:
    """Unbiased squared maximum mean discrepancy between the selection and the pool, or the target.

    Use it to test whether a selection has the distribution of the pool: values far above those of random selections
    mean a shift. ``optimal_transport`` has a unit that is easier to interpret; ``sliced_wasserstein`` uses all rows.

    It is 0 in expectation for uniform samples of the pool, and negative if the selected rows are farther from each
    other than rows of the pool are, but no farther from the pool. The kernel is Gaussian; its bandwidth is the median
    distance between 1,000 of the rows that the selection is compared with. Both sides are sampled; each row counts
    once, whatever its weight. NaN for one row; 0 if all rows of the pool are equal.

    Notes
    -----
    Deviations: rows that both samples have in common are not paired with themselves.

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test, JMLR 13, equation 3 and section 8.
    """

    reference: Reference = "pool"
    """Rows that the selection is compared with: the ``pool``, or the test rows of the section ``target``, with an
    interval from parts of these rows."""

    sample_size: Annotated[int, Ge(2)] = 4_000
    """Maximum number of rows of the pool, and of the selection, that are compared; sampled by their content."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:
        x = require(inputs.embeddings)
        if len(inputs.selected) < 2:
            return MetricResult({"": float("nan")}, notes=("only one row is selected",))
        salt = int(rng.integers(2**63))
        if self.reference == "target":
            return compare_with_target(inputs, ("",), self.sample_size, salt, _prepare)
        selected, pool = sample_by_content(x, inputs.selected, self.sample_size, salt)
        bandwidth = median_distance(x[pool[:_MEDIAN_ROWS]])
        return MetricResult({"": squared_mmd(x, selected, pool, bandwidth) if bandwidth else 0.0})
