"""Sample of a pool before a run: the first records of every input file and the number of all records, read in seconds.

Memory: two batches of records, and the first rows of each file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curate import paths
from curate.errors import DataError
from curate.stages.ingest import declared_types
from curate.stages.ingest.chat_column import resolve_text
from curate.stages.ingest.shard_writer import read_options
from curate.store import arrow_records, decompression, parquet_records, readers
from curate.store.arrow_values import convert_column
from curate.store.column_types import Column, describe_array, describe_cells
from curate.store.records import BadRecord, Batch, Piece

if TYPE_CHECKING:
    from curate.config.model import InputConfig
    from curate.paths import FileInfo
    from curate.store.inputs import Inputs

MAX_EXAMINED = 1_000
"""Largest number of records of a file that are examined."""

_BYTES = 1 << 18
"""Number of bytes of a JSONL file that are read for its first records."""

_BLOCK = 1 << 22

_ERROR = 0.1
"""Typical relative error of a number of records that is estimated from the bytes read."""

_ARRAY_ERROR = 0.3
"""Typical relative error of a number of records that is estimated from their size in memory."""


@dataclass(frozen=True, slots=True)
class RowCount:
    """Number of records, counted or estimated."""

    rows: int
    error: float = 0.0
    """Typical relative error of the number; 0 if all records were counted."""

    def __add__(self, other: RowCount) -> RowCount:
        rows = self.rows + other.rows
        return RowCount(rows, (self.rows * self.error + other.rows * other.error) / rows if rows else 0.0)

    def __str__(self) -> str:
        return f"≈ {self.rows:,} (± {self.error:.0%})" if self.error else f"{self.rows:,}"

    @property
    def max_rows(self) -> int:
        """Upper bound of the number of records."""
        return math.ceil(self.rows * (1 + self.error))


@dataclass(frozen=True, slots=True)
class PoolSample:
    """Columns, size and first rows of a pool, from the first records of its files."""

    files: tuple[str, ...]
    """Files that were opened."""

    columns: Mapping[str, pa.DataType | None]
    """Types by column; None if the files have no common type."""

    complete: bool
    """Whether the columns are complete: each file was read to its end, or lists its columns at its beginning."""

    row_count: RowCount
    """Number of records in all files."""

    table: pa.Table
    """First records of the first file, with all columns of known type."""

    examined: int = 0
    """Number of records that were read."""

    bad_records: tuple[tuple[str, BadRecord], ...] = ()
    """Bad records, each with its file."""

    bytes_per_row: float = 0.0
    """Mean size of a record in memory, in bytes."""

    @property
    def description(self) -> str:
        """Files and records that were read, as a phrase for messages."""
        names = ", ".join(self.files[:3]) + (", …" if len(self.files) > 3 else "")
        return names if self.complete else f"the first {self.examined:,} records of {names}"


def sample_inputs(source: Inputs, names: Collection[str]) -> PoolSample:
    """Return the sample of a completely read pool, with the first values of some columns."""
    columns = source.columns
    first = next((number for number, rows in enumerate(source.shards) if rows), 0)
    table = source.read(first, columns=[name for name in columns if name in names]).slice(0, MAX_EXAMINED)
    return PoolSample(tuple(source.files), columns, True, RowCount(source.rows), table, len(table))


def sample_files(config: InputConfig, files: Mapping[str, FileInfo], seconds: float) -> PoolSample:
    """Read the first records of the files, and count all records as far as the time permits.

    Parameters
    ----------
    config : InputConfig
        Configuration of the input.
    files : mapping
        Stamp of each file, by its path.
    seconds : float
        Time in seconds after which no further file is opened and numbers of records are estimated.

    Raises
    ------
    DataError
        A file cannot be read.
    """
    ends = time.monotonic() + seconds
    config = resolve_text(config, files)
    builder = _SampleBuilder()
    for path, facts in files.items():
        if builder.files and time.monotonic() > ends:
            break
        builder.add(config, path, facts["size"], ends)
    rest = sum(facts["size"] for path, facts in list(files.items())[len(builder.files) :])
    counted = builder.row_count
    if rest:
        counted += RowCount(round(counted.rows * rest / max(1, builder.size)), _ARRAY_ERROR)
    columns = {name: _type(column, name) for name, column in builder.columns.items()}
    return PoolSample(
        tuple(builder.files),
        columns,
        builder.complete and len(builder.files) == len(files),
        counted,
        _convert_types(builder.table, columns),
        builder.examined,
        tuple(builder.bad_records),
        builder.bytes / max(1, builder.examined),
    )


def count_rows(config: InputConfig, files: Sequence[FileInfo], seconds: float) -> RowCount:
    """Count the records of scanned files; files that must be read are counted as far as the time permits."""
    ends = time.monotonic() + seconds
    total = RowCount(0)
    for file in files:
        if file["cuts"] is None:
            batch, complete = _first(config, file["path"], None)
            total += _records(batch) if complete else _count(file["path"], file["size"], batch, ends)
        else:
            total += RowCount(sum(rows for _, _, rows in file["cuts"]))
    return total


@dataclass(slots=True)
class _SampleBuilder:
    files: list[str] = field(default_factory=list)
    size: int = 0
    columns: dict[str, Column] = field(default_factory=dict)
    table: pa.Table = field(default_factory=lambda: pa.table({}))
    bad_records: list[tuple[str, BadRecord]] = field(default_factory=list)
    complete: bool = True
    row_count: RowCount = field(default_factory=lambda: RowCount(0))
    examined: int = 0
    bytes: int = 0

    def add(self, config: InputConfig, path: str, size: int, ends: float) -> None:
        """Read the first records of one more file, and count all of its records."""
        kind, compression = readers.detect_format(Path(path))
        stop = None
        if kind == "jsonl" and not compression and size > _BYTES:
            with paths.convert_store_errors(paths.parse_path(path)), paths.open_binary(paths.parse_path(path)) as file:
                stop = file.read(_BYTES).rfind(b"\n") + 1 or None
        declared = config.types or {}
        batch, complete = _first(config, path, stop)
        self.files.append(path)
        self.size += size
        self.complete &= complete or kind in (*readers.BINARY, "csv", "tsv")
        table, _ = declared_types.convert_columns(batch.table.slice(0, MAX_EXAMINED), declared)
        for name, values in zip(table.column_names, table.columns, strict=True):
            array = pa.concat_arrays(values.chunks) if values.num_chunks else pa.nulls(0, values.type)
            describe = describe_cells if name in batch.cells and name not in declared else describe_array
            self.columns.setdefault(name, Column()).add(describe(array, path))
        if not len(self.table):
            self.table = table
        self.bad_records += [(path, one) for one in batch.bad_records]
        self.examined += _records(batch).rows
        self.bytes += batch.table.nbytes
        self.row_count += _records(batch) if complete else _count(path, size, batch, ends)


def _records(batch: Batch) -> RowCount:
    return RowCount(len(batch.rows) + len(batch.bad_records))


def _first(config: InputConfig, path: str, stop: int | None) -> tuple[Batch, bool]:
    """Return the first records of a file, and whether they are all of its records."""
    batches = readers.read(Piece(path, 0, 0, stop), read_options(config))
    first = next(batches, None)
    if first is None:
        return Batch(pa.table({}), [], [], []), stop is None
    return first, stop is None and next(batches, None) is None


def _type(column: Column, name: str) -> pa.DataType | None:
    try:
        return column.type(name)
    except DataError:  # reported when the input is read
        return None


def _convert_types(table: pa.Table, columns: Mapping[str, pa.DataType | None]) -> pa.Table:
    """Return the table with all columns of known type, converted as in input shards."""
    arrays = {
        name: convert_column(table[name], kind) if name in table.column_names else pa.nulls(len(table), kind)
        for name, kind in columns.items()
        if kind is not None
    }
    return pa.table(arrays)


# ---------------------------------------------------------------- numbers of records


def _count(path: str, size: int, first: Batch, ends: float) -> RowCount:
    """Count the records of a file until the time limit; estimate the rest from the first records."""
    kind, compression = readers.detect_format(Path(path))
    location = paths.parse_path(path)
    if kind == "parquet":
        with paths.convert_store_errors(location), parquet_records.open_parquet(location) as file:
            return RowCount(file.metadata.num_rows)
    if kind == "arrow":
        with paths.convert_store_errors(location):
            return RowCount(arrow_records.count_rows(location))
    if kind == "json":
        return _elements(path, size, ends, compressed=bool(compression))
    with paths.convert_store_errors(location):
        try:
            with paths.open_binary(location) as packed, decompression.open_decompressed(packed, compression) as plain:
                lines, quoted, read, last = 0, 0, 0, b"\n"
                while block := plain.read(_BLOCK):
                    new, quoted = _line_ends(block, quoted, quotes=kind in ("csv", "tsv"))
                    lines, last = lines + new, block[-1:]
                    read = packed.tell() if compression else read + len(block)
                    if time.monotonic() > ends and read < size:
                        return RowCount(max(1, round(lines * size / max(1, read))), _ERROR)
        except decompression.ERRORS as error:
            hint = "check that the file is complete, or replace it"
            raise DataError(f"cannot read the file: {error}", where=path, hint=hint) from error
    header = int(kind in ("csv", "tsv") and bool(first.lines) and first.lines[0] > 1)
    return RowCount(max(0, lines + (last != b"\n") - header))


def _line_ends(block: bytes, quoted: int, *, quotes: bool) -> tuple[int, int]:
    """Count the line ends of a block outside of quotes; ``quoted`` is 1 if the block begins within quotes."""
    if not quotes or (not quoted and b'"' not in block):
        return block.count(b"\n"), quoted
    letters = np.frombuffer(block, np.uint8)
    marks = np.cumsum(letters == ord('"'), dtype=np.int64) + quoted
    return int(((letters == ord("\n")) & (marks % 2 == 0)).sum()), int(marks[-1] % 2)


def _elements(path: str, size: int, ends: float, *, compressed: bool) -> RowCount:
    """Count the elements of a JSON array until the time limit."""
    rows = memory = 0
    for batch in readers.read(Piece(path, 0)):
        rows += _records(batch).rows
        memory += batch.table.nbytes + len(batch.rows) * sum(len(name) + 6 for name in batch.table.column_names)
        if time.monotonic() > ends:
            times = 4 if compressed else 1
            return RowCount(max(rows, round(rows * times * size / max(1, memory))), _ARRAY_ERROR * (1 + 2 * compressed))
    return RowCount(rows)
