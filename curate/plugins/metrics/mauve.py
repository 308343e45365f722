"""MAUVE: how alike the chosen rows and the pool are, told from both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.clustering.kmeans_plusplus import choose_seeds
from curate.kernels.clustering.lloyd import assign, lloyd
from curate.kernels.stats.hash_sampling import sample_by_content
from curate.kernels.types import Codes, Matrix, Numbers
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult

_WEIGHTS = np.linspace(1e-6, 1 - 1e-6, 25)
_ITERATIONS, _TOLERANCE = 500, 1e-4


def mauve(p: Numbers, q: Numbers, scaling: float = 5.0) -> float:
    """The area under the divergence curve of two histograms.

    The curve runs through (exp(−c KL(q, r)), exp(−c KL(p, r))) for mixtures r = w p + (1 − w) q, 25 weights w from 1e-6
    to 1 − 1e-6, and through (1, 0) and (0, 1). The area is the mean of that with the points sorted by one coordinate
    and by the other. Ties are sorted by the other coordinate, falling, so that equal histograms have the area 1.

    Parameters
    ----------
    p, q : (b,) shares, each of sum 1
    scaling : c, above 0; a larger one tells near histograms better apart

    Returns
    -------
    In [0, 1]; 1 if p = q

    Cost: O(b).

    References
    ----------
    Pillutla et al. (2021), MAUVE, arXiv:2102.01454, section 2; Pillutla et al. (2023), JMLR 24, arXiv:2212.14578.

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
    """The mean cost of telling both histograms by one mixture of them, over all mixtures; no scaling to be set.

    Parameters
    ----------
    p, q : (b,) shares, each of sum 1

    Returns
    -------
    In [0, 1]; 0 if p = q, 1 if they have no bucket in common

    References
    ----------
    Liu, Pillutla et al. (2021), Divergence frontiers for generative models, arXiv:2106.07898, definition 2.

    >>> round(frontier_integral(np.array([0.9, 0.1]), np.array([0.1, 0.9])), 7)
    0.5056245
    """
    from scipy.special import xlogy

    apart = np.where(p == q, 1, p - q)
    product = np.divide(q * xlogy(p, p) - p * xlogy(q, q), 2 * apart)  # pq (ln p − ln q) / 2 (p − q), 0 if p or q is
    return float(np.clip(2 * np.where(p == q, 0, (p + q) / 4 - product).sum(), 0, 1))


def buckets(rows: Matrix, count: int, n_init: int, rng: np.random.Generator) -> Codes:
    """Each row's bucket, by spherical k-means: the best of ``starts`` attempts; as many buckets as distinct rows."""
    fits = [
        lloyd(
            lambda: iter([rows]), rows[choose_seeds(rows, count, rng)], max_iterations=_ITERATIONS, tolerance=_TOLERANCE
        )
        for _ in range(n_init)
    ]
    return assign(rows, min(fits, key=lambda fit: fit.inertia).centroids)[0]


@metric(
    version=1,
    reads={"embedding"},
    measures=(
        OutputColumn(higher_is_better=True, unit="area", range=(0, 1)),
        OutputColumn(name="frontier_integral", higher_is_better=False, unit="nats", range=(0, 1)),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Mauve:
    """How alike the chosen rows and the pool are, by histograms over groups of similar rows: 1 if they are the same.

    Samples of both are put into buckets by one k-means, a bucket for every ten rows of the smaller sample. The number
    depends on the number of buckets, on the seed and on ``scaling``: compare choices of equal size only. The frontier
    integral tells the same without a scaling; 0 if they are the same. Each row counts once, whatever its weight.

    References
    ----------
    Pillutla et al. (2021), MAUVE, arXiv:2102.01454; (2023), JMLR 24, arXiv:2212.14578. Frontier integral: Liu, Pillutla
    et al. (2021), arXiv:2106.07898.

    Deviations: buckets by spherical k-means on the unit rows, not by k-means on their principal components; equal
    histograms give 1.
    """

    sample_size: Annotated[int, Ge(2)] = 2_500
    """The most rows of the pool, and of the chosen ones, that are compared; drawn by what they hold."""

    scaling: Annotated[float, Gt(0)] = 5.0
    """c: a larger one tells near histograms better apart."""

    smoothing: Annotated[float, Ge(0)] = 0.0
    """Added to every count; 0.5 is the Krichevsky-Trofimov estimate, called MAUVE*."""

    n_init: Annotated[int, Ge(1), Le(1_000)] = 5
    """How often the k-means is started; the best is taken."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        x = require(trial.embeddings)
        chosen, pool = sample_by_content(x, trial.chosen, self.sample_size, int(rng.integers(2**63)))
        count = max(2, round(min(len(chosen), len(pool)) / 10))
        bucket = buckets(x[np.concatenate([chosen, pool])], count, self.n_init, rng)
        many = int(bucket.max()) + 1
        p, q = (
            np.bincount(part, minlength=many) + self.smoothing
            for part in (bucket[: len(chosen)], bucket[len(chosen) :])
        )
        p, q = p / p.sum(), q / q.sum()
        return MetricResult({"": mauve(p, q, self.scaling), "frontier_integral": frontier_integral(p, q)})
