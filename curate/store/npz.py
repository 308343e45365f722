"""What a plugin learnt, as named arrays in an .npz file that says what it was made from; nothing is pickled."""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from curate import paths
from curate.kernels.types import FittedState
from curate.store import parquet_io


def save(path: Path, fingerprint: str, arrays: FittedState) -> None:
    """Write the arrays, whole or not at all."""
    with parquet_io.write_atomically(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, curate_fingerprint=np.array(fingerprint))


def load(path: Path, fingerprint: str) -> FittedState | None:
    """The arrays; None if the file is not whole or was made from something else."""
    try:
        with paths.open_binary(path) as stored, np.load(stored, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile, zlib.error):  # what half a file raises
        return None
    return arrays if str(arrays.pop("curate_fingerprint", "")) == fingerprint else None
