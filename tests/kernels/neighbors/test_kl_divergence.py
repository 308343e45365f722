"""Divergence estimates against their formula, their gradient against differences, and the bias of the published one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import digamma

from curate.kernels.neighbors.kl_divergence import DivergenceEstimate, descend


def by_formula(x, w, k, rule):
    n, d = x.shape
    m = len(w)
    k = min(k, n - 1)
    own = np.sort(np.linalg.norm(x[:, None] - x, axis=2), axis=1)[:, k]
    other = np.sort(np.linalg.norm(x[:, None] - w, axis=2), axis=1)
    if rule == "all":
        ranks = np.arange(1, m + 1)
        ratios = d * (np.log(other) - np.log(own)[:, None])
        return ratios.mean() + np.log(k * m / (ranks * (n - 1))).mean()
    rank = min(k, m)
    ratios = d * (np.log(other[:, rank - 1]) - np.log(own))
    return ratios.mean() + np.log(m / (n - 1)) + digamma(k) - digamma(rank)


@given(
    n=st.integers(2, 12),
    m=st.integers(1, 9),
    k=st.integers(1, 6),
    rule=st.sampled_from(["all", "nearest"]),
    seed=st.integers(0, 999),
)
def test_estimates_are_those_of_the_formula_also_after_adding_points(n, m, k, rule, seed):
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((n, 3)), rng.standard_normal((m, 3))
    assert DivergenceEstimate(x, w, k, rule).value() == pytest.approx(by_formula(x, w, k, rule), abs=1e-5)
    grown = DivergenceEstimate(x, w[:1], k, rule)
    for point in w[1:]:
        expected = grown.value_with(point)
        grown.add(point)
        assert grown.value() == expected
    assert grown.value() == pytest.approx(by_formula(x, w, k, rule), abs=1e-5)


@given(n=st.integers(2, 9), m=st.integers(1, 9), rule=st.sampled_from(["all", "nearest"]), seed=st.integers(0, 999))
def test_the_gradient_is_the_derivative(n, m, rule, seed):
    rng = np.random.default_rng(seed)
    estimate = DivergenceEstimate(rng.standard_normal((n, 2)), rng.standard_normal((m, 2)), 3, rule)
    point, h = rng.standard_normal(2), 1e-6
    numeric = [
        (estimate.value_with(point + h * axis) - estimate.value_with(point - h * axis)) / (2 * h) for axis in np.eye(2)
    ]
    np.testing.assert_allclose(estimate.gradient(point), numeric, atol=1e-4)


def test_the_published_number():
    x, w = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [2.0]])
    assert DivergenceEstimate(x, w, 1, "all").value() == pytest.approx(-0.5404321, abs=1e-6)


def test_the_published_gradient_does_not_depend_on_the_selection():
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((50, 4)), rng.standard_normal(4)
    one, other = (DivergenceEstimate(x, rng.standard_normal((7, 4)) * scale, 5, "all") for scale in (1, 9))
    assert one.gradient(v).tolist() == other.gradient(v).tolist()
    difference = v - x
    expected = 4 / 50 / 8 * (difference / (difference**2).sum(axis=1, keepdims=True)).sum(axis=0)
    np.testing.assert_allclose(one.gradient(v), expected)


def test_the_estimate_from_nearest_neighbors_is_nearly_unbiased_and_the_published_one_is_not():
    values = {"all": [], "nearest": []}
    for mean in (0, 1, 2):
        draws = [(rng.standard_normal((800, 1)), rng.standard_normal((800, 1)) + mean) for rng in map(_rng, range(5))]
        for rule, found in values.items():
            found.append(np.mean([DivergenceEstimate(x, w, 5, rule).value() for x, w in draws]))
    np.testing.assert_allclose(values["nearest"], [0, 0.5, 2], atol=0.2)
    np.testing.assert_allclose(values["all"], [0.12, 0.29, 0.90], atol=0.12)


def _rng(seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("start", ["mean", "previous", "random"])
def test_points_of_the_target_blob_lower_the_divergence_monotonically(start):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 2)) * np.sqrt(0.5) + [3, 4]
    points = np.concatenate([rng.standard_normal((100, 2)) * np.sqrt(0.5) + [3, 4], rng.uniform(0, 8, (100, 2))])
    estimate = DivergenceEstimate(x, rng.uniform(0, 8, (20, 2)), 5, "all")
    values, chosen = [estimate.value()], []
    for index, value in descend(estimate, points, rng, start=start, steps=50, learning_rate=0.01):
        values.append(value)
        chosen.append(index)
        if len(chosen) == 40:
            break
    assert (np.diff(values) < 0).all()
    assert (np.linalg.norm(points[chosen] - [3, 4], axis=1) < 2.5).all()
    assert len(set(chosen)) == 40
