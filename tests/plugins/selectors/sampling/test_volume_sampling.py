"""Volume sampling draws sets by their volume, and least squares on them is unbiased."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare

from curate.kernels.parallel import one_blas_thread
from curate.plugins.batches import Pool
from curate.plugins.selectors.sampling.volume_sampling import VolumeSampling, volume_rescaled_sampling, volume_sampling


@pytest.fixture(autouse=True)
def one_thread():
    """Limit BLAS to one thread once, rather than for each of thousands of draws."""
    with one_blas_thread():
        yield


def rows(seed, n, d):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def volumes(x, k):
    """Return the probability of every set of k rows by definition, proportional to its squared volume."""
    x = x.astype(np.float64)
    gram = (lambda s: s.T @ s) if k >= x.shape[1] else (lambda s: s @ s.T)
    share = {s: np.linalg.det(gram(x[list(s)])) for s in combinations(range(len(x)), k)}
    total = sum(share.values())
    return {s: value / total for s, value in share.items()}


def p_value(draw, share, times=3_000):
    """Return the p-value of a chi-square test of drawn sets; probabilities below 1/500 are pooled."""
    rng = np.random.default_rng(0)
    draws = Counter(tuple(sorted(draw(rng).tolist())) for _ in range(times))
    likely = [s for s in share if share[s] > 1 / 500]
    observed, expected = [draws[s] for s in likely], [times * share[s] for s in likely]
    if len(likely) < len(share):
        observed, expected = [*observed, times - sum(observed)], [*expected, times - sum(expected)]
    return chisquare(observed, np.array(expected) * times / sum(expected)).pvalue


# ---------------------------------------------------------------- volume sampling


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 3, 4, 6])
def test_sets_are_drawn_by_their_volume(k):
    """Of 7 rows of rank 3: fewer, as many, and more."""
    x = rows(1, 7, 3)
    assert p_value(lambda rng: volume_sampling(x, k, rng)[0], volumes(x, k)) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 3, 4])
def test_least_squares_on_the_sets_is_on_average_that_on_all_rows(k):
    """By the shares of the definition exactly; by 4,000 draws within four standard errors."""
    x, y = rows(2, 6, 2).astype(np.float64), np.random.default_rng(3).standard_normal(6)
    complete = np.linalg.lstsq(x, y)[0]
    fits = {s: np.linalg.lstsq(x[list(s)], y[list(s)])[0] for s in combinations(range(6), k)}
    share = volumes(x, k)
    np.testing.assert_allclose(sum(share[s] * fits[s] for s in fits), complete, atol=1e-9)
    rng = np.random.default_rng(0)
    draws = np.array([fits[tuple(sorted(volume_sampling(x.astype(np.float32), k, rng)[0]))] for _ in range(4_000)])
    assert (np.abs(draws.mean(axis=0) - complete) < 4 * draws.std(axis=0) / 4_000**0.5).all()


def test_rank_below_the_dimension_is_volume_sampling_in_the_span():
    flat = rows(4, 7, 2)
    x = (flat @ np.array([[1, 2, 0, 1], [0, 1, 1, -1]])).astype(np.float32)
    basis = np.linalg.svd(x.astype(np.float64), full_matrices=False)[0][:, :2]
    assert p_value(lambda rng: volume_sampling(x, 3, rng)[0], volumes(basis, 3)) > 0.01


def test_leverage_is_the_gain_and_sums_to_the_rank():
    x = rows(5, 50, 4)
    x[0] = 0
    _, leverage = volume_sampling(x, 10, np.random.default_rng(0))
    np.testing.assert_allclose(leverage, np.diag(x @ np.linalg.pinv(x)), atol=1e-5)
    assert leverage.sum() == pytest.approx(4)


@pytest.mark.parametrize("draw", [volume_sampling, volume_rescaled_sampling])
def test_zero_rows_identical_rows_and_no_rank_meet_the_budget(draw):
    nearly = np.array([[1, 0], [0, 1], [1e-12, 0], [0, 0], [0, 1e-15]], np.float32)
    for x in (nearly, np.zeros((5, 2), np.float32), np.ones((5, 3), np.float32), np.eye(5, 2, dtype=np.float32)):
        for budget in range(6):
            indices = draw(x, budget, np.random.default_rng(0))[0]
            assert len(set(indices.tolist())) == budget
            if x.any() and budget:
                assert x[indices[0]].any()


# ---------------------------------------------------------------- rescaled


@pytest.mark.slow
def test_rescaled_rows_beyond_the_rank_are_drawn_by_leverage():
    """The third row of three, of rank 2: after D, row i with probability τ_i over the sum of the τ of those left."""
    x = rows(6, 6, 2)
    share = volumes(x, 2)
    leverage = np.diag(x @ np.linalg.pinv(x)).astype(np.float64)
    expected: dict[tuple[int, ...], float] = Counter()
    for pair, probability in share.items():
        left = [i for i in range(6) if i not in pair]
        for i in left:
            expected[tuple(sorted((*pair, i)))] += probability * leverage[i] / leverage[left].sum()
    assert p_value(lambda rng: volume_rescaled_sampling(x, 3, rng)[0], expected) > 0.01
    assert p_value(lambda rng: volume_sampling(x, 3, rng)[0], expected) < 1e-6, "evenly is another distribution"


def test_rescaled_weights_at_the_rank_are_inverse_leverage_scores():
    x = rows(7, 20, 3)
    indices, weights, leverage = volume_rescaled_sampling(x, 3, np.random.default_rng(0))
    np.testing.assert_allclose(weights, 1 / leverage[indices])


@pytest.mark.slow
@pytest.mark.parametrize("budget", [3, 10, 60])
def test_rescaled_weighted_sums_and_weighted_least_squares_are_those_of_all_rows_on_average(budget):
    """Of 60 rows, one of them by far the longest, in 2,000 draws."""
    x, y = rows(8, 60, 3), np.random.default_rng(9).standard_normal(60)
    x[0] *= 20
    complete = np.linalg.lstsq(x, y)[0]
    rng = np.random.default_rng(0)
    sums, fits = [], []
    for _ in range(2_000):
        indices, weights, _ = volume_rescaled_sampling(x, budget, rng)
        root = np.sqrt(weights)
        sums.append(weights.sum())
        fits.append(np.linalg.lstsq(x[indices] * root[:, None], y[indices] * root)[0])
    assert np.mean(sums) == pytest.approx(60, rel=0.05)
    error = np.std(fits, axis=0) / 2_000**0.5
    assert (np.abs(np.mean(fits, axis=0) - complete) < 4 * error + 0.01).all()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "budget"), [(0, 4), (0, 6), (2, 6), (2, 7)])
def test_rescaled_coefficients_of_a_small_pool_are_unbiased_within_a_few_percent(seed, budget):
    """Of 8 rows; while drawing ended with the last new row, 19, 31, 17 and 12 %, and weighted sums 8 to 15 %."""
    r = np.random.default_rng(seed)
    x, y = r.standard_normal((8, 2)).astype(np.float32), r.standard_normal(8)
    complete = np.linalg.lstsq(x, y)[0]
    fits, sums = np.empty((4_000, 2)), np.empty(4_000)
    for draw in range(4_000):
        indices, weights, _ = volume_rescaled_sampling(x, budget, r)
        root = np.sqrt(weights)
        fits[draw], sums[draw] = np.linalg.lstsq(x[indices] * root[:, None], y[indices] * root)[0], weights.sum()
    assert np.linalg.norm(fits.mean(axis=0) - complete) < 0.05 * np.linalg.norm(complete)
    assert (np.abs(fits.mean(axis=0) - complete) < 4 * fits.std(axis=0) / 4_000**0.5).all()
    assert sums.mean() == pytest.approx(8, rel=0.02)


def test_rescaled_weights_of_all_rows_are_1():
    x = rows(12, 9, 3)
    indices, weights, _ = volume_rescaled_sampling(x, 9, np.random.default_rng(0))
    assert sorted(indices.tolist()) == list(range(9))
    assert weights.tolist() == [1] * 9
    x[4] = 0
    indices, weights, _ = volume_rescaled_sampling(x, 9, np.random.default_rng(0))
    assert weights.tolist() == [1] * 8 + [0]


def test_rescaled_fits_are_closer_than_plain_ones_where_leverage_is_uneven():
    x, noise = rows(10, 400, 4), np.random.default_rng(11).standard_normal(400)
    x[:8] *= 15
    loss = {name: [] for name in ("plain", "rescaled")}
    least = np.linalg.lstsq(x, noise)[1][0]
    for seed in range(200):
        indices, _ = volume_sampling(x, 20, np.random.default_rng(seed))
        plain = np.linalg.lstsq(x[indices], noise[indices])[0]
        indices, weights, _ = volume_rescaled_sampling(x, 20, np.random.default_rng(seed))
        root = np.sqrt(weights)
        rescaled = np.linalg.lstsq(x[indices] * root[:, None], noise[indices] * root)[0]
        for name, fit in (("plain", plain), ("rescaled", rescaled)):
            loss[name].append(((x @ fit - noise) ** 2).sum() / least)
    assert np.mean(loss["rescaled"]) < np.mean(loss["plain"])


@pytest.mark.parametrize("rescaled", [False, True])
def test_only_rescaled_rows_carry_weights(rescaled):
    x = rows(0, 9, 3)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pool = Pool(x, np.zeros(9, np.float32), np.zeros(9, np.int32))
    weight = VolumeSampling(rescaled=rescaled).select(pool, 5, np.random.default_rng(0)).weight
    assert (weight is not None and (weight > 0).all()) if rescaled else weight is None
