"""Table of column types in docs/reference/input-files.md, generated with the functions that read and export them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal

import pyarrow as pa

from curate.errors import DataError
from curate.kernels.text.json_values import dumps, to_identifier, to_text
from curate.plugins.exporters.jsonl import to_json_values
from curate.stages.export import map_strings
from curate.store.arrow_values import storable_type

HEAD = (
    "Type",
    "Stored, and exported to Parquet, as",
    "As text",
    "As id",
    "Masked, repeated spans removed",
    "In JSON Lines",
)


def examples() -> Iterator[tuple[str, pa.Array]]:
    """Yield every type with an example value."""
    instant = pa.array([1_700_000_000_123_456])
    yield "null", pa.nulls(1)
    yield "bool", pa.array([True])
    yield "int8 … int64, uint8 … uint64", pa.array([2**64 - 1], pa.uint64())
    yield "float16 (half), float32", pa.array([0.1], pa.float32())
    yield "float64", pa.array([10.0])
    yield "decimal without fraction digits", pa.array([Decimal(2**70)])
    yield "decimal32 … decimal256", pa.array([Decimal("1.10")])
    yield "string, large_string", pa.array(["é"])
    yield "string_view", pa.array(["é"], pa.string_view())
    yield "binary, large_binary", pa.array(["é".encode()])
    yield "binary_view", pa.array(["é".encode()], pa.binary_view())
    yield "fixed_size_binary", pa.array([b"abc"], pa.binary(3))
    yield "uuid", pa.array([uuid.UUID(int=7).bytes], pa.uuid())
    yield "arrow.json", pa.array(['{"a": 1}'], pa.json_())
    yield "arrow.bool8, arrow.fixed_shape_tensor", pa.array([1], pa.bool8())
    yield "dictionary", pa.array(["a"]).dictionary_encode()
    yield "run-end encoded", pa.RunEndEncodedArray.from_arrays([1], pa.array(["a"]))
    yield "date32", pa.array([19_000], pa.date32())
    yield "date64", pa.array([0], pa.date64())
    yield "time32, time64", pa.array([1], pa.time64("us"))
    yield "timestamp", instant.cast(pa.timestamp("us"))
    yield "timestamp with a time zone", instant.cast(pa.timestamp("us", "Europe/Berlin"))
    yield "timestamp beyond year 9999", pa.array([2**62], pa.timestamp("us"))
    yield "duration", pa.array([5], pa.duration("ms"))
    yield "list, large_list", pa.array([["a", None]])
    yield "list_view", pa.array([["a"]], pa.list_view(pa.string()))
    yield "fixed_size_list", pa.array([[1, 2]], pa.list_(pa.int8(), 2))
    yield "struct (an object)", pa.array([{"a": 1}])
    yield "struct without fields", pa.array([{}], pa.struct([]))
    yield "map", pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8()))
    yield (
        "dense_union, sparse_union",
        pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0]).cast(pa.int32()), [pa.array([1])]),
    )


def table() -> str:
    """Return the table as Markdown."""
    rows = [_row(name, array) for name, array in examples()]
    lines = [f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *rows)]
    return "\n".join(lines) + "\n"


def _row(name: str, array: pa.Array) -> list[str]:
    try:
        kind = storable_type(array.type)
    except TypeError:
        return [name, *["an error that names the column"] * 5]
    nested = pa.types.is_nested(kind)
    text = to_text(array)[0].as_py()
    identifier = "an error" if nested else _code(to_identifier(array)[0].as_py())
    shown = _code(dumps(to_json_values(array, "")[0]).decode())
    return [name, "the same" if kind == array.type else f"`{kind}`", _code(text), identifier, _masked(kind), shown]


def _masked(kind: pa.DataType) -> str:
    if pa.types.is_nested(kind):
        return "each string in it"
    try:
        map_strings.check_type("x", kind)
    except DataError:
        return "an error"
    return "yes" if map_strings.is_text_type(kind) else "no text"


def _code(text: str | None) -> str:
    return "null" if text is None else f"`{text}`".replace("|", "\\|")
