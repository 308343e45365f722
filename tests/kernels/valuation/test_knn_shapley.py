"""KNN-Shapley is the Shapley value, by definition, and sums to the utility."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.valuation.knn_shapley import knn_shapley


def utility(subset, similarity, matches, k):
    """Return the share of the k most similar rows of the subset that match."""
    nearest = sorted(subset, key=lambda row: (-similarity[row], row))[:k]
    return sum(matches[row] for row in nearest) / k


def shapley(n, value):
    """Return the Shapley values of n players by enumeration of all orders."""
    total = np.zeros(n)
    for order in itertools.permutations(range(n)):
        for position, player in enumerate(order):
            total[player] += value(order[: position + 1]) - value(order[:position])
    return total / math.factorial(n)


@given(seed=st.integers(0, 1 << 32), n=st.integers(1, 6), k=st.integers(1, 8), tests=st.integers(1, 3))
def test_values_are_those_of_the_definition(seed, n, k, tests):
    rng = np.random.default_rng(seed)
    x, test = (rng.integers(-2, 3, (rows, 2)).astype(np.float32) + 0.25 for rows in (n, tests))
    x, test = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, test))
    labels, test_labels = rng.integers(0, 2, n).astype(np.int32), rng.integers(0, 2, tests).astype(np.int32)
    expected = np.zeros(n)
    for row, label in zip(test, test_labels, strict=True):
        similarity = (row[None] @ x.T)[0]
        expected += shapley(n, lambda s, a=similarity, b=label: utility(s, a, labels == b, k))
    assert knn_shapley(x, labels, test, test_labels, k) == pytest.approx(expected / tests, abs=1e-9)


@given(seed=st.integers(0, 1 << 32), n=st.integers(1, 6), k=st.integers(1, 8))
def test_weighted_values_are_those_of_the_definition(seed, n, k):
    rng = np.random.default_rng(seed)
    x, test = (rng.standard_normal((rows, 2)).astype(np.float32) for rows in (n, 2))
    x, test = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, test))
    x[n // 2] = x[0]  # a tie
    labels, test_labels = rng.integers(0, 2, n).astype(np.int32), rng.integers(0, 2, 2).astype(np.int32)
    expected = np.zeros(n)
    for row, label in zip(test, test_labels, strict=True):
        similarity = (row[None] @ x.T)[0]
        votes = np.where(labels == label, np.maximum(similarity, 0), 0)  # opposite rows do not vote against
        expected += shapley(n, lambda s, a=similarity, v=votes: utility(s, a, v, k))
    values = knn_shapley(x, labels, test, test_labels, k, "similarity")
    assert values == pytest.approx(expected / 2, abs=1e-6)


def test_the_published_example():
    x = np.array([[np.cos(angle), np.sin(angle)] for angle in (0, 0.3, 0.6, 0.9, 1.2)], np.float32)
    labels = np.array([1, 0, 1, 1, 0], np.int32)
    values = knn_shapley(x, labels, x[:1], np.array([1], np.int32), 2)
    assert values.tolist() == [0.25, -0.25, 0.25, 0.25, 0]


@given(seed=st.integers(0, 1 << 32))
def test_values_sum_to_the_utility_of_all_rows(seed):
    rng = np.random.default_rng(seed)
    x, test = (rng.standard_normal((rows, 8)).astype(np.float32) for rows in (300, 40))
    x, test = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, test))
    labels, test_labels = rng.integers(0, 3, 300).astype(np.int32), rng.integers(0, 3, 40).astype(np.int32)
    every = np.mean(
        [utility(range(300), row @ x.T, labels == label, 5) for row, label in zip(test, test_labels, strict=True)]
    )
    assert knn_shapley(x, labels, test, test_labels, 5).sum() == pytest.approx(every, abs=1e-9)


def test_a_wrong_label_lowers_the_value():
    x = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
    labels = np.repeat([0, 1], 50).astype(np.int32)
    labels[7] = 1
    values = knn_shapley(x, labels, x, np.repeat([0, 1], 50).astype(np.int32), 5)
    assert values.argmin() == 7
