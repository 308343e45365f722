"""Sinkhorn's plan has the required marginals, and nearly the cost of the linear program."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from curate.kernels.stats.sinkhorn import sinkhorn, sinkhorn_symmetric


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
