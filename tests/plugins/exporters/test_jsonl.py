import datetime as dt
import gzip
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import PluginError
from curate.plugins.exporters.jsonl import ROWS_PER_BATCH, Jsonl


def written(column: pa.Array, tmp_path: Path) -> list[object]:
    """Return the values of a column in the file, read by a parser that refuses NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    Jsonl().write(pa.table({"x": column}), tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line, parse_constant=refuse)["x"] for line in lines]


UTC = dt.UTC
CASES = [
    pytest.param(
        pa.array([1.5, float("nan"), float("inf"), -float("inf"), None]),
        [1.5, None, None, None, None],
        id="no word for NaN",
    ),
    pytest.param(
        pa.array([0.1, 1e-30, float("nan")], pa.float32()), [0.1, 1e-30, None], id="float32 in its shortest digits"
    ),
    pytest.param(pa.array([0.1, 65504, None], pa.float16()), [0.1, 65500.0, None], id="float16 in its shortest digits"),
    pytest.param(pa.array([2**64 - 1], pa.uint64()), [2**64 - 1], id="integers beyond 2**53 keep their digits"),
    pytest.param(pa.array([True, None]), [True, None], id="booleans"),
    pytest.param(pa.array([None, None], pa.null()), [None, None], id="a column of nulls"),
    pytest.param(pa.array(['a"\\\n\u2028\x00é😀']), ['a"\\\n\u2028\x00é😀'], id="text that needs escaping"),
    pytest.param(pa.array(["a", None], pa.string_view()), ["a", None], id="string views"),
    pytest.param(pa.array([dt.date(2024, 2, 29), None]), ["2024-02-29", None], id="dates"),
    pytest.param(
        pa.array([dt.datetime(2024, 2, 29, 1, 2, 3, 4)]), ["2024-02-29T01:02:03.000004"], id="timestamps without zone"
    ),
    pytest.param(
        pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "Europe/Paris")),
        ["2023-11-14T22:13:20.123456789Z", None],
        id="timestamps with a zone, in UTC, all nanoseconds",
    ),
    pytest.param(pa.array([5], pa.time32("ms")), ["00:00:00.005"], id="times"),
    pytest.param(pa.array([5, None], pa.duration("us")), [5, None], id="durations in their own unit"),
    pytest.param(pa.array([Decimal("1.10")]), ["1.10"], id="decimals"),
    pytest.param(pa.array([b"\xff\x00", None, b""]), ["/wA=", None, ""], id="binary"),
    pytest.param(pa.array([b"ab"], pa.binary(2)), ["YWI="], id="binary of fixed size"),
    pytest.param(pa.array([b"ab"], pa.binary_view()), ["YWI="], id="binary views"),
    pytest.param(pa.array(["x", "y", None, "x"]).dictionary_encode(), ["x", "y", None, "x"], id="dictionaries"),
    pytest.param(pa.RunEndEncodedArray.from_arrays([2, 3], ["x", "y"]), ["x", "x", "y"], id="run-end encoded"),
    pytest.param(
        pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        [[{"key": "a", "value": 1}], None, []],
        id="maps",
    ),
    pytest.param(pa.array([[0.1, None], None, []], pa.list_(pa.float32())), [[0.1, None], None, []], id="lists"),
    pytest.param(pa.array([[0.5, 1], None], pa.list_(pa.float32(), 2)), [[0.5, 1.0], None], id="lists of fixed size"),
    pytest.param(pa.array([[1], None, [2, 3]], pa.list_view(pa.int8())), [[1], None, [2, 3]], id="list views"),
    pytest.param(
        pa.array([{"a": [b"x"], "b": {"c": dt.date(2024, 1, 1)}}, None, {"a": None, "b": None}]),
        [{"a": ["eA=="], "b": {"c": "2024-01-01"}}, None, {"a": None, "b": None}],
        id="types that JSON lacks, nested",
    ),
    pytest.param(pa.array([{}, None], pa.struct([])), [{}, None], id="structs without fields"),
    pytest.param(
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.float32(), [2]), pa.array([[1, 2]], pa.list_(pa.float32(), 2))
        ),
        [[1.0, 2.0]],
        id="extension types",
    ),
]


@pytest.mark.parametrize(("column", "expected"), CASES)
def test_every_type_is_written_as_documented(column: pa.Array, expected: list[object], tmp_path: Path) -> None:
    assert written(column, tmp_path) == expected


@pytest.mark.parametrize(("column", "expected"), CASES)
def test_a_slice_is_written_as_the_rows_it_shows(column: pa.Array, expected: list[object], tmp_path: Path) -> None:
    """Offsets and validity of nested arrays are counted from the slice's start."""
    if len(column) > 1:
        assert written(column.slice(1), tmp_path) == expected[1:]


def test_float32_digits_give_the_same_number_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(500, dtype=np.float32)
    assert np.array_equal(np.array(written(pa.array(values), tmp_path), np.float32), values)


def test_a_type_that_json_cannot_hold_is_an_error_that_names_the_column(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([{"every": pa.MonthDayNano([1, 2, 3])}])})
    with pytest.raises(PluginError, match=r"column 'x.every': JSON has no equivalent of month_day_nano_interval"):
        Jsonl().write(table, tmp_path / "a.jsonl")


def test_keys_are_in_column_order_and_lines_end_in_one_newline(tmp_path: Path) -> None:
    Jsonl().write(pa.table({"b": [1, 2], "a": ["é", None]}), tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == '{"b":1,"a":"é"}\n{"b":2,"a":null}\n'.encode()


def test_rows_on_both_sides_of_a_block_are_written_in_order(tmp_path: Path) -> None:
    assert written(pa.array(range(ROWS_PER_BATCH + 3)), tmp_path) == list(range(ROWS_PER_BATCH + 3))


def test_gzip_carries_neither_time_nor_name(tmp_path: Path) -> None:
    Jsonl(compression="gz").write(pa.table({"a": [1]}), tmp_path / "secret.jsonl.gz")
    data = (tmp_path / "secret.jsonl.gz").read_bytes()
    assert data[3] == 0, "no flags: no name, no comment"
    assert data[4:8] == b"\0\0\0\0", "no time"
    assert gzip.decompress(data) == b'{"a":1}\n'


@pytest.mark.parametrize(("compression", "suffix"), [("none", ".jsonl"), ("gz", ".jsonl.gz"), ("zst", ".jsonl.zst")])
def test_the_suffix_names_the_compression(compression: str, suffix: str) -> None:
    assert Jsonl(compression=compression).suffix == suffix
