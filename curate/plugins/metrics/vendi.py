"""Vendi score: effective number of distinct rows in the selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Le
from numpy.typing import NDArray

from curate.kernels.parallel import block_slices, one_blas_thread
from curate.kernels.types import Matrix
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult

_ROWS = 4096


def vendi_score(x: Matrix, order: float = 1.0) -> float:
    """Compute the exponential of the entropy of the eigenvalues of K / k, where K contains the cosines of the k rows.

    K = X Xᵀ and the d × d matrix Xᵀ X have the same nonzero eigenvalues, so K is never formed.

    Parameters
    ----------
    x : (k, d) float32, rows of unit length, k at least 1
    order : order of the Rényi entropy, above 0; 1 is Shannon's; the higher, the less rare rows count

    Returns
    -------
    value in [1, min(k, d)]: 1 if all rows are equal, k if they are orthogonal

    Notes
    -----
    Cost: O(k d² + d³) time, O(d²) memory.

    References
    ----------
    Friedman & Dieng (2023), The Vendi Score, arXiv:2210.02410, definition 3.1 and section 3 on the dual form. Orders:
    Pasarkar & Dieng (2024), arXiv:2310.12952.

    Examples
    --------
    >>> round(vendi_score(np.array([[1, 0], [0, 1], [0, 1]], np.float32)), 4)
    1.8899
    """
    gram = np.zeros((x.shape[1], x.shape[1]))
    with one_blas_thread():
        for rows in block_slices(len(x), _ROWS):
            block = x[rows].astype(np.float64)
            gram += block.T @ block
        eigenvalues = np.linalg.eigvalsh(gram)
    max_rank = min(x.shape)
    return float(np.clip(np.exp(_entropy(eigenvalues[-max_rank:], order)), 1, max_rank))


def _entropy(eigenvalues: NDArray[np.floating], order: float) -> float:
    from scipy.special import logsumexp

    positive = eigenvalues[eigenvalues > 0]
    log_shares = np.log(positive / positive.sum())
    if order == 1:
        return -float((np.exp(log_shares) * log_shares).sum())
    return float(logsumexp(order * log_shares)) / (1 - order)


@metric(
    version=1,
    reads={"embedding"},
    measures=(OutputColumn(higher_is_better=True, unit="effective rows", range=(1, float("inf"))),),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Vendi:
    """Effective number of distinct selected rows: the exponential of the entropy of their similarities.

    Use it to compare the diversity of selections of equal size in one interpretable number. It ignores the pool; for
    how well the pool is represented, see ``coverage``.

    It ranges from 1, if all are equal, to the number of rows or of dimensions, whichever is smaller. Each row counts
    once, whatever its weight. Exact, in O(k d² + d³) time and O(d²) memory for k selected rows of d dimensions.

    References
    ----------
    Friedman & Dieng (2023), The Vendi Score, arXiv:2210.02410. Orders: Pasarkar & Dieng (2024), arXiv:2310.12952.
    """

    order: Annotated[float, Gt(0), Le(100)] = 1.0
    """Order of the entropy: below 1 rare rows count more, above 1 less."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        return MetricResult({"": vendi_score(require(inputs.embeddings)[inputs.selected], self.order)})
