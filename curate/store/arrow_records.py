"""Records of Arrow IPC files (file and stream format, also as Feather); every value is checked, as for Parquet.

A file is read as a stream: the file format is a stream with a footer. Before anything is allocated, the sizes in the
headers of the messages are compared with the size of the file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import types

from curate import paths
from curate.errors import DataError
from curate.store import arrow_batches
from curate.store.expansion import Expansion
from curate.store.records import MAX_BATCH_ROWS, Batch, Piece, check_names, check_width

_MAGIC = b"ARROW1"
_FEATHER_V1 = b"FEA1"
_CONTINUATION = b"\xff\xff\xff\xff"
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3
_MAX_HEADER = 1 << 28  # bytes of the header of a message
_REMEDY = "write it without compression: pyarrow.feather.write_feather(table, FILE, compression='uncompressed')"
_HINT = "check that the file was written completely, or replace it"


@dataclass(slots=True)
class _Layout:
    """Messages of a file, from their headers."""

    start: int = 0
    """Position of the first message."""

    records: list[tuple[int, int]] = field(default_factory=list)
    """Position and number of rows of each batch of records."""

    first_end: int = 0
    """Position after the schema."""

    has_dictionaries: bool = False

    plain: int = 0
    """Size of all batches in memory, in bytes."""


def cut_batches(path: Path, rows_per_piece: int) -> list[tuple[int, int, int]] | None:
    """Split a file into runs of batches of about ``rows_per_piece`` rows: (batch, first row, rows) of each.

    None for a file with dictionaries, which may change from batch to batch.
    """
    with paths.open_binary(path) as file:
        layout = _read_layout(file, str(path))
    if layout.has_dictionaries:
        return None
    cuts: list[tuple[int, int, int]] = []
    first = start = rows = 0
    for number, (_, length) in enumerate(layout.records):
        rows += length
        if rows >= rows_per_piece or number == len(layout.records) - 1:
            cuts.append((start, first, rows))
            start, first, rows = number + 1, first + rows, 0
    return cuts


def count_rows(path: Path) -> int:
    """Return the number of rows of a file, from the headers of its batches."""
    with paths.open_binary(path) as file:
        return sum(rows for _, rows in _read_layout(file, str(path)).records)


def read_schema(path: Path) -> pa.Schema:
    """Return the schema of a file."""
    with paths.open_binary(path) as file:
        layout = _read_layout(file, str(path))
        with _open_stream(file, layout, str(path), 0) as reader:
            return reader.schema


def read_arrow(path: Path, piece: Piece, as_text: Collection[str]) -> Iterator[Batch]:
    """Read the batches of a piece; a row with a value that is invalid for its type is bad.

    Parameters
    ----------
    as_text : Collection[str]
        Columns to read as text, whatever their type.
    """
    row = piece.first_row
    size = paths.file_size(path)
    with paths.open_binary(path) as file:
        layout = _read_layout(file, piece.path)
        Expansion(piece.path, size, _REMEDY).add(layout.plain, rows=sum(rows for _, rows in layout.records))
        expansion = Expansion(piece.path, size, _REMEDY)
        stop = len(layout.records) if piece.stop is None else piece.stop
        with _open_stream(file, layout, piece.path, piece.start) as reader:
            schema = reader.schema
            check_names(list(schema.names), piece.path)
            check_width(sum(map(_width, schema.types)), piece.path)
            kinds = {one.name: arrow_batches.storable(one, piece.path) for one in schema}
            features = arrow_batches.read_features(schema)
            for _, length in layout.records[piece.start : stop]:
                batch = reader.read_next_batch()
                if batch.num_rows != length:
                    raise _corrupt("a batch does not have the rows of its header", piece.path)
                _check_structure(batch, f"{piece.path}:{row + 1}")
                for start in range(0, length, MAX_BATCH_ROWS):
                    few = batch.slice(start, MAX_BATCH_ROWS)
                    for part in arrow_batches.split_batch(few, f"{piece.path}:{row + 1}"):
                        expansion.add(arrow_batches.plain_size(part), rows=part.num_rows)
                        converted = arrow_batches.to_batch(part, row, kinds, features, as_text)
                        yield replace(converted, expansion=expansion.ratio)
                        row += part.num_rows


def _width(kind: pa.DataType) -> int:
    inner = sum(_width(kind.field(number).type) for number in range(kind.num_fields)) if types.is_nested(kind) else 0
    return max(1, inner)


def _corrupt(message: str, path: str) -> DataError:
    return DataError(f"not a complete Arrow file: {message}", where=path, hint=_HINT)


@contextmanager
def _open_stream(file: IO[bytes], layout: _Layout, path: str, start: int) -> Iterator[pa.RecordBatchStreamReader]:
    """Open the stream of a file at one of its batches."""
    begins = layout.first_end if not start else layout.records[start][0]
    file.seek(layout.start)
    schema = file.read(layout.first_end - layout.start)
    file.seek(begins)
    try:
        with pa.ipc.open_stream(pa.PythonFile(_Joined(schema, file), mode="r")) as reader:
            yield reader
    except (pa.ArrowException, StopIteration, OSError, ValueError) as error:
        if isinstance(error, OSError) and paths.is_object(paths.parse_path(path)):
            raise
        raise _corrupt(str(error) or "it ends early", path) from error


class _Joined(io.RawIOBase):
    """File that begins with other bytes."""

    def __init__(self, beginning: bytes, file: IO[bytes]) -> None:
        self._beginning, self._file = beginning, file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data, self._beginning = self._beginning[:size], self._beginning[size:]
        return data + self._file.read(size - len(data)) if len(data) < size else data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


# ---------------------------------------------------------------- headers of messages


def _read_layout(file: IO[bytes], path: str) -> _Layout:
    """Read the headers of all messages of a file.

    Raises
    ------
    DataError
        The file is truncated or corrupt.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    begins = file.read(8)
    if begins.startswith(_FEATHER_V1):
        hint = "write it again as version 2: pyarrow.feather.write_feather(pyarrow.feather.read_table(FILE), NEW)"
        raise DataError("the file has the outdated format Feather version 1", where=path, hint=hint)
    layout = _Layout(8 if begins.startswith(_MAGIC) else 0)
    if layout.start:
        file.seek(max(0, size - len(_MAGIC)))
        if size < 24 or file.read() != _MAGIC:
            raise _corrupt("its end is missing", path)
    position = layout.start
    try:
        while (header := _next_header(file, position, size)) is not None:
            position = _add_message(layout, file, position, *header)
            if position > size:
                raise _corrupt("it ends within a batch", path)
    except (struct.error, ValueError) as error:
        raise _corrupt(f"the header of a message is invalid ({error})", path) from error
    if not layout.first_end:
        raise _corrupt("it has no schema", path)
    return layout


