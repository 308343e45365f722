"""Tests of parsing and dumping YAML 1.2 (core schema), and of the places of keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config import yaml_positions

CORE = [
    ("1e-3", 0.001), ("1.", 1.0), (".5", 0.5), ("-1E+2", -100.0), ("010", 10), ("0o10", 8), ("0x1F", 31), ("+7", 7),
    ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("12:30", "12:30"), ("1_000", "1_000"),
    ("2026-11-21", "2026-11-21"), ("0b11", "0b11"), ("=", "="), ("-0o7", "-0o7"), ("1e", "1e"), ("e5", "e5"),
    ("true", True), ("False", False), ("TRUE", True), ("tRUE", "tRUE"), ("~", None), ("null", None), ("", None),
    ("Null", None), ("nULL", "nULL"), ('"1"', "1"), ("'null'", "null"), ("!!str 1", "1"), ("!!float 1", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), CORE, ids=[repr(text) for text, _ in CORE])
def test_scalars_are_resolved_as_in_yaml_1_2(text: str, value: object) -> None:
    got = yaml_positions.parse_yaml(f"a: {text}", "x").data["a"]
    assert (got, type(got)) == (value, type(value))


def test_places_are_those_of_keys_and_of_list_items() -> None:
    document = yaml_positions.parse_yaml("# first\na:\n  - {b: 1, c: [2]}\n  -   d: x\n'e': y\n", "x")
    assert document.data == {"a": [{"b": 1, "c": [2]}, {"d": "x"}], "e": "y"}
    assert document.locations == {
        (): (2, 1),
        ("a",): (2, 1),
        ("a", 0): (3, 5),
        ("a", 0, "b"): (3, 6),
        ("a", 0, "c"): (3, 12),
        ("a", 0, "c", 0): (3, 16),
        ("a", 1): (4, 7),
        ("a", 1, "d"): (4, 7),
        ("e",): (5, 1),
    }


def test_an_alias_has_the_value_of_its_anchor() -> None:
    assert yaml_positions.parse_yaml("a: &x [1, {b: 2}]\nc: *x\n", "x").data["c"] == [1, {"b": 2}]


def test_a_byte_order_mark_and_dos_line_ends_change_no_place() -> None:
    assert yaml_positions.parse_yaml("a: 1\r\nb: 2\r\n", "x").locations[("b",)] == (2, 1)


def test_a_key_given_twice_keeps_its_first_value_and_names_both_places() -> None:
    document = yaml_positions.parse_yaml("a: 1\nb: 2\na: 3\n", "x")
    assert document.data == {"a": 1, "b": 2}
    assert document.faults == [yaml_positions.Fault(("a",), "duplicate key; first at 1:1", "", (3, 1))]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
    | st.sampled_from([text for text, _ in CORE] + ["<<", "0o8", "1e3", "# x", "- x", "a: b", "&a", "*a", "!x", "%"])
)
KEYS = st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda key: key != "<<")


@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)))
def test_what_is_dumped_is_what_is_parsed(data: object) -> None:
    document = yaml_positions.parse_yaml(yaml_positions.dump_yaml({"data": data}), "x")
    assert document.faults == []
    assert repr(document.data) == repr({"data": data})  # repr tells 1 from 1.0 and from true


@given(st.text())
def test_any_text_is_data_or_a_config_error(text: str) -> None:
    try:
        document = yaml_positions.parse_yaml(text, "x")
    except yaml_positions.ConfigError as error:
        assert error.where.startswith("x")
    else:
        assert document.locations[()][0] >= 1
