"""Every search agrees with brute force or with greedy search from the definition, as documented."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from curate.kernels.submodular.greedy import distorted, distributed, lazy, naive, stochastic, threshold
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


def test_two_rounds_are_near_the_greedy_and_better_than_a_part():
    f, rows = FacilityLocation(DenseSimilarities(unit_rows(7, 300))), np.arange(300)
    complete = lazy(f.fresh(), rows, 10)[1].sum()
    indices, gains = distributed(f.fresh(), rows, 10, 4, np.random.default_rng(1))
    assert gains.sum() == pytest.approx(value(f, indices))
    assert gains.sum() >= 0.95 * complete
    part = rows[np.random.default_rng(1).integers(4, size=300) == 0]
    assert gains.sum() >= lazy(f.fresh(), part, 10)[1].sum()


def test_one_part_is_the_greedy_and_parts_smaller_than_the_budget_do():
    f, rows = FacilityLocation(DenseSimilarities(unit_rows(7, 20))), np.arange(20)
    for parts, budget in ((1, 5), (7, 11), (40, 20)):
        indices, _ = distributed(f.fresh(), rows, budget, parts, np.random.default_rng(0))
        assert len(set(indices.tolist())) == budget
    one, _ = distributed(f.fresh(), rows, 5, 1, np.random.default_rng(0))
    assert one.tolist() == lazy(f, rows, 5)[0].tolist()


@pytest.mark.slow
@every_objective
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_two_rounds_reach_the_promised_share_of_the_optimum_on_average(make, parts):
    """(1 − 1/e) / 2 over 100 draws of the parts, also where parts have fewer rows than the budget."""
    for seed, n, k in ((0, 10, 2), (1, 9, 4), (2, 8, 3)):
        f = make(seed, n, False)
        draws = [distributed(f.fresh(), np.arange(n), k, parts, np.random.default_rng(draw)) for draw in range(100)]
        assert all(len(set(indices.tolist())) == k for indices, _ in draws)
        assert np.mean([gains.sum() for _, gains in draws]) >= E / 2 * optimum(f, n, k)
        indices, gains = draws[0]
        assert gains.sum() == pytest.approx(value(f, indices), abs=1e-9)


def test_rows_go_to_parts_independently():
    """The theorem is for independent parts, whose sizes vary; a permutation dealt out in turn has equal ones."""
    sizes = []

    class Watched(Modular):
        def fresh(self):
            return Watched(self.values)

        def gains(self, rows):
            sizes.append(len(rows))
            return super().gains(rows)

    distributed(Watched(np.ones(400)), np.arange(400), 1, 4, np.random.default_rng(0))
    first_round = sorted(size for size in sizes if size > 10)
    assert sum(first_round) == 400
    assert len(set(first_round)) > 1


class Coverage:
    """f(S) = number of elements in the union of the sets in S."""

    def __init__(self, sets):
        self.sets, self.covered = sets, set()

    def gains(self, rows):
        return np.array([float(len(self.sets[row] - self.covered)) for row in rows])

    def take(self, row):
        self.covered |= self.sets[row]

    def fresh(self):
        return Coverage(self.sets)


def test_two_rounds_complete_the_answer_of_a_part_with_fewer_rows_than_the_budget():
    """The second round takes the row that overlaps all others, and covers 15; two rows of a part and the third, 18."""
    thirds = [set(range(start, start + 6)) for start in (0, 6, 12)]
    f = Coverage([{0, 1, 2, 6, 7, 8, 12, 13, 14}, *thirds])
    assert lazy(f.fresh(), np.arange(4), 3)[1].sum() == 15
    draws = {}
    for seed in range(60):
        part = tuple(np.random.default_rng(seed).integers(2, size=4).tolist())
        draws[part] = distributed(f, np.arange(4), 3, 2, np.random.default_rng(seed))
    for part in ((0, 1, 1, 0), (1, 0, 0, 1)):
        assert sorted(draws[part][0].tolist()) == [1, 2, 3]
        assert draws[part][1].sum() == 18


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