def _next_header(file: IO[bytes], position: int, size: int) -> tuple[bytes, int] | None:
    """Return the header of the message at a position, and the position of its body; None at the end of the stream."""
    file.seek(position)
    prefix = file.read(8)
    length, start = struct.unpack_from("<i", prefix, 4 if prefix.startswith(_CONTINUATION) else 0)[0], position + 8
    if not prefix.startswith(_CONTINUATION):  # files of Arrow before 0.15
        start = position + 4
        file.seek(start)
    if length == 0:
        return None
    if not 0 < length <= min(_MAX_HEADER, size - start):
        raise ValueError(f"it has {length:,} bytes")
    return file.read(length), start + length


def _add_message(layout: _Layout, file: IO[bytes], position: int, header: bytes, body: int) -> int:
    """Add a message to the layout; return the position after it."""
    message = _Table(header, *struct.unpack_from("<I", header))
    kind, content, length = message.number(1, "<B"), message.table(2), message.number(3, "<q")
    if length < 0 or content is None:
        raise ValueError("it has no content")
    if kind == _SCHEMA:
        layout.first_end = body + length
    elif kind in (_DICTIONARY, _RECORDS):
        records = content.table(1) if kind == _DICTIONARY else content
        if records is None or not layout.first_end:
            raise ValueError("it has no batch")
        plain = _plain_size(records, file, body, length)
        layout.plain += plain
        if kind == _DICTIONARY:
            layout.has_dictionaries = True
        else:
            rows = records.number(0, "<q")
            if rows < 0:
                raise ValueError(f"a batch has {rows:,} rows")
            layout.records.append((position, rows))
    return body + length


