"""Records of CSV and TSV files: cells as text, row by row; a row that cannot be read does not end the file."""

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

_MOST_OPEN_QUOTES = 1_000  # each is looked for in as many characters as a row may have
_MOST_READ_AGAIN = 1 << 29  # characters, of all rows with an open quote together


def read_csv(file: IO[bytes], piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    """Read a CSV file as RFC 4180 has it: a quoted cell may hold commas, doubled quotes and line breaks.

    A row that breaks these rules is bad, and reading goes on at the next line.
    """
    with _text(file) as text:
        lines = _Lines(text, piece.path)
        delimiter = _delimiter(lines, options.delimiter)
        yield from _batches(_csv_rows(lines, delimiter), piece, options, delimiter)


def read_tsv(file: IO[bytes], piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    """Read a TSV file: quotes are part of the text, unless the cell can only have been quoted by a program.

    That is a cell which begins and ends with a quote, has all its inner quotes doubled, and has a reason to be quoted:
    an inner quote, tab or line break. A line break is taken for part of a cell only if no line up to the closing quote
    is a row by itself; otherwise a text that begins with a quote would take the rows after it into itself.
    """
    with _text(file) as text:
        yield from _batches(_tsv_rows(_Lines(text, piece.path)), piece, options, "\t")


def read_header(file: IO[bytes], path: str, *, tabs: bool, options: ReadOptions) -> list[str]:
    """Return the cells of the first row of a CSV file, or of a TSV file if ``tabs``; none if it cannot be read."""
    with _text(file) as text:
        lines = _Lines(text, path)
        rows = _tsv_rows(lines) if tabs else _csv_rows(lines, _delimiter(lines, options.delimiter))
        return next((cells for cells, reason, _ in rows if cells and not reason), [])


def looks_like_data(name: str) -> bool:
    """Return whether a cell, other than the name of a column, is a number that is no year or has more than five words.

    >>> [looks_like_data(name) for name in ("text", "2024", "0.5", "it was a film that I liked")]
    [False, False, True, True]
    """
    number = re.fullmatch(r"[+-]?\d+([.,]\d+)?", name.strip())
    return (number is not None and not re.fullmatch(r"(19|20)\d\d", name.strip())) or len(name.split()) > _MOST_WORDS


_MOST_WORDS = 5  # of the name of a column
_SEPARATOR = re.compile(r"sep=(.)\r?\n?")


def _delimiter(lines: _Lines, given: str | None) -> str:
    """Find the character between the cells of a CSV file, and skip a line that only names it, as Excel writes one."""
    line = lines.next()
    if line is None:
        return given or ","
    if named := _SEPARATOR.fullmatch(line):
        return given or named[1]
    lines.put_back([line])
    bare = re.sub('"[^"]*"', "", line)
    return given or next((mark for mark in ",;\t|" if mark in bare), ",")


def _text(file: IO[bytes]) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


class _Lines:
    """The lines of a file, numbered from 1; lines can be put back."""

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
            hint = "is there a line break in it, and is it the format that its name says?"
            raise DataError(f"a line is longer than {MAX_RECORD_LENGTH:,} characters", where=self.where, hint=hint)
        return line

    @property
    def where(self) -> str:
        """Place of the last line that was read, for an error."""
        return f"{self._path}:{self.number}"

    def put_back(self, lines: list[str]) -> None:
        """Give lines back, which ``next`` then gives again."""
        self._back.extendleft(reversed(lines))
        self.number -= len(lines)


Row = tuple[list[str], str, int]
"""The cells of a row, why they cannot be read ("" if they can), and the line that the row ends on."""


def _csv_rows(lines: _Lines, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_RECORD_LENGTH)
    taken: list[str] = []

    def feed() -> Iterator[str]:
        size = 0
        for line in lines:
            size = _size(line) + (size if taken else 0)
            taken.append(line)
            if len(taken) > 1 and size > MAX_RECORD_LENGTH:
                raise csv.Error(f"a row is longer than {MAX_RECORD_LENGTH:,} characters")
            yield line

    reader, open_quotes, read_again = csv.reader(feed(), strict=True, delimiter=delimiter), 0, 0
    while True:
        taken.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            open_quotes += len(taken) > 1
            read_again += sum(map(len, taken[1:]))
            lines.put_back(taken[1:])
            if open_quotes > _MOST_OPEN_QUOTES or read_again > _MOST_READ_AGAIN:
                hint = "double the quotes within quoted cells, or name the file .tsv if its cells are not quoted"
                raise DataError("too many quotes do not pair", where=lines.where, hint=hint) from error
            yield [taken[0].rstrip("\r\n")], f"does not parse: {error}", lines.number
            reader = csv.reader(feed(), strict=True, delimiter=delimiter)
            continue
        if cells is None:
            return
        yield cells, "", lines.number


def _size(line: str) -> int:
    """Return about the bytes that a line takes in memory: an empty one takes as many as a short one."""
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
            cells = _continued(line, cells, columns, lines)
        if cells == [""]:
            yield [], "", lines.number
            continue
        columns = columns or len(cells)
        yield [_unquoted(cell) for cell in cells], "", lines.number


def _tsv_cells(line: str) -> list[str]:
    """Split a line at its tabs, other than those within a quoted cell."""
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
    return cell.startswith('"') and _end_of_open(cell, 1) == len(cell)


def _end_of_open(text: str, start: int = 0) -> int:
    match = _OPEN.match(text, start)
    return match.end() if match else start


def _continued(line: str, cells: list[str], columns: int, lines: _Lines) -> list[str]:
    """Add the lines to a row that its last cell, which opens a quote, goes on in.

    The row stays as it is if one of these lines is a row by itself, or if the quote is not closed.
    """
    taken: list[str] = []
    parts = [cells[-1] + line[len(line.rstrip("\r\n")) :]]
    size = _size(parts[0])
    while size <= MAX_RECORD_LENGTH and (following := lines.next()) is not None:
        taken.append(following)
        if len(_tsv_cells(following)) == columns:
            break
        end = _end_of_open(following)
        if end < len(following):
            rest = following[end + 1 :].rstrip("\r\n")
            closed = [*cells[:-1], "".join([*parts, following[: end + 1]]), *(rest[1:].split("\t") if rest else ())]
            if rest[:1] in ("", "\t") and len(closed) == columns:
                return closed
            break
        parts.append(following)
        size += _size(following)
    lines.put_back(taken)
    return cells


def _unquoted(cell: str) -> str:
    quoted = _QUOTED.fullmatch(cell) if cell.startswith('"') else None
    return quoted[1].replace('""', '"') if quoted and _SPECIAL.search(quoted[1]) else cell


# ---------------------------------------------------------------- rows into batches


def _batches(rows: Iterator[Row], piece: Piece, options: ReadOptions, delimiter: str) -> Iterator[Batch]:
    names = list(options.header) if isinstance(options.header, tuple) else None
    if names is not None:
        check_names(names, piece.path)
    made = _Making(piece)
    for cells, reason, line in rows:
        if names is None and options.header is False:
            if cells and not reason:
                names = [f"column_{number}" for number in range(1, len(cells) + 1)]
                check_names(names, f"{piece.path}:{line}")
        elif names is None:
            if reason:
                raise DataError(f"cannot read the header: it {reason}", where=f"{piece.path}:{line}")
            if cells:
                names = cells
                check_names(names, f"{piece.path}:{line}")
            continue
        expected = len(names or ())
        made.take(cells, reason or _wrong(cells, expected, options), line, delimiter)
        if made.full and names is not None:
            yield made.batch(names)
            made = _Making(piece, made.record)
    if not made.empty:
        yield made.batch(names or [])


def _wrong(cells: list[str], columns: int, options: ReadOptions) -> str:
    if cells and len(cells) != columns:
        first = "the header" if options.header is True else "input.header" if options.header else "the first row"
        return f"does not parse: {len(cells)} cells, {first} has {columns}"
    return "" if is_utf8("".join(cells)) else NOT_UTF8


@dataclass(slots=True)
class _Making:
    """A batch in the making."""

    piece: Piece
    record: int = 0
    """Rows of the file before the next one."""

    rows: list[list[str | None]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
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
        """Add a row; a blank line is none."""
        if wrong:
            text = delimiter.join(cells[:PREVIEW_LENGTH] if len(cells) > PREVIEW_LENGTH else cells)
            record = decode_preview(text[: PREVIEW_LENGTH + 1].encode(errors="surrogateescape"))
            self.bad_records.append(BadRecord(self.record, line, wrong, record))
            self.size += len(record)
        elif cells:
            self.rows.append([cell or None for cell in cells])
            self.places.append(self.record)
            self.lines.append(line)
            self.size += sum(map(len, cells)) + VALUE_BYTES * len(cells)
        self.record += 1

    def batch(self, names: list[str]) -> Batch:
        columns = zip(*self.rows, strict=True) if self.rows else ([] for _ in names)
        table = pa.table([pa.array(list(column), pa.string()) for column in columns], names=names)
        return Batch(table, self.places, self.lines, self.bad_records, cells=frozenset(names))
