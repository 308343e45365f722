"""Entropic optimal transport between two sets of equally weighted points, in log space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread
from curate.kernels.types import Matrix, Numbers

_CELLS = 1 << 17  # of a block: its temporary arrays fit the cache
_ABSORB = 100.0  # largest logarithm of a scaling factor


class Potentials(NamedTuple):
    """Result of ``sinkhorn``."""

    f: Numbers
    """Potentials of the rows (n,)."""

    g: Numbers
    """Potentials of the columns (m,)."""

    error: float
    """Total deviation of the plan from the weights of the rows; those of the columns are exact."""

    converged: bool


def sinkhorn(cost: Numbers | Matrix, regularization: float, *, tolerance: float, max_iterations: int) -> Potentials:
    """Compute the dual potentials of the cheapest plan between uniform weights on the rows and on the columns.

    The plan is exp((f_i + g_j − cost_ij) / ε) / (n m). Potentials are fitted to rows and columns alternately. The first
    iterations use a larger ε, which is halved each time, from the largest cost down to ``regularization``.

    Parameters
    ----------
    cost : (n, m) float64 or float32
    regularization : ε, above 0, in the unit of the cost
    tolerance : stop when the total deviation from the weights of the rows is at most this
    max_iterations : at least 1; iterations with a larger ε do not count

    Returns
    -------
    f, g, error, converged : see ``Potentials``; mean(f) + mean(g) is the entropic cost after convergence

    Notes
    -----
    Cost: O(n m) time an iteration, more iterations for a smaller ε; 8 bytes for each pair of points, in addition to the
    cost.

    An iteration multiplies the current plan by two scaling factors, which costs two products of a matrix and a vector.
    The factors are absorbed into the potentials before they become large, and the plan is then computed again from its
    logarithm. The first steps for each ε compute logarithms of sums of exponentials, so nothing overflows, and no sum
    is 0. The result does not depend on the number of threads.

    References
    ----------
    Cuturi (2013), arXiv:1306.0895; Schmitzer (2019), "Stabilized sparse scaling algorithms for entropy regularized
    transport problems", arXiv:1610.06519, sections 3.1 (absorption) and 3.2 (decreasing ε).

    Examples
    --------
    >>> result = sinkhorn(np.array([[0.0, 1.0], [1.0, 0.0]]), 0.01, tolerance=1e-6, max_iterations=100)
    >>> result.converged, round(float(result.f.mean() + result.g.mean()), 3)
    (True, 0.007)
    """
    with one_blas_thread():  # entered once, not for each product
        return _iterate(cost, regularization, tolerance, max_iterations)


def _iterate(cost: Numbers | Matrix, regularization: float, tolerance: float, max_iterations: int) -> Potentials:
    n, m = cost.shape
    f, g = np.zeros(n), np.zeros(m)
    epsilon = float(cost.max(initial=0)) / 2
    while epsilon > regularization:
        f = soft_minimum(cost, g, epsilon)
        g = soft_minimum(cost.T, f, epsilon)
        epsilon /= 2
    g = soft_minimum(cost.T, f, regularization)
    plan = _plan(cost, f, g, regularization)
    u, error = np.ones(n), np.inf
    v = np.ones(m)
    for iteration in range(max_iterations):
        rows = _times(plan, v) / m
        error = float(np.abs(u * rows - 1).mean())
        if error <= tolerance:
            return Potentials(f + regularization * np.log(u), g + regularization * np.log(v), error, converged=True)
        if iteration + 1 == max_iterations:
            break
        u = 1 / rows
        v = n / _times(plan.T, u)
        if max(np.abs(np.log(u)).max(), np.abs(np.log(v)).max()) > _ABSORB:
            f, g = f + regularization * np.log(u), g + regularization * np.log(v)
            plan, u, v = _plan(cost, f, g, regularization), np.ones(n), np.ones(m)
    return Potentials(f + regularization * np.log(u), g + regularization * np.log(v), error, converged=False)


def _plan(cost: Numbers | Matrix, f: Numbers, g: Numbers, regularization: float) -> Numbers:
    """Return exp((f_i + g_j − cost_ij) / ε), (n, m) float64."""
    plan = np.empty(cost.shape)

    def block(rows: slice) -> None:
        part = plan[rows]
        np.subtract(g, cost[rows], out=part)
        part += f[rows, None]
        part /= regularization
        np.exp(part, out=part)

    for _ in map_blocks(block, block_slices(len(f), _rows(len(g)))):
        pass
    return plan


def _times(matrix: Numbers, vector: Numbers) -> Numbers:
    """Return the product of a matrix and a vector, in blocks of rows."""
    result = np.empty(len(matrix))

    def block(rows: slice) -> None:
        result[rows] = matrix[rows] @ vector

    for _ in map_blocks(block, block_slices(len(matrix), _rows(len(vector)))):
        pass
    return result


def _rows(columns: int) -> int:
    """Return the number of rows of a block."""
    return max(1, _CELLS // max(1, columns))


def sinkhorn_symmetric(cost: Numbers, regularization: float, *, tolerance: float, max_iterations: int) -> Potentials:
    """Compute ``sinkhorn`` of points with themselves, with one potential and averaged updates, in far fewer iterations.

    Parameters
    ----------
    cost : (n, n) float64, symmetric
    regularization, tolerance, max_iterations : see ``sinkhorn``

    Returns
    -------
    f, g, error, converged : see ``Potentials``; f equals g

    References
    ----------
    Feydy et al. (2019), arXiv:1810.08278, equation 25.
    """
    f, error = np.zeros(len(cost)), np.inf
    for _ in range(max_iterations):
        new_f = soft_minimum(cost, f, regularization)
        error = _marginal_error(f, new_f, regularization)
        if error <= tolerance:
            return Potentials(f, f, error, converged=True)
        f = (f + new_f) / 2
    return Potentials(f, f, error, converged=False)


def _marginal_error(f: Numbers, new_f: Numbers, regularization: float) -> float:
    exponents = np.minimum((f - new_f) / regularization, 50)  # capped to avoid overflow
    return float(np.abs(np.expm1(exponents)).mean())


def soft_minimum(cost: Numbers | Matrix, potential: Numbers, regularization: float) -> Numbers:
    """Compute −ε ln of the mean of exp((potential_j − cost_ij) / ε) over j, for each row.

    Parameters
    ----------
    cost : (n, m) float64 or float32
    potential : (m,) float64
    regularization : ε, above 0

    Returns
    -------
    (n,) float64
    """
    result = np.empty(len(cost))

    def block(rows: slice) -> None:
        exponents = potential - cost[rows]
        largest = exponents.max(axis=1)
        exponents -= largest[:, None]
        exponents /= regularization
        np.exp(exponents, out=exponents)
        result[rows] = -largest - regularization * np.log(exponents.mean(axis=1))

    for _ in map_blocks(block, block_slices(len(cost), _rows(len(potential)))):
        pass
    return result
