"""Entropic optimal transport between two sets of equally weighted points, in log space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.kernels.types import Numbers


class Potentials(NamedTuple):
    """Result of ``sinkhorn``."""

    f: Numbers
    """Potentials of the rows (n,)."""

    g: Numbers
    """Potentials of the columns (m,)."""

    error: float
    """Total deviation of the plan from the weights of the rows; those of the columns are exact."""

    converged: bool


def sinkhorn(cost: Numbers, regularization: float, *, tolerance: float, max_iterations: int) -> Potentials:
    """Compute the dual potentials of the cheapest plan between uniform weights on the rows and on the columns.

    The plan is exp((f_i + g_j − cost_ij) / ε) / (n m). Potentials are fitted to rows and columns alternately. The first
    iterations use a larger ε, which is halved each time, from the largest cost down to ``regularization``.

    Parameters
    ----------
    cost : (n, m) float64
    regularization : ε, above 0, in the unit of the cost
    tolerance : stop when the total deviation from the weights of the rows is at most this
    max_iterations : at least 1; iterations with a larger ε do not count

    Returns
    -------
    f, g, error, converged : see ``Potentials``; mean(f) + mean(g) is the entropic cost after convergence

    Notes
    -----
    Cost: O(n m) time an iteration, more iterations for a smaller ε; four arrays of the size of ``cost``.

    References
    ----------
    Cuturi (2013), arXiv:1306.0895; Peyré & Cuturi (2019), Computational Optimal Transport, arXiv:1803.00567, remark
    4.23 (logarithms) and section 4.1 (decreasing ε).

    Examples
    --------
    >>> result = sinkhorn(np.array([[0.0, 1.0], [1.0, 0.0]]), 0.01, tolerance=1e-6, max_iterations=100)
    >>> result.converged, round(float(result.f.mean() + result.g.mean()), 3)
    (True, 0.007)
    """
    f, g = np.zeros(cost.shape[0]), np.zeros(cost.shape[1])
    epsilon = float(cost.max(initial=0)) / 2
    while epsilon > regularization:
        f = soft_minimum(cost - g, epsilon)
        g = soft_minimum((cost - f[:, None]).T, epsilon)
        epsilon /= 2
    error = np.inf
    for _ in range(max_iterations):
        g = soft_minimum((cost - f[:, None]).T, regularization)
        new_f = soft_minimum(cost - g, regularization)
        error = _marginal_error(f, new_f, regularization)
        if error <= tolerance:
            return Potentials(f, g, error, converged=True)
        f = new_f
    g = soft_minimum((cost - f[:, None]).T, regularization)
    return Potentials(f, g, error, converged=False)


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
        new_f = soft_minimum(cost - f, regularization)
        error = _marginal_error(f, new_f, regularization)
        if error <= tolerance:
            return Potentials(f, f, error, converged=True)
        f = (f + new_f) / 2
    return Potentials(f, f, error, converged=False)


def _marginal_error(f: Numbers, new_f: Numbers, regularization: float) -> float:
    exponents = np.minimum((f - new_f) / regularization, 50)  # capped to avoid overflow
    return float(np.abs(np.expm1(exponents)).mean())


def soft_minimum(values: Numbers, regularization: float) -> Numbers:
    """Compute −ε ln of the mean of exp(−value / ε) of each row.

    Parameters
    ----------
    values : (n, m) float64
    regularization : ε, above 0

    Returns
    -------
    (n,) float64
    """
    minimum = values.min(axis=1, keepdims=True)
    exponents = (minimum - values) / regularization
    np.exp(exponents, out=exponents)
    result: Numbers = minimum[:, 0] - regularization * np.log(exponents.mean(axis=1))
    return result
