"""A template over columns gives a row's text."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.stages.ingest import text_template

TABLE = pa.table(
    {
        "q": ["What?", None, " ", "{a}"],
        "a": ["This.", "That.", None, "x"],
        "tags": pa.array([["t"], [], None, None], pa.list_(pa.string())),
        "n": [1, None, None, 2],
    }
)


def test_nulls_give_nothing_and_a_row_of_blanks_has_no_text():
    assert text_template.render("Q: {q}\nA: {a}", TABLE).to_pylist() == [
        "Q: What?\nA: This.",
        "Q: \nA: That.",
        None,
        "Q: {a}\nA: x",
    ]


def test_what_is_no_string_is_written_as_json():
    assert text_template.render("{tags}/{n}", TABLE).to_pylist() == ['["t"]/1', "[]/", None, "/2"]


def test_braces_are_doubled_and_missing_columns_are_empty():
    assert text_template.render("{{{n}}} {missing}", TABLE).to_pylist()[0] == "{1} "


def test_a_name_without_braces_is_a_column():
    assert text_template.columns_of("text") is None
    assert text_template.columns_of("{b} {a} {b}") == ["b", "a"]


@pytest.mark.parametrize("template", ["{a", "{}", "{a!r}", "{a:>10}", "a}"])
def test_only_plain_names_may_stand_in_braces(template):
    with pytest.raises(ValueError, match=r"^text: "):
        text_template.columns_of(template)
