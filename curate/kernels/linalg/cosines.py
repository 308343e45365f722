"""Cosines and distances of unit rows in float32, with consistent handling of rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels.linalg.blocked_matmul import for_each_product, similarity_to_nearest
from curate.kernels.neighbors.equal_rows import first_equal_rows
from curate.kernels.parallel import block_slices
from curate.kernels.types import Indices, Matrix, Numbers, Vector

ROUNDING = 1e-6
"""Allowance for float32 rounding: the cosine of two equal unit rows may be this much below 1.

Distances (1 - cosine) below it count as 0, and a mean of unit rows that is shorter has no direction."""

_NEAR = 1e-4  # compute 1 - cosine from differences below this; above, its error is under 0.1 %
_ROWS = 256
_PAIRS = 4096


def similarity_threshold(min_similarity: float) -> float:
    """Return the smallest float32 cosine that counts as ``min_similarity``.

    Parameters
    ----------
    min_similarity : threshold in [-1, 1]

    Notes
    -----
    Use it for every cosine threshold, so that 1 matches all pairs of equal rows.

    Examples
    --------
    >>> bool(np.float32(1 - 2e-7) >= similarity_threshold(1.0)), bool(np.float32(0.99999) >= similarity_threshold(1.0))
    (True, False)
    """
    return min_similarity - ROUNDING


def normalize_rows(x: NDArray[np.floating]) -> Matrix:
    """Scale rows to unit length, as float32.

    Parameters
    ----------
    x : (n, d), no row all zero

    Returns
    -------
    (n, d) float32

    Notes
    -----
    Storage in float16 changes the length of a row by up to 5e-4.

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
    similarities : (p,) cosines of the pairs from float32 products
    x, y : (n, d) and (m, d) float32, rows of unit length
    left, right : (p,) rows of ``x`` and of ``y`` that form each pair

    Returns
    -------
    (p,) float64; exactly 0 for equal rows, and half the squared Euclidean distance in general

    Notes
    -----
    Cost: O(p), and O(d) for each near pair.

    Examples
    --------
    >>> x = np.array([[0.6, 0.8], [0, 1]], np.float32)
    >>> similarities = np.array([1 - 1e-7, 0.8], np.float32)
    >>> cosine_distances(similarities, x, x, np.array([0, 1]), np.array([0, 0])).round(6).tolist()
    [0.0, 0.2]
    """
    gaps: Numbers = 1 - similarities.astype(np.float64)
    near = np.flatnonzero(gaps < _NEAR)
    for block in block_slices(len(near), _PAIRS):
        pairs = near[block]
        difference = x[left[pairs]].astype(np.float64) - y[right[pairs]]
        gaps[pairs] = np.einsum("ij,ij->i", difference, difference) / 2
    return gaps


def euclidean_distances(gaps: Numbers) -> Vector:
    """Convert values of 1 - cosine to Euclidean distances of unit rows, at most 2.

    Parameters
    ----------
    gaps : (n,) float64, values of 1 - cosine

    Returns
    -------
    (n,) float32

    Examples
    --------
    >>> euclidean_distances(np.array([0.0, 0.5, 2.0])).tolist()
    [0.0, 1.0, 2.0]
    """
    distances: Vector = np.sqrt(2 * np.minimum(gaps, 2)).astype(np.float32)
    return distances


def distance_to_nearest(x: Matrix, references: Matrix) -> Vector:
    """Compute the Euclidean distance of each row of ``x`` to the nearest row of ``references``.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    references : (m, d) float32, rows of unit length, m at least 1

    Returns
    -------
    (n,) float32 in [0, 2]; exactly 0 for a row that equals one of ``references``, and within 0.1 % of the true distance

    Notes
    -----
    Cost: O(n m d) time and O(n + m) memory; rows of ``x`` near a row of ``references`` are compared twice.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    >>> (distance_to_nearest(x, x[:2]) ** 2).round().tolist()
    [0.0, 0.0, 2.0]
    """
    best = similarity_to_nearest(x, references)
    gaps = 1 - best.astype(np.float64)
    near = np.flatnonzero(gaps < _NEAR)
    if len(near):
        rows = np.arange(len(references))
        references = references[np.unique(first_equal_rows(references, rows, np.zeros(len(rows))))]

    candidates, candidate_threshold, smallest = x[near], best[near, None] - ROUNDING, np.full(len(near), np.inf)

    def refine(similarities: Matrix, rows: slice, columns: slice) -> None:
        local_rows, local_columns = np.nonzero(similarities >= candidate_threshold[rows])
        for pairs in block_slices(len(local_rows), _PAIRS):
            left, right = local_rows[pairs], local_columns[pairs]
            distances = cosine_distances(
                similarities[left, right], candidates, references, rows.start + left, columns.start + right
            )
            np.minimum.at(smallest, rows.start + left, distances)

    for_each_product(candidates, references, refine, rows=_ROWS)
    gaps[near] = smallest
    return euclidean_distances(gaps)
