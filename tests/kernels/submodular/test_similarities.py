"""The dense and the sparse similarities agree where they store the same values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from curate.kernels.submodular.similarities import (
    DenseSimilarities,
    GraphSimilarities,
    round_to_grid,
    similarity_graph,
    similarity_sums,
)

N = 9
X = np.random.default_rng(2).standard_normal((N, 4)).astype(np.float32)
X /= np.linalg.norm(X, axis=1, keepdims=True)
S = np.clip(X.astype(np.float64) @ X.T, 0, 1)


def dense_as_graph():
    return GraphSimilarities(sparse.csr_array(DenseSimilarities(X).values))


def test_complete_similarities_are_symmetric_on_the_grid_and_0_below_0():
    values = DenseSimilarities(X).values
    assert (values == values.T).all()
    assert (values * 2.0**24 == np.round(values * 2.0**24)).all()
    assert np.diagonal(values).tolist() == [1] * N
    assert (values == 0).any()
    np.testing.assert_allclose(values, S, atol=1e-6)


def test_the_grid_ends_at_0_and_1():
    assert round_to_grid(np.array([-0.5, 1.5, 2.0**-26, 0.75], np.float32)).tolist() == [0, 1, 0, 0.75]


@pytest.mark.parametrize("similar", [DenseSimilarities(X), dense_as_graph()], ids=["complete", "graph"])
def test_totals_lines_and_degrees_are_those_of_the_definition(similar):
    state = np.linspace(0, 1, N)
    rows = np.array([7, 0, 3])
    total = similar.sum_over_rows(rows, np.minimum, state)
    np.testing.assert_allclose(total, np.minimum(S[rows], state).sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(similarity_sums(similar), S.sum(axis=1), atol=1e-5)
    line = np.zeros(N)
    others, values = similar.row(4)
    line[others] = values
    np.testing.assert_allclose(line, S[4], atol=1e-6)


# ---------------------------------------------------------------- the graph


def unit_rows(seed, n, d=3, *, twins=False):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if twins:
        x[: n // 2] = x[0]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def graph_of(x, n_neighbors):
    return similarity_graph(x, np.zeros(len(x), np.int32), n_neighbors)


@given(st.integers(1, 30), st.integers(0, 1000))
def test_graph_is_complete_when_every_row_is_a_neighbor(n, seed):
    x = unit_rows(seed, n)
    expected = np.clip(x @ x.T, 0, 1)
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(graph_of(x, max(n - 1, 1)).toarray(), expected, atol=1e-6)


@given(st.integers(1, 60), st.integers(0, 1000), st.integers(1, 8))
def test_graph_is_symmetric_has_ones_on_the_diagonal_and_lies_on_the_grid(n, seed, n_neighbors):
    graph = graph_of(unit_rows(seed, n, twins=True), n_neighbors)
    dense = graph.toarray()
    assert (dense == dense.T).all()
    assert (np.diagonal(dense) == 1).all()
    assert (dense * 2.0**24 == np.round(dense * 2.0**24)).all()
    assert ((dense >= 0) & (dense <= 1)).all()


@pytest.mark.parametrize("strays", [0, 40])
def test_large_pools_are_searched_by_cluster(monkeypatch, strays):
    """Looking into all clusters finds what the exact search finds, however the clusters are numbered."""
    x = unit_rows(5, 600, 6)
    cluster = (x[:, 0] > 0).astype(np.int32) * 7 + (x[:, 1] > 0) * np.int32(2)
    cluster[:strays] = -1
    exact = similarity_graph(x, cluster, 10).toarray()
    monkeypatch.setattr("curate.kernels.submodular.similarities.EXACT_ROWS", 100)
    np.testing.assert_allclose(similarity_graph(x, cluster, 10, n_probe=4).toarray(), exact, atol=1e-6)
    by_one = similarity_graph(x, cluster, 10, n_probe=1)
    assert by_one.nnz > 0
    assert np.abs(by_one.toarray() - exact).max() > 0.1, "one cluster alone finds as much as all"


def test_large_pool_without_clusters_is_searched_exactly(monkeypatch):
    x = unit_rows(5, 300, 6)
    exact = graph_of(x, 10).toarray()
    monkeypatch.setattr("curate.kernels.submodular.similarities.EXACT_ROWS", 100)
    assert (similarity_graph(x, np.full(300, -1, np.int32), 10).toarray() == exact).all()
