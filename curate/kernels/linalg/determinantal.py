"""Exact samples of determinantal point processes with kernels of low rank, without an n × n or n × k array."""

from __future__ import annotations

import numpy as np

from curate.kernels.linalg.leverage import squared_lengths
from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Matrix, Numbers, Rows

_DRAWN = 128  # rows drawn at a time


def log_elementary_symmetric(values: Numbers, k: int) -> Numbers:
    """Logarithms of the elementary symmetric polynomials of degree 0 … k of the first 0 … m of ``values``.

    Parameters
    ----------
    values : (m,) above 0
    k : largest degree

    Returns
    -------
    (k + 1, m + 1): [j, i] is log e_j(values[:i]), -inf for j > i. In O(k m) time.

    References
    ----------
    Kulesza & Taskar (2012), arXiv:1207.6083, Alg. 7, in logarithms.

    >>> np.exp(log_elementary_symmetric(np.array([1.0, 2.0, 3.0]), 2)[2]).round(9).tolist()
    [0.0, 0.0, 2.0, 11.0]
    """
    table = np.full((k + 1, len(values) + 1), -np.inf)
    table[0] = 0
    for i, log_value in enumerate(np.log(values)):
        table[1:, i + 1] = np.logaddexp(table[1:, i], log_value + table[:-1, i])
    return table


def draw_eigenvectors(values: Numbers, k: int, rng: np.random.Generator) -> Rows:
    """Draw k of m eigenvectors, with probability in proportion to the product of their eigenvalues.

    Parameters
    ----------
    values : (m,) eigenvalues above 0, m >= k

    Returns
    -------
    (k,) their places, ascending. In O(k m) time.

    References
    ----------
    Kulesza & Taskar (2012), arXiv:1207.6083, Alg. 8, steps before the loop.

    >>> draw_eigenvectors(np.array([1.0, 1e-30, 1.0]), 2, np.random.default_rng(0)).tolist()
    [0, 2]
    """
    table = log_elementary_symmetric(values, k)
    drawn = []
    left = k
    for i in range(len(values), 0, -1):
        if not left:
            break
        if np.log(rng.random()) < np.log(values[i - 1]) + table[left - 1, i - 1] - table[left, i]:
            drawn.append(i - 1)
            left -= 1
    return np.array(drawn[::-1], np.intp)


def projection_dpp(x: Matrix, scale: Numbers, coordinates: Numbers, rng: np.random.Generator) -> tuple[Rows, Numbers]:
    """Draw from the determinantal process whose kernel is V Vᵀ, where V = diag(scale) x coordinates is orthonormal.

    The chain rule: each row is drawn with probability in proportion to the squared length of what the rows drawn before
    it leave of its row of V. Those lengths are never computed for all rows. A row is proposed by the length it had at
    first, its leverage score, and accepted with probability new / first length: the same probabilities, for k log k
    proposals in all.

    Parameters
    ----------
    x : (n, d) float32
    scale : (n,) float64
    coordinates : (d, k) float64, such that V (n, k) has orthonormal columns

    Returns
    -------
    order : (k,) different rows; P(S) = det(V_S)², so the probability that a row is among them is its leverage score
    fresh : (k,) in [0, 1], the share of its leverage score that the rows drawn before it have left of each

    Cost: O(n d k + k² (d + k) log k) time, O(n + k²) memory.

    References
    ----------
    Hough, Krishnapur, Peres & Virág (2006), arXiv:math/0503110, Alg. 18. By rejection: Barthelmé, Tremblay & Amblard
    (2023), "A faster sampler for discrete determinantal point processes", arXiv:2210.17358.

    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> order, _ = projection_dpp(x, np.array([0.6, 0.8, 1.0]), np.eye(2), np.random.default_rng(0))
    >>> bool(2 in order and len(order) == 2)
    True
    """
    k = coordinates.shape[1]
    order, fresh = np.empty(k, np.intp), np.empty(k)
    basis = np.empty((k, k))  # orthonormal rows that span the rows drawn so far
    taken: set[int] = set()
    leverage = squared_lengths(x, scale, coordinates)
    cumulative = np.cumsum(leverage)
    with one_blas_thread():
        while len(taken) < k:
            proposed = np.searchsorted(cumulative[:-1], rng.random(_DRAWN) * cumulative[-1], side="right")
            bar = rng.random(_DRAWN) * leverage[proposed]
            rest = _orthogonal((x[proposed] * scale[proposed, None]) @ coordinates, basis[: len(taken)])
            for place, row in enumerate(proposed.tolist()):
                length = float(rest[place] @ rest[place])
                if length <= bar[place] or row in taken:
                    continue
                step = len(taken)
                direction = _orthogonal(rest[place], basis[:step])  # again, for what rounding has left
                basis[step] = direction / np.linalg.norm(direction)
                order[step], fresh[step] = row, min(length / leverage[row], 1.0)
                taken.add(row)
                if len(taken) == k:
                    break
                rest = _orthogonal(rest, basis[step : step + 1])
    return order, fresh


def _orthogonal(rows: Numbers, basis: Numbers) -> Numbers:
    return rows - (rows @ basis.T) @ basis
