"""The adjoint recursion against finite differences of the losses along the path."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.influence.optimal_control import accumulate_products, control_scores


def test_scores_are_the_derivative_for_quadratic_losses():
    d, n, steps, rate = 3, 6, 5, 0.1
    rng = np.random.default_rng(0)
    curvature = [a @ a.T + np.eye(d) for a in rng.standard_normal((n + 1, d, d))]
    center = rng.standard_normal((n + 1, d))
    start = rng.standard_normal(d)

    def gradients(theta):
        return np.array([curvature[row] @ (theta - center[row]) for row in range(n)])

    def reference(theta):
        return curvature[n] @ (theta - center[n])

    def losses(weights):
        theta, total = start, 0.0
        for _ in range(steps):
            theta = theta - rate * weights @ gradients(theta)
            total += 0.5 * (theta - center[n]) @ reference(theta)
        return total

    equal = np.full(n, 1 / n)
    scores = accumulate_products(
        start,
        steps,
        rate,
        gradient=lambda theta: equal @ gradients(theta),
        reference_gradient=reference,
        hessian_product=lambda _, vector: sum(w * c for w, c in zip(equal, curvature[:n], strict=True)) @ vector,
        row_products=lambda theta, vector: gradients(theta) @ vector,
    )
    h = 1e-5
    numeric = [(losses(equal + h * axis) - losses(equal - h * axis)) / (2 * h) for axis in np.eye(n)]
    np.testing.assert_allclose(-rate * scores, numeric, atol=3e-9)


@pytest.mark.parametrize("steps", [1, 8])
def test_scores_of_a_softmax_layer_are_the_derivative(steps):
    rng = np.random.default_rng(1)
    n, m, f, classes, rate = 9, 5, 4, 3, 0.5
    x, y = rng.standard_normal((n, f)), rng.integers(0, classes, n).astype(np.int32)
    z, w = rng.standard_normal((m, f)), rng.integers(0, classes, m).astype(np.int32)

    def probabilities(inputs, weights):
        logits = inputs @ weights.T
        values = np.exp(logits - logits.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)

    def losses(row_weights):
        weights, total = np.zeros((classes, f)), 0.0
        for _ in range(steps):
            errors = probabilities(x, weights) - np.eye(classes)[y]
            weights = weights - rate * (errors * row_weights[:, None]).T @ x
            total -= np.log(probabilities(z, weights)[np.arange(m), w]).mean()
        return total

    scores = control_scores(x.astype(np.float32), y, z.astype(np.float32), w, classes, steps=steps, learning_rate=rate)
    equal, h = np.full(n, 1 / n), 1e-5
    numeric = [(losses(equal + h * axis) - losses(equal - h * axis)) / (2 * h) for axis in np.eye(n)]
    np.testing.assert_allclose(-rate * scores, numeric, rtol=1e-4, atol=1e-5)
