"""The functions for notebooks do what the command line does."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest

import curate
from curate.errors import ConfigError, DataError
from curate.plugins import registry
from curate.plugins.fields import fields

X = np.random.default_rng(0).standard_normal((200, 16))


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"selector": "uniform", "keep": 7}, 7),
        ({"selector": "k_center", "keep_rate": 0.29}, 58),
        ({"selector": "facility_location", "prune_rate": 0.9, "n_neighbors": 8}, 20),
        ({"selector": "ccs", "prune_rate": 0.5, "by": "el2n", "scores": {"el2n": np.arange(200)}}, 100),
        ({"selector": "top_k", "keep": 3, "quality": np.arange(200)}, 3),
    ],
)
def test_a_selector_keeps_its_budget(fields, rows):
    chosen = curate.select(X, **fields)
    assert len(chosen.indices) == rows
    assert np.array_equal(chosen.indices, curate.select(X, **fields).indices)


def test_a_filter_decides_for_itself_and_clusters_are_found_where_needed():
    twice = np.concatenate([X, X[:50]])
    assert len(curate.select(twice, selector="semdedup").indices) == 200
    assert curate.select(X[:3], selector="exact_duplicates", texts=["a", "b", "a"]).indices.tolist() == [0, 1]


def test_vectors_need_not_be_of_unit_length():
    longer = X * np.arange(1, 201)[:, None]
    assert np.array_equal(
        curate.select(longer, selector="k_center", keep=9).indices,
        curate.select(X, selector="k_center", keep=9).indices,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"selector": "k_centr", "keep": 3}, "unknown selector 'k_centr'; did you mean 'k_center'"),
        ({"selector": "k_center"}, "has no budget"),
        ({"selector": "k_center", "keep": 3, "keep_rate": 0.1}, "the entry already has a budget, keep"),
        ({"selector": "semdedup", "keep": 3}, "keep: must be one of 'farthest', 'nearest', 'best_quality'; got 3"),
        ({"selector": "semdedup", "keep_rate": 0.3}, "takes no budget"),
        ({"selector": "semdedup", "min_similarty": 0.3}, "did you mean 'min_similarity'"),
        ({"selector": "ccs", "keep": 3, "by": "x"}, "there is no score 'x'"),
        ({"selector": "exact_duplicates"}, "texts: missing; the selector 'exact_duplicates' reads texts; add texts="),
    ],
)
def test_a_wrong_argument_is_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        curate.select(X, **fields)


def test_a_budget_beyond_the_rows_and_a_zero_row_are_refused():
    with pytest.raises(DataError, match="only 200 rows"):
        curate.select(X, selector="uniform", keep=201)
    with pytest.raises(ConfigError, match="row 0 is all zero"):
        curate.select(np.zeros((3, 2)), selector="uniform", keep=1)


# ---------------------------------------------------------------- groups and tokens

SIDES = np.repeat(["left", "right"], [450, 50])
Y = np.random.default_rng(1).standard_normal((500, 8))


def shares(chosen, groups=SIDES) -> list[int]:
    return [int((groups[chosen.indices] == name).sum()) for name in np.unique(groups)]


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (None, [45, 5]),
        ("proportional", [45, 5]),
        ("balanced", [25, 25]),
        ({"temperature": 1e6}, [25, 25]),
        ({"right": 40}, [10, 40]),
        ({"right": 0.5, "left": 25}, [25, 25]),
    ],
)
@pytest.mark.parametrize("selector", ["uniform", "k_center", "facility_location"])
def test_a_quota_holds_within_groups(selector, quota, expected):
    assert shares(curate.select(Y, selector=selector, keep=50, within=SIDES, quota=quota)) == expected


@pytest.mark.parametrize(
    "groups",
    [SIDES, SIDES.tolist(), pl.Series(SIDES), SIDES == "left", (SIDES == "left").astype(int), pd.Series(SIDES)],
)
def test_groups_may_be_any_column(groups):
    chosen = curate.select(Y, selector="uniform", keep=50, within=groups, quota="balanced")
    assert shares(chosen) == [25, 25]


def test_groups_may_be_clusters_and_may_be_missing():
    given = curate.select(Y, selector="uniform", keep=50, within="cluster", cluster=SIDES == "left", quota="balanced")
    assert shares(given) == [25, 25]
    assert len(curate.select(Y, selector="uniform", keep=50, within="cluster").indices) == 50
    some = np.where(SIDES == "left", None, "right")
    assert shares(curate.select(Y, selector="uniform", keep=50, within=some, quota={"right": 30})) == [20, 30]


def test_a_filter_runs_within_groups():
    twice = np.concatenate([X[:100], X[:100]])
    halves = np.repeat([0, 1], 100)
    assert len(curate.select(twice, selector="semdedup").indices) == 100
    assert len(curate.select(twice, selector="semdedup", within=halves).indices) == 200


@pytest.mark.parametrize("selector", ["uniform", "k_center", "volume_sampling"])
@pytest.mark.parametrize("quota", ["balanced", "proportional", {"right": 0.5}])
def test_tokens_are_split_by_tokens_within_groups(selector, quota):
    tokens = np.where(SIDES == "left", 10, 100)  # 4,500 and 5,000 tokens
    chosen = curate.select(Y, selector=selector, keep_tokens=2_000, tokens=tokens, within=SIDES, quota=quota)
    spent = [int(tokens[chosen.indices][SIDES[chosen.indices] == side].sum()) for side in ("left", "right")]
    wanted = [2_000 * 4_500 / 9_500, 2_000 * 5_000 / 9_500] if quota == "proportional" else [1_000, 1_000]
    assert np.abs(np.subtract(spent, wanted)).max() <= 100
    assert 1_900 < sum(spent) <= 2_000


def test_a_bound_keeps_what_there_is():
    assert len(curate.select(X, selector="uniform", keep=500, at_most=True).indices) == 200
    tokens = np.full(200, 3)
    assert len(curate.select(X, selector="uniform", keep_tokens=900, tokens=tokens, at_most=True).indices) == 200
    assert shares(curate.select(Y, selector="uniform", keep=200, at_most=True, within=SIDES, quota={"right": 90})) == [
        150,
        50,
    ]


# ---------------------------------------------------------------- arguments of every kind

REFUSED = {
    "within": [
        "nonsense",
        ["a"] * 199,
        np.zeros((200, 2)),
        [["a"]] * 200,
        [["a"]] * 199 + ["b"],
        3,
        [object()] * 200,
        pl.Series([[1]] * 200),
    ],
    "quality": [
        np.zeros(199),
        np.zeros((200, 1)),
        ["x"] * 200,
        [None] * 200,
        3,
        pl.Series([[1.0]] * 200),
        1j * X[:, 0],
    ],
    "cluster": [np.full(200, 0.5), np.full(200, np.nan), np.full(200, 2**40), ["a"] * 200, np.zeros(3)],
    "tokens": [np.full(200, -1), np.full(200, 1.5), np.zeros(3), ["a"] * 200],
    "scores": [np.zeros(200), {"el2n": np.zeros(3)}, {"el2n": ["x"] * 200}],
    "texts": ["abc", ["a"] * 199, [1] * 200, [None] * 200, b"abc"],
    "quota": ["even", 0.5, {"x": "y"}, {"x": -1}, {"x": 3}, ["balanced"]],
    "keep": ["3", 0, -1, 2.5, True, [3]],
    "at_most": ["yes", 3],
}
NEEDS = {
    "within": {},
    "quality": {"selector": "top_k"},
    "cluster": {"within": "cluster"},
    "tokens": {"keep": None, "keep_tokens": 10},
    "scores": {"selector": "ccs", "by": "el2n"},
    "texts": {"selector": "exact_duplicates", "keep": None},
    "quota": {"within": ["a"] * 200},
    "keep": {},
    "at_most": {},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_an_argument_of_another_kind_is_named(name, value):
    arguments = {"selector": "uniform", "keep": 3} | NEEDS[name] | {name: value}
    with pytest.raises((ConfigError, DataError), match=rf"{name}|select uniform"):
        curate.select(X, **arguments)


@pytest.mark.parametrize(
    "embeddings",
    [
        X[0],
        X[None],
        X[:, :0],
        3.0,
        "abc",
        [["a"]],
        [[1.0], [1.0, 2.0]],
        X.astype(complex),
        np.full((3, 2), np.nan),
        np.full((3, 2), 1e300),
        pl.Series([[1.0, 2.0], [3.0, 4.0]]),
        pl.DataFrame({"x": [[1.0, 2.0], [3.0, 4.0]]}),
        [None, None],
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'shape', '')}",
)
def test_embeddings_of_another_kind_are_refused(embeddings):
    with pytest.raises(ConfigError, match="embeddings: "):
        curate.select(embeddings, selector="uniform", keep=1)


@pytest.mark.parametrize("convert", [np.asfortranarray, np.ndarray.tolist, pl.DataFrame, pd.DataFrame, np.float16])
def test_embeddings_may_be_what_numpy_reads(convert):
    rounded = X.astype(np.float16).astype(np.float64)
    assert np.array_equal(
        curate.select(convert(rounded), selector="k_center", keep=9).indices,
        curate.select(rounded, selector="k_center", keep=9).indices,
    )


def test_numbers_may_be_numpys_own():
    chosen = curate.select(X, selector="facility_location", keep=np.int64(7), n_neighbors=np.int32(8), seed=np.int64(3))
    assert len(chosen.indices) == 7
    assert len(curate.select(X, selector="uniform", keep_rate=np.float32(0.5)).indices) == 100


@pytest.mark.parametrize("name", ["against", "embedding", "name"])
def test_keys_of_a_configuration_are_refused(name):
    value = "published" if name == "against" else "x"
    with pytest.raises(ConfigError, match=f"{name}: this key can only be used in a configuration"):
        curate.select(X, selector="exact_duplicates", texts=["a"] * 200, **{name: value})


@pytest.mark.parametrize("selector", registry.names("selector"))
def test_every_selector_selects_from_arrays_or_says_why_not(selector):
    plugin = registry.get("selector", selector)
    arrays = {"texts": [f"text {row % 150}" for row in range(200)], "quality": np.arange(200), "scores": {"s": X[:, 0]}}
    own = {field.name: "s" if "score" in field.doc else [] for field in fields(plugin.cls) if field.required}
    budget = {"keep": 20} if plugin.traits.budgeted else {}
    try:
        chosen = curate.select(X, selector=selector, **arrays, **budget, **own)
    except ConfigError as error:
        assert re.search(r"reads columns of the input|missing|must be|at least", str(error)), error
        return
    assert len(chosen.indices) <= 20 if budget else len(chosen.indices) <= 200
