"""Intervals and p-values agree with SciPy, have their nominal coverage, and are conservative."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from curate.kernels.stats.intervals import holm, paired_bootstrap


def rng(seed=0):
    return np.random.default_rng(seed)


def test_no_test_rows_no_interval():
    assert math.isnan(paired_bootstrap(np.empty(0), np.empty(0), rng()).mean)


@pytest.mark.slow
def test_bootstrap_of_one_seed_is_near_the_normal_interval_of_the_paired_difference():
    a, b = rng(1).random((2, 4_000)) < [[0.8], [0.75]]
    result = paired_bootstrap(a, b, rng())
    d = a.astype(float) - b
    half = 1.96 * d.std() / len(d) ** 0.5
    assert result.mean == pytest.approx(d.mean())
    assert result.interval == pytest.approx((d.mean() - half, d.mean() + half), abs=half / 20)
    assert result.p == pytest.approx(2 * stats.norm.sf(d.mean() / d.std() * len(d) ** 0.5), abs=3e-4)


def test_pairing_narrows_the_interval():
    base = rng(2).random(1_000) < 0.7
    better = base | (rng(3).random(1_000) < 0.05)
    unpaired = rng(4).permutation(better)
    paired, apart = paired_bootstrap(better, base, rng()), paired_bootstrap(unpaired, base, rng())
    assert paired.mean == pytest.approx(apart.mean)
    assert paired.interval.low > 0
    assert paired.p < 0.01
    assert np.diff(paired.interval) < np.diff(apart.interval) / 3


@pytest.mark.slow
def test_seeds_that_vary_widen_the_interval():
    rows = np.arange(2_000)
    varied = np.stack([rows < right for right in (1_000, 1_400, 1_800)])
    steady = np.tile(rows < 1_400, (3, 1))
    base = rows < 1_300
    assert paired_bootstrap(varied, base, rng()).interval.low < 0 < paired_bootstrap(steady, base, rng()).interval.low


@pytest.mark.parametrize("rows", [1, 20, pytest.param(2_000, marks=pytest.mark.slow)])
def test_two_that_agree_on_every_row_keep_an_interval_around_0(rows):
    hits = rng(5).random((5, rows)) < 0.5
    hits[:] = hits[0]
    result = paired_bootstrap(hits, hits, rng())
    assert result.mean == 0
    assert result.interval.low <= -1 / (rows + 2)
    assert result.interval.high >= 1 / (rows + 2)
    assert result.p > 0.9


@pytest.mark.slow
def test_bootstrap_has_about_its_nominal_coverage():
    """200 test sets of 300 rows, 95 %: 190 are expected, give or take four standard deviations (12)."""
    generator, covered = rng(6), 0
    for _ in range(200):
        a, b = generator.random((2, 300)) < [[0.8], [0.7]]
        low, high = paired_bootstrap(a, b, generator, n_resamples=400).interval
        covered += low <= 0.1 <= high
    assert 178 <= covered <= 200


# ---------------------------------------------------------------- many at once


def test_holm_is_bonferroni_for_the_smallest_and_never_falls():
    p = rng(8).random(9) ** 3
    corrected = holm(p)
    assert corrected[p.argmin()] == pytest.approx(9 * p.min())
    assert (corrected >= p).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
    assert (corrected <= 1).all()


def test_holm_leaves_out_what_was_not_tested():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.02]), [0.02, np.nan, 0.02])
    assert holm([]).tolist() == []


def test_holm_keeps_false_claims_rare():
    """1,000 families of ten true hypotheses: 50 claims are expected at 5 %, give or take four standard deviations."""
    claims = sum((holm(family) < 0.05).any() for family in rng(9).random((1_000, 10)))
    assert abs(claims - 50) < 4 * (1_000 * 0.05 * 0.95) ** 0.5
