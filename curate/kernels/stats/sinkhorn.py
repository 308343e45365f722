"""Entropic optimal transport between two sets of equally weighted points, in logarithms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.kernels.types import Numbers


class Potentials(NamedTuple):
    """What ``sinkhorn`` found."""

    f: Numbers
    """(n,) of the rows."""

    g: Numbers
    """(m,) of the columns."""

    error: float
    """By how much, in total, the plan misses the weights of the rows; those of the columns are met."""

    converged: bool


def sinkhorn(cost: Numbers, regularization: float, *, tolerance: float, max_iterations: int) -> Potentials:
    """The dual potentials of the cheapest plan that carries even weights on the rows to even weights on the columns.

    The plan is exp((f_i + g_j − cost_ij) / ε) / (n m). Potentials are fitted to rows and columns in turn. The first
    iterations are made with a larger ε that is halved each time, from the largest cost down to ``regularization``.

    Parameters
    ----------
    cost : (n, m) float64
    regularization : ε, above 0, in the unit of the cost
    tolerance : stop when the rows' weights are missed by no more than this in total
    max_iterations : at least 1, those with a larger ε not counted

    Returns
    -------
    f, g, error, converged; mean(f) + mean(g) is the entropic cost when converged

    Cost: O(n m) time an iteration, more of them for a smaller ε; four arrays of the size of ``cost``.

    References
    ----------
    Cuturi (2013), arXiv:1306.0895; Peyré & Cuturi (2019), Computational Optimal Transport, arXiv:1803.00567, remark
    4.23 (logarithms) and section 4.1 (falling ε).

    >>> found = sinkhorn(np.array([[0.0, 1.0], [1.0, 0.0]]), 0.01, tolerance=1e-6, max_iterations=100)
    >>> found.converged, round(float(found.f.mean() + found.g.mean()), 3)
    (True, 0.007)
    """
    f, g = np.zeros(cost.shape[0]), np.zeros(cost.shape[1])
    warm = float(cost.max(initial=0)) / 2
    while warm > regularization:
        f = soft_minimum(cost - g, warm)
        g = soft_minimum((cost - f[:, None]).T, warm)
        warm /= 2
    error = np.inf
    for _ in range(max_iterations):
        g = soft_minimum((cost - f[:, None]).T, regularization)
        better = soft_minimum(cost - g, regularization)
        error = _missed(f, better, regularization)
        if error <= tolerance:
            return Potentials(f, g, error, converged=True)
        f = better
    g = soft_minimum((cost - f[:, None]).T, regularization)
    return Potentials(f, g, error, converged=False)


def sinkhorn_symmetric(cost: Numbers, regularization: float, *, tolerance: float, max_iterations: int) -> Potentials:
    """``sinkhorn`` for points with themselves, in far fewer iterations: one potential, half way to its fit each time.

    Parameters
    ----------
    cost : (n, n) float64, symmetric

    References
    ----------
    Feydy et al. (2019), arXiv:1810.08278, equation 25.
    """
    f, error = np.zeros(len(cost)), np.inf
    for _ in range(max_iterations):
        better = soft_minimum(cost - f, regularization)
        error = _missed(f, better, regularization)
        if error <= tolerance:
            return Potentials(f, f, error, converged=True)
        f = (f + better) / 2
    return Potentials(f, f, error, converged=False)


def _missed(f: Numbers, better: Numbers, regularization: float) -> float:
    exponents = np.minimum((f - better) / regularization, 50)  # far off is far off: no overflow
    return float(np.abs(np.expm1(exponents)).mean())


def soft_minimum(values: Numbers, regularization: float) -> Numbers:
    """−ε ln of the mean of exp(−value / ε) of each row: the minimum, softened."""
    low = values.min(axis=1, keepdims=True)
    exponents = (low - values) / regularization
    np.exp(exponents, out=exponents)
    result: Numbers = low[:, 0] - regularization * np.log(exponents.mean(axis=1))
    return result
