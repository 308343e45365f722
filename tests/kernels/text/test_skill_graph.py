"""Skill graphs against counting, and scores against the matrix product of the definition."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.linalg.cosines import normalize_rows
from curate.kernels.text.skill_graph import SkillGraph, graph_scores

lists = st.lists(st.one_of(st.none(), st.lists(st.sampled_from("abcd"), max_size=5)), max_size=9)


@given(skills=lists, min_rows=st.integers(1, 3))
def test_weights_are_numbers_of_rows(skills, min_rows):
    graph = SkillGraph.from_lists(skills, min_rows)
    sets = [set(one or ()) for one in skills]
    counts = {name: sum(name in one for one in sets) for name in "abcd"}
    assert list(graph.names) == [name for name in "abcd" if counts[name] >= min_rows]
    together = np.array([[sum({a, b} <= one for one in sets) for b in graph.names] for a in graph.names])
    expected = together.reshape(len(graph.names), len(graph.names))
    largest = max(expected.max(initial=0), 1)
    np.testing.assert_allclose(graph.adjacency("max").toarray(), expected / largest)
    np.testing.assert_allclose(graph.adjacency("log").toarray(), np.log1p(expected) / np.log1p(largest))


@pytest.mark.parametrize(("row", "expected"), [([1, 0], 3), ([0, 1], 2), ([1, 1], 5)])
def test_the_published_numbers(row, expected):
    adjacency = sp.csr_matrix(np.array([[2.0, 1], [1, 1]]))
    scores = graph_scores(np.array([row], np.float32), np.eye(2, dtype=np.float32), adjacency, 0)
    assert scores.tolist() == [expected]


@given(n=st.integers(1, 9), v=st.integers(1, 6), floor=st.sampled_from([0.0, 0.3]), seed=st.integers(0, 999))
def test_scores_are_sums_of_the_product_and_do_not_depend_on_the_order_of_skills(n, v, floor, seed):
    rng = np.random.default_rng(seed)
    x, skills = normalize_rows(rng.standard_normal((n, 3))), normalize_rows(rng.standard_normal((v, 3)))
    adjacency = rng.random((v, v))
    adjacency += adjacency.T
    similarity = x @ skills.T
    similarity[similarity < floor] = 0
    found = graph_scores(x, skills, sp.csr_matrix(adjacency), floor)
    np.testing.assert_allclose(found, (similarity @ adjacency).sum(axis=1), rtol=1e-4, atol=1e-5)
    order = rng.permutation(v)
    permuted = graph_scores(x, skills[order], sp.csr_matrix(adjacency[np.ix_(order, order)]), floor)
    np.testing.assert_allclose(permuted, found, rtol=1e-4, atol=1e-5)


def test_without_pairs_it_is_a_sum_weighted_by_frequency():
    graph = SkillGraph.from_lists([["a"], ["a"], ["b"], None])
    x = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    scores = graph_scores(x, graph.centroids(x), graph.adjacency("max"), 0)
    assert scores.tolist() == [1, 1, 0.5, 0.5]


def test_the_vector_of_a_skill_is_the_mean_of_its_rows():
    x = normalize_rows(np.array([[1, 0], [0, 1], [-1, 0]]))
    graph = SkillGraph.from_lists([["a", "c"], ["a"], ["c"]])
    np.testing.assert_allclose(graph.centroids(x), [[0.7071, 0.7071], [0, 0]], atol=1e-4)
    for skills in product([None, ["a"]], repeat=3):
        assert np.isfinite(SkillGraph.from_lists(skills).centroids(x)).all()
