"""Batches of records, the common result of all readers of input files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from curate.errors import DataError

MAX_BATCH_ROWS = 8_192
"""Largest number of records in a batch, including bad records."""

MAX_BATCH_BYTES = 1 << 26
"""Approximate largest size of a batch in memory, in bytes; a batch has at least one record."""

VALUE_BYTES = 64
"""Approximate memory of a value in bytes besides its text: an empty object takes only two bytes in a file."""

MAX_BATCH_CELLS = 1 << 22
"""Largest number of rows times columns of a batch of JSON records: if every record has different keys, most cells
are null."""

MAX_RECORD_LENGTH = 1 << 24
"""Largest length of a record that is read: bytes of a JSON record, characters of a CSV row or cell.

A parsed record takes up to 30 times as much memory as its text, and so do the words of a text that is embedded.
"""

MAX_COLUMNS = 5_000
"""Largest number of columns of a pool, counting each field of nested objects as one.

If keys are data, such as ids, every record adds columns, and each column costs memory and time in every shard.
"""

PREVIEW_LENGTH = 4_096
"""Number of characters that are stored of a quarantined record; its file and line locate the complete record."""

KindCounts = dict[str, Counter[str]]
"""Number of values of each kind (text, number, list, …) in each column of a JSON file."""

AllowedKinds = Mapping[str, Collection[str]]
"""Allowed kinds of values of the columns of a JSON file that have values of several kinds."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of readers, mostly for single columns."""

    kinds: AllowedKinds = field(default_factory=dict)
    """Allowed kinds of values in a JSON file; a value of another kind makes its record bad."""

    as_text: Collection[str] = ()
    """Columns to read as text, whatever their values."""

    as_json: Collection[str] = ()
    """Columns of JSON files to read as JSON texts, whatever their values."""

    header: bool | tuple[str, ...] = True
    """Whether the first row of a CSV or TSV file names the columns; otherwise the names of the columns."""

    delimiter: str | None = None
    """Character between the cells of a CSV or TSV file; None to detect it."""

    template_columns: Collection[str] = ()
    """Columns that the text template uses."""

    scalar_columns: Collection[str] = ()
    """Columns of JSON files that must be text or numbers: a list or an object in them has the wrong kind."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive records of one file."""

    path: str
    number: int
    """Index of the file in the sorted list of input files."""

    start: int = 0
    """Start position: a byte of a JSONL file, a row group of a Parquet file."""

    stop: int | None = None
    """End position (exclusive); None for the end of the file."""

    first_row: int = 0
    """Number of lines (or Parquet rows) of the file before the piece."""

    @property
    def complete(self) -> bool:
        """Whether the piece is the complete file."""
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
    """Table of the records; every column has a storable type and one chunk."""

    rows: list[int]
    """Position of each record in its file, from 0 (for a JSONL file: its line)."""

    lines: list[int]
    """Line on which each record ends, from 1 (for a Parquet file: its row)."""

    bad_records: list[BadRecord]
    cells: frozenset[str] = frozenset()
    """Columns whose values are text only because the format has no other type."""

    kind_counts: KindCounts = field(default_factory=dict)
    non_finite: int = 0
    """Number of NaN and Infinity literals that were read as null."""

    expansion: int = 0
    """Bytes that the file has expanded to so far as a multiple of its size; 0 if that is not reported."""

    nulls: pa.Array | None = None
    """Names of the columns with an explicit null in each record of a JSON file, (n,) lists of strings; other columns
    without a value are
    missing from the record."""

    nested: Mapping[str, pa.Array | None] = field(default_factory=dict)
    """Lists and objects of each column of a JSON file that has any, including those of bad records; None for a column
    with other values."""

    texts: Mapping[str, pa.Array] = field(default_factory=dict)
    """Lists and objects of the columns of a JSON file that the text template uses, as JSON texts with the keys of each
    record in their order."""

    features: Mapping[str, object] = field(default_factory=dict)
    """Features of columns as described by Hugging Face's ``datasets``, such as the names of class labels."""


def check_width(columns: int, where: str, subject: str = "the file") -> None:
    """Raise an error for more than ``MAX_COLUMNS`` columns.

    Raises
    ------
    DataError
        There are too many columns; ``subject`` is the thing that has them.
    """
    if columns > MAX_COLUMNS:
        raise DataError(
            f"{subject} has {columns:,} columns, counting the fields of objects; the limit is {MAX_COLUMNS:,}",
            where=where,
            hint='leave some out, or store keys that are data in a list: [{"key": …, "value": …}]',
        )


def check_names(names: list[str], where: str) -> None:
    """Raise an error for a header with too many columns, duplicate names, or names that are not UTF-8."""
    check_width(len(names), where)
    duplicates = [name for name, times in Counter(names).items() if times > 1]
    if duplicates:
        hint = "rename one of them, or set input.header: false if a CSV or TSV file has no header"
        raise DataError(f"the header has two columns named {duplicates[0]!r}", where=where, hint=hint)
    if not all(map(is_utf8, names)):
        hint = "convert the file: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
        raise DataError("the column names are not UTF-8", where=where, hint=hint)


NOT_UTF8 = "does not parse: not UTF-8 (convert the file: iconv -f WINDOWS-1252 -t UTF-8)"
"""Reason for quarantining a record that is not UTF-8."""


def refuse_utf16(beginning: bytes, where: str) -> None:
    """Raise an error for a file that begins like UTF-16 or UTF-32.

    Raises
    ------
    DataError
        The file is not UTF-8.
    """
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in beginning[:4]:
        hint = "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"
        raise DataError("the file is encoded in UTF-16, expected UTF-8", where=where, hint=hint)


def decode_preview(raw: bytes) -> str:
    """Decode bytes for display, with escapes for bytes that are not UTF-8, shortened as by ``preview``."""
    return preview(raw[: 4 * PREVIEW_LENGTH + 4].decode(errors="backslashreplace"))  # a character has up to four bytes


def preview(text: str) -> str:
    """Return the beginning of a text, as stored in the quarantine.

    >>> preview("short"), len(preview("x" * 10_000))
    ('short', 4097)
    """
    return text if len(text) <= PREVIEW_LENGTH else f"{text[:PREVIEW_LENGTH]}…"


def is_utf8(text: str) -> bool:
    """Return whether a decoded text is valid UTF-8: no byte was decoded as a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
