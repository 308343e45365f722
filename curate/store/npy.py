"""Array files (.npy): shape, and reading of some rows without the others."""

from __future__ import annotations

import math
import tokenize
from pathlib import Path
from typing import IO

import numpy as np

from curate import paths
from curate.kernels.types import AnyArray


def read_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of the array in a file.

    Raises
    ------
    ValueError
        The file is not an array of numbers with two dimensions.
    """
    with paths.open_binary(path) as file:
        return _header(file)[0]


def read_rows(path: Path, start: int, stop: int) -> AnyArray:
    """Return rows ``start`` to ``stop`` (exclusive) of the array in a file.

    Raises
    ------
    ValueError
        The file is not an array of numbers with two dimensions, stored row by row.
    """
    if not paths.is_object(path):
        return np.asarray(np.lib.format.open_memmap(path, mode="r")[start:stop])
    with paths.open_binary(path) as file:
        (n, *others), fortran, kind = _header(file)
        if fortran:
            raise ValueError("the array is not stored row by row: save np.ascontiguousarray(array)")
        width = math.prod(others) * kind.itemsize
        stop = min(stop, n)
        file.seek(start * width, 1)
        return np.frombuffer(file.read((stop - start) * width), kind).reshape(stop - start, *others)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, kind = read(file)
    except (SyntaxError, tokenize.TokenError) as error:  # numpy parses the header as Python's literals
        raise ValueError(f"the header is corrupt: {error}") from error
    if len(shape) != 2 or kind.kind not in "fiub":
        raise ValueError(f"the array must be numbers of shape (rows, dimensions), got {kind} {shape}")
    if not shape[1]:
        raise ValueError(f"the array has no dimensions: its shape is {shape}")
    return shape, fortran, kind
