"""Sinkhorn divergence: what it costs to carry the chosen rows' distribution to the pool's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.parallel import one_blas_thread
from curate.kernels.stats.hash_sampling import sample_by_content
from curate.kernels.stats.sinkhorn import sinkhorn, sinkhorn_symmetric
from curate.kernels.types import Matrix
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult


def sinkhorn_divergence(
    a: Matrix, b: Matrix, regularization: float, *, tolerance: float, max_iterations: int
) -> tuple[float, bool]:
    """The entropic cost of carrying ``a`` to ``b``, less half of that of carrying each to itself.

    Without that debiasing the cost of carrying points to themselves would not be 0. The cost of a pair is 1 − cosine,
    half the squared distance.

    Parameters
    ----------
    a : (n, d) float32, rows of unit length
    b : (m, d) float32, rows of unit length
    regularization : ε, above 0: the larger, the more the divergence sees means only, and the sooner it is found
    tolerance, max_iterations : of ``curate.kernels.stats.sinkhorn.sinkhorn``

    Returns
    -------
    divergence : in [0, 2], in the unit of 1 − cosine; 0 if both have the same points
    converged : whether all three problems did

    Cost: O((n + m)² (d + iterations)) time, O((n + m)²) memory.

    References
    ----------
    Feydy et al. (2019), Interpolating between optimal transport and MMD using Sinkhorn divergences, arXiv:1810.08278,
    equations 3 and 25; Genevay, Peyré & Cuturi (2018), arXiv:1706.00292.

    >>> x = np.array([[1, 0], [0, 1]], np.float32)
    >>> divergence, _ = sinkhorn_divergence(x, -x, 0.01, tolerance=1e-6, max_iterations=100)
    >>> round(divergence, 3)
    1.0
    """
    with one_blas_thread():
        costs = [1 - (left @ right.T).astype(np.float64) for left, right in ((a, b), (a, a), (b, b))]
        across = sinkhorn(costs[0], regularization, tolerance=tolerance, max_iterations=max_iterations)
        within = [
            sinkhorn_symmetric(cost, regularization, tolerance=tolerance, max_iterations=max_iterations)
            for cost in costs[1:]
        ]
    divergence = across.f.mean() + across.g.mean() - within[0].f.mean() - within[1].f.mean()
    return float(np.clip(divergence, 0, 2)), across.converged and all(part.converged for part in within)


@metric(
    version=1,
    reads={"embedding"},
    measures=(OutputColumn(higher_is_better=False, unit="1 - cosine", range=(0, 2)),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class OptimalTransport:
    """Debiased Sinkhorn divergence between the chosen rows and the pool, by 1 - cosine; 0 if they are the same.

    On samples of both. Each row counts once, whatever its weight. A note says so where the iteration did not converge;
    a larger regularization or more iterations help.

    References
    ----------
    Feydy et al. (2019), arXiv:1810.08278. Genevay, Peyré & Cuturi (2018), arXiv:1706.00292. Cuturi (2013),
    arXiv:1306.0895.
    """

    sample_size: Annotated[int, Ge(2)] = 500
    """The most rows of the pool, and of the chosen ones, that are compared; drawn by what they hold."""

    regularization: Annotated[float, Gt(0)] = 0.05
    """How much the plan is blurred, in the unit of 1 - cosine."""

    tolerance: Annotated[float, Gt(0)] = 1e-3
    """The share of the weight that the plan may put in the wrong place."""

    max_iterations: Annotated[int, Ge(1), Le(100_000)] = 1_000
    """After as many iterations it is given up."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        x = require(trial.embeddings)
        chosen, pool = sample_by_content(x, trial.chosen, self.sample_size, int(rng.integers(2**63)))
        divergence, converged = sinkhorn_divergence(
            x[chosen], x[pool], self.regularization, tolerance=self.tolerance, max_iterations=self.max_iterations
        )
        notes = () if converged else (f"not converged after {self.max_iterations} iterations: raise regularization",)
        return MetricResult({"": divergence}, notes=notes)
