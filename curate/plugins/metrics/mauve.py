"""MAUVE: similarity of the distributions of the selected rows and the pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.clustering.kmeans_plusplus import choose_seeds
from curate.kernels.clustering.lloyd import assign, lloyd
from curate.kernels.stats.hash_sampling import sample_by_content
from curate.kernels.types import Codes, Matrix, Numbers, Rows
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.references import Reference, compare_with_target
from curate.plugins.results import MetricResult

_WEIGHTS = np.linspace(1e-6, 1 - 1e-6, 25)
_ITERATIONS, _TOLERANCE = 500, 1e-4


def mauve(p: Numbers, q: Numbers, scaling: float = 5.0) -> float:
    """Compute the area under the divergence curve of two histograms.

    The curve runs through (exp(−c KL(q, r)), exp(−c KL(p, r))) for mixtures r = w p + (1 − w) q, 25 weights w from 1e-6
    to 1 − 1e-6, and through (1, 0) and (0, 1). The area is the mean of the areas with the points sorted by either
    coordinate. Ties are sorted by the other coordinate, descending, so that equal histograms have area 1.

    Parameters
    ----------
    p, q : (b,) shares, each of sum 1
    scaling : c, above 0; a larger value separates similar histograms better

    Returns
    -------
    value in [0, 1]; 1 if p = q

    Notes
    -----
    Cost: O(b).

    References
    ----------
    Pillutla et al. (2021), MAUVE, arXiv:2102.01454, section 2; Pillutla et al. (2023), JMLR 24, arXiv:2212.14578.

    Examples
    --------
    >>> round(mauve(np.array([0.9, 0.1]), np.array([0.1, 0.9])), 5), mauve(np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    (0.0826, 1.0)
    """
    from scipy.special import rel_entr

    mixtures = _WEIGHTS[:, None] * p + (1 - _WEIGHTS[:, None]) * q
    x = np.concatenate([np.exp(-scaling * rel_entr(q, mixtures).sum(axis=1)), [1.0, 0.0]])
    y = np.concatenate([np.exp(-scaling * rel_entr(p, mixtures).sum(axis=1)), [0.0, 1.0]])
    return float(np.clip((_area(x, y) + _area(y, x)) / 2, 0, 1))


def _area(x: Numbers, y: Numbers) -> float:
    order = np.lexsort((-y, x))
    return float(np.trapezoid(y[order], x[order]))


def frontier_integral(p: Numbers, q: Numbers) -> float:
    """Compute the mean cost of describing both histograms by a mixture of them, over all mixtures; needs no scaling.

    Parameters
    ----------
    p, q : (b,) shares, each of sum 1

    Returns
    -------
    value in [0, 1]; 0 if p = q, 1 if they have no bucket in common

    References
    ----------
    Liu, Pillutla et al. (2021), Divergence frontiers for generative models, arXiv:2106.07898, definition 2.

    Examples
    --------
    >>> round(frontier_integral(np.array([0.9, 0.1]), np.array([0.1, 0.9])), 7)
    0.5056245
    """
    from scipy.special import xlogy

    difference = np.where(p == q, 1, p - q)
    product = np.divide(
        q * xlogy(p, p) - p * xlogy(q, q), 2 * difference
    )  # pq (ln p − ln q) / 2 (p − q), 0 if p or q is 0
    return float(np.clip(2 * np.where(p == q, 0, (p + q) / 4 - product).sum(), 0, 1))


def assign_buckets(rows: Matrix, n_buckets: int, n_init: int, rng: np.random.Generator) -> Codes:
    """Assign rows to buckets by spherical k-means, the best of ``n_init`` runs; at most as many as distinct rows.

    Parameters
    ----------
    rows : (n, d) float32, rows of unit length
    n_buckets : number of buckets
    n_init : number of k-means runs
    rng : random generator

    Returns
    -------
    (n,) int32
    """
    fits = [
        lloyd(
            lambda: iter([rows]),
            rows[choose_seeds(rows, n_buckets, rng)],
            max_iterations=_ITERATIONS,
            tolerance=_TOLERANCE,
        )
        for _ in range(n_init)
    ]
    return assign(rows, min(fits, key=lambda fit: fit.inertia).centroids)[0]


@metric(
    version=1,
    reads={"embedding"},
    optional={"target"},
    measures=(
        OutputColumn(higher_is_better=True, unit="area", range=(0, 1)),
        OutputColumn(name="frontier_integral", higher_is_better=False, unit="nats", range=(0, 1)),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Mauve:
    """Similarity of the selection and the pool, or the target, by histograms over groups of similar rows: 1 if equal.

    Use it to compare distributions in one number between 0 and 1, as is usual for generated text. Compare only
    selections of equal size. ``mmd`` needs no clustering; ``neighborhood`` separates precision from recall.

    Samples of both are assigned to buckets by one k-means, one bucket for every ten rows of the smaller sample. The
    value depends on the number of buckets, on the seed and on ``scaling``. The frontier integral measures the same
    without scaling; 0 if they are equal. Each row counts once, whatever its weight.

    Notes
    -----
    Deviations: buckets by spherical k-means on the unit rows, not by k-means on their principal components; equal
    histograms give 1.

    References
    ----------
    Pillutla et al. (2021), MAUVE, arXiv:2102.01454; (2023), JMLR 24, arXiv:2212.14578. Frontier integral: Liu, Pillutla
    et al. (2021), arXiv:2106.07898.
    """

    reference: Reference = "pool"
    """Rows that the selection is compared with: the ``pool``, or the test rows of the section ``target``, with an
    interval from parts of these rows."""

    sample_size: Annotated[int, Ge(2)] = 2_500
    """Maximum number of rows of the pool, and of the selection, that are compared; sampled by their content."""

    scaling: Annotated[float, Gt(0)] = 5.0
    """c: a larger value separates similar histograms better."""

    smoothing: Annotated[float, Ge(0)] = 0.0
    """Value added to every count; 0.5 is the Krichevsky-Trofimov estimate, called MAUVE*."""

    n_init: Annotated[int, Ge(1), Le(1_000)] = 5
    """Number of k-means runs; the best is used."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:
        x = require(inputs.embeddings)
        salt = int(rng.integers(2**63))
        if self.reference == "target":
            names = ("", "frontier_integral")
            return compare_with_target(inputs, names, self.sample_size, salt, lambda a, b: self._prepare(a, b, rng))
        selected, pool = sample_by_content(x, inputs.selected, self.sample_size, salt)
        return MetricResult(self._prepare(x[selected], x[pool], rng)(np.arange(len(pool))))

    def _prepare(self, a: Matrix, b: Matrix, rng: np.random.Generator) -> Callable[[Rows], dict[str, float]]:
        """Assign all rows to buckets, and return the function of some rows of b that compares them with a."""
        n_buckets = max(2, round(min(len(a), len(b)) / 10))
        bucket = assign_buckets(np.concatenate([a, b]), n_buckets, self.n_init, rng)
        n_used = int(bucket.max()) + 1

        def compare(rows: Rows) -> dict[str, float]:
            p, q = (
                np.bincount(codes, minlength=n_used) + self.smoothing
                for codes in (bucket[: len(a)], bucket[len(a) :][rows])
            )
            p, q = p / p.sum(), q / q.sum()
            return {"": mauve(p, q, self.scaling), "frontier_integral": frontier_integral(p, q)}

        return compare
