"""Cosines and distances of unit rows in float32: what rounding does to them, in one place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels.linalg.blocked_matmul import for_each_product, similarity_to_nearest
from curate.kernels.neighbors.equal_rows import first_equal_rows
from curate.kernels.parallel import block_slices
from curate.kernels.types import Indices, Matrix, Numbers, Vector

ROUNDING = 1e-6
"""Allowance for rounding in float32: the cosine of two equal unit rows may be this much less than 1.

So distances (1 - cosine) below it are 0, and a mean of unit rows that is shorter has no direction.
"""

_NEAR = 1e-4  # 1 - cosine below which a distance is computed from differences; above, its error is under 0.1 %
_ROWS = 256
_PAIRS = 4096


def similarity_threshold(min_similarity: float) -> float:
    """Return the least float32 cosine that counts as ``min_similarity``.

    Notes
    -----
    Every threshold from which a cosine counts goes through here, so that 1 finds all pairs of equal rows.

    Examples
    --------
    >>> bool(np.float32(1 - 2e-7) >= similarity_threshold(1.0)), bool(np.float32(0.99999) >= similarity_threshold(1.0))
    (True, False)
    """
    return min_similarity - ROUNDING


def normalize_rows(x: NDArray[np.floating]) -> Matrix:
    """Scale rows to unit length, as float32; storage in float16 changes a row's length by up to 5e-4.

    Parameters
    ----------
    x : (n, d), no row all zero

    Examples
    --------
    >>> normalize_rows(np.array([[3, 4]], np.float16)).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    values = x.astype(np.float32)
    for rows in block_slices(len(values), _PAIRS):
        lengths = np.linalg.norm(values[rows].astype(np.float64), axis=1, keepdims=True)
        values[rows] /= lengths
    return values


def cosine_distances(
    similarities: NDArray[np.floating], x: Matrix, y: Matrix, left: Indices, right: Indices
) -> Numbers:
    """Compute 1 - cosine of pairs of unit rows, from differences where rows are near.

    Parameters
    ----------
    similarities : (p,) cosines of the pairs, as float32 products give them
    x, y : (n, d) and (m, d) float32, rows of unit length
    left, right : (p,) the rows of ``x`` and of ``y`` that make up each pair

    Returns
    -------
    (p,) float64; exactly 0 for equal rows, and half the squared distance for any

    Notes
    -----
    Cost: O(p), and O(d) for each near pair.

    Examples
    --------
    >>> x = np.array([[0.6, 0.8], [0, 1]], np.float32)
    >>> cosine_distances(np.array([1 - 1e-7, 0.8], np.float32), x, x, np.array([0, 1]), np.array([0, 0])).round(6).tolist()
    [0.0, 0.2]
    """
    gap: Numbers = 1 - similarities.astype(np.float64)
    near = np.flatnonzero(gap < _NEAR)
    for block in block_slices(len(near), _PAIRS):
        pairs = near[block]
        difference = x[left[pairs]].astype(np.float64) - y[right[pairs]]
        gap[pairs] = np.einsum("ij,ij->i", difference, difference) / 2
    return gap


def euclidean_distances(gap: Numbers) -> Vector:
    """Compute Euclidean distances, at most 2, of unit rows with these values of 1 - cosine.

    Examples
    --------
    >>> euclidean_distances(np.array([0.0, 0.5, 2.0])).tolist()
    [0.0, 1.0, 2.0]
    """
    found: Vector = np.sqrt(2 * np.minimum(gap, 2)).astype(np.float32)
    return found


def distance_to_nearest(x: Matrix, among: Matrix) -> Vector:
    """Compute the Euclidean distance of each row of ``x`` to the nearest row of ``among``.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    among : (m, d) float32, rows of unit length, m at least 1

    Returns
    -------
    (n,) float32 in [0, 2]; exactly 0 for a row that equals one of ``among``, and within 0.1 % of the true distance

    Notes
    -----
    Cost: O(n m d) time and O(n + m) memory; rows of ``x`` near a row of ``among`` are compared twice.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    >>> (distance_to_nearest(x, x[:2]) ** 2).round().tolist()
    [0.0, 0.0, 2.0]
    """
    best = similarity_to_nearest(x, among)
    gap = 1 - best.astype(np.float64)
    near = np.flatnonzero(gap < _NEAR)
    if len(near):
        rows = np.arange(len(among))
        among = among[np.unique(first_equal_rows(among, rows, np.zeros(len(rows))))]

    candidates, reached, least = x[near], best[near, None] - ROUNDING, np.full(len(near), np.inf)

    def refine(similarities: Matrix, rows: slice, columns: slice) -> None:
        at, column = np.nonzero(similarities >= reached[rows])
        for pairs in block_slices(len(at), _PAIRS):
            row, other = at[pairs], column[pairs]
            found = cosine_distances(
                similarities[row, other], candidates, among, rows.start + row, columns.start + other
            )
            np.minimum.at(least, rows.start + row, found)

    for_each_product(candidates, among, refine, rows=_ROWS)
    gap[near] = least
    return euclidean_distances(gap)
