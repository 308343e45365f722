"""Facility location is the greedy sequence of its objective, and near the optimum."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.submodular.similarities import similarity_graph
from curate.plugins.batches import Pool
from curate.plugins.selectors.coverage.facility_location import FacilityLocation, facility_location


def unit_rows(seed, n, d=3, *, twins=False):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if twins:
        x[: n // 2] = x[0]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def graph_of(x, n_neighbors):
    return similarity_graph(x, np.zeros(len(x), np.int32), n_neighbors)


def coverage(similarity, chosen):
    """Return f(S) from the definition."""
    return similarity[:, list(chosen)].max(axis=1).sum() if len(chosen) else 0.0


def naive_greedy(similarity, budget):
    """Select greedily in double precision; exact, because the similarities are multiples of 2^-24."""
    chosen, gains = [], []
    for _ in range(budget):
        value = coverage(similarity, chosen)
        after = [
            coverage(similarity, [*chosen, j]) - value if j not in chosen else -1.0 for j in range(len(similarity))
        ]
        chosen.append(int(np.argmax(after)))
        gains.append(after[chosen[-1]])
    return chosen, gains


@given(st.integers(1, 14), st.integers(0, 1000), st.integers(1, 14), st.booleans())
def test_sequence_and_gains_are_exactly_those_of_the_naive_greedy(n, seed, n_neighbors, twins):
    """With ties to the lowest index, on complete and on sparse graphs, until nothing is left."""
    graph = graph_of(unit_rows(seed, n, twins=twins), n_neighbors)
    indices, gains, _, _ = facility_location(graph, n)
    expected, expected_gains = naive_greedy(graph.toarray().astype(np.float64), n)
    assert indices.tolist() == expected
    assert gains.tolist() == np.array(expected_gains, np.float32).tolist()


@given(st.integers(1, 12), st.integers(0, 1000), st.data())
def test_value_is_at_least_1_minus_1_over_e_of_the_optimum(n, seed, data):
    """Brute force over all sets of k rows, on all similarities."""
    k = data.draw(st.integers(1, min(n, 5)))
    x = unit_rows(seed, n)
    similarity = np.clip(x.astype(np.float64) @ x.T, 0, 1)
    optimum = max(coverage(similarity, chosen) for chosen in combinations(range(n), k))
    indices = facility_location(graph_of(x, n), k)[0]
    assert coverage(similarity, indices) >= (1 - 1 / np.e) * optimum - 1e-5


@given(st.integers(2, 60), st.integers(0, 1000), st.integers(1, 10), st.floats(0, 1))
def test_value_on_a_sparse_graph_is_a_lower_bound_of_the_value_on_all_similarities(n, seed, n_neighbors, rate):
    x = unit_rows(seed, n, 4)
    indices, gains, _, _ = facility_location(graph_of(x, n_neighbors), int(rate * n))
    assert gains.sum() <= coverage(np.clip(x @ x.T, 0, 1), indices) + 1e-4


def test_opposite_rows_do_not_count_against_each_other():
    """Similarities below 0 are 0: covering nothing costs nothing."""
    x = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)
    indices, gains, nearest, similarity = facility_location(graph_of(x, 2), 2)
    assert indices.tolist() == [0, 1]
    assert gains.tolist() == [1, 1]
    assert nearest.tolist() == [-1, -1, -1]
    assert np.isnan(similarity).all()


def test_budget_is_met_when_nothing_is_left_to_gain():
    x = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    indices, gains, _, _ = facility_location(graph_of(x, 5), 6)
    assert indices.tolist() == [0, 3, 1, 2, 4, 5]
    assert gains.tolist() == [3, 3, 0, 0, 0, 0]


def test_dropped_rows_name_the_most_similar_pick_of_their_neighbors():
    x = unit_rows(3, 400, 6)
    graph = graph_of(x, 20)
    indices, _, nearest, similarity = facility_location(graph, 60)
    chosen = graph.toarray()[:, indices]
    for row in np.setdiff1d(np.arange(400), indices):
        if chosen[row].max() == 0:
            assert nearest[row] == -1
            assert np.isnan(similarity[row])
        else:
            assert nearest[row] == indices[chosen[row].argmax()]
            assert similarity[row] == chosen[row].max()


def test_picks_the_middle_of_each_group_first():
    """Two groups on a circle, each with one row between the others."""
    angles = np.array([0.0, 0.2, 0.4, 3.0, 3.2, 3.4])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    pool = Pool(x, np.zeros(6, np.float32), np.zeros(6, np.int32))
    selection = FacilityLocation(n_neighbors=5).select(pool, 2, np.random.default_rng(0))
    assert sorted(selection.indices.tolist()) == [1, 4]
    assert selection.representative.tolist() == [1, -1, 1, 4, -1, 4]
