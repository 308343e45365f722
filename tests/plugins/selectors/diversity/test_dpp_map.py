"""Greedy MAP is the naive greedy sequence of its objective, and continues after the determinant is 0."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.batches import Pool
from curate.plugins.selectors.diversity import dpp_map as module
from curate.plugins.selectors.diversity.dpp_map import DPPMap, dpp_map


def unit_rows(seed, n, d):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive_greedy(x, merit, budget, weight):
    """Select greedily by determinants of cosines, in double precision."""
    x = x.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    chosen, gains = [], []
    value = 0.0
    for _ in range(budget):
        after = np.full(len(x), -np.inf)
        for j in set(range(len(x))) - set(chosen):
            rows = x[[*chosen, j]]
            log_det = np.linalg.slogdet(rows @ rows.T)[1]
            after[j] = weight * merit[[*chosen, j]].sum() + (1 - weight) * log_det
        chosen.append(int(np.argmax(after >= after.max() - 1e-9)))
        gains.append(after.max() - value)
        value = after.max()
    return chosen, gains


@given(
    st.integers(1, 12), st.integers(0, 1000), st.floats(0, 0.95), st.sampled_from([1, 2, 3, 512]), st.integers(0, 12)
)
def test_sequence_and_gains_are_those_of_the_naive_greedy_however_far_it_looks_ahead(n, seed, weight, ahead, budget):
    x, merit = unit_rows(seed, n, 13), np.random.default_rng(seed).random(n)
    x[:, 0] += 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LOOKAHEAD", ahead)
        indices, gains = dpp_map(x, merit, min(budget, n), weight)
    expected, expected_gains = naive_greedy(x, merit, min(budget, n), weight)
    assert indices.tolist() == expected
    np.testing.assert_allclose(gains, expected_gains, atol=1e-6)


@pytest.mark.parametrize("ahead", [1, 7, 100])
def test_looking_ahead_changes_no_pick_in_a_pool_of_many_blocks_and_rounds(monkeypatch, ahead):
    x, merit = unit_rows(0, 3_000, 12), np.random.default_rng(0).random(3_000)
    everything = dpp_map(x, merit, 60, 0.3)
    monkeypatch.setattr(module, "_LOOKAHEAD", ahead)
    indices, gains = dpp_map(x, merit, 60, 0.3)
    assert indices.tolist() == everything[0].tolist()
    np.testing.assert_allclose(gains, everything[1], atol=1e-9)


def test_sequence_is_that_of_pyversity():
    peer = pytest.importorskip("pyversity")
    x, merit = unit_rows(4, 300, 40), np.random.default_rng(5).random(300)
    merit = (merit - merit.min()) / (merit.max() - merit.min())
    weight = 0.6
    scale = 2 * merit.std() * weight / (2 * (1 - weight))  # theirs: log q = (1 - diversity) scale (r - mean) / std
    theirs = peer.diversify(x, merit, 30, strategy=peer.Strategy.DPP, diversity=0.5, scale=scale)
    assert dpp_map(x, merit, 30, weight)[0].tolist() == theirs.indices.tolist()


def test_larger_budgets_are_met_in_rounds_of_unlike_rows():
    """The published algorithm would stop after three."""
    x = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    indices, gains = dpp_map(x, np.zeros(12), 8, 0.0)
    assert indices.tolist() == [0, 4, 8, 1, 5, 9, 2, 6]
    assert gains.tolist() == [0] * 8


def test_near_duplicates_wait_for_the_next_round():
    """They differ by what float32 rounds: nothing of the second is new."""
    x = np.array([[1, 0], [1, 1e-7], [0.6, 0.8]], np.float32)
    assert dpp_map(x, np.array([1.0, 0.9, 0.0]), 3, 0.9)[0].tolist() == [0, 2, 1]


def test_identical_rows_follow_by_merit():
    assert dpp_map(np.ones((4, 1), np.float32), np.array([0, 1, 0.5, 1]), 4, 0.1)[0].tolist() == [1, 3, 2, 0]


def test_zero_rows_are_last_by_score():
    x = np.array([[0, 0], [1, 0], [0, 0], [1, 0]], np.float32)
    indices, gains = dpp_map(x, np.array([0.5, 0, 1, 0]), 4, 0.5)
    assert indices.tolist() == [1, 3, 2, 0]
    assert gains.tolist() == [0, 0, 0.5, 0.25]


def test_rows_not_quite_of_unit_length_count_as_directions():
    """Stored as float16, a row is up to 5e-3 off: that is no merit."""
    x = unit_rows(0, 50, 8)
    longer = x * (1 + 2e-3 * np.random.default_rng(0).standard_normal((50, 1)).astype(np.float32))
    merit = np.random.default_rng(1).random(50)
    assert dpp_map(longer, merit, 8, 0.5)[0].tolist() == dpp_map(x, merit, 8, 0.5)[0].tolist()


def select(quality, weight):
    pool = Pool(unit_rows(0, len(quality), 6), np.asarray(quality, np.float32), np.zeros(len(quality), np.int32))
    return DPPMap(quality_weight=weight).select(pool, 6, np.random.default_rng(0)).indices.tolist()


def test_quality_weight_0_uses_only_diversity():
    assert select(np.arange(20), 0.0) == select(np.zeros(20), 0.0)


def test_quality_weight_1_is_top_k():
    assert select([1, 4, 2, 4, 0, 3, 3, 9], 1.0) == [7, 1, 3, 5, 6, 2]
