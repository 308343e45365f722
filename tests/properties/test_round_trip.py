"""Whatever the files hold: what is read and exported is what they say, or the file is refused early and by name.

``CURATE_EXAMPLES=20000 python -m pytest tests/properties`` tries as many examples of each property.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import tempfile
from collections.abc import Iterator
from decimal import Context as Exact
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from pyarrow import types

from curate.config.loader import config_from_dict
from curate.errors import DataError
from curate.executors.serial import Serial
from curate.plugins.exporters.jsonl import write_jsonl
from curate.plugins.exporters.parquet import write_parquet
from curate.progress import NullProgress
from curate.stages.base import Context
from curate.stages.ingest.stage import ingest
from curate.store.inputs import Inputs

EXAMPLES = int(os.environ.get("CURATE_EXAMPLES", settings().max_examples))
examples = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 1_000,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# ---------------------------------------------------------------- random arrays of every type


def leaf_types() -> st.SearchStrategy[pa.DataType]:
    zones = st.sampled_from([None, "UTC", "+00:00", "Europe/Berlin"])
    units = st.sampled_from(["s", "ms", "us", "ns"])
    return st.one_of(
        st.sampled_from(
            [
                *(pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16()),
                *(pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string()),
                *(pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(3), pa.date32()),
                *(
                    pa.date64(),
                    pa.time32("s"),
                    pa.time32("ms"),
                    pa.time64("us"),
                    pa.time64("ns"),
                    pa.uuid(),
                    pa.json_(),
                ),
                *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64())),
            ]
        ),
        st.builds(pa.timestamp, units, zones),
        st.builds(pa.duration, units),
        st.integers(1, 76).flatmap(lambda digits: st.integers(0, digits).map(lambda scale: decimal(digits, scale))),
    )


def decimal(digits: int, scale: int) -> pa.DataType:
    return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)


def any_type() -> st.SearchStrategy[pa.DataType]:
    names = st.lists(st.sampled_from(["a", "b", "é", ""]), max_size=3, unique=True)
    return st.recursive(
        leaf_types(),
        lambda inner: st.one_of(
            inner.map(pa.list_),
            inner.map(pa.large_list),
            inner.map(pa.list_view),
            inner.map(lambda kind: pa.list_(kind, 2)),
            inner.map(lambda kind: pa.map_(pa.string(), kind)),
            names.flatmap(
                lambda fields: st.tuples(*(inner for _ in fields)).map(
                    lambda kinds: pa.struct(list(zip(fields, kinds, strict=True)))
                )
            ),
        ),
        max_leaves=4,
    )


NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@st.composite
def arrays(draw: st.DrawFn, kind: pa.DataType, size: int) -> pa.Array:
    """An array of ``size`` values."""
    null = pa.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), pa.bool_())
    if types.is_struct(kind) and kind.num_fields:
        children = [draw(arrays(field.type, size)) for field in kind]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=null)
    if types.is_dictionary(kind):
        return draw(arrays(kind.value_type, size)).dictionary_encode().cast(kind)
    if types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(draw(arrays(kind.value_type, 2 * size)), type=kind, mask=null)
    if types.is_map(kind):
        items = draw(arrays(kind.item_type, size))
        keys = pa.array([f"k{number}" for number in range(size)], pa.string())
        return pa.MapArray.from_arrays(pa.array(range(size + 1), pa.int32()), keys, items, type=kind, mask=null)
    return draw(lists(kind, null) if types.is_nested(kind) and kind.num_fields else scalars(kind, null))


@st.composite
def lists(draw: st.DrawFn, kind: pa.DataType, null: pa.Array) -> pa.Array:
    size = len(null)
    lengths = np.where(null, 0, draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    values = draw(arrays(kind.value_type, int(ends[-1])))
    if types.is_list_view(kind):
        starts, sizes = pa.array(ends[:-1], pa.int32()), pa.array(lengths, pa.int32())
        return pa.ListViewArray.from_arrays(starts, sizes, values, type=kind, mask=null)
    of = pa.LargeListArray if types.is_large_list(kind) else pa.ListArray
    offsets = pa.array(ends, pa.int64() if types.is_large_list(kind) else pa.int32())
    return of.from_arrays(offsets, values, type=kind, mask=null)


@st.composite
def scalars(draw: st.DrawFn, kind: pa.DataType, null: pa.Array) -> pa.Array:
    return built([None if gone else draw(values_of(kind)) for gone in null.to_pylist()], kind)


def built(values: list[Any], kind: pa.DataType) -> pa.Array:
    if types.is_temporal(kind):
        width = pa.int32() if kind.bit_width == 32 else pa.int64()
        return pa.array(values, width).view(kind)
    return pa.array(values, kind)


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    return next((strategy(kind) for belongs, strategy in BY_FAMILY if belongs(kind)), OTHER_VALUES.get(kind, st.none()))


def integers(kind: pa.DataType) -> st.SearchStrategy[int]:
    info = np.iinfo(kind.to_pandas_dtype())
    return st.integers(int(info.min), int(info.max)) | st.sampled_from([0, 1, int(info.max)])


def decimals(kind: pa.DataType) -> st.SearchStrategy[Decimal]:
    most = 10**kind.precision - 1
    return st.integers(-most, most).map(lambda number: Decimal(number).scaleb(-kind.scale, EXACT))


def instants(kind: pa.DataType) -> st.SearchStrategy[int]:
    far = 2**63 // 1000 if kind.unit == "s" else 2**63
    return st.integers(-far + 1, far - 1) | st.integers(0, 10**9)


EXACT = Exact(prec=100)
BY_FAMILY = (
    (types.is_boolean, lambda _: st.booleans()),
    (types.is_integer, integers),
    (types.is_floating, lambda kind: st.floats(width=kind.bit_width) | st.sampled_from([0.0, -0.0, 1.0])),
    (types.is_decimal, decimals),
    (types.is_date64, lambda _: st.integers(-(10**6), 10**6).map(lambda days: days * 86_400_000)),
    (types.is_date32, lambda _: st.integers(-(2**31), 2**31 - 1)),
    (types.is_time, lambda kind: st.integers(0, 86_400 * 10**9 // NANOSECONDS[kind.unit] - 1)),
    (lambda kind: types.is_timestamp(kind) or types.is_duration(kind), instants),
)
OTHER_VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    **dict.fromkeys((pa.string(), pa.large_string(), pa.string_view()), TEXTS),
    **dict.fromkeys((pa.binary(), pa.large_binary(), pa.binary_view()), st.binary(max_size=3)),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.uuid(): st.binary(min_size=16, max_size=16),
    pa.json_(): st.integers().map(json.dumps) | TEXTS.map(json.dumps),
}


# ---------------------------------------------------------------- what an array says, whatever its type


def meaning(array: pa.Array) -> list[Any]:
    """Plain values that are equal where the values of two arrays are, by rules of their own."""
    kind = array.type
    if types.is_dictionary(kind):
        return meaning(array.dictionary_decode())
    if isinstance(array, pa.ExtensionArray):
        return meaning(array.storage)
    null = array.is_null().to_pylist()
    if all(null) or (types.is_struct(kind) and not kind.num_fields):
        return [None] * len(array)
    if types.is_struct(kind):
        children = [meaning(child) for child in array.flatten()]
        names = [field.name for field in kind]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*children, strict=True)]
        plain: list[Any] = [{name: value for name, value in row.items() if value is not None} for row in rows]
    elif types.is_map(kind):
        plain = [
            None
            if gone
            else [
                {key: value for key, value in (("key", keys[0]), ("value", values[0])) if value is not None}
                for keys, values in (
                    (meaning(array.keys.slice(at, 1)), meaning(array.items.slice(at, 1)))
                    for at in range(array.offsets[row].as_py(), array.offsets[row + 1].as_py())
                )
            ]
            for row, gone in enumerate(null)
        ]
    elif types.is_nested(kind):
        lengths = pc.list_value_length(array).fill_null(0).to_pylist()
        empty = types.is_null(kind.value_type) or not any(lengths)
        values = iter([None] * sum(lengths) if empty else meaning(array.flatten()))
        plain = [[next(values) for _ in range(length)] for length in lengths]
    elif types.is_temporal(kind):
        numbers = array.view(pa.int32() if kind.bit_width == 32 else pa.int64()).to_pylist()
        unit = {pa.date32(): 86_400 * 10**9, pa.date64(): 10**6}.get(kind) or NANOSECONDS[kind.unit]
        plain = [None if number is None else number * unit for number in numbers]
    elif types.is_floating(kind):
        plain = [None if one is None else "nan" if math.isnan(one) else one for one in map(float_of, array.to_pylist())]
    else:
        plain = array.to_pylist()
    return [None if gone else value for gone, value in zip(null, plain, strict=True)]


def float_of(value: Any) -> float | None:
    return None if value is None else float(value)


def column_meaning(column: pa.ChunkedArray) -> list[Any]:
    return [value for chunk in column.chunks for value in meaning(chunk)]


# ---------------------------------------------------------------- ingest


def ingested(folder: Path, **pool: Any) -> Inputs:
    section = {"files": f"{folder}/pool/*", "text": "text", "rows_per_shard": 3, **pool}
    config = config_from_dict(
        {"curate": 1, "run": f"{folder}/run", "input": section, "select": [{"use": "uniform", "keep": 1}]}
    )
    return ingest(Context(config, Serial(), NullProgress()))[0]


def folders() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name, mock.patch.object(os, "fsync"):
        (Path(name) / "pool").mkdir()
        yield Path(name)


@pytest.fixture
def folder() -> Iterator[Path]:
    yield from folders()


def quarantined_lines(folder: Path) -> set[int]:
    paths = (folder / "run" / "input" / "quarantine").glob("*.parquet")
    return {line for path in paths for line in pq.read_table(path)["line"].to_pylist()}


def content(source: Inputs) -> pa.Table:
    return pa.concat_tables(source.iterate_shards((), tuple(source.columns)))


def exported(table: pa.Table, folder: Path) -> pa.Table:
    write_jsonl(table, folder / "a.jsonl", compression="none")
    assert (folder / "a.jsonl").read_bytes().count(b"\n") == len(table)
    write_parquet(table, folder / "a.parquet", compression_level=1)
    return pq.read_table(folder / "a.parquet")


# ---------------------------------------------------------------- properties


@examples
@given(st.data())
def test_parquet_of_any_types_in_any_order(data):
    """Several files whose column ``x`` is of related or unrelated types: joined without loss, or refused by name."""
    first = data.draw(any_type())
    kinds = [first, *data.draw(st.lists(st.just(first) | any_type(), max_size=2))]
    columns = [data.draw(arrays(kind, data.draw(st.integers(1, 4)))) for kind in kinds]
    for column in columns:
        column.validate(full=True)
    outcomes = []
    for order in (range(len(kinds)), reversed(range(len(kinds)))):
        for folder in folders():
            tables = [
                plain_structs(pa.table({"text": ["t"] * len(columns[number]), "x": columns[number]}))
                for number in order
            ]
            for name, table in zip("abc", tables, strict=False):
                write(table, folder / "pool" / f"{name}.parquet")
            try:
                source = ingested(folder)
            except DataError as refused:
                assert len(kinds) > 1, refused
                assert "column 'x" in str(refused)
                assert len({name for name in "abc" if f"pool/{name}.parquet" in str(refused)}) == 2
                assert "input.types" in str(refused)
                outcomes.append("refused")
                continue
            table = content(source)
            expected = [value for one in tables for value in column_meaning(one["x"])]
            assert column_meaning(table["x"]) == expected
            again = exported(table, folder)
            assert again.schema.field("x").type == source.columns["x"]
            assert column_meaning(again["x"]) == expected
            outcomes.append(str(source.columns["x"]))
    assert len(set(outcomes)) == 1


def write(table: pa.Table, path: Path) -> None:
    try:
        pq.write_table(table, path)
    except pa.ArrowNotImplementedError:  # some nestings of views
        reject()


def plain_structs(table: pa.Table) -> pa.Table:
    """The table without what Parquet cannot write: objects without fields are nulls in it."""
    kind = table.schema.field("x").type
    return table.set_column(1, "x", pa.nulls(len(table))) if "struct<>" in str(kind) else table


DIGITS = st.integers(0, 10**30).map(str)
NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.sampled_from(
        [str(2**53 + 1), str(2**63), str(2**64), "-0", "1.10", "9e99999", "1e-400", "12345678901234567.25"]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.builds(lambda a, b: f"{int(a)}.{b}", DIGITS, DIGITS),
    st.builds(lambda a, e: f"{int(a)}e{e}", DIGITS, st.integers(-40, 40)),
)
JSON = st.recursive(
    NUMBERS | st.sampled_from(["null", "true", "false", "NaN", "-Infinity", "{}", "[]"]) | TEXTS.map(json.dumps),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: f"[{','.join(each)}]")
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2).map(
            lambda each: "{" + ",".join(f'"{key}":{value}' for key, value in each.items()) + "}"
        )
    ),
    max_leaves=5,
)


@examples
@given(st.data())
def test_json_of_any_values(data):
    """Lines of one kind or of several: each is read as it is, or quarantined with its line."""
    one_kind = data.draw(
        st.sampled_from([NUMBERS, JSON, st.lists(NUMBERS, max_size=2).map(lambda v: f"[{','.join(v)}]")])
    )
    values = data.draw(st.lists(one_kind, min_size=1, max_size=6))
    as_array = data.draw(st.booleans())
    objects = [f'{{"text":"t","line":{line},"x":{value}}}' for line, value in enumerate(values, 1)]
    for folder in folders():
        if as_array:
            (folder / "pool" / "a.json").write_text("[" + ",\n".join(objects) + "]")
        else:
            (folder / "pool" / "a.jsonl").write_text("\n".join(objects))
        try:
            source = ingested(folder)
        except DataError as refused:
            if "more than 76 digits" in str(refused) or "at most 76 digits" in str(refused):
                assert "column 'x'" in str(refused)
                assert "pool/a.json" in str(refused)
                continue
            assert "rows were quarantined" in str(refused)
            assert quarantined_lines(folder) == set(range(1, len(values) + 1))
            continue
        table = content(source)
        lost = quarantined_lines(folder)
        assert sorted({*table["line"].to_pylist()} | lost) == list(range(1, len(values) + 1))
        assert len(table) + len(lost) == len(values)
        found = (
            dict(zip(table["line"].to_pylist(), column_meaning(table["x"]), strict=True))
            if "x" in table.column_names
            else {}
        )
        carried = bool(found) and table.schema.field("x").type == pa.json_()
        for line, value in found.items():
            wanted = json.loads(values[line - 1], parse_int=Decimal, parse_float=Number, parse_constant=nothing)
            assert same_json(value, values[line - 1]) if carried else same(value, wanted)
        exported(table, folder)


class Number(str):
    """The digits of a number."""

    __slots__ = ()


def nothing(_: str) -> None:
    return None


def same(found: Any, wanted: Any) -> bool:
    """Whether a value that was read is the one that was written."""
    if isinstance(wanted, dict):
        filled = {key: value for key, value in wanted.items() if not empty(value)}
        return same_keys(found or {}, filled)
    if isinstance(wanted, list):
        return found is not None and len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, Number):
        if isinstance(found, float):
            digits = Decimal(wanted)
            places = len("".join(map(str, digits.as_tuple().digits)).rstrip("0")) or 1
            return Decimal(repr(found)) == digits or Decimal(f"{found:.{places - 1}e}") == digits
        return Decimal(found) == Decimal(wanted)
    if isinstance(wanted, bool) or wanted is None or isinstance(wanted, str):
        return found is wanted if not isinstance(wanted, str) else found == wanted
    return not isinstance(found, bool) and Decimal(found) == wanted


def same_keys(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    present = {key: value for key, value in found.items() if not empty(value)}
    return present.keys() == wanted.keys() and all(same(present[key], wanted[key]) for key in wanted)


def same_json(found: str | None, written: str) -> bool:
    """Whether a JSON text is the value that was written, with its own keys."""
    wanted = json.loads(written, parse_constant=nothing)
    return found is wanted if found is None else bool(json.loads(found) == wanted)


def empty(value: Any) -> bool:
    """Whether a value is null, or an object that is not told from null where no object has a field."""
    return value is None or (isinstance(value, dict) and all(map(empty, value.values())))


CELLS = st.one_of(
    NUMBERS,
    st.integers(0, 9).map(lambda n: f"{n}.0"),
    st.integers(0, 9).map(lambda n: f"0{n}"),
    st.text(st.sampled_from('a"\t\n, é'), max_size=4),
    st.just(""),
)


@examples
@given(
    st.lists(
        st.lists(NUMBERS, min_size=1, max_size=5) | st.lists(CELLS, min_size=1, max_size=5), min_size=1, max_size=2
    ),
    st.booleans(),
)
def test_csv_of_any_cells(files, reverse):
    """Several files: every cell is in the export as it was written, or as the number that it is."""
    for folder in folders():
        names = ["a.csv", "b.csv"][:: -1 if reverse else 1]
        for name, cells in zip(names, files, strict=False):
            file = io.StringIO()
            csv.writer(file).writerows([["text", "x"], *(["t", cell] for cell in cells)])
            (folder / "pool" / name).write_bytes(file.getvalue().encode())
        table = content(ingested(folder))
        written = list(itertools.chain(*(files if not reverse else files[::-1]))) if len(files) == 2 else files[0]
        found = column_meaning(table["x"])
        assert len(found) == len(written)
        for value, cell in zip(found, written, strict=True):
            assert (value is None and cell == "") or str(value) == cell or Decimal(str(value)) == Decimal(cell)
        different = {str(value) for value in found if value is not None}
        assert len(different) == len({cell for cell in written if cell})
        assert column_meaning(exported(table, folder)["x"]) == found
