"""All solvers agree with the dense solve where they should, and report where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import PluginError
from curate.kernels.influence import inverse_hessian as kernel
from curate.kernels.influence.softmax_layer import (
    SoftmaxLayer,
    error_moments,
    gradient_products,
    hessian,
    mean_gradient,
)
from curate.kernels.linalg.kronecker import KroneckerInverse
from curate.kernels.stats.softmax import softmax

SPD = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.3], [0.1, -0.3, 0.7]])


def random_layer(n=200, f=5, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, f)).astype(np.float32)
    p = softmax(x @ rng.standard_normal((f, classes)))
    labels = np.array([rng.choice(classes, p=row / row.sum()) for row in p.astype(np.float64)], np.int32)
    return SoftmaxLayer(x, p, labels)


def dense(layer, vector, damping):
    matrix = hessian(layer)
    return np.linalg.solve(matrix + damping * np.eye(len(matrix)), vector.ravel()).reshape(vector.shape)


def row_gradients(layer):
    error = layer.probabilities.astype(np.float64) - np.eye(layer.shape[0])[layer.labels]
    return np.einsum("ia,ib->iab", error, layer.features.astype(np.float64)).reshape(len(layer), -1)


@pytest.mark.parametrize("damping", [1e-3, 1.0])
def test_exact_and_conjugate_gradients_are_the_dense_solve(damping):
    layer = random_layer()
    vector = mean_gradient(layer)
    expected = dense(layer, vector, damping)
    np.testing.assert_allclose(kernel.solve_exactly(layer, vector, damping), expected, rtol=1e-9, atol=1e-12)
    solution = kernel.solve_by_conjugate_gradient(layer, vector, damping, tolerance=1e-10, max_iterations=200)
    np.testing.assert_allclose(solution.values, expected, rtol=1e-7, atol=1e-9)
    assert solution.residual <= 2e-10
    assert 0 < solution.iterations < 25


def test_conjugate_gradients_without_convergence_are_an_error():
    layer = random_layer()
    with pytest.raises(PluginError, match=r"did not converge: the relative residual is .* after 1 iterations"):
        kernel.solve_by_conjugate_gradient(layer, mean_gradient(layer), 1e-3, tolerance=1e-8, max_iterations=1)


def test_conjugate_gradients_of_nothing_are_nothing():
    solution = kernel.conjugate_gradient(lambda v: SPD @ v, np.zeros(3), tolerance=1e-9, max_iterations=5)
    assert solution.values.tolist() == [0, 0, 0]
    assert (solution.residual, solution.iterations) == (0, 0)


def test_conjugate_gradients_solve_a_system_of_n_equations_in_n_steps():
    v = np.array([1.0, -2.0, 3.0])
    solution = kernel.conjugate_gradient(lambda r: SPD @ r, v, tolerance=1e-12, max_iterations=3)
    np.testing.assert_allclose(solution.values, np.linalg.solve(SPD, v))


def test_a_preconditioner_changes_the_path_but_not_the_solution():
    v, inverse = np.array([1.0, -2.0, 3.0]), np.linalg.inv(SPD)
    solution = kernel.conjugate_gradient(
        lambda r: SPD @ r, v, tolerance=1e-10, max_iterations=9, preconditioner=lambda r: inverse @ r
    )
    np.testing.assert_allclose(solution.values, np.linalg.solve(SPD, v))
    assert solution.iterations == 1


def test_too_many_weights_for_the_dense_solve_are_an_error():
    layer = SoftmaxLayer(np.zeros((1, 101), np.float32), np.full((1, 100), 0.01, np.float32), np.zeros(1, np.int32))
    for call in (
        lambda: kernel.solve_exactly(layer, np.zeros((100, 101)), 1.0),
        lambda: kernel.self_products_exactly(layer, 1.0),
    ):
        with pytest.raises(PluginError, match=r"10,100 \(100 classes × 101 inputs\)"):
            call()


def test_lissa_converges_to_the_dense_solve():
    """With damping d and scale s it solves (H + sdI) x = v."""
    v, scale, damping = np.array([1.0, -2.0, 3.0]), 2.5, 0.04
    found = kernel.lissa(lambda r, _: SPD @ r, v, scale=scale, damping=damping, iterations=300)
    np.testing.assert_allclose(found, np.linalg.solve(SPD + scale * damping * np.eye(3), v), rtol=1e-6)


def test_lissa_starts_at_v_and_follows_the_published_recursion():
    v = np.array([1.0, -2.0, 3.0])
    found = kernel.lissa(lambda r, _: SPD @ r, v, scale=4.0, damping=0.1, iterations=1)
    np.testing.assert_allclose(found, (v + 0.9 * v - SPD @ v / 4) / 4)


@pytest.mark.parametrize("scale", [0.5, 0.1])
def test_lissa_reports_divergence(scale):
    with pytest.raises(PluginError, match="LiSSA diverges"):
        kernel.lissa(lambda r, _: SPD @ r, np.ones(3), scale=scale, damping=0.01, iterations=10_000)


def test_lissa_reports_values_that_are_not_finite():
    with pytest.raises(PluginError, match="LiSSA diverges"):
        kernel.lissa(lambda r, _: r * np.nan, np.ones(3), scale=1.0, damping=0.1, iterations=1)


def test_lissa_with_all_rows_is_the_dense_solve():
    layer = random_layer()
    vector = mean_gradient(layer)
    solution = kernel.solve_by_lissa(
        layer, vector, 0.5, np.random.default_rng(0), tolerance=1e-3, max_iterations=400, batch_size=200
    )
    np.testing.assert_allclose(solution.values, dense(layer, vector, 0.5), rtol=1e-6)


def test_lissa_with_batches_is_close_and_the_same_for_the_same_seed():
    layer = random_layer()
    vector = np.random.default_rng(1).standard_normal(layer.shape)

    def solve(seed):
        return kernel.solve_by_lissa(
            layer, vector, 1.0, np.random.default_rng(seed), tolerance=0.2, max_iterations=200, batch_size=100
        )

    expected = dense(layer, vector, 1.0)
    assert np.linalg.norm(solve(0).values - expected) < 0.1 * np.linalg.norm(expected)
    assert solve(0).values.tobytes() == solve(0).values.tobytes()
    assert solve(0).values.tobytes() != solve(1).values.tobytes()


def test_lissa_converges_where_the_bound_of_the_eigenvalues_is_tight():
    """Equal rows with equal probabilities of two classes have the largest eigenvalue that a row can have."""
    layer = SoftmaxLayer(np.ones((5, 3), np.float32), np.full((5, 2), 0.5, np.float32), np.zeros(5, np.int32))
    vector = mean_gradient(layer)
    solution = kernel.solve_by_lissa(
        layer, vector, 0.1, np.random.default_rng(0), tolerance=1e-6, max_iterations=500, batch_size=5
    )
    np.testing.assert_allclose(solution.values, dense(layer, vector, 0.1), rtol=1e-5)


def test_lissa_that_was_cut_too_early_is_an_error():
    layer = random_layer()
    with pytest.raises(PluginError, match="LiSSA is not accurate: the relative residual is"):
        kernel.solve_by_lissa(
            layer,
            mean_gradient(layer),
            1e-3,
            np.random.default_rng(0),
            tolerance=0.1,
            max_iterations=3,
            batch_size=200,
        )


def test_datainf_with_one_row_is_the_exact_inverse():
    layer = random_layer(n=1)
    vector = np.random.default_rng(1).standard_normal(layer.shape)
    g = row_gradients(layer)[0]
    expected = np.linalg.solve(np.outer(g, g) + 0.3 * np.eye(len(g)), vector.ravel())
    np.testing.assert_allclose(kernel.solve_by_datainf(layer, vector, 0.3).ravel(), expected, rtol=1e-9)


def test_datainf_is_the_mean_of_the_inverses_of_single_rows():
    layer = random_layer(n=20)
    vector = np.random.default_rng(1).standard_normal(layer.shape)
    inverses = [np.linalg.inv(np.outer(g, g) + 0.3 * np.eye(len(g))) for g in row_gradients(layer)]
    expected = (np.mean(inverses, axis=0) @ vector.ravel()).reshape(vector.shape)
    np.testing.assert_allclose(kernel.solve_by_datainf(layer, vector, 0.3), expected, rtol=1e-9)


def test_self_products_are_those_of_dense_matrices():
    layer, damping = random_layer(), 0.2
    gradients = row_gradients(layer)
    inverse = np.linalg.inv(hessian(layer) + damping * np.eye(gradients.shape[1]))
    expected = np.einsum("ia,ab,ib->i", gradients, inverse, gradients)
    np.testing.assert_allclose(kernel.self_products_exactly(layer, damping), expected, rtol=1e-9)
    a, b = error_moments(layer)
    inverse = np.linalg.inv(np.kron(a, b) + damping * np.eye(gradients.shape[1]))
    found = kernel.self_products_by_kronecker(layer, damping)
    np.testing.assert_allclose(found, np.einsum("ia,ab,ib->i", gradients, inverse, gradients), rtol=1e-9)


def test_the_methods_rank_rows_alike():
    """The approximations order rows as the exact influence does, though not by the same numbers."""
    layer = random_layer()
    target = mean_gradient(random_layer(seed=1))
    damping = 0.05
    exact = gradient_products(layer, kernel.solve_exactly(layer, target, damping))
    for approximate in (
        kernel.solve_by_datainf(layer, target, damping),
        KroneckerInverse.from_factors(*error_moments(layer), damping).solve(target),
    ):
        assert np.corrcoef(exact, gradient_products(layer, approximate))[0, 1] > 0.8
