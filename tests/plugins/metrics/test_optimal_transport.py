"""Optimal transport: the exact cost where little is blurred, 0 between equals, and a word where it did not converge."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.optimal_transport import OptimalTransport, sinkhorn_divergence


def test_little_blur_gives_the_exact_cost(rows):
    """Between as many rows of equal weight, the cheapest plan is the cheapest assignment."""
    a, b = rows(30, 3), rows(30, 3, seed=1)
    cost = 1 - a.astype(float) @ b.T
    exact = cost[linear_sum_assignment(cost)].mean()
    found, converged = sinkhorn_divergence(a, b, 0.002, tolerance=1e-4, max_iterations=20_000)
    assert converged
    assert found == pytest.approx(exact, abs=3e-3)


def test_debiasing_takes_the_blur_off_equals(rows):
    x = rows(50, 3)
    found, converged = sinkhorn_divergence(x, x[::-1], 0.3, tolerance=1e-8, max_iterations=10_000)
    assert converged
    assert found == pytest.approx(0, abs=1e-7)


def test_much_blur_leaves_the_distance_of_the_means(rows):
    """As ε grows the divergence tends to half the squared distance of the means (here 1 − cosine is half a square)."""
    a, b = rows(40, 3), rows(60, 3, seed=1)
    found, _ = sinkhorn_divergence(a, b, 1_000.0, tolerance=1e-9, max_iterations=1_000)
    assert found == pytest.approx(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() / 2, rel=0.01)


def test_a_plan_that_was_not_found_is_told(rows):
    trial = MetricInput(n=60, chosen=np.arange(10), embeddings=rows(60, 3))
    plugin = OptimalTransport(regularization=0.001, max_iterations=1, tolerance=1e-9)
    assert plugin.measure(trial, np.random.default_rng(0)).notes == (
        "not converged after 1 iterations: raise regularization",
    )
    assert OptimalTransport().measure(trial, np.random.default_rng(0)).notes == ()
