"""Turns against a sort of all similarities, for ties, deep rankings and small blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.neighbors import turns
from curate.kernels.neighbors.turns import NEVER, find_turns, largest, nearest_rows, rank_rows


def grid(n, m, seed):
    """Return vectors with many equal similarities that are exact in float32."""
    rng = np.random.default_rng(seed)
    return rng.integers(-2, 3, (n, 3)).astype(np.float32), rng.integers(-2, 3, (m, 3)).astype(np.float32)


def by_sorting(x, queries):
    ranks = np.argsort(np.argsort(-(x @ queries.T), axis=0, kind="stable"), axis=0)
    return (ranks * len(queries) + np.arange(len(queries))).min(axis=1)


@given(n=st.integers(0, 40), m=st.integers(1, 9), share=st.floats(0, 1), seed=st.integers(0, 999))
def test_the_turns_of_the_budget_are_those_of_all_ranks(n, m, share, seed):
    x, queries = grid(n, m, seed)
    budget = int(share * n)
    turn, similarity = find_turns(x, queries, None, budget)
    every = by_sorting(x, queries)
    known = turn < NEVER
    assert np.count_nonzero(known) >= budget
    assert (turn[known] == every[known]).all()
    assert set(np.argsort(every)[:budget]) <= set(np.flatnonzero(known))
    assert (similarity[known] == (x @ queries.T)[known, turn[known] % m]).all()


def test_queries_that_propose_the_same_rows_are_ranked_to_the_end(monkeypatch):
    x, _ = grid(300, 1, 0)
    queries = np.repeat(np.array([[1, 2, -1]], np.float32), 5, axis=0)
    expected = by_sorting(x, queries)
    for candidates in (turns._CANDIDATES, 50):
        monkeypatch.setattr(turns, "_CANDIDATES", candidates)
        assert find_turns(x, queries, None, 290)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("cells", [1, 5_000])
def test_small_blocks_give_the_same_rows(monkeypatch, cells):
    x, queries = grid(5_000, 7, 1)
    monkeypatch.setattr(turns, "_CELLS", cells)
    rows, similarity = nearest_rows(x, queries, 40)
    products = queries @ x.T
    assert rows.tolist() == np.argsort(-products, axis=1, kind="stable")[:, :40].tolist()
    assert (similarity == np.take_along_axis(products, rows, axis=1)).all()
    assert nearest_rows(x, queries, 0)[0].shape == (7, 0)


@given(values=st.lists(st.integers(-3, 3), max_size=30), depth=st.integers(0, 30))
def test_the_largest_values_with_ties_to_the_first(values, depth):
    array = np.array(values, np.float32)
    expected = np.argsort(-array, kind="stable")[:depth]
    assert rank_rows(array, depth).tolist() == expected.tolist()
    assert largest(array, depth).tolist() == sorted(expected.tolist())
