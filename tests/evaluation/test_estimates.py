"""Tests of confidence intervals against SciPy, and of the rate of false positives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from curate.evaluation.estimates import estimate, seeds_needed
from curate.kernels.stats.intervals import holm


def test_without_test_rows_it_is_the_t_test_of_the_library():
    values = np.random.default_rng(0).normal(0.3, 1, 6)
    found, theirs = estimate(values), stats.ttest_1samp(values, 0)
    low, high = theirs.confidence_interval(0.95)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_with_one_test_set_the_interval_is_never_narrower_than_its_rows_allow():
    """Nearly equal results of all seeds do not reduce the error from the choice of test rows."""
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
def test_no_interval_without_enough_data(values, p):
    found = estimate(np.array(values))
    assert math.isnan(found.half_width)
    assert found.p == pytest.approx(p, nan_ok=True)


def test_the_false_positive_rate_is_close_to_its_level():
    """Two hundred comparisons of nine selections whose models all guess, each with its own test rows."""
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


class Hits:
    """Simulated outcomes of test rows with random effects of rows, selections and both."""

    def __init__(self, rng: np.random.Generator, rows: int, of_selections: float, of_both: float) -> None:
        self.rng, self.easy, self.of_selections, self.of_both = rng, rng.normal(1, 1, rows), of_selections, of_both

    def draw(self, seeds: int) -> np.ndarray:
        shift = self.rng.normal(0, self.of_selections, (seeds, 1))
        return (self.easy + shift + self.rng.normal(0, self.of_both, (seeds, len(self.easy))) > 0).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
@pytest.mark.parametrize("of_selections", [0.0, 0.2])
@pytest.mark.parametrize("one_draw", [True, False])
def test_a_random_selection_differs_from_the_random_baseline_in_one_case_of_twenty(seeds, of_selections, one_draw):
    """Also a fixed selection, for any spread between selections: the error of a single draw is included."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(1_000):
        world = Hits(rng, 200, of_selections, 0.3)
        differences = world.draw(1 if one_draw else seeds) - world.draw(seeds)
        found.append(estimate(differences.mean(1), differences, one_draw=one_draw).p < 0.05)
    assert (0.003 if seeds == 2 else 0.02) < np.mean(found) < 0.07  # three standard errors above 0.05


@pytest.mark.slow
@pytest.mark.parametrize("one_draw", [True, False])
def test_the_interval_contains_the_difference_in_nineteen_of_twenty_cases_if_rows_differ(one_draw):
    """The selection is better on some groups of rows and worse on others, and test sets differ in their groups."""
    rng = np.random.default_rng(8)
    held = []
    for _ in range(600):
        shift = rng.choice([-0.8, 1.0], 400)  # on each row, of the selection against uniform ones
        easy = rng.normal(1, 1, 400)

        def hits(by, seeds, easy=easy):
            return (easy + by + rng.normal(0, 0.05, (seeds, 1)) + rng.normal(0, 0.3, (seeds, 400)) > 0).astype(float)

        differences = hits(shift, 1 if one_draw else 5) - hits(0, 5)
        estimated = estimate(differences.mean(1), differences, one_draw=one_draw)
        held.append(abs(estimated.mean - _difference()) < estimated.half_width)
    assert 0.92 < np.mean(held) <= 1


def _difference() -> float:
    """Return the expected difference of accuracies in the test above."""
    spread = math.sqrt(1 + 0.05**2 + 0.3**2)
    accuracy = stats.norm(scale=spread).cdf
    return float((accuracy(1 + 1.0) + accuracy(1 - 0.8)) / 2 - accuracy(1))


@pytest.mark.slow
def test_among_exploratory_metrics_one_case_of_twenty_has_a_false_positive():
    """Twelve metrics of the same selections, half of them strongly correlated."""
    rng = np.random.default_rng(9)
    false = 0
    for _ in range(1_000):
        common = rng.normal(size=(6, 1))
        values = rng.normal(size=(6, 12)) + np.where(np.arange(12) < 6, 2 * common, 0)
        differences = values[0] - values[1:]  # one draw, and five
        false += min(holm([estimate(each, one_draw=True).p for each in differences.T])) < 0.05
    assert 0.005 < false / 1_000 < 0.07


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.5, 1.0])
def test_the_estimated_number_of_seeds_has_a_power_of_four_fifths(effect):
    """With a known spread: the values have the mean and standard deviation of the population."""
    values = np.array([-1.0, 0.0, 1.0]) + effect  # their standard deviation is 1
    needed = seeds_needed(values)
    rng = np.random.default_rng(10)
    shown = np.mean([estimate(rng.normal(effect, 1, needed)).p < 0.05 for _ in range(1_000)])
    assert 0.75 < shown < 0.88


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        pytest.param([1.0, 1.1, 0.9], 0, id="significant already"),
        pytest.param([1.0, -1.0, 0.1], 0, id="practically zero"),
        pytest.param([0.0, 0.0, 0.0], 0, id="zero"),
        pytest.param([0.7], 0, id="one seed"),
        pytest.param([0.7, math.nan], 0, id="not defined for one seed"),
    ],
)
def test_more_seeds_are_suggested_only_if_they_would_help(values, needed):
    assert seeds_needed(np.array(values)) == needed


def test_more_seeds_do_not_help_one_draw_or_few_test_rows():
    values = np.array([0.5, 1.5, -0.1, 1.0])
    assert seeds_needed(values) == 10
    assert seeds_needed(values, one_draw=True) is None
    rows = np.zeros((4, 20))
    rows[:, :3] = 1  # right on three of twenty rows more, with every seed
    rows[0, 3] = 1
    assert seeds_needed(rows.mean(1), rows) is None


def test_a_stricter_level_needs_more_seeds():
    values = np.array([0.5, 1.5, -0.1, 1.0])
    assert seeds_needed(values, level=0.005) > seeds_needed(values)
