"""Determinantal point process: random selection of dissimilar rows, weighted by quality."""

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
    """Draw an exact sample of a k-DPP, or of a projection DPP, with kernel L_ij = q_i q_j ⟨x_i, x_j⟩.

    A set S of k rows is drawn with probability proportional to det(L_S), the squared volume that the rows q_i x_i span:
    rows of the same direction exclude each other. L = B Bᵀ has the eigenvalues of the d × d matrix BᵀB, so the n × n
    kernel is never computed, and it is always positive semidefinite.

    The volume is 0 for more rows than the rank r of L, at most d. A larger budget is met in rounds: r rows by the
    r-DPP, then as many again from the remaining rows, until the budget is met. Rows of one round are dissimilar; rows
    of different rounds are independent. If only zero rows remain, they are drawn uniformly.

    Parameters
    ----------
    x : (n, d) float32
    log_quality : (n,) float64, log q; only differences matter
    budget : number of rows to keep, 0 <= budget <= n
    rng : random generator
    eigenvectors : choice of the k eigenvectors of L. ``drawn``: k at random, with probability proportional to the
        product of their eigenvalues, which gives the k-DPP. ``leading``: those of largest eigenvalues, which gives the
        projection DPP: rows spread over the pool's k principal directions. In a round of r rows there is no difference.

    Returns
    -------
    indices : (budget,) rows in the order they were drawn, round by round
    gains : (budget,) float32 in [0, 1], share of each row that is orthogonal to the rows drawn before it in its round;
        0 for zero rows

    Notes
    -----
    Cost: O(n d²) time a round, in matrix products, and O(d³ log d); O(n + d²) memory.

    Guarantee: exact, except that eigenvalues below 1e-12 of the largest count as 0. With very unequal q this leads to
    more rounds.

    Deviations: rounds for budgets above the rank, which the paper does not address.

    References
    ----------
    Kulesza & Taskar (2012), arXiv:1207.6083; (2011), "k-DPPs: fixed-size determinantal point processes", ICML. section
    3.3 (the dual form), 5.2 (k-DPPs). Belhadji, Bardenet & Chainais (2020), arXiv:1812.09771 (the projection DPP).

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    >>> indices, _ = dpp(x, np.zeros(4), 2, np.random.default_rng(0))
    >>> sorted((indices // 2).tolist())
    [0, 1]
    """
    index_blocks, gain_blocks = [np.empty(0, np.intp)], [np.empty(0, np.float32)]
    is_left = np.ones(len(x), np.bool_)
    remaining = budget
    with one_blas_thread():
        while remaining:
            scale = np.where(is_left, np.exp(np.minimum(log_quality - log_quality[is_left].max(), 0)), 0.0)
            space = row_space(x, scale)
            size = min(remaining, len(space.eigenvalues))
            if not size:
                index_blocks.append(rng.choice(np.flatnonzero(is_left), remaining, replace=False))
                gain_blocks.append(np.zeros(remaining, np.float32))
                break
            chosen = draw_eigenvectors(space.eigenvalues, size, rng) if eigenvectors == "drawn" else np.arange(size)
            drawn_rows, new_shares = projection_dpp(x, scale, space.whitening()[:, chosen], rng)
            is_left[drawn_rows] = False
            index_blocks.append(drawn_rows)
            gain_blocks.append(new_shares.astype(np.float32))
            remaining -= size
    return np.concatenate(index_blocks), np.concatenate(gain_blocks)


@selector(
    version=1,
    scope="pool",
    quadratic=True,
    cost="O(n d²) for every d rows",
    guarantee="an exact sample",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DPP:
    """Draw dissimilar rows at random, so that every row can be selected.

    Use it for diverse random samples, for example for annotation or repeated experiments. ``dpp_map`` is the
    deterministic search for the most probable set; ``volume_sampling`` handles large budgets differently.

    The gain of a row is the share of it that is orthogonal to the rows drawn before it. Embeddings of d dimensions can
    separate at most d rows: a larger budget is met in rounds of d rows.

    References
    ----------
    Kulesza & Taskar (2012), arXiv:1207.6083; (2011), "k-DPPs: fixed-size determinantal point processes", ICML.
    """

    eigenvectors: Eigenvectors = "drawn"
    """``drawn``: the k-DPP; ``leading``: the projection DPP on the pool's k principal directions."""

    quality_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """w: the log-probability of a set is w Σ r + (1 − w) log det S, up to scale, where r is min-max scaled quality and
    S are cosines; 0: diversity only; 1: the rows of highest quality."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        relevance = min_max_scale(pool.quality)
        if self.quality_weight == 1:
            indices = np.argsort(-pool.quality, kind="stable")[:budget]
            return Selection(
                indices, relevance[indices].astype(np.float32), reasons=("lower quality than the kept rows",)
            )
        log_quality = relevance * self.quality_weight / (2 * (1 - self.quality_weight))
        indices, gains = dpp(pool.embeddings, log_quality, budget, rng, eigenvectors=self.eigenvectors)
        return Selection(indices, gains, reasons=("not drawn",))
