"""Two rounds: random partitions, weights that equal copies of rows, and the guarantee against brute force."""

from __future__ import annotations

from functools import partial
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from curate.kernels.submodular.greedy import compute_gains, lazy, naive
from curate.kernels.submodular.objectives import (
    FacilityLocation,
    FeatureBased,
    GraphCut,
    LogDeterminant,
    Modular,
    SaturatedCoverage,
)
from curate.kernels.submodular.similarities import DenseSimilarities, GraphSimilarities, similarity_graph
from curate.kernels.submodular.two_rounds import (
    WeightedSimilarities,
    compose_representatives,
    partition_rows,
    select_from_union,
)


def unit_rows(seed, n, d=3):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


# ---------------------------------------------------------------- partitions


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 99))
def test_partitions_contain_every_row_once_in_equal_sizes_and_none_is_empty(n, n_partitions, seed):
    parts = partition_rows(n, n_partitions, np.random.default_rng(seed))
    assert len(parts) == min(n, n_partitions)
    assert sorted(row for part in parts for row in part.tolist()) == list(range(n))
    sizes = [len(part) for part in parts]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert min(sizes, default=1) >= 1
    assert all((np.diff(part) > 0).all() for part in parts)


def test_any_two_rows_share_a_partition_equally_often():
    """Neighbors in the pool as well as others: 3 of the 11 other rows share one's partition of 4."""
    together = np.zeros((12, 12))
    for seed in range(3000):
        for part in partition_rows(12, 3, np.random.default_rng(seed)):
            together[np.ix_(part, part)] += 1
    shares = together[~np.eye(12, dtype=bool)] / 3000
    np.testing.assert_allclose(shares, 3 / 11, atol=0.04)


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize(
    "objective",
    [
        FacilityLocation,
        lambda similarities: SaturatedCoverage(similarities, 0.3),
        lambda similarities: GraphCut(similarities, 0.5),
    ],
    ids=["facility_location", "saturated_coverage", "graph_cut"],
)
def test_a_weight_counts_as_that_many_copies_of_the_row(objective, dense):
    """Exactly, in every step of the greedy, of which the copies do not take part."""
    x, weights = unit_rows(4, 12), np.random.default_rng(5).integers(1, 5, 12)
    copies = np.concatenate([np.arange(12), np.repeat(np.arange(12), weights - 1)])

    def similarities(rows):
        values = DenseSimilarities(x).values[np.ix_(rows, rows)]
        return DenseSimilarities(x[rows]) if dense else GraphSimilarities(sparse.csr_array(values))

    weighted = objective(WeightedSimilarities(similarities(np.arange(12)), weights.astype(float)))
    expected = objective(similarities(copies))
    first, second = naive(weighted.fresh(), np.arange(12), 8), naive(expected.fresh(), np.arange(12), 8)
    assert first[0].tolist() == second[0].tolist()
    np.testing.assert_allclose(first[1], second[1], atol=1e-5)
    eager = lazy(weighted.fresh(), np.arange(12), 8)
    assert eager[0].tolist() == first[0].tolist()
    assert eager[1].tolist() == first[1].tolist()


def test_weighted_gains_stay_exact_as_rows_are_taken():
    """More rows than one block of updates, against the definition in double precision."""
    x, weights = unit_rows(7, 700, 4), np.random.default_rng(8).integers(1, 1000, 700).astype(float)
    graph = similarity_graph(x, np.zeros(700, np.int32), 699)
    dense, covered = graph.toarray().astype(np.float64), np.zeros(700)
    f = FacilityLocation(WeightedSimilarities(GraphSimilarities(graph), weights))
    for row in (3, 500, 77):
        f.take(row)
        covered = np.maximum(covered, dense[row])
    gains = (weights * np.maximum(dense - covered, 0)).sum(axis=1)
    assert compute_gains(f, np.arange(700)).tolist() == gains.tolist()


# ---------------------------------------------------------------- the guarantee


def features(seed, n):
    rng = np.random.default_rng(seed)
    return sparse.csr_array((rng.random((n, 4)) * (rng.random((n, 4)) < 0.4)).astype(np.float32))


FIXED = {
    "modular": lambda seed, n: Modular(np.random.default_rng(seed).random(n) ** 4),
    "feature_based": lambda seed, n: FeatureBased(features(seed, n), "sqrt"),
    "log_determinant": lambda seed, n: LogDeterminant(unit_rows(seed, n, 2)),
}
"""Objectives in which the value of a set does not depend on other rows."""


