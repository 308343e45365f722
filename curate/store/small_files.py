"""Reading of many small JSON Lines files at once, because building a table per file takes longer than reading.

Only regular files are read like this; the result is the same as that of reading each file separately.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from curate import no_follow
from curate.store import inputs, json_records, readers
from curate.store.records import MAX_BATCH_ROWS, VALUE_BYTES, Batch, Piece, ReadOptions

MAX_SMALL_BYTES = 1 << 16
"""Largest size in bytes of a file that is read together with others."""

_GROUP_BYTES = 1 << 24
_MOST_LEAVES = 256
"""Largest size of a group in bytes, counting ``VALUE_BYTES`` per value, and largest number of its columns."""

_ENDINGS = (".jsonl", ".ndjson")


@dataclass(slots=True)
class Group:
    """Consecutive files that are read together, or one file that is read separately."""

    pieces: list[Piece] = field(default_factory=list)
    is_combined: bool = True
    """Whether the group contains the records of its files."""

    lines: list[list[int]] = field(default_factory=list)
    """Lines of the records of each file."""

    first_names: list[str] = field(default_factory=list)
    """Columns of the first file with a record, including its partition columns."""

    first_files: dict[str, str] = field(default_factory=dict)
    """First file with each column."""

    first_files_with_value: dict[str, str] = field(default_factory=dict)
    """First file with a value in each column that has values."""

    _records: list[dict[str, Any]] = field(default_factory=list)
    _partitions: dict[str, str | None] = field(default_factory=dict)
    _shapes: dict[str, object] = field(default_factory=dict)
    _size: int = 0
    _leaves: int = 0

    def add(self, piece: Piece, small: _Small) -> bool:
        """Add a file if the group has room and every column keeps one type; return whether it was added."""
        if self._size + small.size > _GROUP_BYTES or len(self._records) + len(small.records) > MAX_BATCH_ROWS:
            return False
        names: dict[str, None] = {}
        shapes: dict[str, object] = {}
        for record in small.records:
            names.update(dict.fromkeys(record))
            for name, value in record.items():
                if value is not None:
                    shape = _shape(value)
                    if shape is None or shape != (self._shapes.get(name) or shapes.setdefault(name, shape)):
                        return False
        leaves = self._leaves + sum(map(_leaves, shapes.values())) + sum(name not in self.first_files for name in names)
        if leaves > _MOST_LEAVES:
            return False
        if names or small.records:
            columns = [*names, *small.partitions]
            if len(set(columns)) < len(columns) or any(name.startswith(inputs.PREFIX) for name in columns):
                return False
            if not self._records:
                self._partitions, self.first_names = small.partitions, columns
            elif self._partitions != small.partitions:
                return False
            for name in columns:
                self.first_files.setdefault(name, piece.path)
            for name in shapes:
                self.first_files_with_value[name] = piece.path
        self._shapes.update(shapes)
        self._size, self._leaves = self._size + small.size, leaves
        self.pieces.append(piece)
        self.lines.append(small.lines)
        self._records += small.records
        return True

    def batch(self, options: ReadOptions) -> Batch | None:
        """Return the records of all files; None if they must be read separately."""
        if not self.is_combined:
            return None
        lines = [line for each in self.lines for line in each]
        batch = json_records.batch_of_valid(self._records, lines, options)
        if batch is None:
            return None
        batch = readers.add_partitions(batch, self._partitions)
        later = [name for name in batch.table.column_names if name not in set(self.first_names)]
        return replace(batch, table=batch.table.select([*self.first_names, *later]))


@dataclass(frozen=True, slots=True)
class _Small:
    """Records of a small file."""

    records: list[dict[str, Any]]
    lines: list[int]
    size: int
    partitions: dict[str, str | None]


def group_files(pieces: Sequence[Piece], separate: Collection[int], as_text: Collection[str]) -> Iterator[Group]:
    """Yield the pieces in their order, with small files combined where the result is the same.

    Parameters
    ----------
    pieces : sequence of Piece
        Pieces to read.
    alone : collection of int
        Numbers of files to read separately.
    as_text : collection of str
        Columns to read as text, whatever their values.
    """
    group = Group()
    for piece in pieces:
        small = None if piece.number in separate else _read(piece, as_text)
        if small is not None and group.add(piece, small):
            continue
        if group.pieces:
            yield group
        group = Group()
        if small is None or not group.add(piece, small):
            yield Group([piece], is_combined=False)
            group = Group()
    if group.pieces:
        yield group


def _read(piece: Piece, as_text: Collection[str]) -> _Small | None:
    """Return the records of a file; None if it is not small or has anything unusual."""
    if not piece.complete or "://" in piece.path or not piece.path.lower().endswith(_ENDINGS):
        return None
    try:
        with open(piece.path, "rb", buffering=0, opener=no_follow.opener) as file:
            data = file.read(MAX_SMALL_BYTES + 1)
    except OSError:
        return None  # reported when the file is read separately
    if len(data) > MAX_SMALL_BYTES:
        return None
    parsed = json_records.parse_valid(data, piece, as_text)
    if parsed is None:
        return None
    size = len(data) + VALUE_BYTES * (data.count(b",") + data.count(b"{") + data.count(b"["))
    return _Small(*parsed, size, _parse_partitions(os.path.dirname(piece.path)))  # noqa: PTH120 - for speed


@lru_cache(maxsize=64)
def _parse_partitions(folder: str) -> dict[str, str | None]:
    return readers.parse_partitions(f"{folder}/name")


def _shape(value: Any) -> object:
    """Return the shape that values must share to have one Arrow type; None if it has no such simple shape."""
    kind = type(value)
    if kind is str or kind is bool or kind is float:
        return kind
    if kind is int:
        return kind if -(1 << 63) <= value < 1 << 63 else None
    if kind is dict:
        inner = tuple((name, _shape(one)) for name, one in value.items())
        return inner if inner and all(shape is not None for _, shape in inner) else None
    if kind is list:
        shapes = frozenset(map(_shape, value))
        return shapes if len(shapes) == 1 and None not in shapes else None
    return None


def _leaves(shape: object) -> int:
    """Return the number of additional columns that the fields of a column add."""
    if isinstance(shape, frozenset):
        return sum(map(_leaves, shape))
    return sum(1 + _leaves(inner) for _, inner in shape) if isinstance(shape, tuple) else 0
