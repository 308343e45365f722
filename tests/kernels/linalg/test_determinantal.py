"""Determinantal samples have the distribution of the definition, computed by enumeration."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare

from curate.kernels.linalg.determinantal import draw_eigenvectors, log_elementary_symmetric, projection_dpp
from curate.kernels.linalg.leverage import row_space
from curate.kernels.parallel import one_blas_thread


@pytest.fixture(autouse=True)
def one_thread():
    """Limit BLAS to one thread once, rather than for each of thousands of draws."""
    with one_blas_thread():
        yield


def products(values, k):
    return {chosen: np.prod([values[i] for i in chosen]) for chosen in combinations(range(len(values)), k)}


@pytest.mark.parametrize("k", [0, 1, 3, 6])
def test_polynomials_are_sums_of_products(k):
    values = np.random.default_rng(k).random(6)
    np.testing.assert_allclose(np.exp(log_elementary_symmetric(values, k)[k, -1]), sum(products(values, k).values()))


def test_polynomials_neither_overflow_nor_vanish():
    """e_500 of 1,000 ones is above 1e299, times 1e±9 each a number that no float64 holds."""
    for value in (1e-9, 1e9):
        table = log_elementary_symmetric(np.full(1_000, value), 500)
        assert abs(table[500, -1] - (689.467 + 500 * np.log(value))) < 0.01


def test_eigenvectors_are_drawn_by_the_product_of_their_values():
    values, rng = np.array([1.0, 2.0, 3.0, 0.5]), np.random.default_rng(0)
    draws = Counter(tuple(draw_eigenvectors(values, 2, rng).tolist()) for _ in range(4_000))
    share = products(values, 2)
    expected = np.array([share[chosen] for chosen in sorted(share)])
    assert chisquare([draws[c] for c in sorted(share)], 4_000 * expected / expected.sum()).pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [1, 4, 128])
def test_projection_dpp_draws_sets_by_their_volume_however_many_rows_are_proposed_at_a_time(monkeypatch, ahead):
    monkeypatch.setattr("curate.kernels.linalg.determinantal._DRAWS", ahead)
    x = np.random.default_rng(1).standard_normal((7, 3)).astype(np.float32)
    scale = np.array([1, 2, 0.5, 1, 1, 0.1, 1])
    coordinates = row_space(x, scale).whitening()
    v = (x * scale[:, None]) @ coordinates
    share = {s: np.linalg.det(v[list(s)]) ** 2 for s in combinations(range(7), 3)}
    assert abs(sum(share.values()) - 1) < 1e-9, "Cauchy and Binet"
    rng = np.random.default_rng(2)
    draws = Counter(tuple(sorted(projection_dpp(x, scale, coordinates, rng)[0].tolist())) for _ in range(4_000))
    likely = [s for s in share if share[s] > 2e-3]
    observed = [draws[s] for s in likely]
    expected = [4_000 * share[s] for s in likely]
    assert chisquare([*observed, 4_000 - sum(observed)], [*expected, 4_000 - sum(expected)]).pvalue > 0.01


def test_projection_dpp_gives_as_many_different_rows_as_its_rank_each_as_often_as_its_leverage():
    x = np.random.default_rng(3).standard_normal((40, 8)).astype(np.float32)
    x[5] = x[6]
    coordinates = row_space(x, np.ones(40)).whitening()
    leverage = ((x @ coordinates) ** 2).sum(axis=1)
    counts, rng = np.zeros(40), np.random.default_rng(4)
    for _ in range(2_000):
        indices, fresh = projection_dpp(x, np.ones(40), coordinates, rng)
        assert len(set(indices.tolist())) == 8
        assert not {5, 6} <= set(indices.tolist())
        assert fresh[0] == pytest.approx(1)
        assert ((fresh > 0) & (fresh <= 1)).all()
        counts[indices] += 1
    sd = np.sqrt(2_000 * leverage * (1 - leverage))
    assert (np.abs(counts - 2_000 * leverage) < 4 * sd + 1).all()
