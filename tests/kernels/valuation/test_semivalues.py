"""Semivalues are those of the definition: the estimator in expectation by enumeration, the estimates within errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.parallel import THREADS_VARIABLE
from curate.kernels.valuation import semivalues as module
from curate.kernels.valuation.semivalues import banzhaf_weights, beta_weights, semivalues

KINDS = {
    "Shapley": lambda n: beta_weights(n, 1, 1),
    "Beta(4, 1)": lambda n: beta_weights(n, 4, 1),
    "Beta(1, 16)": lambda n: beta_weights(n, 1, 16),
    "Banzhaf": banzhaf_weights,
}


def game(seed, n):
    """Return the utility of every set of n players, by its members as bits."""
    return np.random.default_rng(seed).standard_normal(2**n)


def code(members):
    return int((np.flatnonzero(members)[:, None] == np.arange(len(members))).any(axis=0) @ 2 ** np.arange(len(members)))


def utility_of(table):
    return lambda members, rng: float(table[code(members)])


def brute_force(table, n, weights):
    """Return the semivalues by their definition: the mean gain over all sets of each size."""
    values = np.zeros(n)
    for player in range(n):
        others = [one for one in range(n) if one != player]
        for size in range(n):
            gains = [
                table[sum(2**one for one in (*chosen, player))] - table[sum(2**one for one in chosen)]
                for chosen in itertools.combinations(others, size)
            ]
            values[player] += weights[size] * np.mean(gains)
    return values


def shapley_by_orders(table, n):
    total = np.zeros(n)
    for order in itertools.permutations(range(n)):
        members = 0
        for player in order:
            total[player] += table[members + 2**player] - table[members]
            members += 2**player
    return total / math.factorial(n)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_beta_1_1_is_the_shapley_value(n):
    table = game(n, n)
    assert brute_force(table, n, beta_weights(n, 1, 1)) == pytest.approx(shapley_by_orders(table, n))


@given(n=st.integers(1, 5_000), alpha=st.floats(0.1, 50), beta=st.floats(0.1, 50))
def test_weights_sum_to_one_and_mirror_the_parameters(n, alpha, beta):
    weights = beta_weights(n, alpha, beta)
    assert weights.sum() == pytest.approx(1)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights, beta_weights(n, beta, alpha)[::-1], rtol=1e-6, atol=1e-12)


def test_weights_are_those_of_the_paper():
    """The paper weighs a gain at position j by n B(j + β - 1, n - j + α) / B(α, β) times the number of sets."""
    from scipy.special import beta as b
    from scipy.special import comb

    n, alpha, beta = 6, 16, 1
    paper = [comb(n - 1, j - 1) * b(j + beta - 1, n - j + alpha) / b(alpha, beta) for j in range(1, n + 1)]
    np.testing.assert_allclose(beta_weights(n, alpha, beta), paper)


@pytest.mark.parametrize("kind", KINDS)
@given(n=st.integers(2, 6), seed=st.integers(0, 1 << 32))
def test_the_estimator_is_unbiased(kind, n, seed):
    """Its expectation over all sets, each with its chance, is the value, whatever the baseline."""
    weights, table = KINDS[kind](n), game(seed, n)
    estimator = module._Estimator.from_weights(weights)
    baseline = np.random.default_rng(seed).standard_normal(n + 1)
    expected = np.full(n, weights[-1] * table[-1] - weights[0] * table[0])
    expected += (baseline[1:n] * (weights[:-1] - weights[1:])).sum()
    for members in itertools.product((False, True), repeat=n):
        size = sum(members)
        if 0 < size < n:
            masks, residual = (
                np.packbits([members], axis=1),
                np.array([table[code(np.array(members))] - baseline[size]]),
            )
            (parts,) = module._contributions(masks, np.array([size]), residual, estimator, n)
            expected += estimator.chance[size] / math.comb(n, size) * parts
    np.testing.assert_allclose(expected, brute_force(table, n, weights), atol=1e-10)


def test_sets_for_banzhaf_values_are_uniformly_random():
    chance = module._Estimator.from_weights(banzhaf_weights(9)).chance
    binomial = np.array([math.comb(9, size) for size in range(10)]) / 2**9
    np.testing.assert_allclose(chance[1:9], binomial[1:9] / binomial[1:9].sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [2, 8])
def test_estimates_are_within_their_errors(kind, n):
    weights, table = KINDS[kind](n), game(7, n)
    values, errors = semivalues(n, weights, utility_of(table), table[0], 4_000, np.random.default_rng(0))
    exact = brute_force(table, n, weights)
    assert (np.abs(values - exact) < 4 * errors + 1e-9).all()
    assert errors.max() < 0.2


def test_the_errors_are_those_of_repeated_estimates():
    n, table = 6, game(3, 6)
    runs = [
        semivalues(n, beta_weights(n, 1, 1), utility_of(table), table[0], 60, np.random.default_rng(seed))
        for seed in range(200)
    ]
    values, errors = (np.array(part) for part in zip(*runs, strict=True))
    np.testing.assert_allclose(errors.mean(axis=0), values.std(axis=0), rtol=0.25)
    assert np.abs(values.mean(axis=0) - brute_force(table, n, beta_weights(n, 1, 1))).max() < 0.1


def test_a_utility_of_the_size_only_has_no_error_and_equal_values():
    def utility(members, rng):
        return 2.0 * members.sum()

    values, errors = semivalues(50, beta_weights(50, 1, 1), utility, 0.0, 400, np.random.default_rng(0))
    np.testing.assert_allclose(values, 2, atol=0.05)
    assert errors.max() < 0.1


def test_one_player_has_the_exact_value():
    values, errors = semivalues(1, banzhaf_weights(1), lambda *_: 0.75, 0.5, 10, np.random.default_rng(0))
    assert (values.tolist(), errors.tolist()) == ([0.25], [0])


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_few_samples_are_enough_for_a_finite_estimate(samples):
    table = game(1, 3)
    result = semivalues(3, beta_weights(3, 1, 1), utility_of(table), table[0], samples, np.random.default_rng(0))
    assert np.isfinite(result).all()


def test_any_number_of_threads_gives_the_same_bytes(monkeypatch):
    results = set()
    for threads in ("1", "3"):
        monkeypatch.setenv(THREADS_VARIABLE, threads)
        values, errors = semivalues(
            9,
            banzhaf_weights(9),
            lambda members, rng: members[:4].sum() + rng.random(),
            0.0,
            50,
            np.random.default_rng(0),
        )
        results.add(values.tobytes() + errors.tobytes())
    assert len(results) == 1
