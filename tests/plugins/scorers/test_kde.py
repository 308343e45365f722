"""The kernel density of a pool, and the warning about one that a few rows carry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from curate.plugins.batches import ScoreBatch
from curate.plugins.scorers.kde import Kde


def unit(rng, n, d):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def score(x, **fields):
    return Kde(**fields).score(ScoreBatch(embeddings=x), np.random.default_rng(0))


def test_a_row_is_compared_with_all_others_but_not_itself():
    x, h = unit(np.random.default_rng(0), 60, 4), 0.3
    weights = np.exp(-((x[:, None].astype(np.float64) - x[None]) ** 2).sum(axis=2) / (2 * h**2))
    np.fill_diagonal(weights, 0)
    result = score(x, bandwidth=h, dimensions=3)
    expected = np.log(weights.sum(axis=1) / 59) - 1.5 * math.log(2 * math.pi * h**2)
    np.testing.assert_allclose(result.values[:, 0], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(result.values[:, 1], weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1), rtol=1e-3)


def test_copies_of_a_sampled_row_score_the_same_whether_sampled_or_not():
    x = np.repeat(unit(np.random.default_rng(1), 100, 6), 2, axis=0)
    values = score(x, reference_rows=60).values
    np.testing.assert_allclose(values[::2], values[1::2], rtol=1e-5)


def test_a_sample_estimates_the_density_of_the_pool():
    x = unit(np.random.default_rng(2), 3_000, 3)
    complete, sampled = score(x, bandwidth=0.3), score(x, bandwidth=0.3, reference_rows=1_000)
    assert np.abs(complete.values[:, 0] - sampled.values[:, 0]).mean() < 0.2
    assert sampled.facts["reference_rows"] == 1_000


def test_crowded_rows_score_higher():
    rng = np.random.default_rng(3)
    crowd = unit(rng, 1, 8) + 0.05 * rng.standard_normal((200, 8))
    x = np.concatenate([crowd, rng.standard_normal((50, 8))]).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    values = score(x).values[:, 0]
    assert values[:200].min() > np.median(values[200:])


@pytest.mark.parametrize("d", [2, 8, 384])
def test_the_automatic_bandwidth_lets_many_rows_contribute(d):
    result = score(unit(np.random.default_rng(4), 2_000, d))
    assert not result.warnings
    assert result.facts["median_contributors"] >= 25
    assert np.isfinite(result.values).all()


def test_a_density_that_few_rows_carry_is_flagged():
    (warning,) = score(unit(np.random.default_rng(5), 500, 64), bandwidth=0.1).warnings
    assert warning.startswith("only 1.")
    assert "the bandwidth is 0.1, below the" in warning
    assert "scorer 'density'" in warning


def test_a_tiny_pool_is_not_flagged_and_finite():
    x = unit(np.random.default_rng(6), 20, 8)
    assert not score(x, bandwidth=0.01).warnings
    for n in (1, 2, 3):
        values = score(np.repeat(x[:1], n, axis=0)).values
        assert np.isfinite(values).all()
    assert score(x[:1]).values.tolist() == [[0, 0]]
