"""Gradients and Hessian of a softmax layer equal finite differences and dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.influence import softmax_layer as kernel
from curate.kernels.influence.softmax_layer import SoftmaxLayer
from curate.kernels.stats.softmax import softmax


def random_layer(n=50, f=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, f)).astype(np.float32)
    weights = rng.standard_normal((classes, f))
    return SoftmaxLayer(x, softmax(x @ weights.T), rng.integers(0, classes, n).astype(np.int32)), weights


def mean_loss(layer, weights):
    logits = layer.features.astype(np.float64) @ weights.T
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(layer)), layer.labels].mean()


def dense_gradients(layer):
    error = layer.probabilities.astype(np.float64) - np.eye(layer.shape[0])[layer.labels]
    return np.einsum("ia,ib->iab", error, layer.features.astype(np.float64))


def test_the_mean_gradient_is_that_of_finite_differences():
    layer, weights = random_layer()
    gradient = kernel.mean_gradient(layer)
    for c, j in np.ndindex(weights.shape):
        step = np.zeros_like(weights)
        step[c, j] = 1e-5
        slope = (mean_loss(layer, weights + step) - mean_loss(layer, weights - step)) / 2e-5
        assert gradient[c, j] == pytest.approx(slope, abs=1e-6)


def test_products_and_norms_are_those_of_the_gradients():
    layer, weights = random_layer()
    gradients = dense_gradients(layer)
    np.testing.assert_allclose(kernel.gradient_products(layer, weights), np.tensordot(gradients, weights, 2))
    np.testing.assert_allclose(kernel.squared_gradient_norms(layer), np.square(gradients).sum(axis=(1, 2)))


def test_the_hessian_is_that_of_finite_differences():
    layer, weights = random_layer()
    rng = np.random.default_rng(1)
    vector, step = rng.standard_normal(weights.shape), 1e-4

    def gradient(at):
        moved = softmax(layer.features @ at.T.astype(np.float32))
        return kernel.mean_gradient(SoftmaxLayer(layer.features, moved, layer.labels))

    change = (gradient(weights + step * vector) - gradient(weights - step * vector)) / (2 * step)
    np.testing.assert_allclose(kernel.hessian_product(layer, vector), change, atol=1e-3)
    np.testing.assert_allclose(
        (kernel.hessian(layer) @ vector.ravel()).reshape(vector.shape),
        kernel.hessian_product(layer, vector),
        atol=1e-12,
    )


def test_eigenvalues():
    layer, _ = random_layer()
    eigenvalues = np.linalg.eigvalsh(kernel.hessian(layer))
    assert kernel.mean_hessian_eigenvalue(layer) == pytest.approx(eigenvalues.mean())
    for row in range(len(layer)):
        one = SoftmaxLayer(layer.features[[row]], layer.probabilities[[row]], layer.labels[[row]])
        largest = np.linalg.eigvalsh(kernel.hessian(one))[-1]
        assert largest <= kernel.max_hessian_eigenvalue(one) + 1e-9
        assert kernel.max_hessian_eigenvalue(one) <= kernel.max_hessian_eigenvalue(layer)


def test_the_product_of_some_rows_is_that_of_their_layer():
    layer, weights = random_layer()
    rows = np.array([3, 3, 7])
    some = SoftmaxLayer(layer.features[rows], layer.probabilities[rows], layer.labels[rows])
    np.testing.assert_allclose(
        kernel.hessian_product(layer, weights, rows), kernel.hessian_product(some, weights), atol=1e-15
    )


def test_moments():
    layer, _ = random_layer()
    x, p = layer.features.astype(np.float64), layer.probabilities.astype(np.float64)
    errors, inputs = kernel.error_moments(layer)
    error = p - np.eye(3)[layer.labels]
    np.testing.assert_allclose(errors, error.T @ error / 50)
    np.testing.assert_allclose(inputs, x.T @ x / 50)
    outputs, inputs = kernel.curvature_moments(layer)
    np.testing.assert_allclose(outputs, np.mean([np.diag(row) - np.outer(row, row) for row in p], axis=0), atol=1e-12)
    np.testing.assert_allclose(inputs, x.T @ x / 50)


@pytest.mark.parametrize("threads", ["2", "5"])
def test_any_number_of_threads_gives_the_same_bytes(monkeypatch, threads):
    layer, weights = random_layer(10_000, 7, 5)
    functions = (
        kernel.mean_gradient,
        lambda one: kernel.gradient_products(one, np.ones((5, 7))),
        lambda one: kernel.hessian_product(one, weights),
        kernel.hessian,
        lambda one: np.concatenate([part.ravel() for part in kernel.error_moments(one)]),
        lambda one: np.concatenate([part.ravel() for part in kernel.curvature_moments(one)]),
        lambda one: np.array([kernel.mean_hessian_eigenvalue(one), kernel.max_hessian_eigenvalue(one)]),
    )
    monkeypatch.setenv("CURATE_THREADS", "1")
    expected = [function(layer).tobytes() for function in functions]
    monkeypatch.setenv("CURATE_THREADS", threads)
    assert [function(layer).tobytes() for function in functions] == expected
