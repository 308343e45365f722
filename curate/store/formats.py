"""Reads pool files (JSONL, CSV, TSV, Parquet) batch by batch; a record that cannot be read is told, not raised."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import places
from curate.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

    import pyarrow.parquet as pq

Format = Literal["jsonl", "csv", "tsv", "parquet"]
Compression = Literal["", "gz", "zst"]

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_COMPRESSIONS: dict[str, Compression] = {".gz": "gz", ".zst": "zst"}
_BATCH = 8_192
_BLOCK = 1 << 22
_SHOWN = 1_000  # characters of a record that is too long
_BOM = b"\xef\xbb\xbf"

LONGEST = 1 << 27
"""Bytes of a JSONL line, and characters of a CSV line or cell, beyond which it is not read: nothing trains on these."""

_DEEPEST = 32  # objects and lists in one another; Parquet holds no more than 50 lists
_MOST_COLUMNS = 10_000  # where every key is data, a column each would fill the memory


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive records of one file."""

    path: str
    number: int
    """The file's place in the sorted list of input files."""

    start: int = 0
    """Where to begin: a byte of a JSONL file, a row group of a Parquet file."""

    stop: int | None = None
    """Where to end (exclusive); None = the end of the file."""

    first_row: int = 0
    """How many lines (or Parquet rows) of the file come before."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that cannot be read."""

    row: int
    line: int
    reason: str
    record: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one file as they stand there, and those that could not be read."""

    table: pa.Table
    rows: list[int]
    """The place of each record in its file, from 0 (of a JSONL file: its line)."""

    lines: list[int]
    """The line each record ends on, from 1 (of a Parquet file: its row)."""

    bad: list[Bad]


def format_of(path: Path) -> tuple[Format, Compression]:
    """What the file's name says it is."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression: Compression = ""
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        compression = _COMPRESSIONS[suffixes.pop()]
    found = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if found is None or (found == "parquet" and compression):
        hint = "name it .jsonl, .csv or .tsv (each also .gz or .zst) or .parquet"
        if suffixes and suffixes[-1] == ".json":
            hint = "a JSON array must become one object a line: jq -c '.[]' FILE.json > FILE.jsonl"
        raise DataError("cannot tell the format from the file's name", where=str(path), hint=hint)
    return found, compression


