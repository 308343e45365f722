"""The budget split is exact, within sizes, and follows its allocation rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.stats.quotas import allocate, balanced_shares, proportional_shares, temperature_shares

sizes_lists = st.lists(st.integers(0, 200), min_size=1, max_size=20)


@st.composite
def splits(draw):
    sizes = np.array(draw(sizes_lists))
    share = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))
    shares = np.array(draw(st.lists(share, min_size=len(sizes), max_size=len(sizes))))
    return sizes, draw(st.integers(0, int(sizes.sum()) + 5)), shares


@given(splits())
def test_sum_is_exactly_the_budget_and_no_group_gives_more_than_it_has(split):
    sizes, budget, shares = split
    given_out = allocate(sizes, budget, shares)
    assert given_out.sum() == min(budget, sizes.sum())
    assert (given_out >= 0).all()
    assert (given_out <= sizes).all()


@given(splits())
def test_groups_that_are_not_full_have_their_share_within_one_row(split):
    """Water-filling: one level fits all open groups, and the full ones lie below it."""
    sizes, budget, shares = split
    given_out = allocate(sizes, budget, shares)
    favoured = shares > 0
    level_from = ((given_out - 1) / np.where(favoured, shares, 1))[favoured & (given_out > 0)]
    level_to = ((given_out + 1) / np.where(favoured, shares, 1))[favoured & (given_out < sizes)]
    assert level_from.max(initial=-np.inf) <= level_to.min(initial=np.inf) * (1 + 1e-9)


@given(splits())
def test_groups_of_share_0_wait_until_the_others_are_full(split):
    sizes, budget, shares = split
    given_out = allocate(sizes, budget, shares)
    if (given_out < sizes)[shares > 0].any():
        assert given_out[shares == 0].sum() == 0


@given(sizes_lists, st.floats(0, 1))
def test_balanced_is_the_integer_water_level(sizes, rate):
    """The reference: raise a level row by row, lowest index first, until the budget is spent."""
    sizes = np.array(sizes)
    budget = int(rate * sizes.sum())
    expected = np.zeros_like(sizes)
    while expected.sum() < budget:
        for group in np.flatnonzero(expected < sizes):
            expected[group] += expected.sum() < budget
    assert allocate(sizes, budget, balanced_shares(sizes)).tolist() == expected.tolist()


@given(sizes_lists, st.floats(0, 1))
def test_temperature_1_is_proportional_and_infinity_is_balanced(sizes, rate):
    budget = int(rate * sum(sizes))
    for share, limit in ((proportional_shares(sizes), 1.0), (balanced_shares(sizes), np.inf)):
        assert (
            allocate(sizes, budget, temperature_shares(sizes, limit)).tolist()
            == allocate(sizes, budget, share).tolist()
        )


@given(sizes_lists, st.floats(0, 1))
def test_proportional_is_within_one_row_of_the_same_rate_everywhere(sizes, rate):
    sizes = np.array(sizes)
    budget = int(rate * sizes.sum())
    exact = sizes * (budget / max(sizes.sum(), 1))
    assert (np.abs(allocate(sizes, budget, proportional_shares(sizes)) - exact) < 1 + 1e-9).all()


@pytest.mark.parametrize(
    ("sizes", "budget", "shares", "expected"),
    [
        pytest.param([1, 5, 10, 2], 10, [1, 1, 1, 1], [1, 4, 3, 2], id="spare-rows-flow-on-and-ties-go-low"),
        pytest.param([9, 9, 9], 4, [1, 1, 1], [2, 1, 1], id="tie-to-the-lowest-index"),
        pytest.param([100, 100, 100], 10, [0.5, 0.35, 0.15], [5, 4, 1], id="largest-remainder-tie"),
        pytest.param([100, 2], 50, [1, 3], [48, 2], id="small-group-of-large-share"),
        pytest.param([3, 4], 5, [1, 0], [3, 2], id="share-0-last"),
        pytest.param([3, 4], 99, [1, 1], [3, 4], id="budget-above-all"),
        pytest.param([3, 4], 5, [0, 0], [3, 2], id="no-shares-at-all"),
        pytest.param([], 5, [], [], id="no-groups"),
    ],
)
def test_worked_by_hand(sizes, budget, shares, expected):
    assert allocate(sizes, budget, shares).tolist() == expected


def test_temperature_near_0_fills_the_largest_groups_first():
    """Powers as high as 1/T neither overflow nor lose a row."""
    sizes = [10, 1000, 999, 0, 1000]
    for t in (1e-4, 1e-5):
        assert allocate(sizes, 2003, temperature_shares(sizes, t)).tolist() == [0, 1000, 3, 0, 1000]
    assert allocate([0, 0], 5, temperature_shares([0, 0], 2.0)).tolist() == [0, 0]


def test_higher_temperature_moves_rows_from_the_large_group_to_the_small():
    sizes = np.array([1000, 10_000])
    small = [int(allocate(sizes, 500, temperature_shares(sizes, t))[0]) for t in (1, 2, 5, 100)]
    assert small == sorted(small)
    assert (small[0], small[-1]) == (45, 247)
