"""A template over columns gives a row's text."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config import template_syntax
from curate.stages.export import map_strings
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
    assert text_template.render("{tags}/{n}", TABLE).to_pylist() == ['["t"]/1', None, None, "/2"]


def test_braces_are_doubled_and_missing_columns_are_empty():
    assert text_template.render("{{{n}}} {missing}", TABLE).to_pylist()[0] == "{1} "


def test_a_name_without_braces_is_a_column():
    assert text_template.template_columns("text") is None
    assert text_template.template_columns("{b} {a} {b}") == ["b", "a"]


@pytest.mark.parametrize("template", ["{a", "{}", "{a!r}", "{a:>10}", "a}"])
def test_only_plain_names_may_stand_in_braces(template):
    with pytest.raises(ValueError, match=r"^text: "):
        text_template.template_columns(template)


# ---------------------------------------------------------------- paths into lists and objects

TURNS = [
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    [{"role": "user", "content": None}, {"role": "assistant", "content": " "}, None],
    None,
    [],
]
PARTS = [
    [{"content": [{"type": "text", "text": "a"}, {"type": "image", "url": "u"}]}, {"content": "b"}, {"content": []}],
    [{"role": "user"}, "c", 7],
    {"content": "an object where a list should be"},
    "a text",
]


def as_json(values):
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.json_())


@pytest.mark.parametrize("array", [pa.array(TURNS), as_json(TURNS)], ids=["structs", "JSON"])
def test_a_path_gives_a_line_for_each_value_and_none_for_blank_ones(array):
    table = pa.table({"messages": array})
    assert text_template.render("{messages[*].content}", table).to_pylist() == ["Hi\nHello", None, None, None]
    assert text_template.render("{messages[*].role}!", table).to_pylist() == ["user\nassistant!"] * 2 + [None] * 2


def test_a_text_on_the_way_is_taken_and_other_values_are_not():
    table = pa.table({"messages": as_json(PARTS)})
    texts = text_template.render("{messages[*].content[*].text}", table).to_pylist()
    assert texts == ["a\nb", "c", None, "a text"]


def test_what_a_path_leads_to_is_text_as_anywhere():
    table = pa.table({"x": as_json([{"n": [1.10, 12345678901234567890123, True, {"a": "b"}, ["c"]]}, [[1], [2, 3]]])})
    assert text_template.render("{x.n[*]}", table).to_pylist() == [
        '1.1\n12345678901234567890123\ntrue\n{"a":"b"}\n["c"]',
        None,
    ]
    assert text_template.render("{x[*][*]}", table).to_pylist() == [None, "1\n2\n3"]
    assert text_template.template_columns("{x.n[*]} {x[*][*]} {a.b} {c[0]} {weight [kg]}") == [
        "x",
        "a.b",
        "c",
        "weight [kg]",
    ]


def test_a_map_is_a_list_of_keys_and_values():
    table = pa.table({"x": pa.array([[("a", "b"), ("c", "d")]], pa.map_(pa.string(), pa.string()))})
    assert text_template.render("{x[*].key}={x[*].value}", table).to_pylist() == ["a\nc=b\nd"]


@pytest.mark.parametrize(
    "template",
    [
        "{[*]}",
        "{a[*]b}",
        "{a[*].}",
        "{a[*]..b}",
        "{.a[*]}",
        "{a[1:]}",
        '{a[role="user"]}',
        "{a[role = user]}",
        "{a[=x]}",
    ],
)
def test_what_is_no_path_is_an_error_that_shows_one(template):
    with pytest.raises(
        ValueError, match=r"is not a valid path into a list; write it like \"\{messages\[\*\]\.content\}\""
    ):
        text_template.template_columns(template)


def test_empty_brackets_are_answered_with_a_star():
    with pytest.raises(ValueError, match=r'write \[\*\] for all elements: "\{a\[\*\]\.b\[\*\]\}"'):
        text_template.template_columns("{a[].b[]}")


VALUES = st.recursive(
    st.one_of(st.none(), st.integers(0, 9), st.text("ab ", max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=12,
)
PATHS = st.sampled_from(
    [
        "x[*]",
        "x[*].a",
        "x[*].a[*].b",
        "x.a[*]",
        "x.a[*].b",
        "x.b[*].a[*]",
        "x[0]",
        "x[-1].a",
        "x[a=b].b",
        "x[b=a][-1].b",
    ]
)


@given(rows=st.lists(VALUES, min_size=1, max_size=5), names=st.lists(PATHS, min_size=1, max_size=2, unique=True))
def test_masking_and_cutting_reach_the_strings_of_the_text_and_no_other(rows, names):
    """Strings that the text has get a mark, and rendering the marked rows gives the text with every string marked."""
    mark = "\N{PILCROW SIGN}"
    table = pa.table({"x": as_json(rows)})
    paths = template_syntax.extract_paths("".join(f"{{{name}}}" for name in names))
    seen = []
    marked = map_strings.map_strings(table, paths, lambda _, text: (seen.append(text), f"{mark}{text}")[1])
    unmarked = map_strings.map_strings(marked, [("x",)], lambda _, text: text.removeprefix(mark))
    assert [json.loads(text or "null") for text in unmarked["x"].to_pylist()] == rows
    count = 0
    for name in names:
        before, after = (text_template.render(f"{{{name}}}", one).to_pylist() for one in (table, marked))
        assert [(text or "").count(mark) for text in before] == [0] * len(rows)
        visible = [[line for line in (text or "").replace(mark, "").splitlines() if line.strip()] for text in after]
        assert visible == [[line for line in (text or "").splitlines() if line.strip()] for text in before]
        count += sum((text or "").count(mark) for text in after)
    assert count == len(seen) if len(names) == 1 else count >= len(seen)
