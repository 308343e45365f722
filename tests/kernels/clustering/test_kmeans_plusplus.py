import itertools

import numpy as np
import pytest
import scipy.stats

from curate.kernels.clustering.kmeans_plusplus import choose_seeds
from curate.kernels.clustering.lloyd import assign
from curate.kernels.parallel import one_blas_thread


def unit(rng, n, d):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def groups(rng, n, k, d, spread=0.15):
    x = unit(rng, k, d)[rng.integers(0, k, n)] + spread * rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 5, 64, 200])
def test_gives_k_different_rows(k):
    x = unit(np.random.default_rng(11), 300, 5)
    chosen = choose_seeds(x, k, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == len(chosen) == k


def test_gives_no_row_twice_nor_its_duplicate():
    rng = np.random.default_rng(12)
    x = np.tile(unit(rng, 30, 5), (10, 1))
    chosen = choose_seeds(x, 100, rng)
    assert sorted(chosen % 30) == list(range(30))


def test_one_row_and_identical_rows():
    rng = np.random.default_rng(13)
    assert choose_seeds(unit(rng, 1, 4), 3, rng).tolist() == [0]
    assert choose_seeds(np.tile(unit(rng, 1, 4), (9, 1)), 3, rng).size == 1


@pytest.mark.parametrize("count", ["1", "4"])
def test_the_same_rows_for_any_number_of_threads(monkeypatch, count):
    x = groups(np.random.default_rng(14), 6_000, 50, 12)
    expected = choose_seeds(x, 50, np.random.default_rng(5))
    monkeypatch.setenv("CURATE_THREADS", count)
    np.testing.assert_array_equal(choose_seeds(x, 50, np.random.default_rng(5)), expected)


@pytest.mark.slow
def test_choices_follow_the_distribution_of_greedy_k_means_plus_plus(monkeypatch):
    """Three of five rows: every outcome against its probability from the definition, a χ² test at .001."""
    x = unit(np.random.default_rng(15), 5, 2)
    between = 1 - x @ x.T  # float32: two rows that are nearest to each other leave equal sums but for rounding
    between[between < 1e-6] = 0

    def next_row(distance):
        """Return P(row is selected next) when the best of three candidates is taken."""
        after = np.minimum(between, distance).sum(axis=1)
        share = distance.astype(np.float64) / distance.sum(dtype=np.float64)
        result = np.zeros(5)
        for draws in itertools.product(range(5), repeat=3):
            result[min(draws, key=lambda row: after[row])] += np.prod(share[list(draws)])
        return result

    expected = {}
    for first, second in itertools.permutations(range(5), 2):
        to_two = np.minimum(between[first], between[second])
        for third, p in enumerate(next_row(to_two)):
            expected[first, second, third] = next_row(between[first])[second] * p / 5
    runs = 20_000
    rng = np.random.default_rng(16)
    result = dict.fromkeys(expected, 0)
    monkeypatch.setenv("CURATE_THREADS", "1")
    with one_blas_thread():  # entered once, and not at every call
        for _ in range(runs):
            result[tuple(choose_seeds(x, 3, rng).tolist())] += 1
    often = [outcome for outcome, p in expected.items() if runs * p >= 5]
    chi2 = sum((result[o] - runs * expected[o]) ** 2 / (runs * expected[o]) for o in often)
    assert abs(sum(expected.values()) - 1) < 1e-6
    assert len(often) > 20
    assert chi2 < scipy.stats.chi2.ppf(0.999, len(often) - 1)


def test_starts_better_than_rows_drawn_evenly():
    rng = np.random.default_rng(17)
    x = np.concatenate([groups(rng, 900, 1, 10, 0.05), groups(rng, 100, 19, 10, 0.05)])
    careful = [1 - assign(x, x[choose_seeds(x, 20, rng)])[1].mean() for _ in range(10)]
    even = [1 - assign(x, x[rng.choice(1000, 20, replace=False)])[1].mean() for _ in range(10)]
    assert np.mean(careful) < 0.8 * np.mean(even)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused(bad):
    with pytest.raises(FloatingPointError, match="a row of the sample is not finite"):
        choose_seeds(np.array([[1, 0], [0, bad], [0, 1]], np.float32), 2, np.random.default_rng(0))
