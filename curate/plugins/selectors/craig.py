"""CRAIG: pick rows, and weights for them, whose gradients stand for those of all rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.kernels.parallel import one_blas_thread, ranges
from curate.kernels.products import each_product
from curate.plugins.gradients import gradients
from curate.plugins.kinds import ScoreName, selector
from curate.plugins.pool import Matrix, Pool, Rows, Selection, Vector

_ROWS = 65_536
_UNITS = 2.0**20  # squared distances are this many steps of the largest there can be


def craig(gradient: Matrix, budget: int) -> tuple[Rows, Vector, Rows]:
    """Facility location on gradients: greedy maximisation of f(S) = Σ over rows i of D − min over j in S ‖g_i − g_j‖².

    D is the largest squared distance there can be, four times the largest squared length. It changes no pick.

    Parameters
    ----------
    gradient : (n, d) float32
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    order : (budget,) rows in the order they were picked, ties to the lowest index
    gains : (budget,) float32, by how much each raised f, never growing
    nearest : (n,) the pick nearest to each row, the earliest of equals; a pick's own is itself; -1 if budget is 0

    The weight of a pick is the number of rows it is nearest to: the weights sum to n.

    All gains are kept up to date: a pick changes those that counted on rows which it is now the nearest to.

    Cost: O(n² d) time for each time that a row's nearest pick changes, on average, about ln(budget) times; in matrix
    products. O(n) memory, and 50 MiB a thread. So run it within clusters or labels of some thousand rows. Guarantee:
    the greedy sequence, so at least (1 − 1/e) of the optimum of f, on distances that are rounded to D / 2²⁰. The
    weighted sum of the picks' gradients is off by no more than Σ ‖g_i − g_nearest‖.

    References
    ----------
    Mirzasoleiman, Bilmes & Leskovec (2020), arXiv:1906.01827, section 3 and Alg. 1.

    Deviations: squared distances, as in the usual implementation.

    >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, -1]], np.float32)
    >>> order, _, nearest = craig(x, 2)
    >>> order.tolist(), np.bincount(nearest, minlength=4)[order].tolist()
    ([0, 3], [3, 1])
    """
    n = len(gradient)
    nearest = np.full(n, -1, np.intp)
    order, gains = np.empty(budget, np.intp), np.empty(budget)
    if not budget:
        return order, gains.astype(np.float32), nearest
    squares = np.einsum("ij,ij->i", gradient, gradient)
    unit = 4 * float(squares.max()) / _UNITS or 1.0  # whole numbers of it: sums are exact, equal rows are at distance 0
    length, scale = squares / np.float32(unit), np.float32(-2 / unit)
    distance = np.full(n, _UNITS, np.float32)

    def round_distances(products: Matrix, of: Vector) -> Matrix:
        """In place: inner products, with rows of these squared lengths, become squared distances."""
        products *= scale
        products += of
        return np.rint(products, out=products)

    def covered(rows: Rows, before: Vector, after: Vector) -> NDArray[np.float64]:
        """What each row of the pool could lower the distances of ``rows`` by, from ``before``, down to ``after``."""
        total = np.zeros(n)

        def add(products: Matrix, block: slice, columns: slice) -> None:
            squared = round_distances(products, length[block, None] + length[rows[columns]])
            np.clip(squared, after[columns], before[columns], out=squared)
            total[block] += (before[columns] - squared).sum(axis=1, dtype=np.float64)

        each_product(gradient, gradient[rows], add)
        return total

    left = np.empty(0)
    pick = _medoid(gradient)
    with one_blas_thread():
        for step in range(budget):
            to_pick = np.maximum(round_distances(gradient @ gradient[pick], length + length[pick]), 0)
            closer = np.flatnonzero(to_pick < distance)
            before, after = distance[closer], to_pick[closer]
            distance[closer], nearest[closer] = after, pick
            if step:
                gains[step] = left[pick]
                left -= covered(closer, before, after)
            else:
                gains[step] = (before - after).sum(dtype=np.float64)
                left = covered(np.arange(n), distance, np.zeros(n, np.float32))
                nearest[:] = pick
            order[step], left[pick] = pick, -np.inf
            pick = int(left.argmax())
    nearest[order] = order
    gains = np.minimum.accumulate(np.maximum(gains, 0)) * unit
    return order, gains.astype(np.float32), nearest


def _medoid(gradient: Matrix) -> int:
    """The row of smallest sum of squared distances to all others: it is the nearest to their mean."""
    mean = gradient.mean(axis=0, dtype=np.float64)
    away = [((gradient[block] - mean) ** 2).sum(axis=1) for block in ranges(len(gradient), _ROWS)]
    return int(np.concatenate(away).argmin())


def cosines(embeddings: Matrix, rows: Rows, stands: Rows) -> Vector:
    """The cosine of each of ``rows`` to the row of ``stands`` at its place; (m,) float32."""
    found = np.empty(len(rows), np.float32)
    for block in ranges(len(rows), _ROWS):
        found[block] = np.einsum("ij,ij->i", embeddings[rows[block]], embeddings[stands[block]])
    return found


@selector(
    version=1,
    reads={"embedding", "scores"},
    prefix=True,
    random=False,
    quadratic=True,
    cost="O(n² d log k)",
    guarantee="1 − 1/e of the optimum; a bound on the gradients' error",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Craig:
    """Keep rows whose gradients, each counted as often as it stands for others, sum to nearly the gradient of all.

    Weights say how many rows of the pool a kept row stands for; they sum to the size of the pool. Each dropped row
    names the kept one that stands for it. The paper runs it class by class: run it ``within`` the label. Gains are
    falls in the sum of squared distances.

    References
    ----------
    Mirzasoleiman, Bilmes & Leskovec (2020), CRAIG, arXiv:1906.01827.

    Deviations: selectors are not given the gradients of a model's last layer, so embeddings stand for them, or
    embeddings times the length of the error, which tells those gradients up to the direction of the error.
    """

    error_by: ScoreName | None = None
    """The score that says how long the error of a row is, such as el2n; without it, all errors count as alike."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        order, gains, nearest = craig(gradients(pool, self.error_by, "craig"), budget)
        counts = np.bincount(nearest[nearest >= 0], minlength=len(pool))
        nearest[order] = -1
        dropped = np.flatnonzero(nearest >= 0)
        similarity = np.full(len(pool), np.nan, np.float32)
        similarity[dropped] = cosines(pool.embeddings, dropped, nearest[dropped])
        return Selection(
            order,
            gains,
            weight=counts[order].astype(np.float32),
            reasons=("its gradient is told by that of a row kept",),
            representative=nearest,
            similarity=similarity,
        )
