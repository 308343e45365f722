"""Writes JSON Lines: one strict JSON object a row, plain or compressed."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import orjson
import pyarrow as pa

from curate.errors import PluginError
from curate.kernels.text.json_values import dumps, is_json, to_json_types
from curate.plugins.interfaces import exporter

Compression = Literal["none", "gz", "zst"]
SUFFIXES: dict[Compression, str] = {"none": ".jsonl", "gz": ".jsonl.gz", "zst": ".jsonl.zst"}
ROWS_AT_ONCE = 8_192


def write_jsonl(
    table: pa.Table, path: Path, *, compression: Compression, nulls: Sequence[Collection[str] | None] | None = None
) -> None:
    """Write ``table`` to ``path``, one JSON object a row, keys in column order, null where there is no value.

    JSON texts become the values that they represent. JSON has fewer types than Arrow; ``to_json_types`` says what becomes
    of the others. NaN and infinities are null, as strict JSON has no other word for them. The bytes depend on the rows
    alone: a gzip file carries neither time nor name. Costs O(bytes) time; memory for a few thousand rows beyond the
    table.

    Parameters
    ----------
    nulls : for each row that comes from a JSON file, the columns in which it is null: it has no key of other columns
        without a value, and its decimals are numbers; None for a row that has every column, whose decimals are text

    Raises
    ------
    PluginError : a column is of a type that JSON cannot represent

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.jsonl"
    >>> write_jsonl(pa.table({"text": ["é", None], "raw": [b"x", b"y"]}), path, compression="none")
    >>> print(path.read_text(encoding="utf-8"), end="")
    {"text":"é","raw":"eA=="}
    {"text":null,"raw":"eQ=="}
    """
    names, row = table.column_names, 0
    with _opened(path, compression) as file:
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            for rows in table.slice(start, ROWS_AT_ONCE).to_batches():
                decimals = [one.name for one in rows.schema if pa.types.is_decimal(one.type) and one.type.scale > 0]
                columns = [to_json_values(column, name) for name, column in zip(names, rows.columns, strict=True)]
                for cells in zip(*columns, strict=True):
                    record = dict(zip(names, cells, strict=True))
                    if nulls is not None and (null := nulls[row]) is not None:
                        record = _with_own_keys(record, null, decimals)
                    file.write(dumps(record, newline=True))
                    row += 1


def _with_own_keys(record: dict[str, object], null: Collection[str], decimals: Sequence[str]) -> dict[str, object]:
    """Return a record without the keys that it has no value of, other than those that are null in it."""
    for name in decimals:
        if record[name] is not None:
            record[name] = orjson.Fragment(str(record[name]))
    if None not in record.values():
        return record
    return {name: value for name, value in record.items() if value is not None or name in null}


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


def to_json_values(array: pa.Array, name: str) -> list[object]:
    """Return the values of a column as JSON Lines hold them.

    Raises
    ------
    PluginError : the column is of a type that JSON cannot represent
    """
    if is_json(array.type):
        texts = array.storage.to_pylist()
        return [None if text is None else orjson.Fragment(_on_one_line(text)) for text in texts]
    try:
        plain: list[object] = to_json_types(array, name).to_pylist()
    except TypeError as error:
        raise PluginError(str(error), hint="export to parquet, or drop the column") from error
    return plain


def _on_one_line(json: str) -> str:
    """Replace line breaks, which a JSON text has between values only."""
    return json.replace("\n", " ").replace("\r", " ")


@exporter(version=3, nulls=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Jsonl:
    """JSON Lines, one object a row; plain, gzip or zstd."""

    compression: Compression = "none"
    """How the file is compressed."""

    @property
    def suffix(self) -> str:
        """How the files' names end."""
        return SUFFIXES[self.compression]

    def write(self, table: pa.Table, path: Path, nulls: Sequence[Collection[str] | None] | None = None) -> None:
        """Write one file; the same table gives the same bytes."""
        write_jsonl(table, path, compression=self.compression, nulls=nulls)
