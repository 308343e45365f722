"""How likely test rows are under a density put together from kernels on the chosen rows."""

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
_COPY = 0.999  # rows more similar than that tell nothing of how wide a kernel should be
_SAMPLE = 1_000
_MANY, _FEW = 20, 10


def log_height(concentration: float, dimensions: int) -> float:
    """Logarithm of the von Mises-Fisher density where the cosine to the centre is 0, over the even density.

    Where the cosine is s, the density is exp(κ s) times that. Equal to −ln 0F1(d / 2; κ² / 4), summed in
    logarithms, as Bessel functions of high order are no numbers that a float holds.

    References
    ----------
    Mardia & Jupp (2000), Directional Statistics, section 9.3.2.

    >>> round(log_height(2.0, 3), 6) == round(float(np.log(2.0 / np.sinh(2.0))), 6)
    True
    """
    from scipy.special import gammaln, logsumexp

    m = np.arange(int(concentration) + 100)
    half = dimensions / 2
    terms = 2 * m * np.log(concentration / 2) + gammaln(half) - gammaln(m + 1) - gammaln(m + half)
    return -float(logsumexp(terms))


def best_concentration(x: Matrix) -> float:
    """The concentration under which each row of ``x`` is most likely by kernels on the others (leave-one-out).

    Of the powers of 2^(1/4) from 1 to 16,384, but only of those under which, in the median, at least 20 others make up
    the density at a row; 1, if there are none. In hundreds of dimensions the most likely kernel is often so narrow that
    the density at a row tells the distance to its nearest neighbour and nothing else. Pairs more similar than 0.999 are
    left out, as copies would make the narrowest kernel the best.

    Parameters
    ----------
    x : (m, d) float32, rows of unit length

    Cost: O(m² d) time, O(m²) memory.

    References
    ----------
    Duin (1976), doi:10.1109/TC.1976.1674577.

    >>> best_concentration(np.array([[1, 0], [1, 0]], np.float32))
    1.0
    """
    with one_blas_thread():
        similarities = (x @ x.T).astype(np.float64)
    np.fill_diagonal(similarities, np.inf)
    others = similarities <= _COPY
    alone = ~others.any(axis=1)
    if alone.all():
        return float(_GRID[0])
    similarities[~others] = -np.inf
    similarities, count = similarities[~alone], others[~alone].sum(axis=1)
    best = similarities.max(axis=1, keepdims=True)
    apart = similarities - best
    found, highest = float(_GRID[0]), -np.inf
    for kappa in _GRID:
        parts = np.exp(kappa * apart)
        total = parts.sum(axis=1)
        if np.median(total**2 / np.einsum("ij,ij->i", parts, parts)) < _MANY:
            break  # and fewer for every narrower kernel
        likelihood = (np.log(total / count) + kappa * best[:, 0]).mean() + log_height(kappa, x.shape[1])
        if likelihood > highest:
            found, highest = float(kappa), likelihood
    return found


def kernel_density(x: Matrix, weight: Vector, test: Matrix, concentration: float) -> tuple[Numbers, Numbers]:
    """The logarithm of the density at ``test`` of von Mises-Fisher kernels on the rows of ``x``.

    Parameters
    ----------
    x : (k, d) float32, rows of unit length
    weight : (k,) float32, above 0
    test : (m, d) float32, rows of unit length
    concentration : κ, above 0: the higher, the narrower the kernels

    Returns
    -------
    log_density : (m,) in nats, over that of the even density on the sphere
    effective : (m,) by how many kernels it is made up: (Σ w)² / Σ w² of their parts

    Cost: O(m k d) time, O(m) memory. Sums are kept in logarithms.

    References
    ----------
    Hall, Watson & Cabrera (1987), doi:10.1093/biomet/74.4.751.

    >>> x = np.array([[1, 0], [-1, 0]], np.float32)
    >>> log_density, effective = kernel_density(x, np.ones(2, np.float32), np.array([[0, 1]], np.float32), 2.0)
    >>> effective.tolist(), bool(log_density[0] < 0)
    ([2.0], True)
    """
    highest, total, squares = np.full(len(test), -np.inf), np.zeros(len(test)), np.zeros(len(test))
    parts = np.log(weight.astype(np.float64) / weight.sum(dtype=np.float64))

    def use(similarities: Matrix, rows: slice, columns: slice) -> None:
        logs = concentration * similarities.astype(np.float64) + parts[columns]
        high = np.maximum(highest[rows], logs.max(axis=1))
        shrunk = np.exp(highest[rows] - high)
        np.exp(logs - high[:, None], out=logs)
        total[rows] = total[rows] * shrunk + logs.sum(axis=1)
        squares[rows] = squares[rows] * shrunk**2 + np.einsum("ij,ij->i", logs, logs)
        highest[rows] = high

    for_each_product(test, x, use)
    return np.log(total) + highest + log_height(concentration, x.shape[1]), total**2 / squares


@metric(
    version=1,
    reads={"embedding", "test"},
    learns=True,
    measures=(
        OutputColumn(higher_is_better=False, unit="nats a row"),
        OutputColumn(name="effective_rows", higher_is_better=None, unit="chosen rows", range=(1, float("inf"))),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DensityPerplexity:
    """Mean surprise of test rows under a density made of kernels on the chosen rows: less is better.

    In nats (the logarithm of a perplexity), beside an even density on the sphere, which has 0. The kernels are von
    Mises-Fisher's, all as wide. How wide is settled by the pool, the same for every choice: rows of a sample of 1,000
    are as likely by the others as can be, while at least 20 others count for each. ``effective_rows`` is by how many
    chosen rows the density at a test row is made up, in the median; where that is below 10, the number hangs on single
    rows, and a note says so. Training weights of the chosen rows count. NaN without test rows.

    References
    ----------
    Hall, Watson & Cabrera (1987), doi:10.1093/biomet/74.4.751. Width: Duin (1976), doi:10.1109/TC.1976.1674577.

    Deviations: the limit on the width.
    """

    concentration: Annotated[float, Gt(0)] | None = None
    """How narrow the kernels are; settled by the pool unless given."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        x, test = require(trial.embeddings), require(trial.test_embeddings)
        if not len(test):
            nothing = dict.fromkeys(("", "effective_rows"), float("nan"))
            return MetricResult(nothing, notes=("there are no test rows",))
        sample = content_order(x, int(rng.integers(2**63)))[:_SAMPLE]
        concentration = self.concentration or best_concentration(x[sample])
        weight = np.ones(len(trial.chosen), np.float32) if trial.weight is None else trial.weight
        log_density, effective = kernel_density(x[trial.chosen], weight, test, concentration)
        median = max(1.0, float(np.median(effective)))
        notes: tuple[str, ...] = ()
        if median < _FEW:
            notes = (f"the density at a test row is made up by {median:.1f} chosen rows only: take it with caution",)
        return MetricResult({"": -float(log_density.mean()), "effective_rows": median}, notes=notes)
