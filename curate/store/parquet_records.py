"""Records of Parquet files. Every value is checked, because the file may come from an untrusted source."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from curate import paths
from curate.errors import DataError
from curate.kernels.arrow_lists import is_list, split_lists, split_maps
from curate.kernels.text.json_values import is_binary, is_json, to_text
from curate.store import arrow_values
from curate.store.expansion import FREE_BYTES, Expansion
from curate.store.records import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ROWS,
    MAX_RECORD_LENGTH,
    BadRecord,
    Batch,
    Piece,
    check_names,
    check_width,
)

if TYPE_CHECKING:
    import pyarrow.parquet as pq


_REMEDY = "write it without dictionaries and compression: pyarrow.parquet.write_table(…, use_dictionary=False)"
_VALUE_BYTES = 4
"""Number of bytes that a Parquet value counts for: in memory, repeated values take space as well."""


@contextmanager
def open_parquet(path: Path, repeated: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Parameters
    ----------
    repeated : Sequence[str], default ()
        Paths of columns that are read as dictionaries, so that repeated values are stored once.

    Raises
    ------
    DataError
        The file is no complete Parquet file, or has too many columns, rows or values for its size.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(paths.open_parquet(path, repeated))
            check_width(file.metadata.num_columns, str(path))
            check_names(list(file.schema_arrow.names), str(path))
        except (OSError, ValueError, pa.ArrowException) as error:  # a ValueError: names that are not UTF-8
            hint = "check that the file was written completely, or replace it"
            raise DataError(f"not a complete Parquet file: {error}", where=str(path), hint=hint) from error
        yield file


def _check_expansion(file: pq.ParquetFile, path: str, size: int) -> None:
    metadata = file.metadata
    values = plain = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        plain += group.total_byte_size
        for column in map(group.column, range(group.num_columns)):
            values += column.num_values
            if column.num_values > MAX_RECORD_LENGTH * max(1, group.num_rows):
                raise DataError(
                    f"column {column.path_in_schema!r} has {column.num_values:,} values in {group.num_rows:,} rows",
                    where=path,
                    hint="leave the column out, or split its lists into rows",
                )
    Expansion(path, size, _REMEDY).add(max(plain, _VALUE_BYTES * values), rows=metadata.num_rows)


def cut_row_groups(path: Path, rows_per_piece: int) -> list[tuple[int, int, int]]:
    """Split a file into runs of row groups of about ``rows_per_piece`` rows: (row group, first row, rows) of each."""
    with open_parquet(path) as file:
        metadata = file.metadata
    cuts: list[tuple[int, int, int]] = []
    first = start = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows >= rows_per_piece or group == metadata.num_row_groups - 1:
            cuts.append((start, first, rows))
            start, first, rows = group + 1, first + rows, 0
    return cuts


def read_parquet(path: Path, piece: Piece, as_text: Collection[str]) -> Iterator[Batch]:
    """Read the row groups of a piece; a row with a value that is invalid for its type is bad.

    Parameters
    ----------
    as_text : Collection[str]
        Columns to read as text, whatever their type.
    """
    row = piece.first_row
    size = paths.file_size(path)
    with open_parquet(path) as file:
        _check_expansion(file, piece.path, size)
        kinds = {field.name: _storable(field, piece.path) for field in file.schema_arrow}
        features = _features(file.schema_arrow)
        stop = file.metadata.num_row_groups if piece.stop is None else piece.stop
        groups = range(piece.start, stop)
        rows_at_once = _rows_at_once(file, groups)
        repeated = _repeated_text_columns(path, file, groups, rows_at_once)
    expansion = Expansion(piece.path, size, _REMEDY)
    with open_parquet(path, repeated) as file:
        for batch in file.iter_batches(rows_at_once, row_groups=groups):
            for part in _parts(batch, f"{piece.path}:{row + 1}"):
                expansion.add(_plain_size(part), rows=part.num_rows)
                converted = _batch(part, row, kinds, features, as_text)
                yield replace(converted, expansion=expansion.ratio)
                row += part.num_rows


def _repeated_text_columns(path: Path, file: pq.ParquetFile, groups: range, rows: int) -> list[str]:
    """Return the dictionary-encoded text columns that could exhaust the memory if each row had the longest value."""
    metadata, lengths = file.metadata, dict[str, int]()
    wide = {field.name for field in file.schema_arrow if _has_extension(field.type)}
    for number in groups:
        group = metadata.row_group(number)
        for index in range(group.num_columns):
            column = group.column(index)
            most = column.total_uncompressed_size * min(rows, group.num_rows)
            each = max(1, column.num_values // max(1, group.num_rows))
            texts = column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page
            name = column.path_in_schema
            if texts and most * each > FREE_BYTES and name not in lengths and name.partition(".")[0] not in wide:
                lengths[name] = each
    if not lengths:
        return []
    longest = Counter[str]()
    with open_parquet(path, list(lengths)) as stored:
        for number in groups:
            for batch in stored.iter_batches(1, row_groups=[number], columns=list(lengths)):
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    longest[name] = max(longest[name], *map(_longest, _dictionaries(column)), 0)
                break
    return [path for path, each in lengths.items() if longest[path.partition(".")[0]] * each * rows > FREE_BYTES]


def _longest(values: pa.Array) -> int:
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def _dictionaries(array: pa.Array) -> Iterator[pa.Array]:
    """Yield the dictionaries of texts at any depth of an array."""
    if types.is_dictionary(array.type):
        if _is_text(array.type.value_type):
            yield array.dictionary
    else:
        for child in _children(array):
            yield from _dictionaries(child)


def _children(array: pa.Array) -> list[pa.Array]:
    """Return the fields of objects, the elements of lists, and the keys and values of maps."""
    if types.is_struct(array.type):
        return list(array.flatten())
    if types.is_map(array.type):
        return list(split_maps(array)[1:])
    return [split_lists(array)[1]] if is_list(array.type) else []


def _is_text(kind: pa.DataType) -> bool:
    return any(belongs(kind) for belongs in (types.is_string, types.is_large_string, is_binary))


def _has_extension(kind: pa.DataType) -> bool:
    return any(isinstance(leaf, pa.BaseExtensionType) for leaf in arrow_values.leaf_types(kind))


def _plain_size(array: pa.Array | pa.RecordBatch) -> int:
    """Return the size of an array with decoded dictionaries, in bytes."""
    if isinstance(array, pa.RecordBatch):
        return sum(map(_plain_size, array.columns))
    if types.is_dictionary(array.type):
        kind = array.type.value_type
        if not _is_text(kind):
            return len(array) * 8 if types.is_primitive(kind) else len(array) * array.dictionary.nbytes
        lengths = pc.binary_length(array.dictionary).take(array.indices)
        return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0) + 4 * len(array)
    children = _children(array)
    return sum(map(_plain_size, children)) + 4 * len(array) if children else int(array.nbytes)


def _storable(field: pa.Field, path: str) -> pa.DataType:
    try:
        return arrow_values.storable_type(field.type)
    except TypeError as error:
        raise DataError(f"column {field.name!r}: {error}", where=path, hint="leave the column out") from error


def _rows_at_once(file: pq.ParquetFile, groups: range) -> int:
    """Return the number of rows in a batch of about ``BATCH_BYTES``."""
    largest = 0.0
    for group in map(file.metadata.row_group, groups):
        values = sum(group.column(index).num_values for index in range(group.num_columns))
        size = max(group.total_byte_size, _VALUE_BYTES * values)
        largest = max(largest, size / max(1, group.num_rows))
    return int(min(MAX_BATCH_ROWS, max(1, MAX_BATCH_BYTES // max(1, largest))))


def _parts(batch: pa.RecordBatch, where: str) -> Iterator[pa.RecordBatch]:
    """Halve a batch until it is small enough: values stored once in the file may take much more memory."""
    size = _plain_size(batch)
    if size <= MAX_BATCH_BYTES:
        yield batch
    elif batch.num_rows < 2:
        if size > FREE_BYTES:
            hint = "leave the row out, or split its lists into rows"
            raise DataError(f"a row takes {size:,} bytes; the limit is {FREE_BYTES:,}", where=where, hint=hint)
        yield batch
    else:
        half = batch.num_rows // 2
        yield from _parts(batch.slice(0, half), where)
        yield from _parts(batch.slice(half), where)


def _batch(
    batch: pa.RecordBatch,
    row: int,
    kinds: dict[str, pa.DataType],
    features: dict[str, object],
    as_text: Collection[str],
) -> Batch:
    names = batch.schema.names
    table = pa.table([arrow_values.convert(batch.column(name), kinds[name]) for name in names], names=names)
    reasons = _wrong_values(table)
    rows = [row + index for index in range(len(table)) if index not in reasons]
    if reasons:
        table = table.take(pa.array([number - row for number in rows], pa.int64()))
    for index, name in enumerate(names):
        if name in as_text:
            table = table.set_column(index, name, to_text(table[name].combine_chunks()))
    bad = [BadRecord(row + index, row + index + 1, reason, "") for index, reason in sorted(reasons.items())]
    return Batch(table, rows, [number + 1 for number in rows], bad, features=features)


def _wrong_values(table: pa.Table) -> dict[int, str]:
    """Return the reason for each row with a value that is invalid for its type, such as text that is not UTF-8."""
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        reasons = dict[int, str]()
        for name in table.column_names:
            for row, reason in _wrong_rows(table[name].combine_chunks(), np.arange(len(table))):
                reasons.setdefault(row, f"column {name!r} {reason}")
    else:
        reasons = {}
    for name in table.column_names:
        if is_json(table.schema.field(name).type):
            texts = table[name].combine_chunks().storage.cast(pa.large_binary()).to_pylist()
            wrong = (row for row, text in enumerate(texts) if text is not None and not _is_valid(text))
            reasons = {**dict.fromkeys(wrong, f"column {name!r} is not JSON"), **reasons}
    return reasons


def _is_valid(json_text: bytes) -> bool:
    try:
        orjson.loads(json_text)
    except orjson.JSONDecodeError:
        return False
    return True


def _wrong_rows(array: pa.Array, rows: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """Find the invalid rows of an array by bisection."""
    part = array.take(pa.array(rows))
    try:
        part.validate(full=True)
    except pa.ArrowInvalid as error:
        if len(rows) == 1:
            yield int(rows[0]), "is not UTF-8" if "UTF8" in str(error) else f"has an invalid value: {error}"
            return
        half = len(rows) // 2
        yield from _wrong_rows(array, rows[:half])
        yield from _wrong_rows(array, rows[half:])


def _features(schema: pa.Schema) -> dict[str, object]:
    """Read the features of columns that Hugging Face's ``datasets`` writes into a schema's metadata."""
    try:
        data = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = data["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: one for name, one in features.items() if name in schema.names} if isinstance(features, dict) else {}