def value(f, rows):
    f, total = f.fresh(), 0.0
    for row in rows:
        total += f.gains(np.array([row]))[0]
        f.take(int(row))
    return total


def two_rounds(f, parts, budget):
    answers = [lazy(f.fresh(), part, min(budget, len(part)))[0] for part in parts]
    union = np.sort(np.concatenate(answers))
    indices, gains = select_from_union(f, answers, union, budget, partial(lazy, rows=union, budget=budget))
    assert len(np.unique(indices)) == budget
    assert np.isin(indices, union).all()
    assert gains.sum() == pytest.approx(value(f, indices), abs=1e-5)
    return gains.sum()


@pytest.mark.parametrize("name", FIXED)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 500), st.data())
def test_value_is_at_least_the_guaranteed_share_of_the_optimum_for_any_partition(name, n, n_parts, seed, data):
    """Brute force over all sets; partitions by anyone, also with parts smaller than the budget."""
    f, k = FIXED[name](seed, n), data.draw(st.integers(1, min(n, 4)))
    part_of = np.array(data.draw(st.lists(st.integers(0, n_parts - 1), min_size=n, max_size=n)))
    parts = [rows for number in range(n_parts) if len(rows := np.flatnonzero(part_of == number))]
    optimum = max(value(f, rows) for rows in combinations(range(n), k))
    assert two_rounds(f, parts, k) >= (1 - 1 / np.e) / len(parts) * optimum - 1e-5


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("seed", range(6))
def test_mean_value_over_all_partitions_is_at_least_the_share_guaranteed_in_expectation(name, seed):
    """Over all assignments of 7 rows to 2 partitions, equally likely if each row is assigned independently."""
    n, k, f = 7, 2, FIXED[name](seed, 7)
    optimum = max(value(f, rows) for rows in combinations(range(n), k))
    values = []
    for assignment in product((0, 1), repeat=n):
        parts = [rows for number in (0, 1) if len(rows := np.flatnonzero(np.array(assignment) == number))]
        values.append(two_rounds(f, parts, k))
    assert np.mean(values) >= (1 - 1 / np.e) / 2 * optimum
    assert max(values) <= optimum + 1e-5


def test_an_answer_of_the_first_round_wins_if_its_value_is_larger():
    """The greedy takes the row that covers most, although two others cover everything together."""
    sets = sparse.csr_array(np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]], np.float32))
    f = FeatureBased(sets, "sqrt")
    bad = lambda g: lazy(g, np.array([0, 2]), 2)  # noqa: E731 - a search that misses row 1
    indices, gains = select_from_union(f, [np.array([0, 1]), np.array([2])], np.arange(3), 2, bad)
    assert indices.tolist() == [0, 1]
    assert gains.sum() == pytest.approx(4)


def test_an_answer_with_fewer_rows_than_the_budget_is_completed():
    f = Modular(np.array([1.0, 5.0, 4.0, 3.0]))
    worst = lambda g: lazy(g, np.array([0, 3]), 2)  # noqa: E731
    indices, gains = select_from_union(f, [np.array([2])], np.arange(4), 2, worst)
    assert indices.tolist() == [2, 1]
    assert gains.tolist() == [4, 5]


# ---------------------------------------------------------------- representatives


def test_a_row_is_represented_through_its_representative_and_only_with_a_positive_cosine():
    angles = np.array([0.0, 0.1, 1.0, 1.1, 1.5, 3.0])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    first = np.array([1, 1, 2, 2, -1, 2])  # rows 1 and 2 are the union
    second = np.array([-1, 2, -1, -1, -1, -1])
    nearest, similarity = compose_representatives(x, first, second, np.array([2]))
    assert nearest.tolist() == [2, 2, -1, 2, -1, -1]
    np.testing.assert_allclose(similarity, [np.cos(1.0), np.cos(0.9), np.nan, np.cos(0.1), np.nan, np.nan], atol=1e-6)


def test_copies_of_a_kept_row_have_similarity_1():
    x = np.repeat(unit_rows(3, 1, 384), 3, axis=0)
    nearest, similarity = compose_representatives(x, np.array([0, 0, 2]), np.array([-1, -1, 0]), np.array([0]))
    assert nearest.tolist() == [-1, 0, 0]
    assert similarity[1:].tolist() == [1, 1]