def scan(path: Path, rows_per_piece: int) -> tuple[str, list[tuple[int, int, int]] | None]:
    """The file's sha256, and where it may be cut.

    Returns
    -------
    sha256 : of the file's bytes
    cuts : (start, first row, rows) of each run of about ``rows_per_piece`` records; None where only reading tells
    """
    kind, compression = format_of(path)
    digest = hashlib.sha256()
    cuts: list[tuple[int, int, int]] = [(0, 0, 0)]
    lines = offset = 0
    with places.opened(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if kind == "jsonl" and not compression:
                newlines = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
                while lines + len(newlines) >= (boundary := len(cuts) * rows_per_piece):
                    cuts.append((offset + int(newlines[boundary - lines - 1]) + 1, boundary, 0))
                lines += len(newlines)
                offset += len(block)
    if kind == "parquet":
        return digest.hexdigest(), _row_groups(path, rows_per_piece)
    if kind != "jsonl" or compression:
        return digest.hexdigest(), None
    if cuts[-1][0] == offset and len(cuts) > 1:  # the file ends on a boundary
        cuts.pop()
    ends_at = [first for _, first, _ in cuts[1:]] + [max(lines, cuts[-1][1] + 1)]
    return digest.hexdigest(), [
        (start, first, end - first) for (start, first, _), end in zip(cuts, ends_at, strict=True)
    ]


def _row_groups(path: Path, rows_per_piece: int) -> list[tuple[int, int, int]]:
    with _parquet(path) as file:
        metadata = file.metadata
    cuts: list[tuple[int, int, int]] = []
    first = start = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows >= rows_per_piece or group == metadata.num_row_groups - 1:
            cuts.append((start, first, rows))
            start, first, rows = group + 1, first + rows, 0
    return cuts


def read(piece: Piece) -> Iterator[Batch]:
    """The records of ``piece``, a few thousand at a time.

    Raises
    ------
    DataError : if the file as a whole cannot be read, or one of its columns holds values of two kinds
    """
    path = places.place(piece.path)
    kind, compression = format_of(path)
    with places.reached(path):
        try:
            if kind == "parquet":
                yield from _read_parquet(path, piece)
            elif kind == "jsonl":
                with _open(path, compression) as file:
                    yield from _read_jsonl(file, piece)
            else:
                with _open(path, compression) as file:
                    yield from _read_csv(file, piece, "\t" if kind == "tsv" else ",")
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            hint = "is the file whole? write it elsewhere and move it here when it is complete"
            raise DataError(f"cannot read the file: {error}", where=piece.path, hint=hint) from error


@contextmanager
def _open(path: Path, compression: Compression) -> Iterator[IO[bytes]]:
    with places.opened(path) as file:
        if compression == "gz":
            with gzip.open(file) as unpacked:
                yield cast(IO[bytes], unpacked)
        elif compression == "zst":
            with io.BufferedReader(pa.CompressedInputStream(file, "zstd"), _BLOCK) as unpacked:
                yield unpacked
        else:
            yield file


# ---------------------------------------------------------------- JSONL


def _read_jsonl(file: IO[bytes], piece: Piece) -> Iterator[Batch]:
    if piece.start:
        file.seek(piece.start)
    position, line = piece.start, piece.first_row
    records: list[dict[str, Any]] = []
    lines: list[int] = []
    bad: list[Bad] = []
    while raw := file.readline(LONGEST):
        if piece.stop is not None and position >= piece.stop:
            break
        position += len(raw)
        line += 1
        if len(raw) == LONGEST and (rest := _skip_line(file)):
            position += rest
            bad.append(Bad(line - 1, line, f"is longer than {LONGEST:,} bytes", raw[:_SHOWN].decode(errors="replace")))
            continue
        text = raw.removeprefix(_BOM).strip() if line == 1 else raw.strip()
        if not text:
            continue
        try:
            record = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            bad.append(Bad(line - 1, line, f"does not parse: {error.msg}", text.decode(errors="replace")))
            continue
        reason = "is not a JSON object" if not isinstance(record, dict) else _too_deep(record, text)
        if reason:
            bad.append(Bad(line - 1, line, reason, text.decode(errors="replace")))
            continue
        records.append(record)
        lines.append(line)
        if len(records) == _BATCH:
            yield Batch(_table(records, lines, piece.path), [end - 1 for end in lines], lines, bad)
            records, lines, bad = [], [], []
    if records or bad:
        yield Batch(_table(records, lines, piece.path), [end - 1 for end in lines], lines, bad)


def _skip_line(file: IO[bytes]) -> int:
    """Go to the end of the line; how many bytes that were."""
    skipped = 0
    while more := file.readline(_BLOCK):
        skipped += len(more)
        if more.endswith(b"\n"):
            break
    return skipped


def _too_deep(record: dict[str, Any], text: bytes) -> str:
    """What is wrong with a record that no Parquet file could hold; "" if nothing is."""
    if text.count(b"[") + text.count(b"{") <= _DEEPEST:
        return ""
    level: list[Any] = [record]
    for _ in range(_DEEPEST):
        inner = (one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer))
        level = [one for one in inner if isinstance(one, dict | list)]
        if not level:
            return ""
    return f"is nested more than {_DEEPEST} deep"


def _table(records: list[dict[str, Any]], lines: list[int], path: str) -> pa.Table:
    names = dict.fromkeys(name for record in records for name in record)
    if len(names) > _MOST_COLUMNS:
        told = f"lines {lines[0]:,} to {lines[-1]:,} have {len(names):,} different keys, each of them a column"
        raise DataError(told, where=path, hint='put keys that are data into a list: [{"key": …, "value": …}]')
    arrays = []
    for name in names:
        values = [record.get(name) for record in records]
        try:
            array = pa.array(values)
        except (pa.ArrowException, OverflowError) as error:
            raise _conflict(name, values, lines, path) from error
        arrays.append(array if (kind := storable(array.type)) == array.type else array.cast(kind))
    return pa.table(arrays, names=list(names))


def _conflict(name: str, values: Sequence[Any], lines: list[int], path: str) -> DataError:
    seen: pa.DataType | None = None
    seen_at = 0
    for value, line in zip(values, lines, strict=True):
        try:
            kind = pa.array([value]).type
            merged = kind if seen is None else merge(seen, kind)
        except (pa.ArrowException, OverflowError):
            first = f"{seen} in {path}:{seen_at}" if seen is not None else "a number beyond 64 bits"
            return DataError(
                f"column {name!r} is {first} and something else in {path}:{line}",
                hint="a column must be of one type; make it text in both places",
            )
        if not pa.types.is_null(kind) and (seen is None or pa.types.is_null(seen)):
            seen_at = line
        seen = merged
    return DataError(f"column {name!r} mixes types", where=path)


