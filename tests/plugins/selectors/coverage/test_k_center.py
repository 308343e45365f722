"""k-center greedy picks the farthest row each time, within twice the optimal radius."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.batches import Pool
from curate.plugins.selectors.coverage import k_center as module
from curate.plugins.selectors.coverage.k_center import KCenter, k_center


def on_circle(*angles):
    """Return unit rows; distances grow with the difference of the angles, up to pi."""
    angles = np.array(angles)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def unit_rows(seed, n, d=3):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def distances(x):
    return np.linalg.norm(x[:, None].astype(np.float64) - x[None], axis=2)


def test_points_0_1_4_9_from_0_give_0_9_4():
    indices, gains, nearest, _ = k_center(on_circle(0, 0.1, 0.4, 0.9), 3, first=0)
    assert indices.tolist() == [0, 3, 2]
    np.testing.assert_allclose(gains, [2, 2 * np.sin(0.45), 2 * np.sin(0.2)], atol=1e-6)
    assert nearest.tolist() == [-1, 0, -1, -1]


@given(st.integers(1, 10), st.integers(0, 1000), st.data())
def test_radius_is_at_most_twice_the_optimum(n, seed, data):
    """Brute force over all sets of k centers."""
    k = data.draw(st.integers(1, n))
    between = distances(unit_rows(seed, n))
    optimum = min(between[:, list(centers)].min(axis=1).max() for centers in combinations(range(n), k))
    indices = k_center(unit_rows(seed, n), k, first=data.draw(st.integers(0, n - 1)))[0]
    assert between[:, indices].min(axis=1).max() <= 2 * optimum + 1e-3


@given(st.integers(1, 120), st.integers(0, 1000), st.booleans())
def test_every_pick_is_the_farthest_row_and_every_gain_its_distance(n, seed, twins):
    """Against one plain pass a pick, in double precision, up to the rounding of float32."""
    x = unit_rows(seed, n)
    if twins:
        x[: n // 2] = x[0]
    indices, gains, nearest, similarity = k_center(x, n, first=n // 2)
    assert indices[0] == n // 2
    between = distances(x)
    for t in range(1, n):
        to_picks = between[:, indices[:t]].min(axis=1)
        assert to_picks[indices[t]] >= to_picks.max() - 1e-3
        assert abs(gains[t] - to_picks[indices[t]]) < 1e-3
    assert (np.diff(gains) <= 0).all()
    assert (nearest == -1).all()
    assert np.isnan(similarity).all()


def test_looking_ahead_changes_nothing(monkeypatch):
    """With one row a product there is nothing to look ahead to."""
    x = unit_rows(7, 3000, 8)
    expected = k_center(x, 200)
    monkeypatch.setattr(module, "_LOOKAHEAD", 1)
    indices, gains, nearest, _ = k_center(x, 200)
    assert indices.tolist() == expected[0].tolist()
    np.testing.assert_allclose(gains, expected[1], atol=1e-5)
    assert nearest.tolist() == expected[2].tolist()


def test_dropped_rows_name_their_nearest_pick():
    x = unit_rows(3, 500, 6)
    indices, _, nearest, similarity = k_center(x, 40)
    dropped = np.setdiff1d(np.arange(500), indices)
    cosine = x[dropped] @ x[indices].T
    assert nearest[dropped].tolist() == indices[cosine.argmax(axis=1)].tolist()
    np.testing.assert_allclose(similarity[dropped], cosine.max(axis=1), atol=1e-6)


def test_ties_go_to_the_lowest_index():
    """Four axes, all equally far from the first, exactly so in float32."""
    assert k_center(np.eye(4, dtype=np.float32), 4, first=2)[0].tolist() == [2, 0, 1, 3]


def test_copies_are_picked_last():
    x = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    indices, gains, _, _ = k_center(x, 12)
    assert sorted(indices[:3] // 4) == [0, 1, 2]
    assert gains[3:].tolist() == [0] * 9


def pool_of(x, quality):
    return Pool(x, np.asarray(quality, np.float32), np.zeros(len(x), np.int32))


def test_first_best_quality_starts_from_the_lowest_index_of_the_best():
    pool = pool_of(unit_rows(0, 4), [1, 3, 3, 2])
    assert KCenter(first="best_quality").select(pool, 2, np.random.default_rng(0)).indices[0] == 1


def test_first_random_starts_anywhere():
    pool = pool_of(unit_rows(0, 4), [1, 3, 3, 2])
    firsts = {
        int(KCenter(first="random").select(pool, 2, np.random.default_rng(seed)).indices[0]) for seed in range(50)
    }
    assert firsts == {0, 1, 2, 3}


@pytest.mark.parametrize("first", ["best_quality", "random"])
def test_empty_pool(first):
    pool = pool_of(np.zeros((0, 3), np.float32), [])
    assert len(KCenter(first=first).select(pool, 0, np.random.default_rng(0)).indices) == 0


@pytest.mark.parametrize("distance", [1.5e-4, 1e-3, 0.01])
def test_small_distances_are_distinguished(distance):
    """Gains are those of differences: a float32 cosine gives .00077 for .00015."""
    x = unit_rows(5, 1, 48)
    turned = x + distance * unit_rows(6, 1, 48)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    pool = np.concatenate([x, turned, x]).astype(np.float32)
    indices, gains, _, _ = k_center(pool, 3)
    assert indices.tolist() == [0, 1, 2]
    np.testing.assert_allclose(gains, [2, np.linalg.norm(pool[0].astype(np.float64) - pool[1]), 0], rtol=1e-3)
    assert k_center(pool, 2)[2].tolist() == [-1, -1, 0]


def test_copies_in_many_dimensions_are_exactly_0_apart():
    x = unit_rows(8, 30, 384)
    indices, gains, _, _ = k_center(np.concatenate([x, x]), 60)
    assert sorted(indices[:30] % 30) == list(range(30))
    assert gains[30:].tolist() == [0] * 30
