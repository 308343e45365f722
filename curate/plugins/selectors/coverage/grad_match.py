"""GradMatch: selection of weighted rows whose weighted gradients sum to nearly the gradient of all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from curate.kernels.linalg.last_layer_gradients import last_layer_gradients
from curate.kernels.parallel import block_slices, one_blas_thread
from curate.kernels.types import Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import ScoreName, selector
from curate.plugins.results import Selection

_ROWS = 65_536
_TINY = np.finfo(np.float64).tiny


def grad_match(
    gradient: Matrix, budget: int, *, regularization: float, tolerance: float
) -> tuple[Rows, Vector, Vector, Numbers]:
    """Minimize ‖Σ_S w_i g_i − Σ g‖² + λ m ‖w‖² over S and w >= 0 by orthogonal matching pursuit.

    m is the mean of ‖g_i‖² over all rows, so that the selection does not depend on the unit of the gradients. Each step
    picks the row whose gradient has the largest inner product with the unexplained part, and solves for all weights
    again. Rows whose weights would be negative are removed, by steps that never raise the objective.

    Parameters
    ----------
    gradient : (n, d) float32
    budget : maximum number of rows to keep, 0 <= budget <= n
    regularization : λ, above 0
    tolerance : stop when the length of the unexplained part is below this share of ‖Σ g‖

    Returns
    -------
    indices : (at most budget,) rows, in the order they were picked; fewer if the tolerance is met, or if no further row
        lowers the objective
    weights : float32, above 0, one for each row
    gains : float32, decrease of the objective by each pick, as a share of ‖Σ g‖²
    unexplained : (d,) float64, Σ g − Σ_S w_i g_i

    Notes
    -----
    Guarantee: the weights are optimal for the kept rows, and the objective falls with every pick. If it stops before
    the budget and the tolerance are reached, no other rows or weights have a lower objective.

    Number of picks: for λ close to 0 (1e-6), about d rows explain everything and the rest of the budget is not picked.
    For larger λ the penalty falls as weights spread over more rows, so most of the rows are picked if the budget
    allows.

    Cost: O(n d + d³) time a pick, one pass over the rows; O(n + d²) memory.

    Deviations: the paper and its code have λ in the unit of the squared gradient instead of times m. Negative weights
    are removed by the inner steps of Lawson & Hanson (1974), Solving least squares problems, chapter 23, so that each
    removal never raises the objective; the authors' code solves again without the most negative weight.

    References
    ----------
    Killamsetty, Durga, Ramakrishnan, De & Iyer (2021), GRAD-MATCH, arXiv:2103.00123, Alg. 2.

    Examples
    --------
    >>> g = np.array([[1, 0], [0, 1], [0, 1], [-1, 0]], np.float32)
    >>> indices, weights, _, _ = grad_match(g, 4, regularization=1e-9, tolerance=1e-4)
    >>> indices.tolist(), weights.round(3).tolist()
    ([1], [2.0])
    """
    n, d = gradient.shape
    target, squares = np.zeros(d), 0.0
    for block in block_slices(n, _ROWS):
        target += gradient[block].sum(axis=0, dtype=np.float64)
        squares += float(np.einsum("ij,ij->", gradient[block], gradient[block], dtype=np.float64))
    target_norm = float(target @ target)
    ridge = regularization * squares / max(n, 1)
    moments = ridge * np.eye(d)  # ridge I + Σ_S g gᵀ
    picks, weights, gains = np.empty(0, np.intp), np.empty(0), np.empty(0)
    unexplained, objective = target.copy(), target_norm
    with one_blas_thread():
        while len(picks) < budget and unexplained @ unexplained > tolerance**2 * target_norm:
            products = gradient @ unexplained.astype(np.float32)
            products[picks] = -np.inf
            pick = int(products.argmax())
            x = gradient[pick].astype(np.float64)
            if x @ unexplained <= 0:
                break
            moments += np.outer(x, x)
            new_picks, new_weights, remaining = _solve(
                gradient, target, moments, np.append(picks, pick), np.append(weights, 0.0)
            )
            new_unexplained = target - new_weights @ gradient[new_picks]
            new_objective = float(new_unexplained @ new_unexplained + ridge * new_weights @ new_weights)
            if new_objective >= objective:  # further gains are below rounding
                break
            gains = np.append(gains, (objective - new_objective) / target_norm)[remaining]
            picks, weights, unexplained, objective = new_picks, new_weights, new_unexplained, new_objective
    return picks, weights.astype(np.float32), gains.astype(np.float32), unexplained


def _solve(
    gradient: Matrix, target: Numbers, moments: Numbers, picks: Rows, weights: Numbers
) -> tuple[Rows, Numbers, Rows]:
    """Return the picks that remain, their optimal weights, all above 0, and their positions. Updates ``moments``.

    The ridge solution is w = (G Gᵀ + λI)⁻¹ G t = G (Gᵀ G + λI)⁻¹ t, which needs a d × d system for any number of picks.
    """
    from scipy import linalg

    remaining = np.arange(len(picks))
    while True:
        x = gradient[picks[remaining]].astype(np.float64)
        solution = x @ linalg.solve(moments, target, assume_a="pos")
        if (solution > 0).all():
            return picks[remaining], solution, remaining
        current = weights[remaining]
        is_negative = solution <= 0
        step = (current[is_negative] / np.maximum(current[is_negative] - solution[is_negative], _TINY)).min()
        weights[remaining] = current + step * (solution - current)
        is_removed = is_negative & (weights[remaining] <= 1e-12 * current.max(initial=0))
        moments -= x[is_removed].T @ x[is_removed]
        remaining = remaining[~is_removed]


@selector(
    version=2,
    scope="pool",
    reads={"embedding", "scores"},
    quadratic=True,
    cost="O(n d + d³) per row",
    guarantee="optimal weights of the kept rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GradMatch:
    """Keep rows whose gradients, times their weights, sum to nearly the gradient of all rows.

    Use it to train on few weighted rows as if on all of them, within labels or clusters of moderate size. ``craig`` has
    simpler weights, counts of represented rows, and names a representative for each dropped row.

    With the default ``regularization`` most of the budget is picked this way, unless gradients cancel out or have few
    dimensions. With a value close to 0, hardly more rows than dimensions are picked. The rest of the budget is filled
    with random rows of weight 1, as in the authors' code, with gain 0. Gains are decreases of the objective, as shares
    of its initial value.

    Notes
    -----
    Deviations: selectors do not receive the gradients of a model's last layer. They are replaced by embeddings, or by
    embeddings times the length of the error, which equal those gradients up to the direction of the error. The penalty
    is relative to the mean squared length of the gradients. Negative weights are removed one by one by the steps of
    Lawson & Hanson (1974).

    References
    ----------
    Killamsetty, Durga, Ramakrishnan, De & Iyer (2021), GRAD-MATCH, arXiv:2103.00123, Alg. 2.
    """

    error_by: ScoreName | None = None
    """Score that is the length of a row's error, such as el2n; by default, all errors count as equal."""

    regularization: Annotated[float, Gt(0)] = 0.5
    """λ: weight of the sum of squared training weights relative to the squared error of the gradient, in units of the
    mean squared length of the gradients. The lower, the fewer rows are needed and the more uneven their weights."""

    tolerance: Annotated[float, Ge(0)] = 1e-4
    """Stop when the unexplained part is shorter than this share of the gradient of all rows."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        gradient = last_layer_gradients(pool.embeddings, pool.scores, self.error_by, "grad_match")
        picks, weights, gains, _ = grad_match(
            gradient, budget, regularization=self.regularization, tolerance=self.tolerance
        )
        unpicked = np.delete(np.arange(len(pool)), picks)
        filler = rng.permutation(unpicked)[: budget - len(picks)]
        return Selection(
            np.concatenate((picks, filler)),
            np.concatenate((gains, np.zeros(len(filler), np.float32))),
            weight=np.concatenate((weights, np.ones(len(filler), np.float32))),
            reasons=("not needed to match the gradient of all rows",),
        )
