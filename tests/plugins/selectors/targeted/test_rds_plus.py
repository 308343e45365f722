"""RDS+: turns of queries and tasks, against the loop of the published code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.linalg.cosines import normalize_rows
from curate.kernels.neighbors import turns
from curate.plugins.batches import Pool, TargetRows
from curate.plugins.selectors.targeted.rds_plus import RDSPlus, take_turns


def turns_by_loop(rankings, budget):
    """Return the rows that queries add in turns; each proposes its next best row, and duplicates are dropped."""
    chosen, position = [], 0
    while len(chosen) < budget:
        for ranking in rankings:
            if len(chosen) < budget and ranking[position] not in chosen:
                chosen.append(ranking[position])
        position += 1
    return chosen


def vectors(n, d, seed):
    return normalize_rows(np.random.default_rng(seed).standard_normal((n, d)))


@given(n=st.integers(1, 30), m=st.integers(1, 8), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_queries_take_turns(n, m, seed, share):
    x, queries, budget = vectors(n, 4, seed), vectors(m, 4, seed + 1), int(share * n)
    rankings = [np.argsort(-(x @ query), kind="stable").tolist() for query in queries]
    rows, similarity = take_turns(x, queries, None, budget)
    assert rows.tolist() == turns_by_loop(rankings, budget)
    assert (similarity <= (x[rows] @ queries.T).max(axis=1) + 1e-6).all()


@given(n=st.integers(1, 30), m=st.integers(1, 8), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_tasks_take_turns_with_the_nearest_of_their_queries(n, m, seed, share):
    x, queries, budget = vectors(n, 4, seed), vectors(m, 4, seed + 1), int(share * n)
    tasks = np.random.default_rng(seed).integers(0, 3, m).astype(np.int32)
    best = [(x @ queries[tasks == task].T).max(axis=1) for task in np.unique(tasks)]
    rankings = [np.argsort(-values, kind="stable").tolist() for values in best]
    assert take_turns(x, queries, tasks, budget)[0].tolist() == turns_by_loop(rankings, budget)


def test_a_duplicate_loses_the_turn():
    """Rankings [1, 2, 3] and [1, 4, 5], three rows: the second query's turn is lost to row 1."""
    scores = np.array([[0, 9, 8, 7, 1, 2], [0, 9, 1, 2, 8, 7]]) / 10
    x = normalize_rows(np.concatenate([scores.T, np.sqrt(3 - (scores.T**2).sum(axis=1, keepdims=True))], axis=1))
    rows, similarity = take_turns(x, np.eye(3, dtype=np.float32)[:2], None, 3)
    assert rows.tolist() == [1, 2, 4]
    np.testing.assert_allclose(similarity, np.array([0.9, 0.8, 0.8]) / np.sqrt(3), rtol=1e-6)
    tasks = np.array([0, 1], np.int32)
    assert take_turns(x, np.eye(3, dtype=np.float32)[:2], tasks, 3)[0].tolist() == [1, 2, 4]


def test_blocks_of_queries_do_not_matter(monkeypatch):
    x, queries = vectors(50, 4, 0), vectors(9, 4, 1)
    expected = take_turns(x, queries, None, 40)
    monkeypatch.setattr(turns, "_CELLS", 60)
    found = take_turns(x, queries, None, 40)
    assert found[0].tolist() == expected[0].tolist()
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


def select(x, queries, tasks, budget, **fields):
    labels = np.full(len(queries), -1, np.int32)
    target = TargetRows(queries, labels, np.asarray(tasks, np.int32))
    pool = Pool(x, np.zeros(len(x), np.float32), np.zeros(len(x), np.int32), target=target)
    return RDSPlus(**fields).select(pool, budget, np.random.default_rng(0)).check(len(x), budget)


def test_the_best_rule_ignores_turns():
    """The global top of all pairs: a query with many similar rows gets all of them."""
    x = normalize_rows(np.array([[1, 0], [0.99, 0.14], [0.98, 0.2], [0.1, 1.0], [0.5, 0.5]]))
    queries = np.array([[1, 0], [0, 1]], np.float32)
    assert select(x, queries, [0, 0], 3, rule="best").indices.tolist() == [0, 3, 1]
    assert select(x, queries, [0, 0], 4, rule="turns").indices.tolist() == [0, 3, 1, 4]
    assert select(x, queries, [0, 0], 4, rule="best").indices.tolist() == [0, 3, 1, 2]


@pytest.mark.parametrize("tasks", [[0, 0, 1], [3, 3, 5]])
def test_tasks_of_the_target_take_turns(tasks):
    x, queries = vectors(20, 3, 4), vectors(3, 3, 5)
    expected = take_turns(x, queries, np.array(tasks, np.int32), 8)[0]
    assert select(x, queries, tasks, 8).indices.tolist() == expected.tolist()
    assert select(x, queries, [2, 2, 2], 8).indices.tolist() == take_turns(x, queries, None, 8)[0].tolist()
