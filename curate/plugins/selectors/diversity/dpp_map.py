"""Determinantal point process, greedily: pick rows that are unlike each other and good, most telling first."""

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
_AHEAD = 512  # likely next picks, whose residuals are kept up to date; those of the others wait
_REPEATED = 1e-10  # of a squared length of 1: nothing of the row is new
_TIE = 1e-9


def dpp_map(x: Matrix, merit: Numbers, budget: int, quality_weight: float) -> tuple[Rows, Numbers]:
    """Greedy search for the likeliest set of a determinantal process with kernel L_ij = q_i q_j cos(x_i, x_j).

    With log q = w r / 2 (1 − w), (1 − w) log det L_S is w Σ r + (1 − w) log det S_S. The gain of row i is w r_i +
    (1 − w) log d²_i, where d²_i, in [0, 1], is the squared length of what rows picked before leave of it.

    d² only falls. So it is kept up to date for the 512 likeliest rows, and the pick is one of them as long as none of
    the others was ahead of it before. Then what the picks since have taken from all rows comes from one matrix product.

    A determinant is 0 for more rows than the rank of L. When nothing of any row is new any more (d² < 1e-10), a new
    round begins: rows are compared with those picked in it only. Where only zero rows are left, they follow by merit.

    Parameters
    ----------
    x : (n, d) float32
    merit : (n,) float64, r, finite, higher = keep
    budget : number of rows to keep, 0 <= budget <= n
    quality_weight : w in [0, 1]; at 1, picks by merit alone

    Returns
    -------
    order : (budget,) rows in the order they were picked, ties (gains within 1e-9) to the lowest index
    gains : (budget,) float64, falling in each round; w r − inf for zero rows is given as w r

    Cost: O(n d budget) time, in matrix products, and O(n) for each of them; O(n + d²) memory. Guarantee: the sequence
    of the naive greedy, in each round; log det is submodular, but not monotone, so no share of the optimum is promised.

    References
    ----------
    Chen, Zhang & Zhou (2018), "Fast greedy MAP inference for determinantal point process to improve recommendation
    diversity", arXiv:1709.05135, Alg. 1 and eq. 22–23 for the weight.

    Deviations: what the picks leave of a row is computed from d-dimensional rows, not from the n × n kernel: the same
    numbers, in O(n) memory instead of O(n budget). The paper stops at d² < 1e-10; here a new round begins.

    >>> x = np.array([[1, 0], [1, 0], [0.6, 0.8]], np.float32)
    >>> dpp_map(x, np.zeros(3), 3, 0.0)[0].tolist()
    [0, 2, 1]
    """
    if quality_weight == 1:
        order = np.argsort(-merit, kind="stable")[:budget]
        return order, merit[order]
    with one_blas_thread():
        return _greedy(x, quality_weight * merit, budget, 1 - quality_weight)


def _greedy(x: Matrix, bonus: Numbers, budget: int, variety: float) -> tuple[Rows, Numbers]:
    n, d = x.shape
    lengths = np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64))
    scale = np.divide(1, lengths, out=np.zeros(n), where=lengths > 0)
    order, gains = np.empty(budget, np.intp), np.empty(budget)
    fresh = np.where(lengths > 0, 1.0, 0.0)  # d²
    basis, applied, picked = np.empty((d, d)), 0, 0  # orthonormal rows that span the picks of the round
    left = np.ones(n, np.bool_)
    done = 0
    while done < budget:
        _take_away(x, scale, basis[applied:picked], fresh)
        applied = picked
        fresh[~left] = 0
        gain = _gains(bonus, fresh, variety)
        top = _first_of_best(gain)
        if gain[top] == -np.inf:
            if not picked:  # zero rows
                zero = np.flatnonzero(left)
                zero = zero[np.argsort(-bonus[zero], kind="stable")][: budget - done]
                order[done:], gains[done:] = zero, bonus[zero]
                break
            fresh, applied, picked = np.where(left & (lengths > 0), 1.0, 0.0), 0, 0
            continue
        ahead, bar = _likeliest(gain, top)
        rest = _orthogonal(x[ahead] * scale[ahead, None], basis[:picked])
        own, pick = gain[ahead], int(ahead.searchsorted(top))
        while True:
            order[done], gains[done] = ahead[pick], own[pick]
            left[ahead[pick]] = False
            direction = _orthogonal(rest[pick], basis[:picked])  # again, for what rounding has left
            basis[picked] = direction / np.linalg.norm(direction)
            done, picked = done + 1, picked + 1
            if done == budget or picked == d:
                break
            rest = _orthogonal(rest, basis[picked - 1 : picked])
            own = _gains(bonus[ahead], np.where(left[ahead], np.einsum("ij,ij->i", rest, rest), 0), variety)
            pick = _first_of_best(own)
            if own[pick] <= bar + _TIE:
                break
    return order, gains


def _gains(bonus: Numbers, fresh: Numbers, variety: float) -> Numbers:
    new = fresh > _REPEATED
    return bonus + variety * np.log(fresh, out=np.full(len(fresh), -np.inf), where=new)


def _first_of_best(gain: Numbers) -> int:
    return int(np.argmax(gain >= gain.max() - _TIE))


def _likeliest(gain: Numbers, top: int) -> tuple[Rows, float]:
    """The rows of largest gain, ascending, ``top`` among them, and the largest gain of the others."""
    if len(gain) <= _AHEAD:
        return np.arange(len(gain)), -np.inf
    by_gain = np.argpartition(-gain, _AHEAD)
    ahead = by_gain[:_AHEAD]
    if top not in ahead:
        ahead[-1] = top  # the row it replaces ties with it, or is no better
    others = np.ones(len(gain), np.bool_)
    others[ahead] = False
    return np.sort(ahead), float(gain[others].max())


def _take_away(x: Matrix, scale: Numbers, directions: Numbers, fresh: Numbers) -> None:
    """Lower ``fresh`` by the squared length of each row along ``directions``, which are orthonormal rows."""
    if not len(directions):
        return

    def block(rows: slice) -> None:
        along = x[rows].astype(np.float64) @ directions.T
        fresh[rows] -= np.einsum("ij,ij->i", along, along) * scale[rows] ** 2

    for _ in map_blocks(block, block_slices(len(x), _BLOCK)):
        pass


def _orthogonal(rows: Numbers, basis: Numbers) -> Numbers:
    return rows - (rows @ basis.T) @ basis


@selector(
    version=1,
    prefix=True,
    equivariant=True,
    random=False,
    quadratic=True,
    cost="O(n k d)",
    guarantee="the greedy sequence; no share of the optimum",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DPPMap:
    """Keep rows that are unlike each other and good, the most telling first: greedy MAP of a determinantal process.

    The gain of a row is what it adds to the log-probability. Embeddings of d dimensions tell at most d rows apart: a
    larger budget is met in rounds of d rows. Outliers are picked first: drop junk before.

    References
    ----------
    Chen, Zhang & Zhou (2018), "Fast greedy MAP inference for determinantal point process", arXiv:1709.05135, Alg. 1.
    """

    quality_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """w: the log-probability of a set is w Σ r + (1 − w) log det S, up to scale, where r is quality as a share of its
    range and S are cosines; 0: variety alone; 1: the rows of highest quality."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        order, gains = dpp_map(pool.embeddings, min_max_scale(pool.quality), budget, self.quality_weight)
        return Selection(
            order, gains.astype(np.float32), reasons=("adds less that is new and good than the rows kept",)
        )
