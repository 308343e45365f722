"""Sinkhorn's plan has the required marginals, and nearly the cost of the linear program."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from curate.kernels.parallel import THREADS_VARIABLE
from curate.kernels.stats import sinkhorn as module
from curate.kernels.stats.sinkhorn import sinkhorn, sinkhorn_symmetric, soft_minimum


def cost_of(n, m, seed=0):
    rng = np.random.default_rng(seed)
    return np.abs(rng.random((n, 1)) - rng.random((1, m))) * 2


def linear_program(cost):
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=weights).fun


@pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 9), (1, 6)])
def test_cost_is_that_of_the_linear_program_for_little_regularization(n, m):
    cost, regularization = cost_of(n, m), 0.003
    result = sinkhorn(cost, regularization, tolerance=1e-6, max_iterations=50_000)
    plan = np.exp((result.f[:, None] + result.g - cost) / regularization) / (n * m)
    assert result.converged
    np.testing.assert_allclose(plan.sum(axis=1), 1 / n, atol=1e-6)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / m, atol=1e-6)
    assert (plan * cost).sum() == pytest.approx(linear_program(cost), abs=2e-3)


def test_symmetric_form_finds_the_same():
    points = np.random.default_rng(1).random((20, 2))
    cost = ((points[:, None] - points) ** 2).sum(axis=2)
    both = sinkhorn(cost, 0.05, tolerance=1e-9, max_iterations=50_000)
    alone = sinkhorn_symmetric(cost, 0.05, tolerance=1e-9, max_iterations=1_000)
    assert alone.converged
    assert 2 * alone.f.mean() == pytest.approx(both.f.mean() + both.g.mean(), abs=1e-6)


def test_notes_missing_convergence():
    result = sinkhorn(cost_of(9, 9), 0.001, tolerance=1e-12, max_iterations=2)
    assert not result.converged
    assert result.error > 1e-12


def test_costs_far_above_the_regularization_overflow_nothing():
    result = sinkhorn(cost_of(6, 6) * 1e4, 1e-3, tolerance=1e-3, max_iterations=50)
    assert np.isfinite(result.f).all()
    assert np.isfinite(result.g).all()


def by_logarithms(cost, regularization, iterations):
    """Return the potentials after plain iterations in log space."""
    f, g = np.zeros(len(cost)), np.zeros(cost.shape[1])
    for _ in range(iterations):
        g = soft_minimum(cost.T, f, regularization)
        f = soft_minimum(cost, g, regularization)
    return f, soft_minimum(cost.T, f, regularization)


@pytest.mark.parametrize("regularization", [1.0, 0.05, 0.02])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scaling_gives_the_potentials_of_plain_iterations(regularization, dtype):
    cost = cost_of(7, 11, 3).astype(dtype)
    result = sinkhorn(cost, regularization, tolerance=1e-10, max_iterations=200_000)
    f, g = by_logarithms(cost.astype(np.float64), regularization, 4_000)
    assert result.converged
    np.testing.assert_allclose(result.f[:, None] + result.g, f[:, None] + g, atol=1e-6)


def test_factors_are_absorbed_before_they_overflow(monkeypatch):
    cost = cost_of(12, 9, 4)
    expected = sinkhorn(cost, 0.05, tolerance=1e-10, max_iterations=100_000)
    monkeypatch.setattr(module, "_ABSORB", 1e-3)
    found = sinkhorn(cost, 0.05, tolerance=1e-10, max_iterations=100_000)
    np.testing.assert_allclose(found.f[:, None] + found.g, expected.f[:, None] + expected.g, atol=1e-9)


def test_many_rows_and_threads(monkeypatch):
    cost, results = cost_of(900, 700, 5), set()
    for count in ("1", "3"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        result = sinkhorn(cost, 0.1, tolerance=1e-3, max_iterations=10_000)
        assert result.converged
        results.add((result.f.tobytes(), result.g.tobytes()))
    assert len(results) == 1


@pytest.mark.slow
def test_the_oracle(monkeypatch):
    for library in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW"):
        monkeypatch.setenv(f"POT_BACKEND_DISABLE_{library}", "1")  # it would import them
    ot = pytest.importorskip("ot")
    cost = cost_of(20, 30, 6)
    result = sinkhorn(cost, 0.05, tolerance=1e-10, max_iterations=100_000)
    plan = np.exp((result.f[:, None] + result.g - cost) / 0.05) / cost.size
    weights = np.full(20, 1 / 20), np.full(30, 1 / 30)
    expected = ot.sinkhorn(*weights, cost, 0.05, method="sinkhorn_log", stopThr=1e-11, numItermax=20_000)
    np.testing.assert_allclose(plan, expected, atol=1e-8)
