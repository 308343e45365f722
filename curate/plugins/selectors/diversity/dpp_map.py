"""Greedy MAP inference of a determinantal point process: dissimilar rows of high quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread
from curate.kernels.stats.distributions import min_max_scale
from curate.kernels.types import Matrix, Numbers, Rows
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_BLOCK = 1024
_LOOKAHEAD = 512  # likely next picks, whose residuals are kept up to date
_REPEATED = 1e-10  # rows with a smaller squared residual length add nothing new
_TIE = 1e-9


def dpp_map(x: Matrix, relevance: Numbers, budget: int, quality_weight: float) -> tuple[Rows, Numbers]:
    """Search greedily for the most probable set of a determinantal process with kernel L_ij = q_i q_j cos(x_i, x_j).

    With log q = w r / 2 (1 − w), (1 − w) log det L_S is w Σ r + (1 − w) log det S_S. The gain of row i is w r_i + (1 −
    w) log d²_i, where d²_i, in [0, 1], is the squared length of the part of it that is orthogonal to the picked rows.

    d² never grows. So it is kept up to date only for the 512 most promising rows, and the pick is one of them as long
    as none of the others had a larger gain before. Then the projections of all rows on the new picks are computed in
    one matrix product.

    A determinant is 0 for more rows than the rank of L. If no row has a new part (d² < 1e-10), a new round begins: rows
    are compared only with the picks of that round. If only zero rows remain, they follow by relevance.

    Parameters
    ----------
    x : (n, d) float32
    relevance : (n,) float64, r, finite, higher = keep
    budget : number of rows to keep, 0 <= budget <= n
    quality_weight : w in [0, 1]; at 1, picks by relevance only

    Returns
    -------
    indices : (budget,) rows in the order they were picked, ties (gains within 1e-9) to the lowest index
    gains : (budget,) float64, descending in each round; w r − inf for zero rows is returned as w r

    Notes
    -----
    Cost: O(n d budget) time, in matrix products, and O(n) for each of them; O(n + d²) memory.

    Guarantee: the sequence of the naive greedy, in each round; log det is submodular, but not monotone, so no share of
    the optimum is guaranteed.

    Deviations: residuals are computed from d-dimensional rows, not from the n × n kernel: the same numbers, in O(n)
    memory instead of O(n budget). The paper stops at d² < 1e-10; here a new round begins.

    References
    ----------
    Chen, Zhang & Zhou (2018), "Fast greedy MAP inference for determinantal point process to improve recommendation
    diversity", arXiv:1709.05135, Alg. 1 and eq. 22–23 for the weight.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0.6, 0.8]], np.float32)
    >>> dpp_map(x, np.zeros(3), 3, 0.0)[0].tolist()
    [0, 2, 1]
    """
    if quality_weight == 1:
        indices = np.argsort(-relevance, kind="stable")[:budget]
        return indices, relevance[indices]
    with one_blas_thread():
        return _greedy(x, quality_weight * relevance, budget, 1 - quality_weight)


def _greedy(x: Matrix, bonus: Numbers, budget: int, diversity_weight: float) -> tuple[Rows, Numbers]:
    n, d = x.shape
    lengths = np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64))
    scale = np.divide(1, lengths, out=np.zeros(n), where=lengths > 0)
    indices, gains = np.empty(budget, np.intp), np.empty(budget)
    residual_lengths = np.where(lengths > 0, 1.0, 0.0)  # d²
    basis, n_applied, n_picked = np.empty((d, d)), 0, 0  # orthonormal rows that span the picks of the round
    is_left = np.ones(n, np.bool_)
    n_done = 0
    while n_done < budget:
        _subtract_projections(x, scale, basis[n_applied:n_picked], residual_lengths)
        n_applied = n_picked
        residual_lengths[~is_left] = 0
        all_gains = _gains(bonus, residual_lengths, diversity_weight)
        top = _first_of_best(all_gains)
        if all_gains[top] == -np.inf:
            if not n_picked:  # zero rows
                zero = np.flatnonzero(is_left)
                zero = zero[np.argsort(-bonus[zero], kind="stable")][: budget - n_done]
                indices[n_done:], gains[n_done:] = zero, bonus[zero]
                break
            residual_lengths, n_applied, n_picked = np.where(is_left & (lengths > 0), 1.0, 0.0), 0, 0
            continue
        candidates, other_gain = _top_candidates(all_gains, top)
        residuals = _orthogonal(x[candidates] * scale[candidates, None], basis[:n_picked])
        candidate_gains, pick = all_gains[candidates], int(candidates.searchsorted(top))
        while True:
            indices[n_done], gains[n_done] = candidates[pick], candidate_gains[pick]
            is_left[candidates[pick]] = False
            direction = _orthogonal(residuals[pick], basis[:n_picked])  # orthogonalize again, against rounding
            basis[n_picked] = direction / np.linalg.norm(direction)
            n_done, n_picked = n_done + 1, n_picked + 1
            if n_done == budget or n_picked == d:
                break
            residuals = _orthogonal(residuals, basis[n_picked - 1 : n_picked])
            candidate_gains = _gains(
                bonus[candidates],
                np.where(is_left[candidates], np.einsum("ij,ij->i", residuals, residuals), 0),
                diversity_weight,
            )
            pick = _first_of_best(candidate_gains)
            if candidate_gains[pick] <= other_gain + _TIE:
                break
    return indices, gains


def _gains(bonus: Numbers, residual_lengths: Numbers, diversity_weight: float) -> Numbers:
    is_new = residual_lengths > _REPEATED
    return bonus + diversity_weight * np.log(
        residual_lengths, out=np.full(len(residual_lengths), -np.inf), where=is_new
    )


def _first_of_best(gain: Numbers) -> int:
    return int(np.argmax(gain >= gain.max() - _TIE))


def _top_candidates(gain: Numbers, top: int) -> tuple[Rows, float]:
    """Return the rows of largest gain, ascending, including ``top``, and the largest gain of the others."""
    if len(gain) <= _LOOKAHEAD:
        return np.arange(len(gain)), -np.inf
    by_gain = np.argpartition(-gain, _LOOKAHEAD)
    candidates = by_gain[:_LOOKAHEAD]
    if top not in candidates:
        candidates[-1] = top  # the replaced row is at best tied with it
    others = np.ones(len(gain), np.bool_)
    others[candidates] = False
    return np.sort(candidates), float(gain[others].max())


def _subtract_projections(x: Matrix, scale: Numbers, directions: Numbers, residual_lengths: Numbers) -> None:
    """Subtract the squared lengths of the projections of each row on orthonormal ``directions`` from its residual."""
    if not len(directions):
        return

    def block(rows: slice) -> None:
        projections = x[rows].astype(np.float64) @ directions.T
        residual_lengths[rows] -= np.einsum("ij,ij->i", projections, projections) * scale[rows] ** 2

    for _ in map_blocks(block, block_slices(len(x), _BLOCK)):
        pass


def _orthogonal(rows: Numbers, basis: Numbers) -> Numbers:
    return rows - (rows @ basis.T) @ basis


@selector(
    version=1,
    scope="pool",
    prefix=True,
    equivariant=True,
    random=False,
    quadratic=True,
    cost="O(n k d)",
    guarantee="the greedy sequence, without a guaranteed share of the optimum",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DPPMap:
    """Keep dissimilar rows of high quality, most informative first: greedy MAP of a determinantal process.

    Use it for small diverse sets, up to a few times the embedding dimension. ``mmr`` has the same aim with pairwise
    similarities, and ``dpp`` is its random variant. Outliers are picked first: drop junk before.

    The gain of a row is its increase of the log-probability. Embeddings of d dimensions can separate at most d rows: a
    larger budget is met in rounds of d rows.

    References
    ----------
    Chen, Zhang & Zhou (2018), "Fast greedy MAP inference for determinantal point process", arXiv:1709.05135, Alg. 1.
    """

    quality_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """w: the log-probability of a set is w Σ r + (1 − w) log det S, up to scale, where r is min-max scaled quality and
    S are cosines; 0: diversity only; 1: the rows of highest quality."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        indices, gains = dpp_map(pool.embeddings, min_max_scale(pool.quality), budget, self.quality_weight)
        return Selection(
            indices, gains.astype(np.float32), reasons=("adds less novelty and quality than the kept rows",)
        )
