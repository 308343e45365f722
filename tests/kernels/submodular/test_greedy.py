"""Every search agrees with brute force or with greedy search from the definition, as documented."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from curate.kernels.submodular.greedy import distorted, lazy, naive, stochastic, threshold
from curate.kernels.submodular.objectives import (
    FacilityLocation,
    FeatureBased,
    GraphCut,
    LogDeterminant,
    Modular,
    SaturatedCoverage,
    WeightedSum,
)
from curate.kernels.submodular.similarities import DenseSimilarities

E = 1 - 1 / np.e


def unit_rows(seed, n, *, twins=False):
    x = np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)
    if twins:
        x[: n // 2] = x[0]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def counts(seed, n):
    draws = np.random.default_rng(seed).poisson(0.8, (n, 5)).astype(np.float32)
    return sparse.csr_array(draws)


OBJECTIVES = {
    "facility location": lambda seed, n, twins: FacilityLocation(DenseSimilarities(unit_rows(seed, n, twins=twins))),
    "saturated coverage": lambda seed, n, twins: SaturatedCoverage(
        DenseSimilarities(unit_rows(seed, n, twins=twins)), 0.3
    ),
    "graph cut": lambda seed, n, twins: GraphCut(DenseSimilarities(unit_rows(seed, n, twins=twins)), 0.5),
    "feature-based, root": lambda seed, n, twins: FeatureBased(counts(seed, n), "sqrt"),
    "feature-based, log": lambda seed, n, twins: FeatureBased(counts(seed, n), "log"),
    "weighted sum": lambda seed, n, twins: WeightedSum(
        [FacilityLocation(DenseSimilarities(unit_rows(seed, n, twins=twins))), Modular(np.arange(n) / n)], [0.7, 0.3]
    ),
}
every_objective = pytest.mark.parametrize("make", OBJECTIVES.values(), ids=OBJECTIVES)


def value(f, rows):
    """Return f(S) by adding its rows one by one."""
    f, total = f.fresh(), 0.0
    for row in rows:
        total += float(f.gains(np.array([row]))[0])
        f.take(int(row))
    return total


def optimum(f, n, k):
    return max((value(f, chosen) for chosen in combinations(range(n), k)), default=0.0)


@every_objective
@given(st.integers(1, 14), st.integers(0, 1000), st.booleans(), st.data())
def test_lazy_takes_exactly_the_rows_of_the_naive_greedy(make, n, seed, twins, data):
    f = make(seed, n, twins)
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1)))), np.intp)
    budget = data.draw(st.integers(0, len(rows)))
    indices, gains = lazy(f.fresh(), rows, budget)
    expected, expected_gains = naive(f, rows, budget)
    assert indices.tolist() == expected.tolist()
    assert gains.tolist() == expected_gains.tolist()


def test_lazy_takes_the_rows_of_the_naive_greedy_by_volume():
    """Rounding may part rows whose gains are the same to 1e-12; these are not."""
    f = LogDeterminant(unit_rows(4, 60))
    assert lazy(f.fresh(), np.arange(60), 60)[0].tolist() == naive(f, np.arange(60), 60)[0].tolist()


@every_objective
@given(st.integers(1, 9), st.integers(0, 1000), st.integers(1, 4))
def test_values_are_at_least_the_promised_share_of_the_optimum(make, n, seed, k):
    k = min(k, n)
    f, rows = make(seed, n, False), np.arange(n)
    best = optimum(f, n, k)
    for indices, gains in (lazy(f.fresh(), rows, k), threshold(f.fresh(), rows, k, 0.05)):
        assert len(set(indices.tolist())) == k
        assert gains.sum() == pytest.approx(value(f, indices), abs=1e-9)
        assert gains.sum() >= (E - 0.05) * best - 1e-9


def test_stochastic_greedy_is_near_the_optimum_on_average_and_greedy_with_every_row_sampled():
    f, rows = OBJECTIVES["facility location"](3, 12, False), np.arange(12)
    best = optimum(f, 12, 3)
    values = [stochastic(f.fresh(), rows, 3, 0.2, np.random.default_rng(seed))[1].sum() for seed in range(200)]
    assert np.mean(values) >= (E - 0.2) * best
    assert np.std(values) > 0, "nothing was drawn"
    exact = stochastic(f.fresh(), rows, 12, 1e-9, np.random.default_rng(0))
    assert exact[0].tolist() == naive(f.fresh(), rows, 12)[0].tolist()


def test_stochastic_greedy_evaluates_few_rows():
    seen = 0

    class Counted(Modular):
        def gains(self, rows):
            nonlocal seen
            seen += len(rows)
            return super().gains(rows)

    stochastic(Counted(np.ones(1000)), np.arange(1000), 100, 0.01, np.random.default_rng(0))
    assert seen <= 1000 * np.log(100) + 100


# ---------------------------------------------------------------- less a cost


def test_distorted_greedy_of_three_modular_rows_takes_the_first_and_the_third():
    indices, gains = distorted(Modular(np.array([3.0, 2.0, 1.0])), np.array([1.0, 1.5, 0.2]), np.arange(3), 2)
    assert sorted(indices.tolist()) == [0, 2]
    assert gains.sum() == pytest.approx(2.8)


@given(st.integers(1, 9), st.integers(0, 1000), st.integers(1, 4), st.floats(0, 2))
def test_distorted_greedy_keeps_the_bound_of_harshaw(n, seed, k, dear):
    """f(S) − c(S) >= (1 − 1/e) f(O) − c(O) for every O of up to k rows; S without the rows that make up the budget."""
    k = min(k, n)
    f = OBJECTIVES["facility location"](seed, n, False)
    cost = dear * np.random.default_rng(seed).random(n)
    indices, gains = distorted(f.fresh(), cost, np.arange(n), k)
    reached = max(np.cumsum(np.append(0, gains)))
    bound = max(
        E * value(f, chosen) - cost[list(chosen)].sum() for m in range(k + 1) for chosen in combinations(range(n), m)
    )
    assert reached >= bound - 1e-9
    assert len(set(indices.tolist())) == k


def test_without_a_cost_the_distorted_greedy_is_the_greedy():
    f = OBJECTIVES["facility location"](5, 14, True)
    plain = lazy(f.fresh(), np.arange(14), 9)
    indices, gains = distorted(f.fresh(), np.zeros(14), np.arange(14), 9)
    assert indices.tolist() == plain[0].tolist()
    assert gains.tolist() == plain[1].tolist()


def test_rows_with_negative_net_gain_are_last():
    f = Modular(np.array([1.0, 5.0, 1.0, 1.0]))
    indices, gains = distorted(f, np.array([3.0, 1.0, 2.0, 9.0]), np.arange(4), 3)
    assert indices.tolist() == [1, 2, 0]
    assert gains.tolist() == [4, -1, -2]
