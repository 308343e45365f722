"""The functions for notebooks do what the command line does."""

from __future__ import annotations

import numpy as np
import pytest

import curate
from curate.errors import ConfigError, DataError

X = np.random.default_rng(0).standard_normal((200, 16))


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"selector": "uniform", "keep": 7}, 7),
        ({"selector": "k_center", "keep_rate": 0.29}, 58),
        ({"selector": "facility_location", "prune_rate": 0.9, "neighbours": 8}, 20),
        ({"selector": "ccs", "prune_rate": 0.5, "by": "el2n", "scores": {"el2n": np.arange(200)}}, 100),
        ({"selector": "top_k", "keep": 3, "quality": np.arange(200)}, 3),
    ],
)
def test_a_selector_keeps_its_budget(fields, rows):
    chosen = curate.select(X, **fields)
    assert len(chosen.order) == rows
    assert np.array_equal(chosen.order, curate.select(X, **fields).order)


def test_a_filter_decides_for_itself_and_clusters_are_found_where_needed():
    twice = np.concatenate([X, X[:50]])
    assert len(curate.select(twice, selector="semdedup").order) == 200
    assert curate.select(X[:3], selector="exact_duplicates", texts=["a", "b", "a"]).order.tolist() == [0, 1]


def test_vectors_need_not_be_of_unit_length():
    longer = X * np.arange(1, 201)[:, None]
    assert np.array_equal(
        curate.select(longer, selector="k_center", keep=9).order, curate.select(X, selector="k_center", keep=9).order
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"selector": "k_centr", "keep": 3}, "unknown selector 'k_centr'; did you mean 'k_center'"),
        ({"selector": "k_center"}, "missing a budget"),
        ({"selector": "k_center", "keep": 3, "keep_rate": 0.1}, "a second budget beside keep"),
        ({"selector": "semdedup", "keep": 3}, "decides itself how many rows it keeps"),
        ({"selector": "semdedup", "min_similarty": 0.3}, "did you mean 'min_similarity'"),
        ({"selector": "ccs", "keep": 3, "by": "x"}, "there is no score 'x'"),
        ({"selector": "exact_duplicates"}, "'exact_duplicates' reads texts; give them"),
    ],
)
def test_a_wrong_argument_is_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        curate.select(X, **fields)


def test_a_budget_beyond_the_rows_and_a_zero_row_are_refused():
    with pytest.raises(DataError, match="only 200 rows"):
        curate.select(X, selector="uniform", keep=201)
    with pytest.raises(ConfigError, match="a row is all zero"):
        curate.select(np.zeros((3, 2)), selector="uniform", keep=1)
