"""Each objective equals its formula in any order of rows, and its gains decrease."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from curate.kernels.submodular.greedy import lazy, naive
from curate.kernels.submodular.objectives import (
    FacilityLocation,
    FeatureBased,
    GraphCut,
    LogDeterminant,
    Modular,
    SaturatedCoverage,
    WeightedSum,
    find_representatives,
)
from curate.kernels.submodular.similarities import DenseSimilarities, GraphSimilarities

N = 9
X = np.random.default_rng(2).standard_normal((N, 4)).astype(np.float32)
X /= np.linalg.norm(X, axis=1, keepdims=True)
S = np.clip(X.astype(np.float64) @ X.T, 0, 1)
GRAPH = sparse.csr_array(np.where((S > 0.3) | np.eye(N, dtype=bool), np.round(S * 2**24) / 2**24, 0).astype(np.float32))
G = GRAPH.toarray().astype(np.float64)
COUNTS = np.random.default_rng(3).poisson(0.7, (N, 6)).astype(np.float32)
COUNTS[4] = COUNTS[8] = 0

FORMULAS = {
    "facility location": (FacilityLocation(DenseSimilarities(X)), lambda t: S[:, t].max(axis=1).sum()),
    "facility location, graph": (FacilityLocation(GraphSimilarities(GRAPH)), lambda t: G[:, t].max(axis=1).sum()),
    "saturated coverage": (
        SaturatedCoverage(DenseSimilarities(X), 0.2),
        lambda t: np.minimum(S[:, t].sum(axis=1), 0.2 * S.sum(axis=1)).sum(),
    ),
    "saturated coverage, graph": (
        SaturatedCoverage(GraphSimilarities(GRAPH), 0.4),
        lambda t: np.minimum(G[:, t].sum(axis=1), 0.4 * G.sum(axis=1)).sum(),
    ),
    "graph cut": (GraphCut(DenseSimilarities(X), 0.4), lambda t: S[:, t].sum() - 0.4 * S[np.ix_(t, t)].sum()),
    "graph cut, graph": (
        GraphCut(GraphSimilarities(GRAPH), 0.5),
        lambda t: G[:, t].sum() - 0.5 * G[np.ix_(t, t)].sum(),
    ),
    "features, sqrt": (
        FeatureBased(sparse.csr_array(COUNTS), "sqrt"),
        lambda t: np.sqrt(COUNTS[t].sum(axis=0)).sum(),
    ),
    "features, log": (
        FeatureBased(sparse.csr_array(COUNTS), "log"),
        lambda t: np.log1p(COUNTS[t].sum(axis=0)).sum(),
    ),
    "log determinant": (
        LogDeterminant(X),
        lambda t: np.linalg.slogdet(np.eye(len(t)) + X[t].astype(np.float64) @ X[t].T)[1],
    ),
    "modular": (Modular(np.arange(N) * 1.5), lambda t: 1.5 * np.sum(t)),
    "sum": (
        WeightedSum([Modular(np.ones(N)), FacilityLocation(DenseSimilarities(X))], [0.25, 2.0]),
        lambda t: 0.25 * len(t) + 2 * S[:, t].max(axis=1).sum(),
    ),
}
every_objective = pytest.mark.parametrize(("f", "formula"), FORMULAS.values(), ids=FORMULAS)


@every_objective
@given(st.permutations(range(N)), st.integers(1, N))
def test_gains_add_up_to_the_formula(f, formula, rows, size):
    f, total = f.fresh(), 0.0
    for row in rows[:size]:
        total += float(f.gains(np.array([row]))[0])
        f.take(row)
    assert total == pytest.approx(formula(rows[:size]), rel=1e-6, abs=1e-6)


@every_objective
def test_gains_decrease_are_nonnegative_and_independent_of_other_candidates(f, formula):
    f, last = f.fresh(), np.full(N, np.inf)
    for row in range(N):
        left = np.arange(row, N)
        gains = f.gains(left)
        assert (gains >= 0).all()
        assert (gains <= last[left] + 1e-12).all()
        by_themselves = [float(f.gains(np.array([one]))[0]) for one in left]
        assert gains.tolist() == pytest.approx(by_themselves, rel=1e-12 if isinstance(f, LogDeterminant) else 0)
        last[left] = gains
        f.take(row)
    assert formula(list(range(N))) > 0


@every_objective
def test_fresh_state_has_no_selected_rows(f, formula):
    first = f.fresh()
    before = first.gains(np.arange(N)).tolist()
    first.take(0)
    assert first.fresh().gains(np.arange(N)).tolist() == before


def unit_rows(seed, n, d, *, twins=False):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if twins:
        x[: n // 2] = x[:1]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@given(st.one_of(st.integers(0, 20), st.integers(250, 300)), st.integers(0, 1000), st.booleans())
def test_facility_location_keeps_its_gains_exact_until_nothing_is_left(n, seed, twins):
    """Of more rows than one block too: what was subtracted leaves exactly the sums of the definition."""
    similar = DenseSimilarities(unit_rows(seed, n, 5, twins=twins))
    dense, graph = FacilityLocation(similar), FacilityLocation(GraphSimilarities(sparse.csr_array(similar.values)))
    rows, covered = np.arange(n), np.zeros(n, np.float32)
    for row in np.random.default_rng(seed).permutation(n)[:25].tolist():
        for f in (dense, graph):
            f.take(row)
        covered = np.maximum(covered, similar.values[row])
        gains = np.maximum(similar.values - covered, 0).sum(axis=1, dtype=np.float64)
        assert dense.gains(rows).tolist() == graph.gains(rows).tolist() == gains.tolist()


@given(st.integers(1, 12), st.integers(0, 1000))
def test_the_first_k_rows_reach_1_minus_1_over_e_of_the_optimum_for_every_k(n, seed):
    """Brute force over all sets of k rows, on similarities in double precision."""
    x = unit_rows(seed, n, 3)
    similarity = np.clip(x.astype(np.float64) @ x.T, 0, 1)
    indices, gains = lazy(FacilityLocation(DenseSimilarities(x)), np.arange(n), n)
    for k in range(1, n + 1):
        optimum = max(similarity[:, list(chosen)].max(axis=1).sum() for chosen in combinations(range(n), k))
        assert similarity[:, indices[:k]].max(axis=1).sum() >= (1 - 1 / np.e) * optimum - 1e-5
        np.testing.assert_allclose(gains[:k].sum(), similarity[:, indices[:k]].max(axis=1).sum(), atol=1e-5)
    assert (np.diff(gains) <= 0).all()


def test_representatives_are_the_rows_that_cover_the_others():
    nearest, similarity = find_representatives(DenseSimilarities(X), np.array([3, 7]))
    best = S[:, [3, 7]].max(axis=1)
    covered = (best > 0) & ~np.isin(np.arange(N), [3, 7])
    assert nearest.tolist() == np.where(covered, np.where(S[:, 7] > S[:, 3], 7, 3), -1).tolist()
    np.testing.assert_allclose(similarity, np.where(covered, best, np.nan), atol=1e-6)


def test_rows_without_features_have_no_gain():
    f = FeatureBased(sparse.csr_array(np.array([[0, 0], [4, 0], [0, 0], [1, 9], [0, 0]], np.float32)), "sqrt")
    assert f.gains(np.arange(5)).tolist() == [0, 2, 0, 4, 0]
    assert f.gains(np.array([4, 2])).tolist() == [0, 0]
    nothing = FeatureBased(sparse.csr_array((3, 2), dtype=np.float32), "log")
    assert nothing.gains(np.arange(3)).tolist() == [0, 0, 0]


def test_log_determinant_stays_exact_over_thousands_of_rows():
    x = np.random.default_rng(0).standard_normal((3000, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    f, total = LogDeterminant(x), 0.0
    for row in range(3000):
        total += float(f.gains(np.array([row]))[0])
        f.take(row)
    moments = np.eye(8) + x.T.astype(np.float64) @ x
    assert total == pytest.approx(np.linalg.slogdet(moments)[1], rel=1e-7)


def test_log_determinant_ties_rows_whose_float32_lengths_differ_by_rounding():
    """All 2,000 unit rows have the gain log 2 at first, so the lowest is taken; by length it was row 497."""
    x = np.random.default_rng(0).standard_normal((2000, 24)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert len(set((x.astype(np.float64) ** 2).sum(axis=1))) > 1000, "the lengths do not differ"
    assert LogDeterminant(x).gains(np.arange(2000)).tolist() == [float(np.float32(np.log(2)))] * 2000


def test_log_determinant_takes_the_first_of_equal_rows():
    x = np.random.default_rng(1).standard_normal((300, 24)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    twice = np.concatenate((x, x))[np.random.default_rng(2).permutation(600)]
    for search in (lazy, naive):
        indices = search(LogDeterminant(twice), np.arange(600), 200)[0]
        first = (twice @ twice[indices].T > 1 - 1e-6).argmax(axis=0)
        new = np.array([row not in first[:i] for i, row in enumerate(first)])
        assert indices[0] == 0
        assert (indices[new] == first[new]).all()
