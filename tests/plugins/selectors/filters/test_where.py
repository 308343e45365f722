"""Where drops the rows for which a SQL condition is true, and explains invalid conditions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.errors import PluginError
from curate.plugins.batches import Pool
from curate.plugins.selectors.filters.where import Where, quote_columns, where

FRAME = pl.DataFrame(
    {
        "score_a": [0.1, 0.4, 0.5, None, float("nan")],
        "source": ["web", "ads", None, "web", "ads"],
        "flag": [True, False, None, True, False],
        "words": [1, 2, 3, 4, 5],
        "odd name": [1, 0, 0, 0, 0],
    }
)


def select(drop, frame=FRAME):
    n = frame.height
    pool = Pool(np.zeros((n, 0), np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32), frame=frame)
    return Where(drop=drop).select(pool, None, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("drop", "kept"),
    [
        pytest.param("score_a < 0.5", [2, 3, 4], id="number"),
        pytest.param("score_a > 0.2", [0, 3, 4], id="nan-is-missing-not-large"),
        pytest.param("score_a IS NULL", [0, 1, 2], id="nan-is-null"),
        pytest.param("source = 'ads'", [0, 2, 3], id="null-keeps"),
        pytest.param("source = 'ads' OR score_a < 0.2", [2, 3], id="or"),
        pytest.param("source LIKE 'w%' AND words > 1", [0, 1, 2, 4], id="like"),
        pytest.param("flag", [1, 2, 4], id="boolean-column"),
        pytest.param("NOT flag", [0, 2, 3], id="not"),
        pytest.param("words > AVG(words)", [0, 1, 2], id="aggregate-over-the-pool"),
        pytest.param('"odd name" = 1', [1, 2, 3, 4], id="quoted-name"),
        pytest.param("words > 99", [0, 1, 2, 3, 4], id="none-dropped"),
        pytest.param("words > 0", [], id="all-dropped"),
    ],
)
def test_rows_kept(drop, kept):
    assert select(drop).indices.tolist() == kept


def test_reason_contains_the_condition():
    assert select("score_a < 0.5").reasons == ("drop: score_a < 0.5",)


def test_columns_are_those_the_condition_names_once_each():
    assert Where(drop="score_a < 0.5 OR (words > 3 AND score_a < 0.7)").columns() == ("score_a", "words")


@pytest.mark.parametrize("drop", ["score_a <", "", "*", "score_a < 1; words > 2", "SELECT 1", "lenght(source) > 3"])
def test_what_is_not_an_expression_is_refused_at_construction(drop):
    with pytest.raises(ValueError, match=r"^drop: .* is not a SQL expression: "):
        Where(drop=drop)


def test_what_names_no_column_is_refused_at_construction():
    with pytest.raises(ValueError, match=r"^drop: '1 > 2' does not use any column$"):
        Where(drop="1 > 2")


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        pytest.param("source > 3", "cannot compare string with numeric type", id="string-with-number"),
        pytest.param("words + 1", "not boolean", id="not-boolean"),
        pytest.param("source", "not boolean", id="string-column"),
    ],
)
def test_wrong_types_are_an_error_that_shows_the_columns_types(drop, message):
    with pytest.raises(PluginError, match=message) as caught:
        select(drop, FRAME.select(Where(drop=drop).columns()))
    assert "the columns are " in caught.value.hint
    assert ("(String)" in caught.value.hint) or ("(Int64)" in caught.value.hint)


def test_column_of_nulls_keeps_all():
    assert select("a", pl.DataFrame({"a": [None, None]})).indices.tolist() == [0, 1]


KEYWORDS = """
all analyze any as asc by case cluster current_user desc distribute end except exclude exists explain
fetch format from full group having inner intersect interval into join key left lateral limit
natural offset on order outer over partition primary qualify rank returning right select session_user set
sort some struct table top trim union unique user using values view where window with
""".split()  # noqa: SIM905 - as a list it a page long


@pytest.mark.parametrize("name", KEYWORDS)
def test_columns_that_are_keywords_need_no_quotes(name):
    frame = pl.DataFrame({name: [1, 2, None], "a": [5, 5, 5]})
    for condition, expected in (
        (f"{name} = 1", [True, False, False]),
        (f"a > {name} AND {name} > 1", [False, True, False]),
        (f"({name} IS NULL) OR {name} IN (1, 7)", [True, False, True]),
        (f'"{name}" BETWEEN 2 AND 3', [False, True, False]),
    ):
        assert Where(drop=condition).columns()
        assert where(frame, condition).tolist() == expected, condition


@pytest.mark.parametrize(
    ("condition", "quoted"),
    [
        ("CASE WHEN NOT end = 1 THEN end ELSE 2 END > 2", 'CASE WHEN NOT "end" = 1 THEN "end" ELSE 2 END > 2'),
        ("CASE end WHEN 1 THEN 2 ELSE 3 END >= 3", 'CASE "end" WHEN 1 THEN 2 ELSE 3 END >= 3'),
        ("CAST(end AS int) > 1 AND end::int > 1", 'CAST(end AS int) > 1 AND "end"::int > 1'),
        ("trim('end') = 'end' AND abs(end) > 1", "trim('end') = 'end' AND abs(\"end\") > 1"),
        ("date '2020-01-01' < end", "date '2020-01-01' < \"end\""),
        ("meta.order = 1 AND null IS NULL", '"meta"."order" = 1 AND null IS NULL'),
    ],
)
def test_keywords_that_are_keywords_stay(condition, quoted):
    assert quote_columns(condition) == quoted


@pytest.mark.parametrize(
    "query", ["(SELECT 1) = 1", "(FROM read_csv('a')) > 1", "end IN (SELECT * FROM x)", "(select*from x)>1"]
)
def test_a_query_stays_one_with_quotes(query):
    with pytest.raises(ValueError, match="it contains a query"):
        Where(drop=query)
