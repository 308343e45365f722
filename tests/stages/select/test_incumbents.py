"""The published selection as an anchor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import PluginError
from curate.plugins.results import Selection
from curate.stages.select.incumbents import DISPLACED, Incumbents, keep_incumbents


def best(quality, budget):
    """Top-k, as a selector that can be asked again about some of the rows."""
    order = np.argsort(-quality, kind="stable")[:budget]
    return Selection(order, quality[order])


def held_to(quality, published, weight, budget):
    return keep_incumbents(
        best(quality, budget), Incumbents(published, weight), lambda rows, held: best(quality[rows], held)
    )


@st.composite
def pools(draw):
    n = draw(st.integers(1, 30))
    quality = np.array(draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)), np.float32)
    published = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return quality, published, draw(st.integers(0, n)), draw(st.floats(0, 1))


@given(pools())
def test_the_budget_is_exact_and_no_more_published_rows_go_than_may(pool):
    quality, published, budget, weight = pool
    chosen = held_to(quality, published, weight, budget).check(len(quality), budget)
    gone = published.sum() - published[chosen.indices].sum()
    assert gone <= max((1 - weight) * published.sum() + 1e-9, published.sum() - budget)


@given(pools())
def test_at_0_the_published_rows_count_for_nothing(pool):
    quality, published, budget, _ = pool
    assert held_to(quality, published, 0.0, budget).indices.tolist() == best(quality, budget).indices.tolist()


@given(pools())
def test_at_1_new_rows_only_fill_what_is_free(pool):
    quality, published, budget, _ = pool
    chosen = set(held_to(quality, published, 1.0, budget).indices.tolist())
    old = set(np.flatnonzero(published).tolist())
    assert old <= chosen if len(old) <= budget else chosen <= old


def test_the_best_new_rows_get_in_and_the_best_old_ones_stay():
    quality = np.array([9, 8, 7, 6, 5, 4, 3, 2], np.float32)
    published = np.array([False] * 4 + [True] * 4)
    chosen = held_to(quality, published, 0.5, 4)
    assert sorted(chosen.indices.tolist()) == [0, 1, 4, 5]
    assert [chosen.reasons[chosen.reason[row]] for row in (2, 3, 6)] == [DISPLACED, DISPLACED, "not selected"]
    assert chosen.gain.tolist() == [9, 8, 5, 4]


def test_nothing_that_is_not_chosen_stands_for_another_row():
    fresh = Selection(
        np.array([0, 1]),
        np.zeros(2, np.float32),
        representative=np.array([-1, -1, 0, 1]),
        similarity=np.array([np.nan, np.nan, 0.9, 0.8], np.float32),
    )
    chosen = keep_incumbents(
        fresh, Incumbents(np.array([False, False, True, False]), 1.0), lambda rows, held: best(np.ones(1), held)
    )
    assert sorted(chosen.indices.tolist()) == [0, 2]
    assert chosen.representative.tolist() == [-1, -1, 0, -1]
    assert np.isnan(chosen.similarity[3])


def test_a_selector_that_weighs_its_rows_is_refused():
    weighed = Selection(np.array([0]), np.ones(1, np.float32), np.ones(1, np.float32))
    with pytest.raises(PluginError, match="cannot keep published rows"):
        keep_incumbents(weighed, Incumbents(np.array([False, True]), 1.0), lambda rows, held: best(np.ones(1), held))
