"""CRAIG: selection of weighted rows whose gradients approximate the gradient of all rows."""

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
_UNITS = 2.0**30  # distances are rounded to multiples of the largest possible one divided by this
_EQUAL = 2.0**-45  # squared distances below this share of the largest are float32 rounding
_CACHE_ROWS = 32  # rows of a block processed at a time, to fit the processor's cache


def craig(gradient: Matrix, budget: int) -> tuple[Rows, Vector, Rows]:
    """Maximize f(S) = Σ over rows i of D − min over j in S ‖g_i − g_j‖ greedily: facility location on gradients.

    D is an upper bound of all distances, twice the largest length. It does not affect the picks.

    Parameters
    ----------
    gradient : (n, d) float32
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    indices : (budget,) rows in the order they were picked, ties to the lowest index
    gains : (budget,) float32, increase of f by each, never growing
    nearest : (n,) the pick nearest to each row, ties to the earliest; a pick's nearest is itself; -1 if budget is 0

    Notes
    -----
    The weight of a pick is the number of rows it is nearest to. Weights sum to n.

    All gains are kept up to date: a pick changes the gains of rows near the rows that it is now nearest to. Distances
    are computed in double precision and rounded to D / 2³⁰, so sums are exact. Distances below 1.7e-7 D, which may be
    rounding of single precision, count as 0.

    Guarantee: the greedy sequence on rounded distances, so f is at least (1 − 1/e) of its optimum. The weighted sum of
    the picks' gradients is off by at most Σ ‖g_i − g_nearest‖ = n D − f(S).

    Cost: O(n² d) time for each time that a row's nearest pick changes, on average about 2 + ln(budget) times; in matrix
    products. O(n d) memory, and 100 MiB a thread. Run it within clusters or labels of a few thousand rows.

    References
    ----------
    Mirzasoleiman, Bilmes & Leskovec (2020), arXiv:1906.01827, section 3 and Alg. 1.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, -1]], np.float32)
    >>> indices, _, nearest = craig(x, 2)
    >>> indices.tolist(), np.bincount(nearest, minlength=4)[indices].tolist()
    ([1, 3], [3, 1])
    """
    n = len(gradient)
    nearest = np.full(n, -1, np.intp)
    indices, gains = np.empty(budget, np.intp), np.empty(budget)
    if not budget:
        return indices, gains.astype(np.float32), nearest
    vectors = gradient.astype(np.float64)
    squares = np.einsum("ij,ij->i", vectors, vectors)[:, None]
    ones = np.ones((n, 1))
    pool_factors, row_factors = np.hstack((-2 * vectors, squares, ones)), np.hstack((vectors, ones, squares))
    largest = 4 * float(squares.max())
    unit = np.sqrt(largest) / _UNITS
    distance = np.full(n, _UNITS)

    def in_units(squared: Numbers) -> Numbers:
        """Convert squared distances to distances, in place."""
        squared *= squared > _EQUAL * largest
        np.sqrt(squared, out=squared)
        squared /= unit or 1.0  # all gradients may be zero
        return np.rint(squared, out=squared)

    def sum_reductions(rows: Rows, before: Numbers, after: Numbers) -> Numbers:
        """Sum the reductions by each pool row of the distances of ``rows``, between ``before`` and ``after``."""
        sums = np.zeros(n)

        def add(squared: Numbers, block: slice, columns: slice) -> None:
            for chunk in block_slices(len(squared), _CACHE_ROWS):
                distances = in_units(squared[chunk])
                np.clip(distances, after[columns], before[columns], out=distances)
                sums[block][chunk] += (before[columns] - distances).sum(axis=1)

        for_each_product(pool_factors, row_factors[rows], add)
        return sums

    with one_blas_thread():
        gains_left = sum_reductions(np.arange(n), distance, np.zeros(n))
        for step in range(budget):
            pick = int(gains_left.argmax())
            indices[step], gains[step], gains_left[pick] = pick, gains_left[pick], -np.inf
            pick_distances = in_units(pool_factors @ row_factors[pick])
            improved = np.flatnonzero(pick_distances < distance)
            if step + 1 < budget:
                gains_left -= sum_reductions(improved, distance[improved], pick_distances[improved])
            distance[improved], nearest[improved] = pick_distances[improved], pick
    nearest[nearest < 0] = indices[0]  # rows at distance D from all picks
    nearest[indices] = indices
    gains = np.minimum.accumulate(np.maximum(gains, 0)) * unit
    return indices, gains.astype(np.float32), nearest


def cosines(embeddings: Matrix, rows: Rows, representatives: Rows) -> Vector:
    """Compute the cosine of each of ``rows`` to its representative.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    rows : (m,) row indices
    representatives : (m,) row indices

    Returns
    -------
    (m,) float32
    """
    similarity = np.empty(len(rows), np.float32)
    for block in block_slices(len(rows), _ROWS):
        similarity[block] = np.einsum("ij,ij->i", embeddings[rows[block]], embeddings[representatives[block]])
    return similarity


@selector(
    version=2,
    scope="pool",
    reads={"embedding", "scores"},
    prefix=True,
    random=False,
    quadratic=True,
    cost="O(n² d log k)",
    guarantee="1 − 1/e of the optimum of n D minus the sum of distances, which bounds the gradient error",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Craig:
    """Keep rows whose weighted gradients sum to nearly the gradient of all rows.

    Use it to train on few rows with weights, as if on all of them, for pools or groups of up to some thousand rows: run
    it ``within`` the label, as the paper does. ``grad_match`` solves for the weights; ``facility_location`` scales to
    large pools.

    The training weight of a kept row is the number of rows it represents. Weights sum to the size of the pool. Each
    dropped row names the kept row that represents it. Gains are reductions of the sum of distances.

    Notes
    -----
    Deviations: selectors do not receive the gradients of a model's last layer. They are replaced by embeddings, or by
    embeddings times the length of the error, which equal those gradients up to the direction of the error.

    References
    ----------
    Mirzasoleiman, Bilmes & Leskovec (2020), CRAIG, arXiv:1906.01827.
    """

    error_by: ScoreName | None = None
    """Score that is the length of a row's error, such as el2n; by default, all errors count as equal."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        indices, gains, nearest = craig(
            last_layer_gradients(pool.embeddings, pool.scores, self.error_by, "craig"), budget
        )
        counts = np.bincount(nearest[nearest >= 0], minlength=len(pool))
        nearest[indices] = -1
        dropped = np.flatnonzero(nearest >= 0)
        similarity = np.full(len(pool), np.nan, np.float32)
        similarity[dropped] = cosines(pool.embeddings, dropped, nearest[dropped])
        return Selection(
            indices,
            gains,
            weight=counts[indices].astype(np.float32),
            reasons=("gradient represented by that of a kept row",),
            representative=nearest,
            similarity=similarity,
        )
