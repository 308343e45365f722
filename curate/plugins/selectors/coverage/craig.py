"""CRAIG: rows and weights whose gradients approximate the gradients of all rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.linalg.blocked_matmul import for_each_product
from curate.kernels.linalg.last_layer_gradients import last_layer_gradients
from curate.kernels.parallel import block_slices, one_blas_thread
from curate.kernels.types import Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import ScoreName, selector
from curate.plugins.results import Selection

_ROWS = 65_536
_UNITS = 2.0**30  # distances are rounded to the largest possible one over this
_EQUAL = 2.0**-45  # share of the largest squared distance below which a squared distance is rounding of float32 rows
_TOGETHER = 32  # rows of a block worked on at a time, which fit a processor's cache


def craig(gradient: Matrix, budget: int) -> tuple[Rows, Vector, Rows]:
    """Maximize f(S) = Σ over rows i of D − min over j in S ‖g_i − g_j‖, greedily: facility location on gradients.

    D is a bound of all distances, twice the largest length. It changes no pick.

    Parameters
    ----------
    gradient : (n, d) float32
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    order : (budget,) rows in the order they were picked, ties to the lowest index
    gains : (budget,) float32, by how much each raised f, never growing
    nearest : (n,) the pick nearest to each row, the earliest of equals; a pick's nearest is itself; -1 if budget is 0

    Notes
    -----
    The weight of a pick is the number of rows it is nearest to. Weights sum to n.

    All gains are kept up to date: a pick changes those that counted on rows which it is now the nearest to. Distances
    are computed in double precision and rounded to D / 2³⁰, so sums are exact. Those below 1.7e-7 D, which rounding of
    single precision may make, count as 0.

    Guarantee: the greedy sequence on rounded distances, so f is at least (1 − 1/e) of its optimum. The weighted sum of
    the picks' gradients is off by at most Σ ‖g_i − g_nearest‖ = n D − f(S).

    Cost: O(n² d) time for each time that a row's nearest pick changes, on average, about 2 + ln(budget) times; in
    matrix products. O(n d) memory, and 100 MiB a thread. So run it within clusters or labels of some thousand rows.

    References
    ----------
    Mirzasoleiman, Bilmes & Leskovec (2020), arXiv:1906.01827, section 3 and Alg. 1.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, -1]], np.float32)
    >>> order, _, nearest = craig(x, 2)
    >>> order.tolist(), np.bincount(nearest, minlength=4)[order].tolist()
    ([1, 3], [3, 1])
    """
    n = len(gradient)
    nearest = np.full(n, -1, np.intp)
    order, gains = np.empty(budget, np.intp), np.empty(budget)
    if not budget:
        return order, gains.astype(np.float32), nearest
    vectors = gradient.astype(np.float64)
    squares = np.einsum("ij,ij->i", vectors, vectors)[:, None]
    ones = np.ones((n, 1))
    of_pool, of_rows = np.hstack((-2 * vectors, squares, ones)), np.hstack((vectors, ones, squares))
    largest = 4 * float(squares.max())
    unit = np.sqrt(largest) / _UNITS
    distance = np.full(n, _UNITS)

    def in_units(squared: Numbers) -> Numbers:
        """Turn squared distances, in place, into distances."""
        squared *= squared > _EQUAL * largest
        np.sqrt(squared, out=squared)
        squared /= unit or 1.0  # all gradients may be 0
        return np.rint(squared, out=squared)

    def covered(rows: Rows, before: Numbers, after: Numbers) -> Numbers:
        """Sum up by how much each row of the pool lowers the distances of ``rows`` between ``before`` and ``after``."""
        total = np.zeros(n)

        def add(squared: Numbers, block: slice, columns: slice) -> None:
            for part in block_slices(len(squared), _TOGETHER):
                distances = in_units(squared[part])
                np.clip(distances, after[columns], before[columns], out=distances)
                total[block][part] += (before[columns] - distances).sum(axis=1)

        for_each_product(of_pool, of_rows[rows], add)
        return total

    with one_blas_thread():
        left = covered(np.arange(n), distance, np.zeros(n))
        for step in range(budget):
            pick = int(left.argmax())
            order[step], gains[step], left[pick] = pick, left[pick], -np.inf
            to_pick = in_units(of_pool @ of_rows[pick])
            closer = np.flatnonzero(to_pick < distance)
            if step + 1 < budget:
                left -= covered(closer, distance[closer], to_pick[closer])
            distance[closer], nearest[closer] = to_pick[closer], pick
    nearest[nearest < 0] = order[0]  # rows at distance D of all picks
    nearest[order] = order
    gains = np.minimum.accumulate(np.maximum(gains, 0)) * unit
    return order, gains.astype(np.float32), nearest


def cosines(embeddings: Matrix, rows: Rows, representatives: Rows) -> Vector:
    """Compute the cosine of each of ``rows`` to its representative; (m,) float32."""
    similarity = np.empty(len(rows), np.float32)
    for block in block_slices(len(rows), _ROWS):
        similarity[block] = np.einsum("ij,ij->i", embeddings[rows[block]], embeddings[representatives[block]])
    return similarity


@selector(
    version=2,
    reads={"embedding", "scores"},
    prefix=True,
    random=False,
    quadratic=True,
    cost="O(n² d log k)",
    guarantee="1 − 1/e of the optimum of n D less the sum of distances, which bounds the gradients' error",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Craig:
    """Keep rows whose gradients, each counted as often as it represents others, sum to nearly the gradient of all.

    The training weight of a kept row is the number of rows it represents. Weights sum to the size of the pool. Each
    dropped row names the kept row that represents it. The paper runs it class by class: run it ``within`` the label.
    Gains are falls in the sum of distances.

    Notes
    -----
    Deviations: selectors do not receive the gradients of a model's last layer. Embeddings replace them, or embeddings
    times the length of the error, which are those gradients up to the direction of the error.

    References
    ----------
    Mirzasoleiman, Bilmes & Leskovec (2020), CRAIG, arXiv:1906.01827.
    """

    error_by: ScoreName | None = None
    """The score that is the length of a row's error, such as el2n; by default, all errors count as equal."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        order, gains, nearest = craig(
            last_layer_gradients(pool.embeddings, pool.scores, self.error_by, "craig"), budget
        )
        counts = np.bincount(nearest[nearest >= 0], minlength=len(pool))
        nearest[order] = -1
        dropped = np.flatnonzero(nearest >= 0)
        similarity = np.full(len(pool), np.nan, np.float32)
        similarity[dropped] = cosines(pool.embeddings, dropped, nearest[dropped])
        return Selection(
            order,
            gains,
            weight=counts[order].astype(np.float32),
            reasons=("its gradient is represented by that of a row kept",),
            representative=nearest,
            similarity=similarity,
        )
