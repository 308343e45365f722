"""DPP samples sets with the probabilities of its definition, also for budgets above the rank."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare

from curate.kernels.parallel import one_blas_thread
from curate.plugins.batches import Pool
from curate.plugins.selectors.diversity.dpp import DPP, dpp


@pytest.fixture(autouse=True)
def one_thread():
    """Limit BLAS to one thread once, rather than for each of thousands of draws."""
    with one_blas_thread():
        yield


def unit_rows(seed, n, d):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def pool_of(x, quality=None):
    quality = np.zeros(len(x)) if quality is None else quality
    return Pool(x, np.asarray(quality, np.float32), np.zeros(len(x), np.int32))


def volumes(kernel, k):
    """Return det(L_S) of all sets of k rows, normalized to sum to 1."""
    kernel = kernel.astype(np.float64)
    share = {s: max(np.linalg.det(kernel[np.ix_(s, s)]), 0.0) for s in combinations(range(len(kernel)), k)}
    total = sum(share.values())
    return {s: value / total for s, value in share.items()}


def p_value(draw, share, times=3_000):
    """Return the p-value of a chi-square test of drawn sets; probabilities below 1/500 are pooled."""
    rng = np.random.default_rng(0)
    draws = Counter(tuple(sorted(draw(rng)[0].tolist())) for _ in range(times))
    likely = [s for s in share if share[s] > 1 / 500]
    observed, expected = [draws[s] for s in likely], [times * share[s] for s in likely]
    rest = [times - sum(observed), times - sum(expected)]
    if rest[1] < 1e-2:
        assert not rest[0], "a set of volume 0 was drawn"
        return chisquare(observed, np.array(expected) * sum(observed) / sum(expected)).pvalue
    return chisquare([*observed, rest[0]], [*expected, rest[1]]).pvalue


# ---------------------------------------------------------------- the distribution


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_sets_of_k_rows_are_drawn_by_their_volume(k):
    x, quality = unit_rows(1, 8, 4), np.random.default_rng(2).random(8)
    rows = x * np.exp(quality)[:, None]
    assert p_value(lambda rng: dpp(x, quality, k, rng), volumes(rows @ rows.T, k)) > 0.01


@pytest.mark.slow
def test_inclusion_of_the_worked_example():
    """L = diag(1, 2, 3), k = 2: rows are drawn with probability 5/11, 8/11, 9/11."""
    rng, counts = np.random.default_rng(0), np.zeros(3)
    for _ in range(5_000):
        counts[dpp(np.eye(3, dtype=np.float32), np.log([1, 2, 3]) / 2, 2, rng)[0]] += 1
    np.testing.assert_allclose(counts / 5_000, np.array([5, 8, 9]) / 11, atol=0.025)


@pytest.mark.slow
def test_leading_eigenvectors_make_the_projection_dpp():
    x = unit_rows(3, 8, 4)
    v = np.linalg.svd(x.astype(np.float64), full_matrices=False)[0][:, :2]
    draw = lambda rng: dpp(x, np.zeros(8), 2, rng, eigenvectors="leading")  # noqa: E731
    assert p_value(draw, volumes(v @ v.T, 2)) > 0.01
    assert p_value(draw, volumes(x @ x.T, 2)) < 1e-6, "the k-DPP is another distribution"


def test_an_intermediate_weight_mixes_quality_and_volume_as_documented():
    """At w = 0.8: log P(S) = 4 Σ r + log det S, up to a constant."""
    x, quality = unit_rows(5, 7, 3), np.array([3, 0, 5, 10, 7, 1, 2])
    rows = x * np.exp(2 * quality / 10)[:, None]
    selector, pool = DPP(quality_weight=0.8), pool_of(x, quality)
    assert p_value(lambda rng: (selector.select(pool, 2, rng).indices,), volumes(rows @ rows.T, 2)) > 0.01


def test_distribution_is_that_of_dppy():
    """The same chi-square test finds no fault with DPPy, on the same kernel: the two agree on what a k-DPP is."""
    peer = pytest.importorskip("dppy.finite_dpps")
    x = unit_rows(1, 8, 4).astype(np.float64)

    def draw(rng):
        process = peer.FiniteDPP("likelihood", L=x @ x.T)
        return (np.array(process.sample_exact_k_dpp(size=3, random_state=np.random.RandomState(rng.integers(2**31)))),)

    share = volumes(x @ x.T, 3)
    assert p_value(draw, share) > 0.01
    assert p_value(lambda rng: dpp(x.astype(np.float32), np.zeros(8), 3, rng), share) > 0.01


# ---------------------------------------------------------------- budgets above the rank, and rows that repeat


def test_larger_budgets_are_met_in_rounds_of_unlike_rows():
    x = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    indices, gains = dpp(x, np.zeros(12), 8, np.random.default_rng(0))
    assert sorted(indices[:3] // 4) == sorted(indices[3:6] // 4) == [0, 1, 2]
    assert len(set(indices[6:] // 4)) == 2
    np.testing.assert_allclose(gains, 1)


def test_identical_rows_are_drawn_evenly():
    counts = np.zeros(5)
    for seed in range(500):
        indices, gains = dpp(np.ones((5, 1), np.float32), np.zeros(5), 2, np.random.default_rng(seed))
        assert gains == pytest.approx(1), "each is alone in its round"
        counts[indices] += 1
    assert (np.abs(counts - 200) < 50).all()


def test_zero_rows_are_drawn_last_and_evenly():
    x = np.array([[0, 0], [1, 0], [0, 0], [1, 0], [0, 0]], np.float32)
    last = set()
    for seed in range(30):
        indices, gains = dpp(x, np.zeros(5), 4, np.random.default_rng(seed))
        assert sorted(indices[:2]) == [1, 3]
        assert gains[2:].tolist() == [0, 0]
        last.update(indices[2:].tolist())
    assert last == {0, 2, 4}


@pytest.mark.parametrize("eigenvectors", ["drawn", "leading"])
def test_extreme_quality_neither_overflows_nor_misses_the_budget(eigenvectors):
    """exp(±1e6) is no number; the best rows come first, a round for each."""
    quality = np.array([0, 3e6, -1e6, 1e6, 2e6])
    indices, _ = dpp(unit_rows(0, 5, 3), quality, 5, np.random.default_rng(0), eigenvectors=eigenvectors)
    assert indices.tolist() == [1, 4, 3, 0, 2]


# ---------------------------------------------------------------- the weight


def test_quality_weight_0_uses_only_diversity():
    x = unit_rows(0, 30, 4)
    with_quality = DPP(quality_weight=0.0).select(pool_of(x, np.arange(30)), 10, np.random.default_rng(1))
    without = DPP(quality_weight=0.0).select(pool_of(x), 10, np.random.default_rng(1))
    assert with_quality.indices.tolist() == without.indices.tolist()


def test_quality_weight_1_is_top_k():
    quality = np.array([1, 4, 2, 4, 0])
    indices = DPP(quality_weight=1.0).select(pool_of(unit_rows(0, 5, 2), quality), 3, np.random.default_rng(0)).indices
    assert indices.tolist() == [1, 3, 2]


def test_quality_weight_near_1_draws_the_best():
    quality = np.random.default_rng(0).permutation(20)
    selector = DPP(quality_weight=0.999)
    indices = selector.select(pool_of(unit_rows(0, 20, 5), quality), 4, np.random.default_rng(0)).indices
    assert sorted(quality[indices]) == [16, 17, 18, 19]
