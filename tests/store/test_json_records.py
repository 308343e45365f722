"""JSON files: numbers keep their digits, and a record unlike the others is bad instead of the file."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DataError
from curate.store import json_records, readers
from curate.store.records import Batch, Piece, ReadOptions


def read(folder: Path, text: str | bytes, name: str = "a.jsonl", **options: object) -> list[Batch]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(readers.read(Piece(str(path), 0), ReadOptions(**options)))


def column(batches: list[Batch], name: str = "a") -> list[object]:
    return [value for batch in batches for value in batch.table[name].to_pylist()]


def wrong(batches: list[Batch]) -> list[tuple[int, str]]:
    return [(one.line, one.reason) for batch in batches for one in batch.bad_records]


@pytest.mark.parametrize(
    ("digits", "kind"),
    [
        (["1", "-2"], pa.int64()),
        (["9223372036854775807", "1"], pa.int64()),
        (["-9223372036854775808"], pa.int64()),
        (["18446744073709551615", "0"], pa.uint64()),
        (["18446744073709551616", "1"], pa.decimal128(20, 0)),
        (["-9223372036854775809", "1"], pa.decimal128(19, 0)),
        (["18446744073709551615", "-1"], pa.decimal128(20, 0)),
        (["1" * 76], pa.decimal256(76, 0)),
        (["12345678901234567.25", "5"], pa.decimal128(19, 2)),
        (["0.100000000000000693"], pa.decimal128(18, 18)),
        (["90071992547409.93"], pa.decimal128(16, 2)),
        (["90071992547409.94", "0.30000000000000004"], pa.float64()),
        (["1234567890123456e3"], pa.float64()),
        (["0.100000000000000000000000", "1.00000000000000000000"], pa.float64()),
        (["100000000000000001e0"], pa.uint64()),
        (["100000000000000001.0"], pa.decimal128(19, 1)),
        (["0.1", "2"], pa.float64()),
        (["0.10000000000000001", "1e300"], pa.float64()),
        (["0.1000000000000000055511151231257827", "1"], pa.float64()),
    ],
)
def test_numbers_keep_their_digits(tmp_path, digits, kind):
    batches = read(tmp_path, "".join(f'{{"a": {one}}}\n' for one in digits))
    assert [batch.table.schema.field("a").type for batch in batches] == [kind]
    found = column(batches)
    assert [Decimal(str(one)) for one in found] == [
        Decimal(repr(float(one))) if pa.types.is_floating(kind) else Decimal(one) for one in digits
    ]


@pytest.mark.parametrize("digits", ["1" * 77, "-" + "9" * 400, "9e99999", "1e-400", "0." + "1" * 80])
def test_a_number_that_nothing_holds_makes_its_record_bad(tmp_path, digits):
    batches = read(tmp_path, f'{{"a": 1}}\n{{"a": {digits}}}\n{{"a": 3}}\n')
    assert column(batches) == [1, 3]
    [(line, reason)] = wrong(batches)
    assert line == 2
    assert reason.startswith("has the number")


@given(st.lists(st.integers(-(10**40), 10**40), min_size=1, max_size=4))
def test_integers_of_any_length_are_read_as_they_are(tmp_path_factory, numbers):
    batches = read(tmp_path_factory.mktemp("json"), "".join(f'{{"a": {one}}}\n' for one in numbers))
    assert [int(one) for one in column(batches)] == numbers


def test_nan_and_infinities_are_null_and_counted(tmp_path):
    batches = read(tmp_path, '{"a": NaN, "b": "NaN"}\n{"a": -Infinity, "b": "x"}\n{"a": 1.5, "b": null}\n')
    assert column(batches) == [None, None, 1.5]
    assert column(batches, "b") == ["NaN", "x", None]
    assert sum(batch.non_finite for batch in batches) == 2


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        (["1", '"x"', "2"], [1, 2]),
        (['"x"', "1", '"y"'], ["x", "y"]),
        (["1.5", "true", "2"], [1.5, 2.0]),
        (["0.5", "9007199254740993", "1.5"], [0.5, 1.5]),
        (["9007199254740993", "0.5", "9007199254740995", "1"], [9007199254740993, 9007199254740995, 1]),
    ],
)
def test_a_value_of_another_kind_than_most_makes_its_record_bad(tmp_path, values, kept):
    batches = read(tmp_path, "".join(f'{{"a": {one}}}\n' for one in values))
    assert column(batches) == kept
    assert len(wrong(batches)) == len(values) - len(kept)
    assert all("in most records of the file" in reason for _, reason in wrong(batches))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["[1]", "{}", "[2]", "3"], pa.json_()),
        (["[1.5]", "[true]"], pa.json_()),
        (['[1, "x"]'], pa.json_()),
        (['{"b": 1}', '{"b": "x"}'], pa.json_()),
        (['{"b": 1}', '{"b": 2, "c": []}'], pa.json_()),
        (['{"b": 1}', "{}"], pa.json_()),
        (["[{}]"], pa.json_()),
        (["[9007199254740993, 0.100000000000000693]"], pa.json_()),
        (["[9007199254740993, 0.5]"], pa.json_()),
        (["[0.100000000000000693]"], pa.json_()),
        (['{"b": 0.5, "c": true}', '{"b": 1, "c": false}'], pa.struct({"b": pa.float64(), "c": pa.bool_()})),
        (['{"b": null}', '{"b": []}', '{"b": ["x"]}', "null"], pa.struct({"b": pa.list_(pa.string())})),
        (['[{"b": 1}, null]', "[]"], pa.list_(pa.struct({"b": pa.int64()}))),
        (["[18446744073709551616, 1]"], pa.list_(pa.decimal128(20, 0))),
    ],
)
def test_lists_and_objects_keep_their_keys_and_values(tmp_path, values, kind):
    batches = read(tmp_path, "".join(f'{{"a": {one}}}\n' for one in values))
    assert [batch.table.schema.field("a").type for batch in batches] == [kind]
    assert wrong(batches) == []
    found = column(batches)
    if kind == pa.json_():
        found = [json.loads(one, parse_float=Decimal) for one in found]
    assert found == [json.loads(one, parse_float=Decimal) for one in values]


def test_a_column_of_text_takes_no_lists(tmp_path):
    batches = read(tmp_path, '{"a": "x"}\n{"a": [1]}\n{"a": {"b": 1}}\n{"a": "y"}\n', scalar_columns=["a"])
    assert column(batches) == ["x", "y"]
    assert wrong(batches) == [
        (line, f"column 'a' is {kind}, but text in most records of the file")
        for line, kind in ((2, "a list"), (3, "an object"))
    ]


def test_each_record_has_the_keys_that_it_is_null_in(tmp_path):
    (batch,) = read(tmp_path, '{"a": 1, "b": null}\n{"b": null, "c": null}\n{"c": 1}\n')
    assert batch.nulls.to_pylist() == [["b"], ["b", "c"], []]


def test_numbers_that_no_decimal_holds_together_name_their_column(tmp_path):
    with pytest.raises(
        DataError, match=r"a\.jsonl, lines 1 to 2: column 'a' has numbers .*input\.types: \{a: string\}"
    ):
        read(tmp_path, '{"a": 0.123456789012345678901234567890}\n{"a": 183086899574007768151633166337e23}\n')


def test_columns_read_as_text_may_hold_anything(tmp_path):
    values = ["1", '"x"', "true", "null", "[1, {}]", "1.10", "100000000000000000001", "0.5"]
    batches = read(tmp_path, "".join(f'{{"a": {one}}}\n' for one in values), as_text=["a"])
    assert column(batches) == ["1", "x", "true", None, "[1,{}]", "1.1", "100000000000000000001", "0.5"]
    assert wrong(batches) == []


@pytest.mark.parametrize("text", ['{"a": "\\ud800", "b": NaN}', '{"a": NaN, "\\udfff": 1}'])
def test_lone_surrogates_are_refused_also_next_to_nan(tmp_path, text):
    batches = read(tmp_path, text + '\n{"a": 1}\n')
    assert [line for line, _ in wrong(batches)] == [1]
    assert sum(batch.non_finite for batch in batches) == 0


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b" \n"])
def test_an_array_is_read_as_its_lines_would_be(tmp_path, indent, mark):
    objects = [{"a": 'é,]}[{\\" ', "b": [{"c": None}]}, {"a": "x" * 100}, {"a": "😀"}]
    batches = read(tmp_path, mark + json.dumps(objects, indent=indent, ensure_ascii=False).encode(), "a.json")
    assert column(batches) == [one["a"] for one in objects]
    assert wrong(batches) == []


def test_an_array_tells_the_line_of_each_element(tmp_path):
    batches = read(tmp_path, '[{"a": 1},\n\n {"a":\n 2}\n, 7]', "a.json")
    assert [batch.lines for batch in batches] == [[1, 3]]
    assert wrong(batches) == [(5, "is not a JSON object")]


def test_a_json_file_may_have_one_object_a_line(tmp_path):
    assert column(read(tmp_path, '{"a": 1}\n{"a": 2}\n', "a.json")) == [1, 2]
    assert read(tmp_path, " \n", "a.json") == []
    assert read(tmp_path, "[ ]\n", "a.json") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"a":', "cannot parse JSON"),
        ('[{"a": 1} {"a": 2}]', "expected ','"),
        ('[{"a": 1}]x', "the file continues after the end"),
        ('[{"a": 1}', "the file ends within the array"),
        ('{\n "data": [{"a": 1}]\n}', "single JSON object"),
        (b'[{"a": "\xff"}]', "not UTF-8"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_an_array_that_does_not_parse_is_an_error_with_its_place(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"a\.json.*{message}"):
        read(tmp_path, text, "a.json")


def test_an_array_longer_than_a_block_is_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "_BLOCK", 7)
    objects = [{"a": f"é{number}" * (number % 9), "n": number * 1.25} for number in range(200)]
    assert column(read(tmp_path, json.dumps(objects, ensure_ascii=False), "a.json")) == [one["a"] for one in objects]
