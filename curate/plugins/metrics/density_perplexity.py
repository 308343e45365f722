"""Likelihood of test rows under a kernel density of the selected rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt

from curate.kernels.linalg.blocked_matmul import for_each_product
from curate.kernels.parallel import one_blas_thread
from curate.kernels.stats.hash_sampling import content_order
from curate.kernels.types import Matrix, Numbers, Vector
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult

_GRID = 2.0 ** np.arange(0, 14.25, 0.25)
_COPY = 0.999  # pairs above this similarity are ignored when the kernel width is chosen
_SAMPLE = 1_000
_MIN_EFFECTIVE, _LOW_EFFECTIVE = 20, 10


def log_height(concentration: float, dimensions: int) -> float:
    """Compute the logarithm of the von Mises-Fisher density at cosine 0 to the center, relative to the uniform density.

    Where the cosine is s, the density is exp(κ s) times that. It equals −ln 0F1(d / 2; κ² / 4), summed in logarithms,
    because Bessel functions of high order are outside the range of floats.

    Parameters
    ----------
    concentration : κ, above 0
    dimensions : d

    References
    ----------
    Mardia & Jupp (2000), Directional Statistics, section 9.3.2.

    Examples
    --------
    >>> round(log_height(2.0, 3), 6) == round(float(np.log(2.0 / np.sinh(2.0))), 6)
    True
    """
    from scipy.special import gammaln, logsumexp

    m = np.arange(int(concentration) + 100)
    half = dimensions / 2
    terms = 2 * m * np.log(concentration / 2) + gammaln(half) - gammaln(m + 1) - gammaln(m + half)
    return -float(logsumexp(terms))


def best_concentration(x: Matrix) -> float:
    """Choose the concentration under which each row of ``x`` is most likely by kernels on the others (leave-one-out).

    Candidates are the powers of 2^(1/4) from 1 to 16,384, but only those under which, in the median, at least 20 others
    contribute to the density at a row; 1, if there are none. In hundreds of dimensions the most likely kernel is often
    so narrow that the density at a row depends only on the distance to its nearest neighbor. Pairs more similar than
    0.999 are ignored, because copies would make the narrowest kernel the best.

    Parameters
    ----------
    x : (m, d) float32, rows of unit length

    Returns
    -------
    concentration κ

    Notes
    -----
    Cost: O(m² d) time, O(m²) memory.

    References
    ----------
    Duin (1976), doi:10.1109/TC.1976.1674577.

    Examples
    --------
    >>> best_concentration(np.array([[1, 0], [1, 0]], np.float32))
    1.0
    """
    with one_blas_thread():
        similarities = (x @ x.T).astype(np.float64)
    np.fill_diagonal(similarities, np.inf)
    is_other = similarities <= _COPY
    isolated = ~is_other.any(axis=1)
    if isolated.all():
        return float(_GRID[0])
    similarities[~is_other] = -np.inf
    similarities, n_others = similarities[~isolated], is_other[~isolated].sum(axis=1)
    nearest = similarities.max(axis=1, keepdims=True)
    relative = similarities - nearest
    best_kappa, best_likelihood = float(_GRID[0]), -np.inf
    for kappa in _GRID:
        kernels = np.exp(kappa * relative)
        sums = kernels.sum(axis=1)
        if np.median(sums**2 / np.einsum("ij,ij->i", kernels, kernels)) < _MIN_EFFECTIVE:
            break  # narrower kernels have even fewer
        likelihood = (np.log(sums / n_others) + kappa * nearest[:, 0]).mean() + log_height(kappa, x.shape[1])
        if likelihood > best_likelihood:
            best_kappa, best_likelihood = float(kappa), likelihood
    return best_kappa


def kernel_density(x: Matrix, weight: Vector, test: Matrix, concentration: float) -> tuple[Numbers, Numbers]:
    """Compute the log density at ``test`` of von Mises-Fisher kernels on the rows of ``x``.

    Parameters
    ----------
    x : (k, d) float32, rows of unit length
    weight : (k,) float32, above 0
    test : (m, d) float32, rows of unit length
    concentration : κ, above 0: the higher, the narrower the kernels

    Returns
    -------
    log_density : (m,) in nats, relative to the uniform density on the sphere
    effective : (m,) effective number of kernels: (Σ w)² / Σ w² of their contributions

    Notes
    -----
    Cost: O(m k d) time, O(m) memory. Sums are computed in logarithms.

    References
    ----------
    Hall, Watson & Cabrera (1987), doi:10.1093/biomet/74.4.751.

    Examples
    --------
    >>> x = np.array([[1, 0], [-1, 0]], np.float32)
    >>> log_density, effective = kernel_density(x, np.ones(2, np.float32), np.array([[0, 1]], np.float32), 2.0)
    >>> effective.tolist(), bool(log_density[0] < 0)
    ([2.0], True)
    """
    log_maximum, sums, squares = np.full(len(test), -np.inf), np.zeros(len(test)), np.zeros(len(test))
    log_weights = np.log(weight.astype(np.float64) / weight.sum(dtype=np.float64))

    def update(similarities: Matrix, rows: slice, columns: slice) -> None:
        logs = concentration * similarities.astype(np.float64) + log_weights[columns]
        new_maximum = np.maximum(log_maximum[rows], logs.max(axis=1))
        rescale = np.exp(log_maximum[rows] - new_maximum)
        np.exp(logs - new_maximum[:, None], out=logs)
        sums[rows] = sums[rows] * rescale + logs.sum(axis=1)
        squares[rows] = squares[rows] * rescale**2 + np.einsum("ij,ij->i", logs, logs)
        log_maximum[rows] = new_maximum

    for_each_product(test, x, update)
    return np.log(sums) + log_maximum + log_height(concentration, x.shape[1]), sums**2 / squares


@metric(
    version=1,
    reads={"embedding", "test"},
    learns=True,
    measures=(
        OutputColumn(higher_is_better=False, unit="nats a row"),
        OutputColumn(name="effective_rows", higher_is_better=None, unit="selected rows", range=(1, float("inf"))),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DensityPerplexity:
    """Mean negative log-likelihood of test rows under a kernel density of the selected rows.

    Use it to check that a selection covers the distribution of test rows, without labels. With labels, the probes
    (``logistic_probe``, ``knn_probe``) are more direct; for texts, see ``ngram_perplexity``. Less is better.

    Values are in nats (the logarithm of a perplexity), relative to a uniform density on the sphere, which has 0. The
    kernels are von Mises-Fisher's, all of the same width. The width is determined by the pool, equal for all
    selections: it maximizes the leave-one-out likelihood of a sample of 1,000 rows, such that at least 20 others
    contribute at each. ``effective_rows`` is the median number of selected rows that contribute to the density at a
    test row; below 10 the value depends on single rows, and a note warns. Training weights of the selected rows count.
    NaN without test rows.

    Notes
    -----
    Deviations: the limit on the width.

    References
    ----------
    Hall, Watson & Cabrera (1987), doi:10.1093/biomet/74.4.751. Width: Duin (1976), doi:10.1109/TC.1976.1674577.
    """

    concentration: Annotated[float, Gt(0)] | None = None
    """Concentration of the kernels: higher is narrower; by default determined by the pool."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:
        x, test = require(inputs.embeddings), require(inputs.test_embeddings)
        if not len(test):
            undefined = dict.fromkeys(("", "effective_rows"), float("nan"))
            return MetricResult(undefined, notes=("there are no test rows",))
        sample = content_order(x, int(rng.integers(2**63)))[:_SAMPLE]
        concentration = self.concentration or best_concentration(x[sample])
        weight = np.ones(len(inputs.selected), np.float32) if inputs.weight is None else inputs.weight
        log_density, effective = kernel_density(x[inputs.selected], weight, test, concentration)
        median = max(1.0, float(np.median(effective)))
        notes: tuple[str, ...] = ()
        if median < _LOW_EFFECTIVE:
            notes = (
                f"the density at a test row depends on only {median:.1f} selected rows: interpret it with caution",
            )
        return MetricResult({"": -float(log_density.mean()), "effective_rows": median}, notes=notes)
