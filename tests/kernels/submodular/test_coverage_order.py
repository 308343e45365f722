"""Greedy coverage is the greedy sequence of facility location, exactly, and near the optimum at every length."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.submodular.coverage_order import greedy_coverage
from curate.kernels.submodular.greedy import naive
from curate.kernels.submodular.objectives import FacilityLocation
from curate.kernels.submodular.similarities import Complete


def unit_rows(seed, n, d=3, *, twins=False):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if twins:
        x[: n // 2] = x[:1]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def coverage(similarity, chosen):
    """f(S), from the definition."""
    return similarity[:, list(chosen)].max(axis=1).sum() if len(chosen) else 0.0


@given(st.one_of(st.integers(0, 20), st.integers(250, 300)), st.integers(0, 1000), st.booleans())
def test_sequence_and_gains_are_those_of_the_naive_greedy(n, seed, twins):
    """Ties to the lowest index, until nothing is left to gain; of more rows than one block too."""
    similar = Complete(unit_rows(seed, n, 5, twins=twins))
    expected, expected_gains = naive(FacilityLocation(similar), np.arange(n), n)
    order, gains = greedy_coverage(similar.values)
    assert order.tolist() == expected.tolist()
    assert gains.tolist() == expected_gains.tolist()


@given(st.integers(1, 12), st.integers(0, 1000))
def test_the_first_k_are_at_least_1_minus_1_over_e_of_the_optimum_for_every_k(n, seed):
    """Brute force over all sets of k rows, on similarities in double precision."""
    x = unit_rows(seed, n)
    similarity = np.clip(x.astype(np.float64) @ x.T, 0, 1)
    order, gains = greedy_coverage(Complete(x).values)
    for k in range(1, n + 1):
        optimum = max(coverage(similarity, chosen) for chosen in combinations(range(n), k))
        assert coverage(similarity, order[:k]) >= (1 - 1 / np.e) * optimum - 1e-5
        np.testing.assert_allclose(gains[:k].sum(), coverage(similarity, order[:k]), atol=1e-5)
    assert (np.diff(gains) <= 0).all()
