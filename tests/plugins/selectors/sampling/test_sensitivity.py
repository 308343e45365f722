"""Sensitivity sampling draws exactly the budget with the stated probabilities, and weights correct for them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from curate.errors import PluginError
from curate.kernels.stats.systematic_sampling import systematic_sample
from curate.plugins.batches import Pool
from curate.plugins.selectors.sampling.sensitivity import SensitivitySampling, compute_scores


def rng(seed=0):
    return np.random.default_rng(seed)


def rows(seed=0, n=20, d=3):
    return rng(seed).standard_normal((n, d)).astype(np.float32)


def pool_of(x):
    return Pool(x, np.zeros(len(x), np.float32), np.zeros(len(x), np.int32))


@pytest.mark.parametrize("p", [1.0, 2.0, 4.0])
def test_weighted_sums_of_powers_are_on_average_those_of_all_rows(p):
    x, y = rows(1, 60), rng(2).standard_normal(3)
    scores, powers = compute_scores(x, p, "lewis"), np.abs(x @ y) ** p
    sums = []
    for seed in range(3_000):
        indices, weights = systematic_sample(scores, 15, rng(seed))
        sums.append(weights @ powers[indices])
    assert abs(np.mean(sums) - powers.sum()) < 4 * np.std(sums) / 3_000**0.5


@pytest.mark.parametrize("p", [1.0, 2.0, 4.0])
def test_sums_are_closer_than_uniform_ones_where_few_rows_matter(p):
    x = rows(3, 500)
    x[:5] *= 30
    scores = compute_scores(x, p, "lewis")
    directions = rng(4).standard_normal((3, 20))
    powers = np.abs(x @ directions) ** p
    error = {"drawn": [], "uniform": []}
    for seed in range(50):
        indices, weights = systematic_sample(scores, 40, rng(seed))
        even = rng(seed).choice(500, 40, replace=False)
        error["drawn"].append(np.abs(weights @ powers[indices] / powers.sum(axis=0) - 1).mean())
        error["uniform"].append(np.abs(500 / 40 * powers[even].sum(axis=0) / powers.sum(axis=0) - 1).mean())
    assert np.mean(error["drawn"]) < np.mean(error["uniform"]) / 2


# ---------------------------------------------------------------- the scores


def test_for_p_2_sensitivities_and_lewis_weights_are_leverage_scores():
    x = rows()
    leverage = np.diag(x @ np.linalg.pinv(x))
    for kind in ("sensitivity", "lewis"):
        np.testing.assert_allclose(compute_scores(x, 2.0, kind), leverage, atol=1e-5)


def test_the_other_scores_agree_with_their_definitions():
    x = rows()
    leverage = compute_scores(x, 2.0, "sensitivity")
    np.testing.assert_allclose(compute_scores(x, 1.0, "root_leverage"), np.sqrt(leverage))
    np.testing.assert_allclose(
        compute_scores(x, 4.0, "leverage_and_sensitivity"), leverage + compute_scores(x, 4.0, "sensitivity")
    )
    assert (compute_scores(x, 4.0, "sensitivity") != leverage).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scores": "root_leverage"}, "scores: root_leverage requires p below 2"),
        ({"scores": "leverage_and_sensitivity"}, "scores: leverage_and_sensitivity requires p above 2"),
    ],
)
def test_scores_that_their_power_has_no_use_for_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        SensitivitySampling(**fields)


def test_exact_sensitivities_of_a_large_pool_are_refused_with_a_way_out():
    x = np.tile(np.eye(2, dtype=np.float32), (1_001, 1))
    message = "exact sensitivities for p = 1.0 support at most 2000 rows, got 2002"
    with pytest.raises(PluginError, match=re.escape(message)) as error:
        SensitivitySampling(p=1.0).select(pool_of(x), 5, rng())
    assert "scores: lewis" in error.value.hint
    assert len(SensitivitySampling(p=1.0, scores="lewis").select(pool_of(x), 5, rng()).indices) == 5


# ---------------------------------------------------------------- rows that are alike


def test_identical_rows_are_drawn_evenly_and_weigh_the_same():
    selection = SensitivitySampling().select(pool_of(np.ones((10, 1), np.float32)), 4, rng())
    np.testing.assert_allclose(selection.weight, 2.5, rtol=1e-6)
