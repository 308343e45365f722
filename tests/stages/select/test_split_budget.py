"""A budget is split over groups and over tokens exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config.budget import Budget
from curate.config.model import SelectEntry, Temperature
from curate.errors import DataError
from curate.plugins.registry import PluginSpec
from curate.plugins.results import Selection
from curate.stages.select import split_budget


def entry(quota, **budget) -> SelectEntry:
    spec = PluginSpec(kind="selector", name="uniform", fields=())
    return SelectEntry(name="any", spec=spec, budget=Budget(keep=10, **budget), within="source", quota=quota)


def first(rows: int, *, of: np.ndarray) -> Selection:
    return Selection(of[:rows], np.ones(rows, np.float32))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(0, 1_500), st.booleans())
def test_a_token_budget_is_never_exceeded_and_one_more_row_would_exceed_it(tokens, limit, prefix):
    counts = np.array(tokens, np.int32)
    order = np.argsort(-counts, kind="stable")
    chosen = split_budget.select_within_tokens(lambda rows: first(rows, of=order), counts, limit, prefix=prefix)
    spent = counts[chosen.indices].sum()
    assert spent <= limit
    if len(chosen.indices) < len(counts):
        assert spent + counts[order[len(chosen.indices)]] > limit


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("proportional", [6, 3, 1]),
        ("balanced", [4, 3, 3]),
        (Temperature(temperature=1.0), [6, 3, 1]),
        (None, [6, 3, 1]),
    ],
)
def test_a_quota_splits_the_budget(quota, expected):
    assert split_budget.split(entry(quota), list("abc"), np.array([60, 30, 10]), 10) == expected


@pytest.mark.parametrize(
    ("quota", "budget", "at_most", "expected"),
    [
        ({"c": 7}, 10, None, [2, 1, 7]),
        ({"c": 0.5}, 10, None, [3, 2, 5]),
        ({"a": 0, "b": 0.29}, 100, True, [0, 29, 10]),
        ({"c": 300}, 20, True, [7, 3, 10]),
        ({"a": 5, "b": 4, "c": 1}, 10, None, [5, 4, 1]),
        ({"a": 1, "b": 1, "c": 1}, 10, True, [1, 1, 1]),
    ],
)
def test_a_quota_gives_groups_what_it_names_and_splits_the_rest(quota, budget, at_most, expected):
    assert split_budget.split(entry(quota, at_most=at_most), list("abc"), np.array([60, 30, 10]), budget) == expected


@pytest.mark.parametrize(
    ("quota", "message"),
    [
        ({"d": 3}, "select any: quota: no row that reaches this entry has 'd' as its source; there are: a, b, c"),
        ({"temprature": 3}, "did you mean 'temperature'"),
        ({"c": 11}, "'c' requires 11 rows, but only 10 reach this entry; lower the amount, or add 'at_most: true'"),
        ({"a": 9, "b": 0.2}, "its groups require 11 rows, but the budget is 10; raise the budget"),
        ({"a": 1, "b": 1, "c": 1}, "7 rows of the budget remain for the other groups, .* only 0"),
    ],
)
def test_a_quota_that_cannot_be_met_names_what_there_is(quota, message):
    with pytest.raises(DataError, match=message):
        split_budget.split(entry(quota), list("abc"), np.array([60, 30, 10]), 10)


def test_groups_are_put_together_as_one_selection():
    groups = [np.array([0, 2, 4]), np.array([1, 3])]
    answers = [
        Selection(
            np.array([2, 0]),
            np.array([9, 8], np.float32),
            reasons=("too near",),
            similarity=np.zeros(3, np.float32),
        ),
        Selection(
            np.array([1]),
            np.array([7], np.float32),
            weight=np.array([2], np.float32),
            reasons=("too far", "too near"),
            reason=np.array([1, 0], np.int16),
            representative=np.array([1, -1]),
        ),
    ]
    both = split_budget.merge_selections(5, groups, answers).check(5, 3)
    assert both.indices.tolist() == [4, 3, 0]  # interleaved: a quarter, a half, three quarters through their groups
    assert both.gain.tolist() == [9, 7, 8]
    assert both.weight.tolist() == [1, 2, 1]
    assert [both.reasons[code] for code in both.reason] == ["too near", "too near", "too near", "too far", "too near"]
    assert both.representative.tolist() == [-1, 3, -1, -1, -1]
    assert both.similarity[[0, 2, 4]].tolist() == [0, 0, 0]
    assert both.epochs is None


def test_plans_of_groups_are_put_together_epoch_by_epoch():
    groups = [np.array([0, 2, 4]), np.array([1, 3]), np.array([5])]
    plans = [[[2, 0], [0, 1]], [[1], [1]], [[], []]]  # the last group has no share
    answers = [
        Selection.from_epochs([np.array(rows, np.intp) for rows in plan], np.zeros(3, np.float32), ("in no epoch",))
        for plan in plans
    ]
    both = split_budget.merge_selections(6, groups, answers).check(6, 3)
    assert [rows.tolist() for rows in both.epochs] == [[4, 0, 3], [0, 2, 3]]
    assert dict(zip(both.indices.tolist(), both.weight.tolist(), strict=True)) == {0: 2, 2: 1, 3: 2, 4: 1}