def merge(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    """The type that holds both: nulls and numbers widen, objects gain fields; ArrowTypeError if there is none."""
    if left == right:
        return left
    schemas = [pa.schema([("", kind)]) for kind in (left, right)]
    return pa.unify_schemas(schemas, promote_options="permissive").field(0).type


def storable(kind: pa.DataType) -> pa.DataType:
    """The type with every object that never has a field read as null, as Parquet cannot store it, and without views."""
    if pa.types.is_struct(kind):
        fields = [field.with_type(storable(field.type)) for field in kind]
        return pa.struct(fields) if fields else pa.null()
    if pa.types.is_list(kind):
        return pa.list_(storable(kind.value_type))
    if pa.types.is_string_view(kind):  # hardly a function of Arrow's takes these
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind


# ---------------------------------------------------------------- CSV


def _read_csv(file: IO[bytes], piece: Piece, delimiter: str) -> Iterator[Batch]:
    csv.field_size_limit(LONGEST)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from _rows(csv.reader(_csv_lines(text, piece.path), delimiter=delimiter, strict=True), piece, delimiter)


def _csv_lines(text: IO[str], path: str) -> Iterator[str]:
    for number in itertools.count(1):
        line = text.readline(LONGEST)
        if not line:
            return
        if len(line) == LONGEST and not line.endswith(("\n", "\r")):
            hint = "is there a line break in it, and is it the format that its name says?"
            raise DataError(f"a line is longer than {LONGEST:,} characters", where=f"{path}:{number}", hint=hint)
        yield line


def _rows(reader: CsvReader, piece: Piece, delimiter: str) -> Iterator[Batch]:
    names = next(reader, None)
    if not names:
        return
    _check_names(names, f"{piece.path}:1")
    rows: list[list[str | None]] = []
    places: list[int] = []
    lines: list[int] = []
    bad: list[Bad] = []
    record = -1
    while True:
        record += 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(f"cannot read on: {error}", where=f"{piece.path}:{reader.line_num}") from error
        if row is None:
            break
        if not row:
            continue
        if reason := _bad_row(row, len(names)):
            bad.append(Bad(record, reader.line_num, reason, delimiter.join(row).encode(errors="replace").decode()))
            continue
        rows.append([cell or None for cell in row])
        places.append(record)
        lines.append(reader.line_num)
        if len(rows) == _BATCH:
            yield Batch(_strings(names, rows), places, lines, bad)
            rows, places, lines, bad = [], [], [], []
    if rows or bad:
        yield Batch(_strings(names, rows), places, lines, bad)


def _check_names(names: list[str], where: str) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"column {twice[0]!r} stands twice in the header", where=where)
    if any(_not_utf8(name) for name in names):
        raise DataError("the names of the columns are not UTF-8", where=where)


def _not_utf8(text: str) -> bool:
    """Whether bytes of it were read as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _bad_row(row: list[str], columns: int) -> str:
    if len(row) != columns:
        return f"does not parse: {len(row)} cells, the header has {columns}"
    if any(map(_not_utf8, row)):
        return "does not parse: not UTF-8"
    return ""


def _strings(names: list[str], rows: list[list[str | None]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pa.table([pa.array(list(column), pa.string()) for column in columns], names=names)


_NUMBERS = (
    (pa.int64(), r"^-?(0|[1-9][0-9]{0,17})$"),
    (pa.float64(), r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"),
)


def narrowest(column: pa.ChunkedArray) -> pa.DataType:
    """The type that a column of CSV cells can take without losing anything: no leading zeros, no padding."""
    if column.null_count == len(column):
        return pa.null()
    for kind, pattern in _NUMBERS:
        if pc.all(pc.match_substring_regex(column, pattern)).as_py():
            return kind
    return pa.string()


# ---------------------------------------------------------------- Parquet


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(places.parquet(path))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"not a whole Parquet file: {error}", where=str(path)) from error
        yield file


def _read_parquet(path: Path, piece: Piece) -> Iterator[Batch]:
    row = piece.first_row
    with _parquet(path) as file:
        _check_names(file.schema_arrow.names, str(path))
        stop = file.metadata.num_row_groups if piece.stop is None else piece.stop
        for batch in file.iter_batches(_BATCH, row_groups=range(piece.start, stop)):
            rows = list(range(row, row + batch.num_rows))
            table = pa.Table.from_batches([batch])
            table = table.cast(pa.schema([field.with_type(storable(field.type)) for field in table.schema]))
            yield Batch(table, rows, [place + 1 for place in rows], [])
            row += batch.num_rows


def column_names(path: Path, number: int = 0) -> list[str]:
    """The columns of the first records of a file."""
    batch = next(read(Piece(str(path), number)), None)
    return [] if batch is None else list(batch.table.column_names)
