"""Confidence intervals of an area under the curve, and calibrated probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from curate.kernels.stats.calibration import auc_interval, brier_score, calibration_error, fit_platt


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "good", "bad"), [(0.0, 40, 40), (1.0, 30, 90), (2.5, 25, 25)])
def test_intervals_contain_the_true_area_in_19_of_20_cases(shift, good, bad):
    from scipy.stats import norm

    rng, true = np.random.default_rng(0), norm.cdf(shift / np.sqrt(2))
    labels = np.arange(good + bad) < good
    hit = 0
    for _ in range(400):
        low, high = auc_interval(roc_auc_score(labels, rng.standard_normal(good + bad) + shift * labels), good, bad)
        hit += low <= true <= high
    assert 0.92 <= hit / 400 <= 0.99


def test_an_interval_stays_within_0_and_1_and_is_one_at_the_ends():
    assert auc_interval(1.0, 20, 20)[0] < 1 == auc_interval(1.0, 20, 20)[1]
    assert auc_interval(0.0, 20, 20)[1] > 0 == auc_interval(0.0, 20, 20)[0]


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.3, 1.0), (5.0, -2.0)])
def test_probabilities_that_are_known_are_found_again(slope, intercept):
    rng = np.random.default_rng(0)
    logit = rng.standard_normal(40_000)
    good = rng.random(len(logit)) < expit(slope * logit + intercept)
    even = np.log((~good).sum() / good.sum())  # as if both were as many
    result = fit_platt(logit, good)
    assert result == pytest.approx((slope, intercept + even), abs=0.1)
    probability = expit(result[0] * logit + result[1])
    assert calibration_error(probability, good) < 0.02
    assert calibration_error(probability**3, good) > 0.1
    assert brier_score(probability, good) < brier_score(probability**3, good)


def test_separable_classes_stay_finite_and_contrary_logits_are_ignored():
    good = np.arange(40) < 20
    slope, intercept = fit_platt(np.where(good, 9.0, -9.0), good)
    assert np.isfinite([slope, intercept]).all()
    assert expit(9 * slope + intercept) == pytest.approx(21 / 22, abs=1e-3)
    assert fit_platt(np.where(good, -1.0, 1.0), good) == (0, 0)
    assert fit_platt(np.zeros(40), good) == (0, 0)
