"""Determinantal point process: draw rows that are unlike each other, and good ones more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.linalg.determinantal import draw_eigenvectors, projection_dpp
from curate.kernels.linalg.leverage import row_space
from curate.kernels.parallel import one_blas_thread
from curate.kernels.stats.distributions import min_max_scale
from curate.kernels.types import Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

Eigenvectors = Literal["drawn", "leading"]


def dpp(
    x: Matrix,
    log_quality: Numbers,
    budget: int,
    rng: np.random.Generator,
    *,
    eigenvectors: Eigenvectors = "drawn",
) -> tuple[Rows, Vector]:
    """Exact sample of a k-DPP, or of a projection DPP, with kernel L_ij = q_i q_j ⟨x_i, x_j⟩.

    A set S of k rows is drawn with probability in proportion to det(L_S), the squared volume that the rows q_i x_i
    span: rows of the same direction exclude each other. L = B Bᵀ has the eigenvalues of the d × d matrix BᵀB, so the
    n × n kernel is never made, and it is positive semidefinite whatever the rows.

    A volume is 0 for more rows than the rank r of L, at most d. A larger budget is met in rounds: r rows by the r-DPP,
    then as many again from those left, as long as there is budget. Rows of one round are unlike each other; of rows
    in different rounds nothing is asked. Where only zero rows are left, they are drawn evenly.

    Parameters
    ----------
    x : (n, d) float32
    log_quality : (n,) float64, log q; only differences matter
    budget : number of rows to keep, 0 <= budget <= n
    eigenvectors : which k of L's the rows are drawn by. ``drawn``: k at random, in proportion to the product of their
        eigenvalues, which makes the k-DPP. ``leading``: those of largest eigenvalues, which makes the projection DPP:
        rows spread over the pool's k principal directions. In a round of r rows there is no difference.

    Returns
    -------
    order : (budget,) rows in the order they were drawn, round by round
    gains : (budget,) float32 in [0, 1], the share of each row that is new beside the rows drawn before it in its round;
        0 for zero rows

    Cost: O(n d²) time a round, in matrix products, and O(d³ log d); O(n + d²) memory. Guarantee: exact, but for
    eigenvalues below 1e-12 of the largest, which count as 0. With very unequal q, that makes more rounds.

    References
    ----------
    Kulesza & Taskar (2012), arXiv:1207.6083; (2011), "k-DPPs: fixed-size determinantal point processes", ICML. section
    3.3 (the dual form), 5.2 (k-DPPs). Belhadji, Bardenet & Chainais (2020), arXiv:1812.09771 (the projection DPP).

    Deviations: rounds, where the paper has no answer.

    >>> x = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    >>> order, _ = dpp(x, np.zeros(4), 2, np.random.default_rng(0))
    >>> sorted((order // 2).tolist())
    [0, 1]
    """
    order, gains = [np.empty(0, np.intp)], [np.empty(0, np.float32)]
    left = np.ones(len(x), np.bool_)
    rest = budget
    with one_blas_thread():
        while rest:
            scale = np.where(left, np.exp(np.minimum(log_quality - log_quality[left].max(), 0)), 0.0)
            space = row_space(x, scale)
            size = min(rest, len(space.values))
            if not size:
                order.append(rng.choice(np.flatnonzero(left), rest, replace=False))
                gains.append(np.zeros(rest, np.float32))
                break
            chosen = draw_eigenvectors(space.values, size, rng) if eigenvectors == "drawn" else np.arange(size)
            drawn, fresh = projection_dpp(x, scale, space.whitening()[:, chosen], rng)
            left[drawn] = False
            order.append(drawn)
            gains.append(fresh.astype(np.float32))
            rest -= size
    return np.concatenate(order), np.concatenate(gains)


@selector(
    version=1,
    quadratic=True,
    cost="O(n d²) for every d rows",
    guarantee="an exact sample",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DPP:
    """Draw rows that are unlike each other, at random, so that no row is sure to be left out.

    The gain of a row is the share of it that is new beside the rows drawn before it. Embeddings of d dimensions tell at
    most d rows apart: a larger budget is met in rounds of d rows. ``dpp_map`` is the greedy search for the likeliest
    set; ``volume_sampling`` has another answer to large budgets.

    References
    ----------
    Kulesza & Taskar (2012), arXiv:1207.6083; (2011), "k-DPPs: fixed-size determinantal point processes", ICML.
    """

    eigenvectors: Eigenvectors = "drawn"
    """``drawn``: the k-DPP; ``leading``: the projection DPP on the pool's k principal directions."""

    quality_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """w: the log-probability of a set is w Σ r + (1 − w) log det S, up to scale, where r is quality as a share of its
    range and S are cosines; 0: variety alone; 1: the rows of highest quality."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        merit = min_max_scale(pool.quality)
        if self.quality_weight == 1:
            order = np.argsort(-pool.quality, kind="stable")[:budget]
            return Selection(order, merit[order].astype(np.float32), reasons=("quality below that of the rows kept",))
        log_quality = merit * self.quality_weight / (2 * (1 - self.quality_weight))
        order, gains = dpp(pool.embeddings, log_quality, budget, rng, eigenvectors=self.eigenvectors)
        return Selection(order, gains, reasons=("not drawn",))
