"""Optimal transport: near the exact cost, 0 between equal sets, and a note without convergence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.optimal_transport import OptimalTransport, sinkhorn_divergence


def test_low_regularization_gives_nearly_the_exact_cost(rows):
    """Between as many rows of equal weight, the cheapest plan is the cheapest assignment."""
    a, b = rows(30, 3), rows(30, 3, seed=1)
    cost = 1 - a.astype(float) @ b.T
    exact = cost[linear_sum_assignment(cost)].mean()
    result, converged = sinkhorn_divergence(a, b, 0.002, tolerance=1e-4, max_iterations=20_000)
    assert converged
    assert result == pytest.approx(exact, abs=3e-3)


def test_debiasing_makes_the_cost_of_equal_sets_zero(rows):
    x = rows(50, 3)
    result, converged = sinkhorn_divergence(x, x[::-1], 0.3, tolerance=1e-8, max_iterations=10_000)
    assert converged
    assert result == pytest.approx(0, abs=1e-7)


def test_much_blur_leaves_the_distance_of_the_means(rows):
    """As ε grows the divergence tends to half the squared distance of the means (here 1 − cosine is half a square)."""
    a, b = rows(40, 3), rows(60, 3, seed=1)
    result, _ = sinkhorn_divergence(a, b, 1_000.0, tolerance=1e-9, max_iterations=1_000)
    assert result == pytest.approx(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() / 2, rel=0.01)


def test_a_plan_that_did_not_converge_is_noted(rows):
    trial = MetricInput(n=60, selected=np.arange(10), embeddings=rows(60, 3))
    plugin = OptimalTransport(regularization=0.001, max_iterations=1, tolerance=1e-9)
    assert plugin.measure(trial, np.random.default_rng(0)).notes == (
        "not converged after 1 iterations: increase `regularization` or `max_iterations`",
    )
    assert OptimalTransport().measure(trial, np.random.default_rng(0)).notes == ()
