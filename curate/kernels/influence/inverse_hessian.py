"""Products of a damped inverse Hessian and a vector: dense, by conjugate gradients, LiSSA and DataInf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from curate.errors import PluginError
from curate.kernels.influence.softmax_layer import (
    SoftmaxLayer,
    curvature_moments,
    error_moments,
    gradient_products,
    hessian,
    hessian_product,
    max_hessian_eigenvalue,
    squared_gradient_norms,
)
from curate.kernels.linalg.kronecker import KroneckerInverse
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Numbers

MAX_DENSE_WEIGHTS = 10_000
"""Maximum number of weights of a dense solve, whose matrix then takes 0.8 GB."""

_ROWS = 4096

Operator = Callable[[Numbers], Numbers]
"""Linear map of arrays of one shape."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Approximate solution of a linear system, and its accuracy."""

    values: Numbers
    residual: float
    """Norm of the residual, divided by that of the right-hand side."""

    iterations: int


def solve_exactly(layer: SoftmaxLayer, vector: Numbers, damping: float) -> Numbers:
    """Compute (H + λI)⁻¹ V for the Hessian H of a softmax layer by a Cholesky decomposition.

    Parameters
    ----------
    layer : layer and n rows
    vector : V, (classes, f) float64
    damping : λ, above 0

    Returns
    -------
    (classes, f) float64

    Raises
    ------
    PluginError : if the layer has more than 10,000 weights

    Notes
    -----
    Cost: O(n (classes f)² + (classes f)³) time; memory of three matrices of (classes f)² float64.
    """
    check_dense(layer)
    factor = scipy.linalg.cho_factor(_damped(hessian(layer), damping), lower=True, overwrite_a=True)
    solution: Numbers = scipy.linalg.cho_solve(factor, vector.ravel()).reshape(vector.shape)
    return solution


