"""Records of CSV and TSV files: cells as text, row by row. A row that cannot be read does not end the file."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa

from curate.errors import DataError
from curate.store.records import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ROWS,
    MAX_RECORD_LENGTH,
    NOT_UTF8,
    PREVIEW_LENGTH,
    VALUE_BYTES,
    BadRecord,
    Batch,
    Piece,
    ReadOptions,
    check_names,
    decode_preview,
    is_utf8,
    refuse_utf16,
)

_MAX_OPEN_QUOTES = 1_000  # each costs a scan of up to the longest row
_MAX_REREAD = 1 << 29  # characters, of all rows with an open quote together


def read_csv(file: IO[bytes], piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    """Read a CSV file as defined by RFC 4180: a quoted cell may contain commas, doubled quotes and line breaks.

    A row that breaks these rules is bad, and reading continues at the next line.
    """
    with _text(file) as text:
        lines = _Lines(text, piece.path)
        delimiter = _delimiter(lines, options.delimiter)
        yield from _batches(_csv_rows(lines, delimiter), piece, options, delimiter)


def read_tsv(file: IO[bytes], piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    """Read a TSV file: quotes are part of the text unless the cell was clearly quoted by a program.

    Such a cell begins and ends with a quote, has all its inner quotes doubled, and contains a character that requires
    quoting: an inner quote, tab or line break. A line break is part of a cell only if no line up to the closing quote
    is a row by itself; otherwise a text that begins with a quote would swallow the rows after it.
    """
    with _text(file) as text:
        yield from _batches(_tsv_rows(_Lines(text, piece.path)), piece, options, "\t")


def read_header(file: IO[bytes], path: str, *, tabs: bool, options: ReadOptions) -> list[str]:
    """Return the cells of the first row of a CSV file, or of a TSV file with ``tabs``; none if it cannot be read."""
    with _text(file) as text:
        lines = _Lines(text, path)
        rows = _tsv_rows(lines) if tabs else _csv_rows(lines, _delimiter(lines, options.delimiter))
        return next((cells for cells, reason, _ in rows if cells and not reason), [])


def looks_like_data(name: str) -> bool:
    """Return whether a cell looks like a value, not a column name: a number that is no year, or more than five words.

    >>> [looks_like_data(name) for name in ("text", "2024", "0.5", "it was a film that I liked")]
    [False, False, True, True]
    """
    number = re.fullmatch(r"[+-]?\d+([.,]\d+)?", name.strip())
    return (number is not None and not re.fullmatch(r"(19|20)\d\d", name.strip())) or len(
        name.split()
    ) > _MAX_NAME_WORDS


_MAX_NAME_WORDS = 5  # of the name of a column
_SEPARATOR = re.compile(r"sep=(.)\r?\n?")


def _delimiter(lines: _Lines, configured: str | None) -> str:
    """Return the delimiter of a CSV file, and skip a line that only declares it, such as Excel writes."""
    line = lines.next()
    if line is None:
        return configured or ","
    if declared := _SEPARATOR.fullmatch(line):
        return configured or declared[1]
    lines.put_back([line])
    bare = re.sub('"[^"]*"', "", line)
    return configured or next((mark for mark in ",;\t|" if mark in bare), ",")


def _text(file: IO[bytes]) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


class _Lines:
    """Iterator over the lines of a file, numbered from 1; lines can be put back."""

    def __init__(self, text: IO[str], path: str) -> None:
        self._text, self._path = text, path
        self._back: deque[str] = deque()
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        while (line := self.next()) is not None:
            yield line

    def next(self) -> str | None:
        """Return the next line with its line break, or None at the end."""
        line = self._back.popleft() if self._back else self._text.readline(MAX_RECORD_LENGTH)
        if not line:
            return None
        self.number += 1
        if self.number == 1:
            refuse_utf16(line[:4].encode(errors="surrogateescape"), self._path)
        if len(line) == MAX_RECORD_LENGTH and not line.endswith(("\n", "\r")):
            hint = "check that the file has line breaks and that its format matches its name"
            raise DataError(f"the line is longer than {MAX_RECORD_LENGTH:,} characters", where=self.where, hint=hint)
        return line

    @property
    def where(self) -> str:
        """Location of the last line that was read, for error messages."""
        return f"{self._path}:{self.number}"

    def put_back(self, lines: list[str]) -> None:
        """Put lines back, to be returned again by ``next``."""
        self._back.extendleft(reversed(lines))
        self.number -= len(lines)


Row = tuple[list[str], str, int]
"""Cells of a row, the reason why they cannot be read ("" if they can), and the line on which the row ends."""


def _csv_rows(lines: _Lines, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_RECORD_LENGTH)
    consumed: list[str] = []

    def feed() -> Iterator[str]:
        size = 0
        for line in lines:
            size = _size(line) + (size if consumed else 0)
            consumed.append(line)
            if len(consumed) > 1 and size > MAX_RECORD_LENGTH:
                raise csv.Error(f"a row is longer than {MAX_RECORD_LENGTH:,} characters")
            yield line

    reader, open_quotes, reread = csv.reader(feed(), strict=True, delimiter=delimiter), 0, 0
    while True:
        consumed.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            open_quotes += len(consumed) > 1
            reread += sum(map(len, consumed[1:]))
            lines.put_back(consumed[1:])
            if open_quotes > _MAX_OPEN_QUOTES or reread > _MAX_REREAD:
                hint = "double the quotes inside quoted cells, or rename the file to .tsv if its cells are not quoted"
                raise DataError("the file has too many unbalanced quotes", where=lines.where, hint=hint) from error
            yield [consumed[0].rstrip("\r\n")], f"does not parse: {error}", lines.number
            reader = csv.reader(feed(), strict=True, delimiter=delimiter)
            continue
        if cells is None:
            return
        yield cells, "", lines.number


def _size(line: str) -> int:
    """Return the approximate memory of a line in bytes; an empty line takes as much as a short one."""
    return len(line) + VALUE_BYTES


_OPEN = re.compile(r'[^"]*(?:""[^"]*)*')
"""Text up to the first quote that is not doubled."""

_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"(?=[\t\r\n]|$)')
_SPECIAL = re.compile(r'""|[\t\r\n]')


def _tsv_rows(lines: _Lines) -> Iterator[Row]:
    columns = 0
    for line in lines:
        cells = _tsv_cells(line)
        if '"' not in line and cells != [""]:
            columns = columns or len(cells)
            yield cells, "", lines.number
            continue
        if 1 < columns >= len(cells) and _opens_quote(cells[-1]):
            cells = _extend_row(line, cells, columns, lines)
        if cells == [""]:
            yield [], "", lines.number
            continue
        columns = columns or len(cells)
        yield [_unquote(cell) for cell in cells], "", lines.number


def _tsv_cells(line: str) -> list[str]:
    """Split a line at its tabs, except for tabs within a quoted cell."""
    line = line.rstrip("\r\n")
    if '"' not in line:
        return line.split("\t")
    cells: list[str] = []
    start = 0
    while True:
        quoted = _QUOTED.match(line, start)
        end = quoted.end() if quoted else line.find("\t", start)
        if end < 0 or end == len(line):
            return [*cells, line[start:]]
        cells.append(line[start:end])
        start = end + 1


def _opens_quote(cell: str) -> bool:
    return cell.startswith('"') and _find_open_end(cell, 1) == len(cell)


def _find_open_end(text: str, start: int = 0) -> int:
    match = _OPEN.match(text, start)
    return match.end() if match else start


def _extend_row(line: str, cells: list[str], columns: int, lines: _Lines) -> list[str]:
    """Extend a row whose last cell opens a quote by the lines up to the closing quote.

    The row stays unchanged if one of these lines is a row by itself, or if the quote is never closed.
    """
    consumed: list[str] = []
    parts = [cells[-1] + line[len(line.rstrip("\r\n")) :]]
    size = _size(parts[0])
    while size <= MAX_RECORD_LENGTH and (following := lines.next()) is not None:
        consumed.append(following)
        if len(_tsv_cells(following)) == columns:
            break
        end = _find_open_end(following)
        if end < len(following):
            rest = following[end + 1 :].rstrip("\r\n")
            closed = [*cells[:-1], "".join([*parts, following[: end + 1]]), *(rest[1:].split("\t") if rest else ())]
            if rest[:1] in ("", "\t") and len(closed) == columns:
                return closed
            break
        parts.append(following)
        size += _size(following)
    lines.put_back(consumed)
    return cells


def _unquote(cell: str) -> str:
    quoted = _QUOTED.fullmatch(cell) if cell.startswith('"') else None
    return quoted[1].replace('""', '"') if quoted and _SPECIAL.search(quoted[1]) else cell


# ---------------------------------------------------------------- batches


_HEADER_HINT = "fix the first row, or name the columns in input.header"


def _batches(rows: Iterator[Row], piece: Piece, options: ReadOptions, delimiter: str) -> Iterator[Batch]:
    names = list(options.header) if isinstance(options.header, tuple) else None
    if names is not None:
        check_names(names, piece.path)
    builder = _BatchBuilder(piece)
    for cells, reason, line in rows:
        if names is None and options.header is False:
            if cells and not reason:
                names = [f"column_{number}" for number in range(1, len(cells) + 1)]
                check_names(names, f"{piece.path}:{line}")
        elif names is None:
            if reason:
                raise DataError(f"cannot read the header: {reason}", where=f"{piece.path}:{line}", hint=_HEADER_HINT)
            if cells:
                names = cells
                check_names(names, f"{piece.path}:{line}")
            continue
        expected = len(names or ())
        builder.take(cells, reason or _reject_reason(cells, expected, options), line, delimiter)
        if builder.full and names is not None:
            yield builder.batch(names)
            builder = _BatchBuilder(piece, builder.record)
    if not builder.empty:
        yield builder.batch(names or [])


def _reject_reason(cells: list[str], columns: int, options: ReadOptions) -> str:
    if cells and len(cells) != columns:
        first = "the header" if options.header is True else "input.header" if options.header else "the first row"
        return f"does not parse: the row has {len(cells)} cells, {first} has {columns}"
    return "" if is_utf8("".join(cells)) else NOT_UTF8


@dataclass(slots=True)
class _BatchBuilder:
    """Batch under construction."""

    piece: Piece
    record: int = 0
    """Number of rows of the file before the next one."""

    rows: list[list[str | None]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad_records: list[BadRecord] = field(default_factory=list)
    size: int = 0

    @property
    def empty(self) -> bool:
        return not (self.rows or self.bad_records)

    @property
    def full(self) -> bool:
        return len(self.rows) + len(self.bad_records) >= MAX_BATCH_ROWS or self.size > MAX_BATCH_BYTES

    def take(self, cells: list[str], wrong: str, line: int, delimiter: str) -> None:
        """Add a row; skip a blank line."""
        if wrong:
            text = delimiter.join(cells[:PREVIEW_LENGTH] if len(cells) > PREVIEW_LENGTH else cells)
            record = decode_preview(text[: PREVIEW_LENGTH + 1].encode(errors="surrogateescape"))
            self.bad_records.append(BadRecord(self.record, line, wrong, record))
            self.size += len(record)
        elif cells:
            self.rows.append([cell or None for cell in cells])
            self.positions.append(self.record)
            self.lines.append(line)
            self.size += sum(map(len, cells)) + VALUE_BYTES * len(cells)
        self.record += 1

    def batch(self, names: list[str]) -> Batch:
        columns = zip(*self.rows, strict=True) if self.rows else ([] for _ in names)
        table = pa.table([pa.array(list(column), pa.string()) for column in columns], names=names)
        return Batch(table, self.positions, self.lines, self.bad_records, cells=frozenset(names))
