"""CCS follows the published algorithm, without the errors of the reference code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import PluginError
from curate.plugins.batches import Pool
from curate.plugins.selectors.difficulty.ccs import CCS, assign_strata, ccs, stratum_budgets


def rng():
    return np.random.default_rng(0)


def pool_of(score, quality=None, aum=None, *, aum_higher_is_better=True):
    n = len(score)
    quality = np.zeros(n) if quality is None else quality
    scores = {"s": np.asarray(score, np.float32)}
    if aum is not None:
        scores["aum"] = np.asarray(aum, np.float32)
    return Pool(
        np.zeros((n, 0), np.float32),
        np.asarray(quality, np.float32),
        np.zeros(n, np.int32),
        scores,
        {"s": True, "aum": aum_higher_is_better},
    )


# ---------------------------------------------------------------- the published algorithm


@pytest.mark.parametrize(
    ("population", "budget", "expected"),
    [([1, 5, 10, 2], 10, [1, 3, 4, 2]), ([4, 0, 4, 4], 7, [2, 0, 2, 3]), ([0, 0], 0, [0, 0]), ([3], 2, [2])],
)
def test_small_strata_are_served_first(population, budget, expected):
    assert stratum_budgets(np.array(population), budget).tolist() == expected


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.floats(0, 1))
def test_stratum_budgets_spend_all_that_can_be_spent(population, rate):
    population = np.array(population)
    budget = int(rate * population.sum())
    budgets = stratum_budgets(population, budget)
    assert budgets.sum() == budget
    assert (budgets <= population).all()


def test_strata_are_as_wide_as_each_other_and_contain_both_ends():
    assert assign_strata(np.array([0, 2.4, 2.5, 5, 7.5, 10], np.float32), 4).tolist() == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize("low", [-100.0, 1.0])
def test_highest_score_is_in_the_last_stratum_also_below_zero(low):
    """Multiplying the highest score by 1.0001 loses the top row when scores are negative."""
    score = np.arange(low, low + 100, dtype=np.float32)
    assert assign_strata(score, 50).tolist() == [i // 2 for i in range(98)] + [49, 49]
    assert sorted(ccs(score, 100, rng())[0].tolist()) == list(range(100))


def test_equal_scores_are_one_stratum():
    assert assign_strata(np.zeros(5, np.float32), 50).tolist() == [0] * 5
    assert len(ccs(np.zeros(5, np.float32), 3, rng())[0]) == 3


def test_keep_all_without_cutoff_returns_everything():
    score = np.random.default_rng(1).standard_normal(77).astype(np.float32)
    assert sorted(ccs(score, 77, rng())[0].tolist()) == list(range(77))


@given(st.integers(1, 60), st.floats(0, 1), st.integers(1, 9), st.integers(0, 1000))
def test_each_stratum_gets_the_published_share(n, rate, n_strata, seed):
    score = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    indices, _ = ccs(score, int(rate * n), rng(), n_strata=n_strata)
    of_row = assign_strata(score, n_strata)
    expected = stratum_budgets(np.bincount(of_row, minlength=n_strata), int(rate * n))
    assert np.bincount(of_row[indices], minlength=n_strata).tolist() == expected.tolist()


def test_rows_of_one_stratum_are_drawn_equally_often_and_in_any_order():
    """3,000 draws of 2 of 6 from the crowded stratum; give or take five standard deviations."""
    score = np.array([0, 0, 0, 0, 0, 0, 9], np.float32)
    generator = rng()
    draws = [ccs(score, 3, generator, n_strata=2)[0] for _ in range(3000)]
    counts = np.bincount(np.concatenate(draws), minlength=7)
    assert counts[6] == 3000
    assert np.abs(counts[:6] - 1000).max() < 5 * np.sqrt(3000 * (1 / 3) * (2 / 3))
    assert abs(sum(draw[0] == 6 for draw in draws) - 1000) < 5 * np.sqrt(3000 * (1 / 3) * (2 / 3))


# ---------------------------------------------------------------- the cutoff


def test_cutoff_drops_the_rows_of_lowest_aum_and_no_others():
    aum = np.array([5, -3, 4, -9, 3, 2, 1, 0, 6, 7], np.float32)
    indices, cut = ccs(np.arange(10, dtype=np.float32), 8, rng(), cutoff_score=aum, cutoff_rate=0.2)
    assert cut.tolist() == [3, 1]
    assert sorted(indices.tolist()) == [0, 2, 4, 5, 6, 7, 8, 9]


def test_cutoff_is_the_floor_of_the_share_despite_rounding():
    score = np.arange(100, dtype=np.float32)
    assert len(ccs(score, 1, rng(), cutoff_score=score, cutoff_rate=0.29)[1]) == 29
    assert len(ccs(score, 1, rng(), cutoff_score=score, cutoff_rate=0.299)[1]) == 29


def test_cutoff_shrinks_only_as_far_as_the_budget_needs():
    score = np.arange(10, dtype=np.float32)
    indices, cut = ccs(score, 8, rng(), cutoff_score=score, cutoff_rate=0.5)
    assert cut.tolist() == [0, 1]
    assert sorted(indices.tolist()) == list(range(2, 10))


def test_cutoff_is_by_the_oriented_score_and_has_its_reason():
    pool = pool_of(np.arange(4), aum=[1, 4, 3, 2], aum_higher_is_better=False)
    selection = CCS(by="s", cutoff_by="aum", cutoff_rate=0.25).select(pool, 2, rng())
    reasons = [selection.reasons[i] for i in selection.reason]
    assert reasons[1] == "cut off: among the worst rows by aum"
    dropped = set(range(4)) - set(selection.indices.tolist()) - {1}
    assert {reasons[i] for i in dropped} == {"not drawn in its stratum of s"}


def test_cutoff_without_a_score_to_cut_by_is_refused():
    with pytest.raises(ValueError, match=r"^cutoff_by: must be a score if cutoff_rate is above 0$"):
        CCS(by="s", cutoff_rate=0.1)


# ---------------------------------------------------------------- the weight


@given(st.integers(1, 40), st.floats(0, 1), st.integers(0, 1000))
def test_diversity_weight_0_is_top_k_by_quality_for_any_cutoff(n, rate, seed):
    quality = np.random.default_rng(seed).integers(0, 5, n)
    pool = pool_of(np.arange(n), quality, aum=quality)
    selector = CCS(by="s", diversity_weight=0.0, cutoff_by="aum", cutoff_rate=0.5)
    best = np.argsort(-pool.quality, kind="stable")[: int(rate * n)]
    assert selector.select(pool, int(rate * n), rng()).indices.tolist() == best.tolist()


@given(st.integers(1, 40), st.floats(0, 1), st.integers(0, 1000))
def test_diversity_weight_1_is_ccs_as_published_for_any_quality(n, rate, seed):
    r = np.random.default_rng(seed)
    score, quality, aum = r.random((3, n), dtype=np.float32)
    selector = CCS(by="s", diversity_weight=1.0, cutoff_by="aum", cutoff_rate=0.3, n_strata=7)
    selection = selector.select(pool_of(score, quality, aum), int(rate * n), rng())
    expected, _ = ccs(score, int(rate * n), rng(), n_strata=7, cutoff_score=aum, cutoff_rate=0.3)
    assert selection.indices.tolist() == expected.tolist()


def test_diversity_weight_between_fills_that_share_by_strata_and_the_rest_by_quality():
    """Of 10 rows, 9 by weight 0.1 are the best: 1 − 0.1 is just below 0.9, and still counts as 9 rows."""
    quality = np.arange(100)[::-1]
    indices = CCS(by="s", diversity_weight=0.1).select(pool_of(np.arange(100), quality), 10, rng()).indices.tolist()
    assert indices[:9] == list(range(9))
    assert indices[9] >= 9


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["s", "aum"])
def test_missing_or_infinite_score_is_an_error_that_names_it(name, bad):
    values = {"s": [1, 2, 3], "aum": [1, 2, 3]}
    values[name] = [1, bad, 3]
    with pytest.raises(PluginError, match=f"the score '{name}' is missing or infinite for 1 rows"):
        CCS(by="s", cutoff_by="aum", cutoff_rate=0.3).select(pool_of(values["s"], aum=values["aum"]), 2, rng())
