"""Herding: pick rows whose mean follows the mean of the pool as closely as it can."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Matrix, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def herding(embeddings: Matrix, budget: int) -> tuple[Rows, Vector]:
    """Kernel herding with the linear kernel, without repeats.

    A vector w starts at the mean of all rows, μ. Each step picks the row x of largest inner product with w, and moves
    w by μ − x: what the mean of the picks still lacks, times their number, is carried over to the next step.

    Parameters
    ----------
    embeddings : (n, d) float32
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    order : (budget,) rows in the order they were picked, ties to the lowest index
    gains : (budget,) float32, inner product of w and the row when it was picked

    Cost: O(budget n d) time, one pass over the rows a pick; O(n) memory. Guarantee: with repeats allowed, the mean of k
    picks would be within O(1/k) of μ, where a random sample is within O(1/√k). Without, that holds in practice while k
    is a small part of n; at k = n the means are equal.

    References
    ----------
    Welling (2009), "Herding dynamical weights to learn", doi:10.1145/1553374.1553517; Chen, Welling & Smola (2010),
    Super-samples from kernel herding, arXiv:1203.3472.

    Deviations: no row is picked twice, as in its uses for coresets (Rebuffi et al. 2017, iCaRL, arXiv:1611.07725).

    >>> x = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    >>> herding(x, 2)[0].tolist()
    [2, 0]
    """
    n = len(embeddings)
    order, gains = np.empty(budget, np.intp), np.empty(budget, np.float32)
    if not budget:
        return order, gains
    mean = embeddings.mean(axis=0, dtype=np.float64)
    lacking = mean.copy()
    free = np.zeros(n, np.float32)  # -inf for rows picked
    with one_blas_thread():
        for step in range(budget):
            merit = embeddings @ lacking.astype(np.float32)
            merit += free
            pick = int(merit.argmax())
            order[step], gains[step] = pick, merit[pick]
            free[pick] = -np.inf
            lacking += mean - embeddings[pick]
    return order, gains


@selector(
    version=1,
    reads={"embedding"},
    prefix=True,
    random=False,
    quadratic=True,
    cost="O(n k d)",
    guarantee="means within O(1/k) of the pool's, while k is small",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Herding:
    """Keep rows whose mean stays close to the mean of the pool, however few of them are taken.

    Typical rows come first; later ones make up for what the mean of the earlier ones lacks. A gain is how far the row
    reaches in the direction that was lacking. Only the mean is matched, not the spread: a group is seen only while it
    pulls the mean. For the means of classes, as in the usual benchmark, run it ``within`` the label.

    References
    ----------
    Welling (2009), "Herding dynamical weights to learn", doi:10.1145/1553374.1553517. Chen, Welling & Smola (2010),
    arXiv:1203.3472.
    """

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        order, gains = herding(pool.embeddings, budget)
        return Selection(order, gains, reasons=("not needed to match the mean of the pool",))
