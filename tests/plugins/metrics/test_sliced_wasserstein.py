"""Sliced Wasserstein is exact in one dimension, and the control variate lowers its variance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.sliced_wasserstein import SlicedWasserstein, _quantiles, sliced_wasserstein


def directions(count, d, seed=0):
    draws = np.random.default_rng(seed).standard_normal((count, d))
    return (draws / np.linalg.norm(draws, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("count", [2, 5, 50])
@pytest.mark.parametrize("seed", range(4))
def test_two_points_have_their_distance_for_any_directions(count, seed):
    """The squared distance is |(1, 2, 2)|² / 3 = 3; without the control variate it is only near it."""
    a, b = np.zeros((1, 3), np.float32), np.array([[1, 2, 2]], np.float32)
    with_it, without = sliced_wasserstein(a, b, directions(count, 3, seed))
    assert with_it**2 == pytest.approx(3, abs=1e-5)
    assert abs(without**2 - 3) > 1e-3


@pytest.mark.parametrize("control", ["lower", "upper"])
def test_control_variate_does_not_raise_the_variance_and_keeps_the_mean(rows, control):
    a, b = rows(40, 5), rows(70, 5, seed=1) + np.float32(0.4)
    result = np.array([sliced_wasserstein(a, b, directions(10, 5, seed), control) for seed in range(200)]) ** 2
    assert result[:, 0].var() < 0.5 * result[:, 1].var()
    truth = sliced_wasserstein(a, b, directions(20_000, 5, 9), control)[1] ** 2
    assert result[:, 0].mean() == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize(("k", "n"), [(1, 7), (3, 7), (4, 8), (7, 3)])
def test_quantiles_meet_as_in_the_exact_distance_on_a_line(k, n):
    generator = np.random.default_rng(k)
    a, b = np.sort(generator.random(k)), np.sort(generator.random(n))
    rows_a, rows_b, share = _quantiles(k, n)
    assert share.sum() == pytest.approx(1)
    assert (np.abs(a[rows_a] - b[rows_b]) * share).sum() == pytest.approx(wasserstein_distance(a, b))


def test_a_choice_from_one_side_is_farther_than_an_even_one(rows):
    x = rows(400, 4)
    one_side, even = np.flatnonzero(x[:, 0] > 0.2), np.random.default_rng(1).choice(400, 150, replace=False)
    far, near = (
        SlicedWasserstein()
        .measure(MetricInput(n=400, selected=chosen, embeddings=x), np.random.default_rng(0))
        .values[""]
        for chosen in (one_side, even)
    )
    assert far > 5 * near
