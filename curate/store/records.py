"""What every reader of input files gives: batches of records, and those that could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from curate.errors import DataError

MAX_BATCH_ROWS = 8_192
"""Most records of a batch, those that cannot be read included."""

MAX_BATCH_BYTES = 1 << 26
"""About the most bytes of a batch in memory, so that a few long records are a batch; it has at least one record."""

VALUE_BYTES = 64
"""About the bytes that a value of a record takes in memory besides its text: an empty object is two bytes in a file."""

MAX_BATCH_CELLS = 1 << 22
"""Most rows times columns of a batch of JSON records: where each has keys of its own, almost every cell is null."""

MAX_RECORD_LENGTH = 1 << 24
"""Bytes of a JSON record, and characters of a CSV row or cell, beyond which it is not read.

A parsed record takes up to thirty times as much memory as its text, and so do the words of a text that is embedded.
"""

MAX_COLUMNS = 5_000
"""Most columns of a pool, counting each field of nested objects as one.

Where keys are data, such as ids, every record adds columns; each of them costs memory and time in every shard.
"""

PREVIEW_LENGTH = 4_096
"""Characters that are kept of a record that is quarantined: its file and line say where all of it is."""

KindCounts = dict[str, Counter[str]]
"""Number of values of each kind (text, number, list, …) in each column of a JSON file."""

AllowedKinds = Mapping[str, Collection[str]]
"""Kinds of values that columns of a JSON file may hold, of those columns that have values of several kinds."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Treatment of the values of single columns."""

    kinds: AllowedKinds = field(default_factory=dict)
    """Of a JSON file: a value of another kind makes its record bad."""

    as_text: Collection[str] = ()
    """Columns to read as text, whatever is in them."""

    as_json: Collection[str] = ()
    """Columns of JSON files to read as JSON texts, whatever is in them."""

    header: bool | tuple[str, ...] = True
    """Of a CSV or TSV file: whether its first row names the columns, or the names of the columns if none does."""

    delimiter: str | None = None
    """Of a CSV or TSV file: the character between cells; None finds out."""

    template_columns: Collection[str] = ()
    """Columns that texts are made of."""

    scalar_columns: Collection[str] = ()
    """Columns of JSON files that hold text or numbers: a list or an object among these is of another kind."""


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

    @property
    def complete(self) -> bool:
        """Whether it is the complete file."""
        return self.start == 0 and self.stop is None


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be read."""

    row: int
    line: int
    reason: str
    record: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one file, and those that could not be read."""

    table: pa.Table
    """The records, every column of a storable type and in one chunk."""

    rows: list[int]
    """The place of each record in its file, from 0 (of a JSONL file: its line)."""

    lines: list[int]
    """The line each record ends on, from 1 (of a Parquet file: its row)."""

    bad_records: list[BadRecord]
    cells: frozenset[str] = frozenset()
    """The columns whose values are text only because the format has no other type."""

    kind_counts: KindCounts = field(default_factory=dict)
    non_finite: int = 0
    """Number of NaN and Infinity literals that were read as null."""

    expansion: int = 0
    """Bytes that the file has expanded to so far as a multiple of its size; 0 if that is not reported."""

    nulls: pa.Array | None = None
    """Of a JSON file: the columns that each record has a null in, (n,) lists of strings; it lacks the others it has no
    value in."""

    nested: Mapping[str, pa.Array | None] = field(default_factory=dict)
    """Of a JSON file: the lists and objects of each column that has any, also those of bad records; None for a column
    with other values."""

    texts: Mapping[str, pa.Array] = field(default_factory=dict)
    """Of a JSON file: the lists and objects of columns that texts are made of as JSON texts, each with the keys of its
    own record in their order."""

    features: Mapping[str, object] = field(default_factory=dict)
    """The features of columns, as Hugging Face's datasets describes them, such as the names of class labels."""


def check_width(columns: int, where: str, what: str = "the file") -> None:
    """Refuse more than ``MOST_COLUMNS`` columns.

    Raises
    ------
    DataError : with ``what`` has the columns, and the remedy
    """
    if columns > MAX_COLUMNS:
        raise DataError(
            f"{what} has {columns:,} columns, counting the fields of objects; a pool may have {MAX_COLUMNS:,}",
            where=where,
            hint='leave some out, or put keys that are data into a list: [{"key": …, "value": …}]',
        )


def check_names(names: list[str], where: str) -> None:
    """Refuse a header with too many columns, with two of one name, or with names that are not UTF-8."""
    check_width(len(names), where)
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        hint = "rename one of them; of a CSV or TSV file without a header, set input.header: false"
        raise DataError(f"column {twice[0]!r} stands twice in the header", where=where, hint=hint)
    if not all(map(is_utf8, names)):
        hint = "convert the file: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
        raise DataError("the names of the columns are not UTF-8", where=where, hint=hint)


NOT_UTF8 = "does not parse: not UTF-8 (convert the file: iconv -f WINDOWS-1252 -t UTF-8)"
"""Reason why a record with other bytes cannot be read."""


def refuse_utf16(beginning: bytes, where: str) -> None:
    """Refuse a file that begins as UTF-16 or UTF-32 does.

    Raises
    ------
    DataError : with the remedy
    """
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in beginning[:4]:
        hint = "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"
        raise DataError("the file is UTF-16, and UTF-8 is read", where=where, hint=hint)


def decode_preview(raw: bytes) -> str:
    """Return bytes as text, those that are not UTF-8 as escapes, as long as ``preview`` makes it."""
    return preview(raw[: 4 * PREVIEW_LENGTH + 4].decode(errors="backslashreplace"))  # a character has up to four bytes


def preview(text: str) -> str:
    """Return the beginning of a text that is quarantined.

    >>> preview("short"), len(preview("x" * 10_000))
    ('short', 4097)
    """
    return text if len(text) <= PREVIEW_LENGTH else f"{text[:PREVIEW_LENGTH]}…"


def is_utf8(text: str) -> bool:
    """Return whether no byte of it was read as a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
