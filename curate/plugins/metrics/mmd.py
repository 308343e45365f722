"""Maximum mean discrepancy: how far the chosen rows lie from the pool by a Gaussian kernel."""

from __future__ import annotations

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
from curate.plugins.results import MetricResult

_MEDIAN_ROWS = 1_000  # half a million pairs


def squared_mmd(x: Matrix, a: Rows, b: Rows, bandwidth: float) -> float:
    """Squared maximum mean discrepancy between the rows ``a`` and ``b`` of one matrix, by mean kernel values of pairs.

    mean k over pairs in a + mean k over pairs in b − 2 mean k over pairs of both, where a row is never paired with
    itself. So it is 0 on average if a is an even sample of b, and 0 if a is b.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    a, b : rows, at least two of each, none twice
    bandwidth : σ of the kernel exp(−|x − y|² / 2 σ²), above 0

    Returns
    -------
    In [-2, 2]

    Cost: O((|a| + |b|)² d) time, O(|a| + |b|) memory.

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test, JMLR 13, equation 3 (unbiased); section 8 on the median.

    Deviations: rows that a and b have in common are left out of the pairs of both, as the sets are not independent.

    >>> x = np.array([[1, 0], [1, 0], [-1, 0], [-1, 0]], np.float32)
    >>> round(squared_mmd(x, np.array([0, 1]), np.array([2, 3]), 0.5), 4), squared_mmd(x, np.arange(4), np.arange(4), 1)
    (1.9993, 0.0)
    """
    common = len(np.intersect1d(a, b, assume_unique=True))
    inside = [(_kernel_sum(x[rows], x[rows], bandwidth) - len(rows)) / (len(rows) * (len(rows) - 1)) for rows in (a, b)]
    across = (_kernel_sum(x[a], x[b], bandwidth) - common) / (len(a) * len(b) - common)
    return float(np.clip(inside[0] + inside[1] - 2 * across, -2, 2))


def _kernel_sum(x: Matrix, y: Matrix, bandwidth: float) -> float:
    totals = np.zeros(len(x))

    def use(similarities: Matrix, rows: slice, columns: slice) -> None:  # noqa: ARG001 - which columns is no matter
        kernel = np.minimum(similarities, 1, out=similarities)
        kernel -= 1  # −|x − y|² / 2
        kernel /= np.float32(bandwidth**2)
        totals[rows] += np.exp(kernel, out=kernel).sum(axis=1, dtype=np.float64)

    for_each_product(x, y, use)
    return float(totals.sum())


def median_distance(x: Matrix) -> float:
    """The median distance between two rows; if that is 0, the mean one; 0 if all rows are the same.

    >>> round(median_distance(np.array([[1, 0], [0, 1], [-1, 0]], np.float32)), 4)
    1.4142
    """
    with one_blas_thread():
        similarities = (x @ x.T)[np.triu_indices(len(x), 1)]
    distances = np.sqrt(2 - 2 * np.where(similarities > similarity_threshold(1), 1, similarities).astype(np.float64))
    return float(np.median(distances) or distances.mean())


@metric(
    version=1,
    reads={"embedding"},
    measures=(OutputColumn(higher_is_better=False, unit="squared discrepancy", range=(-2, 2)),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMD:
    """Unbiased squared maximum mean discrepancy between the chosen rows and the pool; 0 on average for even samples.

    Below 0 where the chosen rows lie farther from each other than rows of the pool do and no farther from the pool. The
    kernel is Gaussian, and its bandwidth the median distance between rows of the pool, of a sample of 1,000. On samples
    of both; each row counts once, whatever its weight. NaN for one row; 0 where all rows of the pool are the same.

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test, JMLR 13, equation 3 and section 8.

    Deviations: rows that both samples have in common are not paired with themselves.
    """

    sample_size: Annotated[int, Ge(2)] = 4_000
    """The most rows of the pool, and of the chosen ones, that are compared; drawn by what they hold."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        x = require(trial.embeddings)
        if len(trial.chosen) < 2:
            return MetricResult({"": float("nan")}, notes=("one row is chosen: it makes no pair",))
        chosen, pool = sample_by_content(x, trial.chosen, self.sample_size, int(rng.integers(2**63)))
        bandwidth = median_distance(x[pool[:_MEDIAN_ROWS]])
        return MetricResult({"": squared_mmd(x, chosen, pool, bandwidth) if bandwidth else 0.0})
