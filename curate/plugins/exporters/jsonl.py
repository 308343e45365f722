"""Writes JSON Lines: one strict JSON object a row, plain or compressed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import pyarrow as pa

from curate.errors import PluginError
from curate.kernels.text.json_values import dumps, json_array
from curate.plugins.interfaces import exporter

Compression = Literal["none", "gz", "zst"]
SUFFIXES: dict[Compression, str] = {"none": ".jsonl", "gz": ".jsonl.gz", "zst": ".jsonl.zst"}
ROWS_AT_ONCE = 8_192


def write_jsonl(table: pa.Table, path: Path, *, compression: Compression) -> None:
    """Write ``table`` to ``path``, one JSON object a row, keys in column order, null where there is no value.

    JSON has fewer types than Arrow; ``json_array`` says what becomes of the others. NaN and infinities are null, as
    strict JSON has no other word for them. The bytes depend on the rows alone: a gzip file carries neither time nor
    name. Costs O(bytes) time; memory for a few thousand rows beyond the table.

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
    with _opened(path, compression) as file:
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            for rows in table.slice(start, ROWS_AT_ONCE).to_batches():
                names = rows.schema.names
                columns = [_plain(column, name) for name, column in zip(names, rows.columns, strict=True)]
                for row in pa.RecordBatch.from_arrays(columns, names=names).to_pylist():
                    file.write(dumps(row, newline=True))


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
    try:
        return json_array(array, name)
    except TypeError as error:
        raise PluginError(str(error), hint="export to parquet, or drop the column") from error


@exporter(version=2)
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
