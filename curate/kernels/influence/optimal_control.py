"""Effect of the weight of each row on the losses along a path of gradient descent, by the adjoint recursion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from curate.kernels.influence.softmax_layer import (
    SoftmaxLayer,
    gradient_products,
    hessian_product,
    mean_gradient,
)
from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Codes, Matrix, Numbers

Gradient = Callable[[Numbers], Numbers]
"""Function of the parameters that returns a gradient of the same shape."""

Product = Callable[[Numbers, Numbers], Numbers]
"""Function of the parameters and a vector of the same shape: a Hessian times the vector, or a number for each row."""


def accumulate_products(
    start: Numbers,
    steps: int,
    learning_rate: float,
    *,
    gradient: Gradient,
    reference_gradient: Gradient,
    hessian_product: Product,
    row_products: Product,
) -> Numbers:
    """Sum the products of the gradient of each row with the co-states along a path of gradient descent.

    With θ_{t+1} = θ_t − η ∇L(θ_t), and a reference loss J, the co-states are λ_T = ∇J(θ_T) and

        λ_t = λ_{t+1} + ∇J(θ_t) − η ∇²L(θ_t) λ_{t+1},

    and the result is Σ_t λ_{t+1}ᵀ ∇l(x, θ_t) over t = 0 … T − 1, for each row x.

    Parameters
    ----------
    start : array
        Parameters θ_0.
    steps : int
        T, at least 1.
    learning_rate : float
        η.
    gradient, reference_gradient : callable
        ∇L and ∇J at some parameters.
    hessian_product : callable
        ∇²L at some parameters, times a vector.
    row_products : callable
        Inner products (n,) of the gradient of each row at some parameters with a vector.

    Returns
    -------
    (n,) float64; times −η, the derivative of Σ_{t=1…T} J(θ_t) with respect to the weight of each row in L

    Notes
    -----
    Cost: T evaluations of each function; memory of T + 1 parameters.

    References
    ----------
    Gu et al. (2025), PDS, arXiv:2410.07064, theorem 2.1; Pontryagin's maximum principle.
    """
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - learning_rate * gradient(path[-1]))
    co_state = reference_gradient(path[-1])
    total: Numbers | float = 0.0
    for parameters in reversed(path[:-1]):
        total = total + row_products(parameters, co_state)
        co_state = co_state + reference_gradient(parameters) - learning_rate * hessian_product(parameters, co_state)
    return np.asarray(total)


def control_scores(
    features: Matrix,
    labels: Codes,
    reference_features: Matrix,
    reference_labels: Codes,
    classes: int,
    *,
    steps: int,
    learning_rate: float,
) -> Numbers:
    """Compute ``accumulate_products`` for a softmax layer that starts with weights of 0.

    Parameters
    ----------
    features : (n, f) float32
        Inputs of the layer, n at least 1.
    labels : (n,) int32
    reference_features : (m, f) float32
        Inputs of the rows whose mean loss is J, m at least 1.
    reference_labels : (m,) int32
    classes : int
        Number of classes.
    steps, learning_rate : int, float
        See ``accumulate_products``.

    Returns
    -------
    (n,) float64; positive for rows whose weight lowers the reference loss

    Notes
    -----
    Cost: O(steps (n + m) f classes) time.
    """

    def layer(weights: Numbers) -> SoftmaxLayer:
        return SoftmaxLayer(features, softmax(features @ weights.T.astype(np.float32)), labels)

    def reference(weights: Numbers) -> SoftmaxLayer:
        probabilities = softmax(reference_features @ weights.T.astype(np.float32))
        return SoftmaxLayer(reference_features, probabilities, reference_labels)

    return accumulate_products(
        np.zeros((classes, features.shape[1])),
        steps,
        learning_rate,
        gradient=lambda weights: mean_gradient(layer(weights)),
        reference_gradient=lambda weights: mean_gradient(reference(weights)),
        hessian_product=lambda weights, vector: hessian_product(layer(weights), vector),
        row_products=lambda weights, vector: gradient_products(layer(weights), vector),
    )
