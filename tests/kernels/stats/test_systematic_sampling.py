"""Exactly the budget is drawn, each row with its probability, and weights correct for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.stats.systematic_sampling import inclusion_probabilities, systematic_sample


def rng(seed=0):
    return np.random.default_rng(seed)


some_scores = st.lists(st.sampled_from([0.0, 1e-9, 0.001, 0.3, 0.3, 1.0, 40.0]), min_size=1, max_size=40)


@given(some_scores, st.floats(0, 1))
def test_probabilities_are_of_the_published_form_and_sum_to_the_budget(scores, rate):
    """min(1, 1/n + s/α) for one α, found from a row below 1; where none will do, all that have a score are 1."""
    scores, n = np.array(scores), len(scores)
    budget = int(rate * n)
    q = inclusion_probabilities(scores, budget)
    assert q.sum() == pytest.approx(budget)
    assert (q <= 1).all()
    if not 0 < budget < n:
        return
    between = (q < 1) & (scores > 0)
    if between.any():
        row = np.where(between, scores, 0).argmax()
        np.testing.assert_allclose(q, np.minimum(1, 1 / n + scores * (q[row] - 1 / n) / scores[row]), atol=1e-9)
    else:
        assert (q[scores > 0] == 1).all()
        assert len(set(q[scores == 0])) <= 1


@given(some_scores, st.floats(0, 1), st.integers(0, 100))
def test_exactly_the_budget_each_row_once_by_falling_score(scores, rate, seed):
    scores = np.array(scores)
    budget = int(rate * len(scores))
    indices, weights = systematic_sample(scores, budget, rng(seed))
    assert len(set(indices.tolist())) == len(weights) == budget
    assert (np.diff(scores[indices]) <= 0).all()
    np.testing.assert_allclose(weights, 1 / inclusion_probabilities(scores, budget)[indices])


def test_each_row_is_drawn_with_its_probability():
    scores = np.array([0, 0.1, 0.1, 0.5, 1, 2, 9, 0.02])
    q, counts = inclusion_probabilities(scores, 4), np.zeros(8)
    for seed in range(5_000):
        counts[systematic_sample(scores, 4, rng(seed))[0]] += 1
    assert (np.abs(counts - 5_000 * q) <= 4 * np.sqrt(5_000 * q * (1 - q)) + 1e-6).all()


def test_zero_rows_are_drawn_when_there_is_nothing_else():
    indices, weights = systematic_sample(np.array([0, 0.5, 0, 0.5]), 3, rng())
    assert indices[:2].tolist() == [1, 3]
    np.testing.assert_allclose(weights, [1, 1, 2])
