"""Fitted state of a plugin: named arrays in an .npz file with the fingerprint of its inputs; nothing is pickled."""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from curate import paths
from curate.errors import DataError
from curate.kernels.types import FittedState
from curate.store import parquet_io

_CORRUPT = (OSError, ValueError, EOFError, AttributeError, RuntimeError, BadZipFile, zlib.error)
"""Errors of a truncated or corrupt file. A RuntimeError means encryption or an unknown compression method."""


def save(path: Path, fingerprint: str, arrays: FittedState) -> None:
    """Write the arrays atomically."""
    with parquet_io.write_atomically(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, curate_fingerprint=np.array(fingerprint))


def load(path: Path, fingerprint: str) -> FittedState | None:
    """Return the arrays; None if the file is missing, corrupt, or was made from other inputs."""
    try:
        with paths.open_binary(path) as stored, np.load(stored, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _CORRUPT:
        return None
    return arrays if str(arrays.pop("curate_fingerprint", "")) == fingerprint else None


def load_required(path: Path, fingerprint: str) -> FittedState:
    """Return the arrays that a task has written.

    Raises
    ------
    DataError
        The file is missing or corrupt, or was made from other inputs.
    """
    arrays = load(path, fingerprint)
    if arrays is None:
        hint = "run the same command again"
        raise DataError("the result of a task is missing or corrupt", where=str(path), hint=hint)
    return arrays
