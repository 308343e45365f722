"""Nearest labeled rows, block by block, next to the obvious search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.neighbors import nearest_labeled
from curate.kernels.neighbors.nearest_labeled import NearestLabeled


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 1 << 32), k=st.integers(0, 6), parts=st.integers(1, 4))
def test_blocks_give_the_nearest_rows(seed, k, parts):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    x = unit(rng.normal(size=(n, 3)))[rng.integers(0, n, n)]
    labels = rng.integers(-1, 3, n).astype(np.int32)
    queries = np.sort(rng.permutation(n)[:5])
    state = NearestLabeled.start(x[queries], labels[queries], queries, k)
    for rows in np.array_split(np.arange(n), parts):
        if len(rows):
            state.add(x[rows], labels[rows], int(rows[0]))
    for place, row in enumerate(queries):
        similarity = x @ x[row]
        allowed = [
            other
            for other in range(n)
            if other != row
            and labels[other] >= 0
            and not (similarity[other] >= 1 - 1e-6 and labels[other] == labels[row])
        ]
        best = sorted((-round(float(similarity[other]), 5), other) for other in allowed)[:k]
        found = state.rows[place][state.rows[place] >= 0]
        assert len(found) == len(best)
        np.testing.assert_allclose(similarity[found], [-value for value, _ in best], atol=2e-5)
        np.testing.assert_allclose(state.similarities[place][: len(best)], similarity[found], atol=1e-5)


@pytest.mark.parametrize("cells", [1, 7, 1 << 22])
def test_any_block_size_gives_the_same(cells, monkeypatch):
    monkeypatch.setattr(nearest_labeled, "_CELLS", cells)
    rng = np.random.default_rng(0)
    x, labels = unit(rng.normal(size=(200, 4))), rng.integers(0, 3, 200).astype(np.int32)
    state = NearestLabeled.start(x[:5], labels[:5], np.arange(5), 3)
    state.add(x, labels, 0)
    similarity = x[:5] @ x.T
    similarity[np.arange(5), np.arange(5)] = -1
    np.testing.assert_array_equal(state.rows, np.argsort(-similarity, axis=1)[:, :3])


@given(seed=st.integers(0, 1 << 32), k=st.integers(1, 8))
def test_ties_go_to_the_first_columns(seed, k):
    rng = np.random.default_rng(seed)
    values = rng.integers(-1, 3, (4, int(rng.integers(1, 12)))).astype(np.float32)
    values[values < 0] = -np.inf
    columns = 10 + np.arange(values.shape[1])
    found, largest = nearest_labeled._select_largest(values, columns, k)
    for row, names, numbers in zip(values, found, largest, strict=True):
        order = [at for at in np.argsort(-row, kind="stable") if np.isfinite(row[at])][:k]
        assert names.tolist() == [*columns[order].tolist(), *[-1] * (k - len(order))]
        assert numbers.tolist() == [*row[order].tolist(), *[-np.inf] * (k - len(order))]
