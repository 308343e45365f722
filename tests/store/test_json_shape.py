"""A dataclass that was written as JSON comes back equal, and nothing else is read as one."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import annotated_types as at
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.store.json_shape import has_shape, parse_dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    path: str
    size: Annotated[int, at.Ge(0)]
    cuts: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    files: tuple[File, ...]
    rows: list[int]
    roles: Mapping[str, str]
    counts: dict[str, File]
    state: Literal["fresh", "stale", 1]
    seconds: float
    fitted: bool
    drift: float | None = None
    best: typing.Optional[File] = None  # noqa: UP045 - both ways of writing it are read
    either: int | str = 0
    note: Any = None
    names: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if "forbidden" in self.names:
            raise ValueError("names: that one is taken")


FILE = File(path="a", size=1, cuts=((0, 2), (3, 4)))
RESULT = Result(
    **{"files": (FILE, File(path="b", size=0)), "rows": [1, 2], "roles": {"text": "body"}, "counts": {"a": FILE}},
    **{"state": "fresh", "seconds": 0.5, "fitted": True, "drift": 0.25, "best": FILE, "either": "x"},
    **{"note": {"any": [1]}, "names": ("p",)},
)
PLAIN = json.loads(json.dumps(dataclasses.asdict(RESULT)))


def test_what_was_written_comes_back_equal():
    assert parse_dataclass(Result, PLAIN) == RESULT


def test_a_key_may_be_missing_only_where_its_field_has_a_default():
    optional = {each.name for each in dataclasses.fields(Result)} - {
        *("files", "rows", "roles", "counts", "state", "seconds", "fitted")
    }
    for name in PLAIN:
        without = {key: value for key, value in PLAIN.items() if key != name}
        assert (parse_dataclass(Result, without) is not None) == (name in optional), name


WRONG = [
    *({"files": each} for each in (None, {}, "ab", [1], [{"path": "a"}], [{**PLAIN["files"][0], "more": 1}])),
    *({"files": [{**PLAIN["files"][0], "cuts": each}]} for each in ([[1]], [[1, 2, 3]], [[1, None]], [1], [[1, "2"]])),
    *({"rows": each} for each in ([True], [1.0], ["1"], [-1], [1 << 63], [10**400], [math.nan], [None], {"a": 1}, 1)),
    *({"roles": each} for each in ([], {"a": 1}, {"a": None}, None)),
    *({"counts": each} for each in ({"a": None}, {"a": {}}, [PLAIN["best"]])),
    *({"state": each} for each in ("gone", None, 1.0, True, ["fresh"], {})),
    *({"seconds": each} for each in (math.nan, math.inf, -math.inf, True, "1", None, 10**400, [])),
    *({"fitted": each} for each in (0, 1, None, "true")),
    *({"drift": each} for each in (math.nan, False, "0.5")),
    *({"best": each} for each in ({}, [], {"path": 1, "size": 1}, False)),
    *({"either": each} for each in (1.5, None, True, [])),
    *({"names": each} for each in ("abc", [1], ["forbidden"])),
    {"more": 1},
]


@pytest.mark.parametrize("change", WRONG, ids=lambda change: repr(change)[:60])
def test_other_data_are_refused(change):
    assert parse_dataclass(Result, {**PLAIN, **change}) is None


@pytest.mark.parametrize("data", [None, [], [PLAIN], "text", 1, math.nan])
def test_only_a_mapping_is_read_as_a_dataclass(data):
    assert parse_dataclass(Result, data) is None


@pytest.mark.parametrize(
    "change", [{"state": 1}, {"drift": None}, {"best": None}, {"either": 3}, {"rows": [2**63 - 1]}]
)
def test_every_member_of_a_union_and_every_literal_is_read(change):
    read = parse_dataclass(Result, {**PLAIN, **change})
    assert read is not None
    assert {key: getattr(read, key) for key in change} == change


def test_an_integer_is_read_as_the_float_that_its_field_says():
    read = parse_dataclass(Result, {**PLAIN, "seconds": 2})
    assert read is not None
    assert isinstance(read.seconds, float)
    assert read.seconds == 2


def test_null_is_nan_only_where_the_reader_says_so_and_only_a_number_fits():
    nulls = {**PLAIN, "seconds": None, "drift": None}
    read = parse_dataclass(Result, nulls, null_is_nan=True)
    assert read is not None
    assert math.isnan(read.seconds)
    assert read.drift is None
    assert parse_dataclass(Result, nulls) is None
    assert parse_dataclass(Result, {**PLAIN, "rows": [None]}, null_is_nan=True) is None


def test_a_type_that_json_cannot_hold_is_a_mistake_in_the_program():
    @dataclass
    class Odd:
        when: complex

    with pytest.raises(TypeError, match="complex"):
        parse_dataclass(Odd, {"when": 1})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PLAIN, "path", "size"]), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(PLAIN)), VALUES)
def test_whatever_is_read_is_written_as_it_was(key, value):
    data = {**PLAIN, key: value}
    read = parse_dataclass(Result, data)
    if read is not None:
        again = json.loads(json.dumps(dataclasses.asdict(read)))
        assert again == json.loads(json.dumps(data))


def test_a_number_too_large_for_a_float_fits_none():
    assert not has_shape(10**400, float)
    assert has_shape(10**300, float)