def self_products_exactly(layer: SoftmaxLayer, damping: float) -> Numbers:
    """Compute gᵀ(H + λI)⁻¹g for the gradient g of each row, by a Cholesky decomposition.

    Parameters
    ----------
    layer : layer and n rows
    damping : λ, above 0

    Returns
    -------
    (n,) float64, at least 0

    Raises
    ------
    PluginError : if the layer has more than 10,000 weights

    Notes
    -----
    Cost: O(n (classes f)² + (classes f)³) time; as ``solve_exactly``, memory also for a block of gradients per thread.
    """
    check_dense(layer)
    lower = scipy.linalg.cholesky(_damped(hessian(layer), damping), lower=True, overwrite_a=True)
    size = max(1, _ROWS // layer.shape[0])

    def products(rows: slice) -> Numbers:
        gradients = np.einsum("ia,ib->iab", layer.errors(rows), layer.inputs(rows)).reshape(-1, len(lower))
        whitened = scipy.linalg.solve_triangular(lower, gradients.T, lower=True, overwrite_b=True)
        values: Numbers = np.square(whitened).sum(axis=0)
        return values

    return np.concatenate(list(map_blocks(products, block_slices(len(layer), size))))


def self_products_by_kronecker(layer: SoftmaxLayer, damping: float) -> Numbers:
    """Compute gᵀ(A ⊗ B + λI)⁻¹g for the gradient g of each row, with A = E[δδᵀ] and B = E[hhᵀ].

    Parameters
    ----------
    layer : layer and n rows
    damping : λ, above 0

    Returns
    -------
    (n,) float64, at least 0

    Notes
    -----
    Cost: O(n (f² + classes²) + f³ + classes³) time.
    """
    inverse = KroneckerInverse.from_factors(*error_moments(layer), damping)

    def products(rows: slice) -> Numbers:
        return inverse.self_products(layer.errors(rows), layer.inputs(rows))

    return np.concatenate(list(map_blocks(products, block_slices(len(layer), _ROWS))))


def check_dense(layer: SoftmaxLayer) -> None:
    """Raise an error if the layer has too many weights for a dense Hessian."""
    n_classes, f = layer.shape
    if n_classes * f > MAX_DENSE_WEIGHTS:
        raise PluginError(
            f"the exact inverse is limited to {MAX_DENSE_WEIGHTS:,} weights, but the last layer has "
            f"{n_classes * f:,} ({n_classes:,} classes × {f:,} inputs)",
            hint="use method: conjugate_gradient, which gives the same values, or kronecker",
        )


def _damped(matrix: Numbers, damping: float) -> Numbers:
    matrix[np.diag_indices_from(matrix)] += damping
    return matrix


# ---------------------------------------------------------------- conjugate gradients


def conjugate_gradient(
    product: Operator,
    vector: Numbers,
    *,
    tolerance: float,
    max_iterations: int,
    preconditioner: Operator | None = None,
) -> Solution:
    """Solve Ax = v for a symmetric positive definite A that is known by its products.

    Parameters
    ----------
    product : A, as a function
    vector : v, array of any shape, float64
    tolerance : residual, relative to v, at which it stops
    max_iterations : maximum number of iterations
    preconditioner : symmetric positive definite approximation of A⁻¹; the closer, the fewer iterations

    Returns
    -------
    Solution with the true residual, computed at the end, which is above the tolerance if it did not converge

    Notes
    -----
    Cost: one product an iteration, and one at the end; memory of five vectors.

    References
    ----------
    Hestenes & Stiefel (1952), "Methods of conjugate gradients for solving linear systems", J. Res. NBS 49(6).

    Examples
    --------
    >>> a = np.diag([1.0, 4.0])
    >>> conjugate_gradient(lambda v: a @ v, np.ones(2), tolerance=1e-12, max_iterations=9).values.round(6).tolist()
    [1.0, 0.25]
    """
    length = float(np.linalg.norm(vector))
    x, residual = np.zeros_like(vector), vector.copy()
    if not length:
        return Solution(x, 0.0, 0)
    direction, squared = np.zeros_like(vector), 1.0
    iteration = 0
    while iteration < max_iterations and np.linalg.norm(residual) > tolerance * length:
        z = residual if preconditioner is None else preconditioner(residual)
        previous, squared = squared, float(np.vdot(residual, z))
        direction = z + (squared / previous if iteration else 0.0) * direction
        image = product(direction)
        step = squared / float(np.vdot(direction, image))
        x += step * direction
        residual -= step * image
        iteration += 1
    return Solution(x, float(np.linalg.norm(vector - product(x))) / length, iteration)


def solve_by_conjugate_gradient(
    layer: SoftmaxLayer, vector: Numbers, damping: float, *, tolerance: float, max_iterations: int
) -> Solution:
    """Compute (H + λI)⁻¹ V for the Hessian H of a softmax layer by conjugate gradients.

    The preconditioner is the inverse of the Kronecker product of E[diag(p) − ppᵀ] and E[hhᵀ], damped by λ.

    Parameters
    ----------
    layer : layer and n rows
    vector : V, (classes, f) float64
    damping : λ, above 0
    tolerance : residual, relative to V, at which it stops
    max_iterations : maximum number of iterations

    Returns
    -------
    Solution

    Raises
    ------
    PluginError : if the residual is above the tolerance after all iterations

    Notes
    -----
    Cost: O(n classes f) time an iteration, and O(n f² + f³ + classes³) for the preconditioner.
    """
    solution = conjugate_gradient(
        lambda v: hessian_product(layer, v) + damping * v,
        vector,
        tolerance=tolerance,
        max_iterations=max_iterations,
        preconditioner=KroneckerInverse.from_factors(*curvature_moments(layer), damping).solve,
    )
    if not solution.residual <= tolerance * _ROUNDING:
        raise PluginError(
            f"conjugate gradients did not converge: the relative residual is {solution.residual:.1e} after "
            f"{solution.iterations:,} iterations, and the tolerance is {tolerance:g}",
            hint="raise max_iterations, damping or tolerance",
        )
    return solution


_ROUNDING = 2.0
"""Factor by which the true residual may exceed the one that the iteration updates."""


# ---------------------------------------------------------------- LiSSA


def lissa(
    product: Callable[[Numbers, int], Numbers],
    vector: Numbers,
    *,
    scale: float,
    damping: float,
    iterations: int,
) -> Numbers:
    """Compute (H + scale · damping · I)⁻¹ v by a truncated Neumann series with sampled Hessians.

    The iteration is r ← v + (1 − damping) r − H_t r / scale, from r = v; the result is r / scale.

    Parameters
    ----------
    product : function of a vector and the number t of the iteration that returns H_t times the vector; the expectation
        of H_t is H
    vector : v, array of any shape, float64
    scale : at least the largest eigenvalue of each H_t, divided by 2 (1 − damping)
    damping : share of r that decays in an iteration, in (0, 1)
    iterations : number of iterations

    Returns
    -------
    array of the shape of ``vector``

    Raises
    ------
    PluginError : if the iteration diverges

    Notes
    -----
    Cost: one product an iteration.

    Divergence is detected by ‖r‖ > ‖v‖ / damping: if the eigenvalues of all H_t are in [0, 2 (1 − damping) scale], each
    iteration lengthens r by at most ‖v‖ − damping ‖r‖, so ‖r‖ cannot exceed that bound.

    Deviation: one pass, where the authors average several.

    References
    ----------
    Agarwal, Bullins & Hazan (2017), "Second-order stochastic optimization for machine learning in linear time", JMLR
    18(116); Koh & Liang (2017), "Understanding black-box predictions via influence functions", ICML, section 3.

    Examples
    --------
    >>> h = np.diag([1.0, 0.5])
    >>> lissa(lambda r, t: h @ r, np.ones(2), scale=1.0, damping=0.5, iterations=99).round(6).tolist()
    [0.666667, 1.0]
    """
    limit = (1 + 1e-9) * float(np.linalg.norm(vector)) / damping
    r = vector.copy()
    for t in range(iterations):
        r = vector + (1 - damping) * r - product(r, t) / scale
        if not np.linalg.norm(r) <= limit:  # also NaN
            raise PluginError(
                f"LiSSA diverges: the estimate has grown beyond any solution after {t + 1:,} iterations",
                hint="raise scale above the largest eigenvalue of the Hessian",
            )
    result: Numbers = r / scale
    return result


def solve_by_lissa(
    layer: SoftmaxLayer,
    vector: Numbers,
    damping: float,
    rng: np.random.Generator,
    *,
    tolerance: float,
    max_iterations: int,
    batch_size: int,
) -> Solution:
    """Compute (H + λI)⁻¹ V for the Hessian H of a softmax layer by LiSSA.

    The scale is half an upper bound of the eigenvalues of the Hessian of every row, plus λ: the series converges.

    Parameters
    ----------
    layer : layer and n rows
    vector : V, (classes, f) float64
    damping : λ, above 0
    rng : random generator of the batches
    tolerance : maximum residual, relative to V
    max_iterations : number of iterations
    batch_size : number of rows of each iteration, drawn with replacement; with at least n, all rows are used

    Returns
    -------
    Solution

    Raises
    ------
    PluginError : if the residual is above the tolerance after all iterations

    Notes
    -----
    Cost: O(batch_size classes f) time an iteration, and O(n classes f) for the residual. The number of iterations that
    it needs is proportional to the largest eigenvalue of a row, divided by λ.
    """
    n = len(layer)
    scale = max_hessian_eigenvalue(layer) / 2 + damping

    def product(r: Numbers, _: int) -> Numbers:
        rows = None if batch_size >= n else np.sort(rng.integers(n, size=batch_size))
        return hessian_product(layer, r, rows)

    values = lissa(product, vector, scale=scale, damping=damping / scale, iterations=max_iterations)
    length = float(np.linalg.norm(vector))
    error = vector - hessian_product(layer, values) - damping * values
    residual = float(np.linalg.norm(error)) / length if length else 0.0
    if not residual <= tolerance:
        raise PluginError(
            f"LiSSA is not accurate: the relative residual is {residual:.1e} after {max_iterations:,} iterations of "
            f"{min(n, batch_size):,} rows, and the tolerance is {tolerance:g}",
            hint="raise max_iterations, batch_size, damping or tolerance, or use method: conjugate_gradient",
        )
    return Solution(values, residual, max_iterations)


# ---------------------------------------------------------------- DataInf


def solve_by_datainf(layer: SoftmaxLayer, vector: Numbers, damping: float) -> Numbers:
    """Approximate (G + λI)⁻¹ V for the empirical Fisher matrix G by the mean of the inverses of single rows.

    With the gradient g of a row, (ggᵀ + λI)⁻¹ V = (V − gᵀV / (λ + ‖g‖²) g) / λ; the result is the mean over the rows.

    Parameters
    ----------
    layer : layer and n rows
    vector : V, (classes, f) float64
    damping : λ, above 0

    Returns
    -------
    (classes, f) float64; equal to (G + λI)⁻¹ V if all gradients are equal, as with one row

    Notes
    -----
    Cost: O(n classes f) time.

    The mean of inverses is not the inverse of the mean: the paper bounds the error by the square of the number of
    weights. It is small only if λ is not small compared with ‖g‖².

    References
    ----------
    Kwon, Wu, Wu & Zou (2024), "DataInf: efficiently estimating data influence in LoRA-tuned LLMs and diffusion models",
    ICLR, arXiv:2310.00902, equation 5.

    Examples
    --------
    >>> x, p = np.ones((1, 1), np.float32), np.array([[0.5, 0.5]], np.float32)
    >>> layer = SoftmaxLayer(x, p, np.zeros(1, np.int32))
    >>> solve_by_datainf(layer, np.array([[1.0], [0.0]]), 0.5).tolist()
    [[1.5], [0.5]]
    """
    coefficients = gradient_products(layer, vector) / (damping + squared_gradient_norms(layer))
    return (vector - _weighted_gradient(layer, coefficients)) / damping


def _weighted_gradient(layer: SoftmaxLayer, weights: Numbers) -> Numbers:
    """Return the mean of the gradients of all rows times their weights, (classes, f)."""

    def part(rows: slice) -> Numbers:
        values: Numbers = (layer.errors(rows) * weights[rows, None]).T @ layer.inputs(rows)
        return values

    total = np.zeros(layer.shape)
    for values in map_blocks(part, block_slices(len(layer), _ROWS)):
        total += values
    return total / len(layer)
