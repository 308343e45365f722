"""Tests of budgets, in rows and tokens."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config.budget import Budget
from curate.errors import DataError


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_a_rate_is_the_exact_decimal_number_in_the_file(n: int, millionths: int) -> None:
    rate = millionths / 10**6
    if rate > 0:
        assert Budget(keep_rate=rate).resolve_rows(n, "x") == n * millionths // 10**6
    if rate < 1:
        assert Budget(prune_rate=rate).resolve_rows(n, "x") == n * (10**6 - millionths) // 10**6


def test_no_row_is_lost_to_binary_fractions() -> None:
    assert int(0.29 * 100) == 28  # what a float makes of it
    assert Budget(keep_rate=0.29).resolve_rows(100, "x") == 29
    assert int((1 - 0.9) * 10) == 0
    assert Budget(prune_rate=0.9).resolve_rows(10, "x") == 1


@pytest.mark.parametrize("rate", [1e-7, 2.5e-5, 0.1 + 0.2])
def test_a_rate_of_any_notation(rate: float) -> None:
    assert Budget(keep_rate=rate).resolve_rows(10**9, "x") == int(Fraction(repr(rate)) * 10**9)


def test_more_rows_than_there_are_is_an_error_that_names_the_entry() -> None:
    assert Budget(keep=5).resolve_rows(5, "best") == 5
    with pytest.raises(DataError, match=r"^select best: keep is 6, but only 5 rows reach this entry; lower keep"):
        Budget(keep=6).resolve_rows(5, "best")


def test_a_budget_counts_rows_or_tokens() -> None:
    assert Budget(keep_tokens=7).resolve_rows(5, "x") is None
    assert Budget(keep_tokens=7).resolve_tokens(7, "x") == 7
    assert Budget(keep=5).resolve_tokens(7, "x") is None
    with pytest.raises(DataError, match="keep_tokens is 8, but only 7 tokens reach this entry"):
        Budget(keep_tokens=8).resolve_tokens(7, "x")


@pytest.mark.parametrize("given_", [{}, {"keep": 1, "keep_rate": 0.5}, {"keep_tokens": 1, "prune_rate": 0.5}])
def test_a_budget_is_exactly_one_of_four(given_: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one of"):
        Budget(**given_)
