"""Sinkhorn divergence between the selected rows and the pool."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.parallel import one_blas_thread
from curate.kernels.stats.hash_sampling import sample_by_content
from curate.kernels.stats.sinkhorn import sinkhorn, sinkhorn_symmetric
from curate.kernels.types import Matrix
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.references import Reference, compare_with_target
from curate.plugins.results import MetricResult


def sinkhorn_divergence(
    a: Matrix, b: Matrix, regularization: float, *, tolerance: float, max_iterations: int
) -> tuple[float, bool]:
    """Compute the entropic cost of transporting ``a`` to ``b``, minus half of that of transporting each to itself.

    Without this debiasing, the cost of transporting points to themselves would not be 0. The cost of a pair is 1 −
    cosine, half the squared distance.

    Parameters
    ----------
    a : (n, d) float32, rows of unit length
    b : (m, d) float32, rows of unit length
    regularization : ε, above 0: the larger, the more the divergence depends only on means, and the faster it converges
    tolerance, max_iterations : see ``curate.kernels.stats.sinkhorn.sinkhorn``

    Returns
    -------
    divergence : in [0, 2], in the unit of 1 − cosine; 0 if both have the same points
    converged : whether all three problems converged

    Notes
    -----
    Cost: O((n + m)² (d + iterations)) time, O((n + m)²) memory.

    References
    ----------
    Feydy et al. (2019), Interpolating between optimal transport and MMD using Sinkhorn divergences, arXiv:1810.08278,
    equations 3 and 25; Genevay, Peyré & Cuturi (2018), arXiv:1706.00292.

    Examples
    --------
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
    return float(np.clip(divergence, 0, 2)), across.converged and all(problem.converged for problem in within)


@metric(
    version=1,
    reads={"embedding"},
    optional={"target"},
    measures=(OutputColumn(higher_is_better=False, unit="1 - cosine", range=(0, 2)),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class OptimalTransport:
    """Debiased Sinkhorn divergence between the selection and the pool, or the target; 0 if they are equal.

    Use it for a distance between distributions with an interpretable unit. It compares small samples;
    ``sliced_wasserstein`` uses all rows, and ``mmd`` larger samples.

    Both sides are sampled. Each row counts once, whatever its weight. A note reports if the iteration did not converge;
    a larger regularization or more iterations help.

    References
    ----------
    Feydy et al. (2019), arXiv:1810.08278. Genevay, Peyré & Cuturi (2018), arXiv:1706.00292. Cuturi (2013),
    arXiv:1306.0895.
    """

    reference: Reference = "pool"
    """Rows that the selection is compared with: the ``pool``, or the test rows of the section ``target``, with an
    interval from parts of these rows."""

    sample_size: Annotated[int, Ge(2)] = 500
    """Maximum number of rows of the pool, and of the selection, that are compared; sampled by their content."""

    regularization: Annotated[float, Gt(0)] = 0.05
    """Entropic regularization ε, in the unit of 1 - cosine: larger values blur the plan."""

    tolerance: Annotated[float, Gt(0)] = 1e-3
    """Allowed share of misplaced weight in the plan."""

    max_iterations: Annotated[int, Ge(1), Le(100_000)] = 1_000
    """Maximum number of iterations."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:
        x = require(inputs.embeddings)
        salt = int(rng.integers(2**63))
        all_converged = True

        def compare(a: Matrix, b: Matrix) -> dict[str, float]:
            nonlocal all_converged
            divergence, converged = sinkhorn_divergence(
                a, b, self.regularization, tolerance=self.tolerance, max_iterations=self.max_iterations
            )
            all_converged &= converged
            return {"": divergence}

        if self.reference == "target":
            result = compare_with_target(
                inputs, ("",), self.sample_size, salt, lambda a, b: lambda rows: compare(a, b[rows])
            )
        else:
            selected, pool = sample_by_content(x, inputs.selected, self.sample_size, salt)
            result = MetricResult(compare(x[selected], x[pool]))
        note = f"not converged after {self.max_iterations} iterations: increase `regularization` or `max_iterations`"
        return result if all_converged else replace(result, notes=(*result.notes, note))
