"""Standard input as the pool: it is stored once in the run directory, and then read like any other file."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from curate import paths
from curate.errors import DataError
from curate.store import parquet_io, readers
from curate.store.run_directory import STDIN

if TYPE_CHECKING:
    from curate.config.model import RunConfig
    from curate.progress import Progress

_BLOCK = 1 << 22
_HINT = "pipe rows to the command: zcat pool.jsonl.gz | curate run CONFIG"


def resolve_stdin(config: RunConfig) -> RunConfig:
    """Return the configuration with the path of the stored standard input, if ``input.files`` is ``-``.

    Raises
    ------
    DataError
        The ending after ``-`` is no known format.
    """
    match = _match(config.input.files)
    if match is None:
        return config
    path = paths.parse_path(config.run) / STDIN / f"rows{match[1] or '.jsonl'}"
    readers.detect_format(path)
    folder = config.input.image_folder or (None if config.input.image is None else ".")
    return replace(config, input=replace(config.input, files=str(path), image_folder=folder))


def is_stored_stdin(config: RunConfig) -> bool:
    """Return whether a resolved configuration reads standard input."""
    return _match(config.resolved["input"]["files"]) is not None


def _match(files: object) -> re.Match[str] | None:
    return re.fullmatch(r"-(\..+)?", files) if isinstance(files, str) else None


def store_stdin(config: RunConfig, progress: Progress) -> None:
    """Store standard input in the run directory; what an earlier run stored stays if there is none.

    Raises
    ------
    DataError
        Standard input is empty, or it is a terminal or closed and no earlier run stored rows.
    """
    path = paths.parse_path(str(config.input.files))
    stdin = _open_stdin()
    if stdin is None:
        if not parquet_io.exists(path):
            raise DataError("standard input is a terminal or closed", where="input.files", hint=_HINT)
        progress.note("input: there is no standard input; the rows of the previous run are used")
        return
    first = stdin.read(_BLOCK)
    if not first:
        raise DataError("standard input is empty", where="input.files", hint="check the command before the pipe")
    with parquet_io.write_atomically(path) as partial, partial.open("wb") as file:
        file.write(first)
        shutil.copyfileobj(stdin, file, _BLOCK)
    for name in paths.list_names(path.parent) - {path.name}:
        paths.unlink(path.parent / name)


def require_stdin(config: RunConfig) -> None:
    """Raise an error if a configuration reads standard input and no run has stored it."""
    if is_stored_stdin(config) and not parquet_io.exists(paths.parse_path(str(config.input.files))):
        message = "standard input is read when a run starts, and no run has stored it yet"
        raise DataError(message, where="input.files", hint="start the run first: … | curate run CONFIG")


def _open_stdin() -> IO[bytes] | None:
    """Return standard input; None if it is closed, a terminal, or another device such as /dev/null."""
    if sys.stdin is None:
        return None
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # closed, or replaced by an object that is no file
        return None
    return None if stat.S_ISCHR(mode) else sys.stdin.buffer
