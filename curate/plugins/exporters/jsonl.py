"""JSON Lines exporter: one strict JSON object per row, uncompressed or compressed."""

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
ROWS_PER_BATCH = 8_192


def write_jsonl(
    table: pa.Table, path: Path, *, compression: Compression, nulls: Sequence[Collection[str] | None] | None = None
) -> None:
    """Write ``table`` to ``path``, one JSON object per row, keys in column order, null for missing values.

    JSON texts become the values that they represent. JSON has fewer types than Arrow; see ``to_json_types``. NaN and
    infinities become null, as strict JSON cannot represent them. The bytes depend only on the rows: a gzip file
    contains neither time nor name.

    Parameters
    ----------
    table : rows to write
    path : output file
    compression : compression of the file
    nulls : for each row from a JSON file, the columns in which it is null: other columns without a value are omitted,
        and decimals are numbers; None for a row that has every column, whose decimals are text

    Raises
    ------
    PluginError : if a column has a type that JSON cannot represent

    Notes
    -----
    Cost: O(bytes) time; memory for a few thousand rows plus the table.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.jsonl"
    >>> write_jsonl(pa.table({"text": ["é", None], "raw": [b"x", b"y"]}), path, compression="none")
    >>> print(path.read_text(encoding="utf-8"), end="")
    {"text":"é","raw":"eA=="}
    {"text":null,"raw":"eQ=="}
    """
    names, row = table.column_names, 0
    with _open_file(path, compression) as file:
        for start in range(0, table.num_rows, ROWS_PER_BATCH):
            for rows in table.slice(start, ROWS_PER_BATCH).to_batches():
                decimals = [
                    field.name for field in rows.schema if pa.types.is_decimal(field.type) and field.type.scale > 0
                ]
                columns = [to_json_values(column, name) for name, column in zip(names, rows.columns, strict=True)]
                for row_values in zip(*columns, strict=True):
                    record = dict(zip(names, row_values, strict=True))
                    if nulls is not None and (null_columns := nulls[row]) is not None:
                        record = _drop_missing_keys(record, null_columns, decimals)
                    file.write(dumps(record, newline=True))
                    row += 1


def _drop_missing_keys(record: dict[str, object], null: Collection[str], decimals: Sequence[str]) -> dict[str, object]:
    """Return a record without the keys that have no value, except those that are null in it."""
    for name in decimals:
        if record[name] is not None:
            record[name] = orjson.Fragment(str(record[name]))
    if None not in record.values():
        return record
    return {name: value for name, value in record.items() if value is not None or name in null}


@contextmanager
def _open_file(path: Path, compression: Compression) -> Iterator[IO[bytes]]:
    with path.open("wb") as raw:
        if compression == "gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as file:
                yield file  # type: ignore[misc]  # a GzipFile behaves like an IO[bytes]
        elif compression == "zst":
            with pa.CompressedOutputStream(raw, "zstd") as file:
                yield file
        else:
            yield raw


def to_json_values(array: pa.Array, name: str) -> list[object]:
    """Return the values of a column as JSON Lines represent them.

    Parameters
    ----------
    array : column
    name : name of the column, for the error

    Raises
    ------
    PluginError : if the column has a type that JSON cannot represent
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
    """Replace line breaks, which JSON texts contain only between values."""
    return json.replace("\n", " ").replace("\r", " ")


@exporter(version=3, nulls=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Jsonl:
    """JSON Lines, one object per row; uncompressed, gzip or zstd.

    Use it for trainers and tools that read JSON, and to inspect the result by eye. ``parquet`` keeps all types, and is
    smaller and faster to read.
    """

    compression: Compression = "none"
    """Compression of the files."""

    @property
    def suffix(self) -> str:
        """File name extension."""
        return SUFFIXES[self.compression]

    def write(self, table: pa.Table, path: Path, nulls: Sequence[Collection[str] | None] | None = None) -> None:
        """Write one file; the same table gives the same bytes."""
        write_jsonl(table, path, compression=self.compression, nulls=nulls)
