"""DEITA takes rows by quality and skips those similar to a selected row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.selectors.diversity import deita as module
from curate.plugins.selectors.diversity.deita import deita


def unit_rows(seed, n, d=3):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def one_at_a_time(x, quality, budget, max_similarity):
    """Apply the rule by its definition; return the selected rows and the most similar one to each other row."""
    x = x.astype(np.float64)
    taken, passed = [], {}
    for row in np.argsort(-quality, kind="stable").tolist():
        if len(taken) == budget:
            break
        similarity = x[taken] @ x[row]
        if not taken or similarity.max() <= max_similarity:
            taken.append(row)
        else:
            passed[row] = taken[int(similarity.argmax())]
    return taken, passed


@given(st.integers(0, 60), st.integers(0, 1000), st.floats(-0.9, 0.99), st.data())
def test_it_is_the_rule_one_row_at_a_time_then_what_was_passed_over(n, seed, max_similarity, data):
    """In blocks of 7 rows compared with 5 taken rows at a time, so that every border is crossed."""
    budget = data.draw(st.integers(0, n))
    x, quality = unit_rows(seed, n), np.random.default_rng(seed).integers(0, 20, n).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", 7)
        patch.setattr(module, "_TAKEN", 5)
        indices, diverse, representative, similarity = deita(x, quality, budget, max_similarity=max_similarity)
    taken, passed = one_at_a_time(x, quality, budget, max_similarity)
    assert indices[:diverse].tolist() == taken
    assert indices.tolist() == [*taken, *passed][:budget]
    for row, representatives in passed.items():
        if row in indices:
            assert representative[row] == -1
        else:
            assert representative[row] == representatives
            assert similarity[row] == pytest.approx(x[row] @ x[representatives], abs=1e-5)
    assert set(np.flatnonzero(representative >= 0)) <= set(passed)


def test_of_two_near_duplicates_the_better_is_kept():
    x = np.array([[1, 0], [0.96, 0.28], [0, 1]], np.float32)
    assert deita(x, np.array([1, 2, 0], np.float32), 2, max_similarity=0.9)[0].tolist() == [1, 2]
    assert deita(x, np.array([2, 1, 0], np.float32), 2, max_similarity=0.9)[0].tolist() == [0, 2]


def test_a_row_similar_only_to_one_that_was_passed_over_is_taken():
    """The authors' code would pass over the third in a batch of three."""
    angles = np.array([0, 0.4, 0.8])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert deita(x, np.array([3, 2, 1], np.float32), 2, max_similarity=0.9)[0].tolist() == [0, 2]


def test_a_threshold_of_1_is_top_k_also_among_equal_rows():
    x = np.repeat(unit_rows(3, 10, 50), 20, axis=0) * np.float32(1.001)  # as long as storage in float16 may make them
    quality = np.random.default_rng(1).integers(0, 9, 200).astype(np.float32)
    indices, diverse, _, _ = deita(x, quality, 120, max_similarity=1.0)
    assert indices.tolist() == np.argsort(-quality, kind="stable")[:120].tolist()
    assert diverse == 120
