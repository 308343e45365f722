"""Herding follows its recurrence, and the mean of its selection converges to the mean of the pool."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.selectors.coverage.herding import herding


def unit_rows(seed, n, d=3):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def mean_error(x, chosen):
    return np.linalg.norm(x[chosen].mean(axis=0, dtype=np.float64) - x.mean(axis=0, dtype=np.float64))


@given(st.integers(1, 40), st.integers(0, 1000), st.integers(1, 6))
def test_every_pick_is_the_best_by_the_recurrence(n, seed, d):
    """w is rebuilt from its closed form, (t + 1) times the mean less the sum of the picks, in double precision."""
    x = unit_rows(seed, n, d)
    exact = x.astype(np.float64)
    indices, gains = herding(x, n)
    for step in range(n):
        w = (step + 1) * exact.mean(axis=0) - exact[indices[:step]].sum(axis=0)
        merit = exact @ w
        merit[indices[:step]] = -np.inf
        assert merit[indices[step]] >= merit.max() - 1e-4
        assert gains[step] == pytest.approx(merit[indices[step]], abs=1e-4)


def test_all_rows_are_taken_at_a_budget_of_n_and_the_means_are_then_equal():
    x = unit_rows(1, 200, 8)
    indices = herding(x, 200)[0]
    assert sorted(indices.tolist()) == list(range(200))
    assert mean_error(x, indices) < 1e-12


def test_error_of_the_mean_falls_like_1_over_k():
    """Where the error of random samples falls like 1 / sqrt(k): about 0.3 at 10 rows and 0.03 at 1,000."""
    x = unit_rows(2, 20_000, 10)
    indices = herding(x, 1000)[0]
    for k in (10, 30, 100, 300, 1000):
        assert k * mean_error(x, indices[:k]) < 2


def test_equal_rows_are_taken_in_the_order_of_the_pool():
    x = np.tile(np.array([[0.6, 0.8]], np.float32), (5, 1))
    assert herding(x, 5)[0].tolist() == [0, 1, 2, 3, 4]
