"""Herding: selection of rows whose mean follows the mean of the pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Matrix, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def herding(embeddings: Matrix, budget: int) -> tuple[Rows, Vector]:
    """Run kernel herding with the linear kernel, without repeats.

    A vector w starts at the mean of all rows, μ. Each step picks the row x of largest inner product with w, and adds μ
    − x to w, so that the difference between the means, times the number of picks, is carried over to the next step.

    Parameters
    ----------
    embeddings : (n, d) float32
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    indices : (budget,) rows in the order they were picked, ties to the lowest index
    gains : (budget,) float32, inner product of w and the row when it was picked

    Notes
    -----
    Cost: O(budget n d) time, one pass over the rows per pick; O(n) memory.

    Guarantee: with repeats allowed, the mean of k picks would be within O(1/k) of μ, that of a random sample is within
    O(1/√k). Without repeats this holds in practice while k is a small part of n; for k = n the means are equal.

    Deviations: no row is picked twice, as in its uses for coresets (Rebuffi et al. 2017, iCaRL, arXiv:1611.07725).

    References
    ----------
    Welling (2009), "Herding dynamical weights to learn", doi:10.1145/1553374.1553517; Chen, Welling & Smola (2010),
    Super-samples from kernel herding, arXiv:1203.3472.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    >>> herding(x, 2)[0].tolist()
    [2, 0]
    """
    n = len(embeddings)
    indices, gains = np.empty(budget, np.intp), np.empty(budget, np.float32)
    if not budget:
        return indices, gains
    mean = embeddings.mean(axis=0, dtype=np.float64)
    residual = mean.copy()
    penalty = np.zeros(n, np.float32)  # -inf for picked rows
    with one_blas_thread():
        for step in range(budget):
            scores = embeddings @ residual.astype(np.float32)
            scores += penalty
            pick = int(scores.argmax())
            indices[step], gains[step] = pick, scores[pick]
            penalty[pick] = -np.inf
            residual += mean - embeddings[pick]
    return indices, gains


@selector(
    version=1,
    scope="pool",
    reads={"embedding"},
    prefix=True,
    random=False,
    quadratic=True,
    cost="O(n k d)",
    guarantee="the mean is within O(1/k) of the pool's while k is small",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Herding:
    """Keep rows whose mean stays close to the mean of the pool, for any number of kept rows.

    Use it for small sets of typical examples, such as exemplars of a class: run it ``within`` the label, as in the
    usual benchmark. It matches only the mean, not the spread; ``facility_location`` also represents small groups.

    Typical rows come first; later ones correct the mean of the earlier ones. A gain is the length of the row in the
    missing direction.

    References
    ----------
    Welling (2009), "Herding dynamical weights to learn", doi:10.1145/1553374.1553517. Chen, Welling & Smola (2010),
    arXiv:1203.3472.
    """

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        indices, gains = herding(pool.embeddings, budget)
        return Selection(indices, gains, reasons=("not needed to match the mean of the pool",))
