"""What every reader of input files gives: batches of records, and those that could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from curate.errors import DataError

BATCH_ROWS = 8_192
BATCH_BYTES = 1 << 26
"""About the most bytes of text in a batch; a batch has at least one record."""

LONGEST = 1 << 27
"""Bytes of a JSON record, and characters of a CSV line or cell, beyond which it is not read."""

SHOWN = 1_000
"""Characters that are kept of a record that is too long."""

Votes = dict[str, Counter[str]]
"""How many values of each kind (text, number, list, …) a file has at each path of its JSON records."""


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
class Bad:
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

    bad: list[Bad]
    cells: frozenset[str] = frozenset()
    """The columns whose values are text only because the format has no other type."""

    votes: Votes = field(default_factory=dict)
    non_finite: int = 0
    """Number of NaN and Infinity literals that were read as null."""

    features: Mapping[str, object] = field(default_factory=dict)
    """The features of columns, as Hugging Face's datasets describes them, such as the names of class labels."""


def check_names(names: list[str], where: str) -> None:
    """Refuse a header with two columns of one name, or with names that are not UTF-8."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"column {twice[0]!r} stands twice in the header", where=where)
    if not all(map(is_utf8, names)):
        raise DataError("the names of the columns are not UTF-8", where=where)


def shown(raw: bytes) -> str:
    """Return bytes as text, those that are not UTF-8 as escapes."""
    return raw.decode(errors="backslashreplace")


def is_utf8(text: str) -> bool:
    """Return whether no byte of it was read as a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
