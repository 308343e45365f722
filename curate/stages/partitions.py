"""Tables that are divided into partitions on disk: one file for each writer, with a row group for each partition."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.kernels.arrow_lists import split_lists
from curate.kernels.types import AnyArray, Counts
from curate.pool import embedding_matrix
from curate.store import parquet_io

_PARTITIONS = b"curate.partitions"


def write(path: Path, fingerprint: str, table: pa.Table, partition: NDArray[np.integer]) -> None:
    """Write the rows of a table by partition, in their order.

    Parameters
    ----------
    partition : ndarray of int
        Number of the partition of each row, shape (n,).
    """
    table = _pack_vectors(table)
    order = np.argsort(partition, kind="stable")
    numbers, starts = np.unique(partition[order], return_index=True)
    metadata = {**(table.schema.metadata or {}), _PARTITIONS: json.dumps(numbers.tolist()).encode()}

    def parts() -> Iterator[pa.Table]:
        for rows in np.split(order, starts[1:]) if len(numbers) else ():
            yield table.take(pa.array(rows))

    parquet_io.write_row_groups(parts(), table.schema.with_metadata(metadata), path, fingerprint)


def read(path: Path, number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows of one partition, optionally only some columns; no rows if the file has none of it."""
    return _unpack_vectors(parquet_io.read_row_group(path, partial(_find, number), columns))


def read_schema(path: Path) -> pa.Schema:
    """Return the schema of the rows that were written."""
    return _unpack_vectors(parquet_io.read_schema(path).empty_table()).schema


_VECTORS = b"curate.vectors"


def _pack_vectors(table: pa.Table) -> pa.Table:
    """Return a table with its columns of vectors as bytes, which Parquet writes and reads some twenty times faster."""
    for position, field in enumerate(table.schema):
        if not pa.types.is_fixed_size_list(field.type) or table[position].null_count:
            continue
        kind, lists = field.type.value_type, table[position].combine_chunks()
        values = lists.flatten()
        if values.null_count or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            continue
        width, size = field.type.list_size * kind.bit_width // 8, kind.bit_width // 8
        data = values.buffers()[1].slice(values.offset * size, len(values) * size) if len(values) else pa.py_buffer(b"")
        packed = pa.Array.from_buffers(pa.binary(width), len(lists), [None, data])
        stamp = {**(field.metadata or {}), _VECTORS: f"{kind} {field.type.list_size}".encode()}
        table = table.set_column(position, pa.field(field.name, packed.type, field.nullable, stamp), packed)
    return table


def _unpack_vectors(table: pa.Table) -> pa.Table:
    """Return a table with the columns of vectors that ``_pack_vectors`` has packed."""
    for position, field in enumerate(table.schema):
        metadata = dict(field.metadata or {})
        if (stamp := metadata.pop(_VECTORS, None)) is None:
            continue
        kind, size = stamp.decode().split()
        vectors = pa.list_(pa.type_for_alias(kind), int(size))
        chunks = [_to_lists(chunk, vectors) for chunk in table[position].chunks]
        column = pa.chunked_array(chunks, vectors)
        table = table.set_column(position, pa.field(field.name, vectors, field.nullable, metadata or None), column)
    return table


def _to_lists(packed: pa.Array, vectors: pa.FixedSizeListType) -> pa.Array:
    kind, size = vectors.value_type, vectors.list_size
    values = pa.Array.from_buffers(kind, len(packed) * size, [None, packed.buffers()[1]], offset=packed.offset * size)
    return pa.FixedSizeListArray.from_arrays(values, type=vectors)


def _find(number: int, schema: pa.Schema) -> int | None:
    """Return the row group of a partition; None if the file has none of it."""
    numbers: list[int] = json.loads((schema.metadata or {})[_PARTITIONS])
    return numbers.index(number) if number in numbers else None


def read_all(paths: Sequence[Path], number: int, memory_limit: int, scratch: Path) -> pa.Table:
    """Read the rows of one partition from all files, in the order of the files, with one chunk for each column.

    If the partition has more than ``memory_limit`` bytes, the elements of its lists are in memory-mapped files in the
    directory ``scratch``, of which the system can release unused pages.
    """
    schema = read_schema(paths[0])
    lists = [field.name for field in schema if pa.types.is_large_list(field.type)]
    if sum(parquet_io.row_group_bytes(path, partial(_find, number)) for path in paths) <= memory_limit or not lists:
        return pa.concat_tables([read(path, number) for path in paths]).combine_chunks()
    others = [name for name in schema.names if name not in lists]
    table = pa.concat_tables([read(path, number, others) for path in paths]).combine_chunks()
    for position, field in enumerate(schema):
        if field.name in lists:
            column = _read_mapped(paths, number, field, scratch)
            table = table.add_column(min(position, table.num_columns), field, column)
    return table.select(schema.names)


def _read_mapped(paths: Sequence[Path], number: int, field: pa.Field, scratch: Path) -> pa.LargeListArray:
    """Read a column of lists with their elements in a memory-mapped file; reads it twice."""

    def columns() -> Iterator[tuple[Counts, AnyArray]]:
        for path in paths:
            lengths, values = split_lists(read(path, number, [field.name])[field.name].combine_chunks())
            yield lengths, values.to_numpy()

    lengths = np.concatenate([lengths for lengths, _ in columns()])
    offsets = np.cumsum(np.concatenate(([0], lengths)))
    kind = field.type.value_type.to_pandas_dtype()
    elements = embedding_matrix.allocate_mapped(scratch, kind, (max(1, int(offsets[-1])), 1))[:, 0]
    start = 0
    for _, values in columns():
        elements[start : start + len(values)] = values
        start += len(values)
    return pa.LargeListArray.from_arrays(
        offsets, pa.Array.from_buffers(field.type.value_type, int(offsets[-1]), [None, pa.py_buffer(elements)])
    )
