"""Conversion of embeddings from Arrow list columns to NumPy arrays."""

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
    """Return a fixed-size list column as an (n, d) float32 array, without a copy if the column is float32.

    Rows stored as float16 are scaled to unit length again, so that all comparisons see unit vectors, and equal rows
    stay equal.
    """
    values = to_stored_matrix(column)
    return normalize_rows(values) if values.dtype == np.float16 else values.astype(np.float32, copy=False)


def to_stored_matrix(column: pa.ChunkedArray | pa.Array) -> AnyArray:
    """Return a fixed-size list column as an (n, d) array of its stored type, without a copy."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # a column without chunks
        return np.empty((0, column.type.list_size), column.type.value_type.to_pandas_dtype())
    return np.asarray(array.flatten().to_numpy(zero_copy_only=False)).reshape(len(array), array.type.list_size)


def gather_vectors(vectors: Vectors, memory_limit: int, scratch: Path) -> Matrix:
    """Return all vectors as one read-only (n, d) float32 array.

    The array is in memory if it needs at most ``memory_limit`` bytes; otherwise it is a memory-mapped file in the
    directory ``scratch``, from which the system can release unused pages.
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
    """Return an array in an unnamed memory-mapped file, which is deleted when the process ends.

    The disk space is allocated at once, because running out of it later would kill the process without an error.
    """
    try:
        with no_follow.open_directory(scratch, make=True) as directory, tempfile.TemporaryFile(dir=directory) as file:
            if hasattr(os, "posix_fallocate"):  # not on every system
                os.posix_fallocate(file.fileno(), 0, np.dtype(kind).itemsize * shape[0] * shape[1])
            return np.memmap(file, kind, "r+", shape=shape)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(scratch)) from error
