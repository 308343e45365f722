"""Writes JSON Lines: one strict JSON object a row, plain or compressed."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate.errors import PluginError
from curate.plugins.kinds import exporter

Compression = Literal["none", "gz", "zst"]
SUFFIXES: dict[Compression, str] = {"none": ".jsonl", "gz": ".jsonl.gz", "zst": ".jsonl.zst"}
ROWS_AT_ONCE = 8_192


def write_jsonl(table: pa.Table, path: Path, *, compression: Compression) -> None:
    """Write ``table`` to ``path``, one JSON object a row, keys in column order, null where there is no value.

    JSON has fewer types than Arrow. What it lacks is written like this, at any depth:

    - NaN and infinities: null, as strict JSON has no other word for them
    - float16 and float32: the shortest digits that give the same number back
    - integers: all digits, also beyond 2**53
    - date, time: ISO 8601 text; timestamp: ISO 8601 text, in UTC and ending in ``Z`` if it has a time zone
    - duration: an integer in the column's own unit; decimal: text
    - binary: base64 text
    - map: a list of objects with ``key`` and ``value``
    - dictionary, run-end encoded and extension arrays: what they stand for

    The bytes depend on the rows alone: a gzip file carries neither time nor name. Costs O(bytes) time; memory for a few
    thousand rows beyond the table.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.jsonl"
    >>> write_jsonl(pa.table({"text": ["é", None], "raw": [b"x", b"y"]}), path, compression="none")
    >>> print(path.read_text(encoding="utf-8"), end="")
    {"text":"é","raw":"eA=="}
    {"text":null,"raw":"eQ=="}
    """
    with _opened(path, compression) as file:
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            for rows in table.slice(start, ROWS_AT_ONCE).to_batches():
                names = rows.schema.names
                columns = [_plain(column, name) for name, column in zip(names, rows.columns, strict=True)]
                for row in pa.RecordBatch.from_arrays(columns, names=names).to_pylist():
                    file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


@contextmanager
def _opened(path: Path, compression: Compression) -> Iterator[IO[bytes]]:
    with path.open("wb") as raw:
        if compression == "gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as file:
                yield file  # type: ignore[misc]  # a GzipFile is an IO[bytes] in all but name
        elif compression == "zst":
            with pa.CompressedOutputStream(raw, "zstd") as file:
                yield file
        else:
            yield raw


def _plain(array: pa.Array, name: str) -> pa.Array:
    """The same values in types that JSON has; ``name`` is the column's, for the error."""
    kind = array.type
    if types.is_union(kind) or types.is_interval(kind):
        raise PluginError(
            f"column {name!r}: JSON Lines cannot hold {kind}", hint="export to parquet, or drop the column"
        )
    stored = _stored(array)
    if stored is not array:
        return _plain(stored, name)
    if types.is_struct(kind):
        return _struct(array, name)
    return _list(array, name) if types.is_nested(kind) else _scalars(array)


def _stored(array: pa.Array) -> pa.Array:
    """What an array that stands for another one stands for; any other array itself."""
    kind = array.type
    if types.is_dictionary(kind):
        return array.dictionary_decode()
    if types.is_run_end_encoded(kind):
        return pc.run_end_decode(array)
    if types.is_map(kind):
        return array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _scalars(array: pa.Array) -> pa.Array:
    kind = array.type
    plain = array
    if types.is_float32(kind):
        plain = array.cast(pa.string()).cast(pa.float64())
    elif types.is_float16(kind):
        digits = [None if value is None else float(str(np.float16(value))) for value in array.to_pylist()]
        plain = pa.array(digits, pa.float64())
    elif types.is_decimal(kind) or types.is_date(kind) or types.is_time(kind):
        plain = array.cast(pa.string())
    elif types.is_timestamp(kind):
        plain = pc.replace_substring(array.cast(pa.timestamp(kind.unit)).cast(pa.string()), " ", "T")
        if kind.tz is not None:
            plain = pc.binary_join_element_wise(plain, "Z", "")
    elif types.is_duration(kind):
        plain = array.cast(pa.int64())
    elif "binary" in str(kind):  # binary, large_binary, fixed_size_binary, binary_view
        coded = [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]
        plain = pa.array(coded, pa.large_string())
    return plain


def _struct(array: pa.StructArray, name: str) -> pa.Array:
    fields = [array.type.field(i).name for i in range(array.type.num_fields)]
    if not fields:
        return array
    children = [_plain(child, f"{name}.{field}") for child, field in zip(array.flatten(), fields, strict=True)]
    return pa.StructArray.from_arrays(children, names=fields, mask=array.is_null())


def _list(array: pa.Array, name: str) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, _plain(array.flatten(), name), mask=array.is_null())


@exporter(version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class Jsonl:
    """JSON Lines, one object a row; plain, gzip or zstd."""

    compression: Compression = "none"
    """How the file is compressed."""

    @property
    def suffix(self) -> str:
        """How the files' names end."""
        return SUFFIXES[self.compression]

    def write(self, table: pa.Table, path: Path) -> None:
        """Write one file; the same table gives the same bytes."""
        write_jsonl(table, path, compression=self.compression)
