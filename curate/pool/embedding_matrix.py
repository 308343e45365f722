"""Embeddings between Arrow and numpy: a list column as a matrix, and all of a pool as one array."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import no_follow
from curate.errors import DataError
from curate.kernels.linalg.cosines import normalize_rows
from curate.kernels.types import AnyArray, Matrix, Vectors

F = TypeVar("F", bound=np.floating)


def to_matrix(column: pa.ChunkedArray | pa.Array) -> Matrix:
    """Return a fixed-size list column as (n, d) float32, without a copy where the column is float32 already.

    Rows stored as float16 are scaled to unit length again, so that everything that compares vectors sees unit rows and
    equal rows are equal.
    """
    values = to_stored_matrix(column)
    return normalize_rows(values) if values.dtype == np.float16 else values.astype(np.float32, copy=False)


def to_stored_matrix(column: pa.ChunkedArray | pa.Array) -> AnyArray:
    """A fixed-size list column as (n, d) of the type that it is stored in, without a copy."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # no chunk at all
        return np.empty((0, column.type.list_size), column.type.value_type.to_pandas_dtype())
    return np.asarray(array.flatten().to_numpy(zero_copy_only=False)).reshape(len(array), array.type.list_size)


def gather_vectors(vectors: Vectors, memory_limit: int, scratch: Path) -> Matrix:
    """The embeddings as one read-only array (n, d) float32.

    Within ``memory_limit`` bytes it is in memory; beyond, it is a file in the folder ``scratch`` that is mapped, so
    that the system may drop what is not being used.
    """
    shape = (vectors.rows, vectors.dimensions)
    if vectors.rows * vectors.dimensions * 4 <= memory_limit:
        array: Matrix = np.empty(shape, np.float32)
    else:
        array = allocate_mapped(scratch, np.float32, shape)
    start = 0
    for block in vectors.blocks():
        array[start : start + len(block)] = block
        start += len(block)
    array.flags.writeable = False
    return array


def allocate_mapped(scratch: Path, kind: type[F], shape: tuple[int, int]) -> NDArray[F]:
    """Return an array in a file without a name: it lives as long as it is mapped, however this process ends.

    Its room is claimed at once, as a page that the disk has no room for would end this process without a word.
    """
    try:
        with no_follow.open_directory(scratch, make=True) as there, tempfile.TemporaryFile(dir=there) as file:
            if hasattr(os, "posix_fallocate"):  # not on every system
                os.posix_fallocate(file.fileno(), 0, np.dtype(kind).itemsize * shape[0] * shape[1])
            return np.memmap(file, kind, "r+", shape=shape)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(scratch)) from error