def _plain_size(records: _Table, file: IO[bytes], body: int, length: int) -> int:
    """Return the decompressed size of the buffers of a batch."""
    if records.table(3) is None:
        return length
    total = 0
    for offset, packed in records.pairs(2):
        if not 0 <= offset <= offset + packed <= length:
            raise ValueError("a buffer is outside of its batch")
        if packed >= 8:
            file.seek(body + offset)
            plain = struct.unpack("<q", file.read(8))[0]
            total += packed if plain == -1 else plain
            if plain < -1:
                raise ValueError(f"a buffer has {plain:,} bytes")
    return total


@dataclass(frozen=True, slots=True)
class _Table:
    """Table of a flatbuffer, the format of headers."""

    data: bytes
    position: int

    def _field(self, number: int) -> int:
        """Return the position of a field; 0 if it is missing."""
        vtable = self.position - struct.unpack_from("<i", self.data, self.position)[0]
        if not 0 <= vtable < len(self.data):
            raise ValueError("an offset is invalid")
        entry = 4 + 2 * number
        if entry >= struct.unpack_from("<H", self.data, vtable)[0]:
            return 0
        offset = struct.unpack_from("<H", self.data, vtable + entry)[0]
        return self.position + int(offset) if offset else 0

    def number(self, number: int, form: str) -> int:
        """Return a number; 0 if it is missing."""
        at = self._field(number)
        return int(struct.unpack_from(form, self.data, at)[0]) if at else 0

    def table(self, number: int) -> _Table | None:
        """Return a table; None if it is missing."""
        at = self._field(number)
        return _Table(self.data, at + struct.unpack_from("<I", self.data, at)[0]) if at else None

    def pairs(self, number: int) -> list[tuple[int, int]]:
        """Return a vector of pairs of integers."""
        at = self._field(number)
        if not at:
            return []
        start = at + struct.unpack_from("<I", self.data, at)[0]
        count = struct.unpack_from("<I", self.data, start)[0]
        values = np.frombuffer(self.data, "<i8", 2 * count, start + 4)
        return [(int(offset), int(length)) for offset, length in values.reshape(-1, 2).tolist()]


# ---------------------------------------------------------------- structure of arrays


def _check_structure(batch: pa.RecordBatch, where: str) -> None:
    """Raise an error for arrays whose offsets or indices are out of range; text that is not UTF-8 is no error."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                _check_array(column)
            except (pa.ArrowInvalid, ValueError) as error:
                raise DataError(f"column {name!r} is corrupt: {error}", where=where, hint=_HINT) from error


def _check_array(array: pa.Array) -> None:
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        _check_array(array.storage)
    elif types.is_dictionary(kind):
        array.indices.validate(full=True)
        limits = array.indices.drop_null().cast(pa.int64()).to_numpy()
        if len(limits) and not 0 <= limits.min() <= limits.max() < len(array.dictionary):
            raise ValueError("an index is out of range")
        _check_array(array.dictionary)
    elif types.is_struct(kind):
        array.validate()
        for number in range(kind.num_fields):
            _check_array(array.field(number))
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        array.validate()
        values = [array.keys, array.items] if types.is_map(kind) else [array.values]
        offsets = array.offsets.to_numpy()
        if len(offsets) and not (offsets[0] >= 0 and (np.diff(offsets) >= 0).all() and offsets[-1] <= len(values[0])):
            raise ValueError("an offset is out of range")
        for one in values:
            _check_array(one)
    else:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
