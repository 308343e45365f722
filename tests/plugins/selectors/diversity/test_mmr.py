"""Maximal marginal relevance is the greedy sequence of its score, with few comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.plugins.selectors.diversity import mmr as module
from curate.plugins.selectors.diversity.mmr import mmr


def unit_rows(seed, n, d=3, *, twins=False):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if twins:
        x[: n // 2] = x[:1]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def scores_now(x, quality, picked, diversity_weight):
    """Return the scores from the definition, in double precision."""
    x, quality = x.astype(np.float64), quality.astype(np.float64)
    spread = quality.max() - quality.min()
    relevance = (quality - quality.min()) / (spread or 1)
    similarity = (x @ x[picked].T).max(axis=1) if picked else 0
    scores = (1 - diversity_weight) * relevance - diversity_weight * similarity
    scores[picked] = -np.inf
    return scores


@given(st.integers(1, 60), st.integers(0, 1000), st.floats(0, 1), st.booleans(), st.sampled_from([1, 4, 100]))
@example(27, 314, 0.9999999999999999, True, 1)  # whose bounds tie: the search went on without end
def test_every_pick_has_the_largest_score(n, seed, diversity_weight, twins, active):
    """Whether one, four or all rows are kept up to date, and picks are caught up with three at a time."""
    x, quality = unit_rows(seed, n, twins=twins), np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ACTIVE", active)
        patch.setattr(module, "_PICKED", 3)
        indices, gains = mmr(x, quality, n, diversity_weight=diversity_weight)
    for step, pick in enumerate(indices.tolist()):
        scores = scores_now(x, quality, indices[:step].tolist(), diversity_weight)
        assert scores[pick] >= scores.max() - 1e-5
        assert gains[step] == pytest.approx(scores[pick], abs=1e-5)


def test_most_rows_are_never_compared_if_their_quality_differs(monkeypatch):
    compared = []
    original = module._most_similar
    monkeypatch.setattr(module, "_ACTIVE", 50)
    monkeypatch.setattr(
        module, "_most_similar", lambda x, rows, picks: compared.append(rows) or original(x, rows, picks)
    )
    x, quality = unit_rows(4, 2000, 8), np.random.default_rng(4).standard_normal(2000).astype(np.float32)
    mmr(x, quality, 100, diversity_weight=0.1)
    assert len(np.unique(np.concatenate(compared))) < 1000


def test_diversity_weight_0_is_top_k():
    x, quality = unit_rows(1, 100), np.random.default_rng(1).integers(0, 9, 100).astype(np.float32)
    indices, _ = mmr(x, quality, 60, diversity_weight=0.0)
    assert indices.tolist() == np.argsort(-quality, kind="stable")[:60].tolist()


def test_diversity_weight_1_is_the_farthest_row_each_time_after_the_best():
    x, quality = unit_rows(2, 100), np.random.default_rng(2).standard_normal(100).astype(np.float32)
    indices, gains = mmr(x, quality, 20, diversity_weight=1.0)
    assert indices[0] == quality.argmax()
    for step in range(1, 20):
        closest = (x @ x[indices[:step]].T).max(axis=1)
        assert closest[indices[step]] == pytest.approx(closest.min(), abs=1e-6)
        assert gains[step] == pytest.approx(-closest.min(), abs=1e-6)


def test_of_two_near_duplicates_the_worse_waits():
    x = np.array([[1, 0], [1, 0], [0, 1], [-1, 0]], np.float32)
    indices, gains = mmr(x, np.array([4, 3, 2, 0], np.float32), 4, diversity_weight=0.5)
    assert indices.tolist() == [0, 3, 2, 1]
    np.testing.assert_allclose(gains, [0.5, 0.5, 0.25, -0.125], atol=1e-6)


def test_equal_rows_of_equal_quality_are_taken_in_the_order_of_the_pool():
    x = np.tile(np.array([[0.6, 0.8]], np.float32), (5, 1))
    indices, _ = mmr(x, np.zeros(5, np.float32), 5, diversity_weight=0.5)
    assert indices.tolist() == [0, 1, 2, 3, 4]
