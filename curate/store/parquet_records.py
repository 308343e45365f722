"""Records of Parquet files. Every value is checked, because the file may come from an untrusted source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate import paths
from curate.errors import DataError
from curate.store import arrow_batches, arrow_values
from curate.store.expansion import FREE_BYTES, Expansion
from curate.store.records import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ROWS,
    MAX_RECORD_LENGTH,
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
        kinds = {field.name: arrow_batches.storable(field, piece.path) for field in file.schema_arrow}
        features = arrow_batches.read_features(file.schema_arrow)
        stop = file.metadata.num_row_groups if piece.stop is None else piece.stop
        groups = range(piece.start, stop)
        rows_at_once = _rows_at_once(file, groups)
        repeated = _repeated_text_columns(path, file, groups, rows_at_once)
    expansion = Expansion(piece.path, size, _REMEDY)
    with open_parquet(path, repeated) as file:
        for batch in file.iter_batches(rows_at_once, row_groups=groups):
            for part in arrow_batches.split_batch(batch, f"{piece.path}:{row + 1}"):
                expansion.add(arrow_batches.plain_size(part), rows=part.num_rows)
                converted = arrow_batches.to_batch(part, row, kinds, features, as_text)
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
        if arrow_batches.is_text(array.type.value_type):
            yield array.dictionary
    else:
        for child in arrow_batches.children(array):
            yield from _dictionaries(child)


def _has_extension(kind: pa.DataType) -> bool:
    return any(isinstance(leaf, pa.BaseExtensionType) for leaf in arrow_values.leaf_types(kind))


def _rows_at_once(file: pq.ParquetFile, groups: range) -> int:
    """Return the number of rows in a batch of about ``BATCH_BYTES``."""
    largest = 0.0
    for group in map(file.metadata.row_group, groups):
        values = sum(group.column(index).num_values for index in range(group.num_columns))
        size = max(group.total_byte_size, _VALUE_BYTES * values)
        largest = max(largest, size / max(1, group.num_rows))
    return int(min(MAX_BATCH_ROWS, max(1, MAX_BATCH_BYTES // max(1, largest))))
