"""The Vendi score: how many different rows the chosen ones amount to."""

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
    """The exponential of the entropy of the eigenvalues of K / k, where K holds the cosines between the k rows.

    K = X Xᵀ and the d × d matrix Xᵀ X have the same eigenvalues but for zeros, so K is never formed.

    Parameters
    ----------
    x : (k, d) float32, rows of unit length, k at least 1
    order : of the Rényi entropy, above 0; 1 is Shannon's, and the higher, the less rare rows count

    Returns
    -------
    In [1, min(k, d)]: 1 if all rows are the same, k if they are orthogonal

    Cost: O(k d² + d³) time, O(d²) memory.

    References
    ----------
    Friedman & Dieng (2023), The Vendi Score, arXiv:2210.02410, definition 3.1 and section 3 on the dual form. Orders:
    Pasarkar & Dieng (2024), arXiv:2310.12952.

    >>> round(vendi_score(np.array([[1, 0], [0, 1], [0, 1]], np.float32)), 4)
    1.8899
    """
    gram = np.zeros((x.shape[1], x.shape[1]))
    with one_blas_thread():
        for rows in block_slices(len(x), _ROWS):
            block = x[rows].astype(np.float64)
            gram += block.T @ block
        eigenvalues = np.linalg.eigvalsh(gram)
    most = min(x.shape)
    return float(np.clip(np.exp(_entropy(eigenvalues[-most:], order)), 1, most))


def _entropy(eigenvalues: NDArray[np.floating], order: float) -> float:
    from scipy.special import logsumexp

    share = eigenvalues[eigenvalues > 0]
    logs = np.log(share / share.sum())
    if order == 1:
        return -float((np.exp(logs) * logs).sum())
    return float(logsumexp(order * logs)) / (1 - order)


@metric(
    version=1,
    reads={"embedding"},
    measures=(OutputColumn(higher_is_better=True, unit="effective rows", range=(1, float("inf"))),),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Vendi:
    """The effective number of different rows among the chosen: the exponential of the entropy of their similarities.

    From 1, if all are the same, to the number of rows or of dimensions, whichever is smaller. Each row counts once,
    whatever its weight. Exact, in O(k d² + d³) time and O(d²) memory for k chosen rows of d dimensions.

    References
    ----------
    Friedman & Dieng (2023), The Vendi Score, arXiv:2210.02410. Orders: Pasarkar & Dieng (2024), arXiv:2310.12952.
    """

    order: Annotated[float, Gt(0), Le(100)] = 1.0
    """Order of the entropy: below 1 rare rows count more, above 1 less."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        return MetricResult({"": vendi_score(require(trial.embeddings)[trial.chosen], self.order)})
