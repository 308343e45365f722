"""Lewis weights and lp sensitivities: bounds on the share of a row in a sum of p-th powers."""

from __future__ import annotations

import numpy as np

from curate.kernels.linalg.leverage import row_space, squared_lengths
from curate.kernels.parallel import map_blocks, one_blas_thread
from curate.kernels.types import Matrix, Numbers

_ITERATIONS = 1000
_LEWIS = 1e-8  # relative change of a weight in the last iteration
_POWER = 1e-9  # relative change of a sum of powers in the last iteration
_SMOOTH = 1e-9  # smaller shares of the largest residual are raised to this


def lewis_weights(x: Matrix, p: float) -> Numbers:
    """Compute the weights w with w_i = (x_iᵀ (Xᵀ W^(1 − 2/p) X)⁻¹ x_i)^(p/2).

    Parameters
    ----------
    x : (n, d) float32 of rank r
    p : at least 1

    Returns
    -------
    (n,) float64, in [0, 1], with sum r; leverage scores for p = 2. Zero rows have weight 0. For p <= 2 the weights are
        upper bounds of lp sensitivities; for p > 2, r^(p/2 − 1) times the weights are.

    Raises
    ------
    ArithmeticError : if the iteration does not converge

    Notes
    -----
    Cost: O(n d²) time an iteration, in matrix products: about 30 iterations for p = 1, one for p = 2, 50 for p = 10.
    O(n + d²) memory.

    Deviations: for p > 2 the logarithms of the weights move only 4 / (p + 2) of the way. Near the solution this
    contracts by (p − 2) / (p + 2) an iteration, for any p.

    References
    ----------
    Cohen & Peng (2015), "lp row sampling by Lewis weights", arXiv:1412.0588, section 3: the iteration, which contracts
    for p < 4.

    Examples
    --------
    >>> lewis_weights(np.array([[1, 0], [1, 0], [0, 1]], np.float32), 1.0).round(6).tolist()
    [0.5, 0.5, 1.0]
    """
    nonzero = x.any(axis=1)
    ones = np.ones(len(x))
    weights = np.where(nonzero, 1.0, 0.0)
    step = min(1.0, 4 / (p + 2))
    with one_blas_thread():
        for _ in range(_ITERATIONS):
            scale = np.power(weights, 0.5 - 1 / p, out=np.zeros(len(x)), where=nonzero)
            quadratic_forms = squared_lengths(x, ones, row_space(x, scale).whitening())
            nonzero &= quadratic_forms > 0  # the other rows are outside the row space, except for rounding
            weights[~nonzero] = 0
            factors = np.power(quadratic_forms, p / 2, out=np.ones(len(x)), where=nonzero)
            factors = np.divide(factors, weights, out=np.ones(len(x)), where=nonzero) ** step
            weights = weights * factors
            if np.abs(factors - 1).max(initial=0) < _LEWIS:
                return weights
    raise ArithmeticError(f"Lewis weights for p = {p} did not converge in {_ITERATIONS} iterations")


def lp_sensitivities(x: Matrix, p: float) -> Numbers:
    """Compute the largest share of Σ_j |⟨x_j, y⟩|^p that each row can have over all vectors y.

    Parameters
    ----------
    x : (n, d) float32
    p : at least 1

    Returns
    -------
    (n,) float64, in [0, 1]; leverage scores for p = 2. Zero rows have sensitivity 0.

    Notes
    -----
    The sensitivity is 1 over the least Σ_j |⟨x_j, y⟩|^p with ⟨x_i, y⟩ = 1, a convex problem. For p = 1 it is a linear
    program, solved exactly. For other p it is solved by iteratively reweighted least squares in the coordinates of the
    Lewis weights.

    Accuracy: relative 1e-6 for p = 1 and 1e-8 for p >= 1.1. Between 1 and 1.1 the values are too low by up to 1e-3.

    Cost: O(n² d²) time an iteration, and tens of iterations, so for small pools. For p = 2, O(n d²). O(n d) memory.

    References
    ----------
    Padmanabhan, Woodruff & Zhang (2023), "Computing approximate lp sensitivities", arXiv:2311.04158, Definition 1.1.

    Examples
    --------
    >>> lp_sensitivities(np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32), 1.0).round(6).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    weights = lewis_weights(x, p)
    if p == 2:
        return weights
    scale = np.power(weights, 0.5 - 1 / p, out=np.zeros(len(x)), where=weights > 0)
    sensitivities = np.zeros(len(x))
    with one_blas_thread():
        rows = x @ row_space(x, scale).whitening()
        nonzero = np.flatnonzero(weights > 0)

        def smallest_sum(i: int) -> float:
            return _smallest_absolute_sum(rows, rows[i]) if p == 1 else _smallest_power_sum(rows, rows[i], p)

        for i, power in zip(nonzero, map_blocks(smallest_sum, nonzero.tolist()), strict=True):
            sensitivities[i] = min(1.0, 1 / power)
    return sensitivities


def _smallest_absolute_sum(rows: Numbers, row: Numbers) -> float:
    """Compute the smallest Σ |rows y| with ⟨row, y⟩ = 1 by its dual: the longest multiple of ``row`` in the zonotope.

    The dual maximizes a with rowsᵀ u = a row, every u_j in [−1, 1]. In the coordinates of the Lewis weights the
    zonotope contains the unit ball, so a × ‖row‖ is at least 1 and the absolute tolerance of the solver is a relative
    one.
    """
    from scipy.optimize import linprog

    n, d = rows.shape
    length = float(np.linalg.norm(row))
    equalities = np.column_stack((rows.T, -row / length))
    solution = linprog(
        np.append(np.zeros(n), -1.0),
        A_eq=equalities,
        b_eq=np.zeros(d),
        bounds=[(-1.0, 1.0)] * n + [(0.0, None)],
        method="highs",
    )
    if not solution.success or solution.x is None:
        raise ArithmeticError(f"the linear program of an l1 sensitivity failed: {solution.message}")
    return float(solution.x[-1]) / length


def _smallest_power_sum(rows: Numbers, row: Numbers, p: float) -> float:
    """Compute the smallest Σ |rows y|^p with ⟨row, y⟩ = 1, for p > 1."""
    step = min(1.0, 1 / (p - 1))  # for p > 2 Newton's step, for p < 2 the majorization step
    y = row / (row @ row)
    smallest = np.inf
    for _ in range(_ITERATIONS):
        residual = np.abs(rows @ y)
        power = float((residual**p).sum())
        if abs(smallest - power) <= _POWER * power:
            break
        smallest = min(smallest, power)
        weight = np.maximum(residual, _SMOOTH * residual.max()) ** (p - 2)
        solution = np.linalg.lstsq((rows * weight[:, None]).T @ rows, row)[0]
        y += step * (solution / (row @ solution) - y)
    return min(smallest, power)
