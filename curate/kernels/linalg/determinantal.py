"""Exact sampling of determinantal point processes with low-rank kernels, without an n × n or n × k array."""

from __future__ import annotations

import numpy as np

from curate.kernels.linalg.leverage import squared_lengths
from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Matrix, Numbers, Rows

_DRAWS = 128  # rows drawn at a time


def log_elementary_symmetric(values: Numbers, k: int) -> Numbers:
    """Compute logarithms of the elementary symmetric polynomials of degree 0 … k of the first 0 … m of ``values``.

    Parameters
    ----------
    values : (m,) float64, above 0
    k : largest degree

    Returns
    -------
    (k + 1, m + 1) float64: [j, i] is log e_j(values[:i]), -inf for j > i

    Notes
    -----
    Cost: O(k m) time.

    References
    ----------
    Kulesza & Taskar (2012), arXiv:1207.6083, Alg. 7, in logarithms.

    Examples
    --------
    >>> np.exp(log_elementary_symmetric(np.array([1.0, 2.0, 3.0]), 2)[2]).round(9).tolist()
    [0.0, 0.0, 2.0, 11.0]
    """
    table = np.full((k + 1, len(values) + 1), -np.inf)
    table[0] = 0
    for i, log_value in enumerate(np.log(values)):
        table[1:, i + 1] = np.logaddexp(table[1:, i], log_value + table[:-1, i])
    return table


def draw_eigenvectors(values: Numbers, k: int, rng: np.random.Generator) -> Rows:
    """Draw k of m eigenvectors with probability proportional to the product of their eigenvalues.

    Parameters
    ----------
    values : (m,) eigenvalues above 0, m >= k
    k : number of eigenvectors
    rng : random generator

    Returns
    -------
    (k,) indices of eigenvectors, ascending

    Notes
    -----
    Cost: O(k m) time.

    References
    ----------
    Kulesza & Taskar (2012), arXiv:1207.6083, Alg. 8, steps before the loop.

    Examples
    --------
    >>> draw_eigenvectors(np.array([1.0, 1e-30, 1.0]), 2, np.random.default_rng(0)).tolist()
    [0, 2]
    """
    table = log_elementary_symmetric(values, k)
    indices = []
    remaining = k
    for i in range(len(values), 0, -1):
        if not remaining:
            break
        if np.log(rng.random()) < np.log(values[i - 1]) + table[remaining - 1, i - 1] - table[remaining, i]:
            indices.append(i - 1)
            remaining -= 1
    return np.array(indices[::-1], np.intp)


def projection_dpp(x: Matrix, scale: Numbers, coordinates: Numbers, rng: np.random.Generator) -> tuple[Rows, Numbers]:
    """Draw rows from the determinantal process with kernel V Vᵀ, where V = diag(scale) x coordinates is orthonormal.

    By the chain rule, each row is drawn with probability proportional to the squared length of the part of its row of V
    that is orthogonal to the rows drawn before. These lengths are never computed for all rows: a row is proposed by its
    initial length, its leverage score, and accepted with probability new / initial length. The probabilities are the
    same, with k log k proposals in all.

    Parameters
    ----------
    x : (n, d) float32
    scale : (n,) float64
    coordinates : (d, k) float64, such that V (n, k) has orthonormal columns
    rng : random generator

    Returns
    -------
    indices : (k,) distinct rows; P(S) = det(V_S)², so the probability that a row is among them is its leverage score
    new_shares : (k,) in [0, 1], share of each row's leverage score that is orthogonal to the rows drawn before it

    Notes
    -----
    Cost: O(n d k + k² (d + k) log k) time, O(n + k²) memory.

    References
    ----------
    Hough, Krishnapur, Peres & Virág (2006), arXiv:math/0503110, Alg. 18. By rejection: Barthelmé, Tremblay & Amblard
    (2023), "A faster sampler for discrete determinantal point processes", arXiv:2210.17358.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> order, _ = projection_dpp(x, np.array([0.6, 0.8, 1.0]), np.eye(2), np.random.default_rng(0))
    >>> bool(2 in order and len(order) == 2)
    True
    """
    k = coordinates.shape[1]
    indices, new_shares = np.empty(k, np.intp), np.empty(k)
    basis = np.empty((k, k))  # orthonormal rows that span the rows drawn so far
    selected: set[int] = set()
    leverage = squared_lengths(x, scale, coordinates)
    cumulative = np.cumsum(leverage)
    with one_blas_thread():
        while len(selected) < k:
            proposed = np.searchsorted(cumulative[:-1], rng.random(_DRAWS) * cumulative[-1], side="right")
            acceptance = rng.random(_DRAWS) * leverage[proposed]
            residuals = _orthogonal((x[proposed] * scale[proposed, None]) @ coordinates, basis[: len(selected)])
            for position, row in enumerate(proposed.tolist()):
                length = float(residuals[position] @ residuals[position])
                if length <= acceptance[position] or row in selected:
                    continue
                step = len(selected)
                direction = _orthogonal(residuals[position], basis[:step])  # orthogonalize again, against rounding
                basis[step] = direction / np.linalg.norm(direction)
                indices[step], new_shares[step] = row, min(length / leverage[row], 1.0)
                selected.add(row)
                if len(selected) == k:
                    break
                residuals = _orthogonal(residuals, basis[step : step + 1])
    return indices, new_shares


def _orthogonal(rows: Numbers, basis: Numbers) -> Numbers:
    return rows - (rows @ basis.T) @ basis
