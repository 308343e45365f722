"""Intervals against the library's own, and how often chance alone is called a finding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from curate.evaluation.estimates import estimate
from curate.kernels.stats.intervals import holm


def test_without_test_rows_it_is_the_t_test_of_the_library():
    values = np.random.default_rng(0).normal(0.3, 1, 6)
    found, theirs = estimate(values), stats.ttest_1samp(values, 0)
    low, high = theirs.confidence_interval(0.95)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_with_one_test_set_the_interval_is_never_narrower_than_its_rows_allow():
    """Seeds that all but agree say nothing of the rows that happened to stand in the test."""
    rng = np.random.default_rng(1)
    hits = np.repeat((rng.random(100) < 0.8)[None], 5, 0).astype(float)
    hits[0, 0] = 1 - hits[0, 0]
    alone = estimate(hits.mean(1)).half_width
    found = estimate(hits.mean(1), hits).half_width
    assert found > 1.96 * math.sqrt(0.8 * 0.2 / 100) * 0.9 > 10 * alone


@pytest.mark.parametrize(
    ("values", "p"),
    [
        pytest.param([0.3], math.nan, id="one seed"),
        pytest.param([0.3, 0.3, 0.3], math.nan, id="seeds that differ by nothing"),
        pytest.param([0.0, 0.0, 0.0], 1.0, id="no difference with any seed"),
        pytest.param([0.3, math.nan, 0.2], math.nan, id="not defined for one seed"),
    ],
)
def test_where_the_data_allow_no_interval_there_is_none(values, p):
    found = estimate(np.array(values))
    assert math.isnan(found.half_width)
    assert found.p == pytest.approx(p, nan_ok=True)


def test_chance_is_called_a_finding_about_as_rarely_as_promised():
    """Two hundred comparisons of nine choices whose models all guess, each with its own test rows."""
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(200):
        difficulty = rng.random(300)  # some rows are easy for every model
        p = []
        for _ in range(9):
            fixed = np.repeat((rng.random(300) < difficulty)[None], 5, 0)
            random = rng.random((5, 300)) < difficulty
            differences = fixed.astype(float) - random
            p.append(estimate(differences.mean(1), differences).p)
        false += min(holm(p)) < 0.05
    assert false / 200 < 0.09  # three standard errors above 0.05
