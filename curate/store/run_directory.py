"""Run directories: refuse to write into a folder that contains other files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath

from curate import paths
from curate.errors import ConfigError
from curate.store import lock, manifest

MARK = ".curate"
"""Name of the object that marks a run directory in a store; it is written first and never deleted."""

STDIN = "stdin"
"""Folder in the run directory with the rows of standard input."""

_SHOWN = 5
"""Number of names in a message."""


def is_run(folder: Path) -> bool:
    """Return whether ``folder`` is a run directory: it contains the marker that a run writes first and never deletes.

    On a disk, the marker is the lock file. A run of an older release is recognized by its input manifest.
    """
    if (MARK if paths.is_object(folder) else lock.NAME) in paths.list_names(folder):
        return True
    read = manifest.load(folder / "input")
    return read is not None and read.stage == "input"


def claim(folder: Path, *, overwrite: bool) -> None:
    """Mark ``folder`` as a run directory, if it is one already, is empty or missing, or with ``overwrite``.

    Raises
    ------
    ConfigError
        The folder contains other files; the error lists some of them.
    """
    if is_run(folder):
        return
    if not overwrite:
        refuse_foreign(folder)
    if paths.is_object(folder):  # on a disk, the lock file is the marker
        with suppress(FileExistsError):  # another run was faster, which the lock reports
            paths.create_object(
                folder / MARK, b"This folder is a run directory of curate, which replaces its content.\n"
            )


def refuse_foreign(folder: Path) -> None:
    """Raise an error for a folder with files that is not a run directory.

    Raises
    ------
    ConfigError
        The folder contains other files; the error lists some of them.
    """
    names = sorted(paths.list_names(folder))
    if names and not is_run(folder):
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        raise ConfigError(
            f"the folder is not empty and not a run directory: it contains {', '.join(names[:_SHOWN])}{more}",
            where=str(folder),
            hint="set 'run' to another folder, or pass --overwrite if these files may be replaced",
        )


def refuse_run_files(files: Iterable[str], folder: Path, key: str = "input.files") -> None:
    """Raise an error for input files inside the run directory.

    Raises
    ------
    ConfigError
        An input file is in the run directory; the error names the first one.
    """
    resolved = _resolve(folder)
    below, stdin = f"{resolved}/", f"{resolved}/{STDIN}/"
    names = ((name, _resolve_name(name)) for name in files)
    if inside := next((name for name, path in names if path.startswith(below) and not path.startswith(stdin)), None):
        message = f"{key}: the file is inside the run directory {folder}, which the run overwrites"
        raise ConfigError(message, where=inside, hint="set 'run' to a folder without input files")


def _resolve(path: Path) -> PurePath:
    return PurePosixPath(str(path)) if paths.is_object(path) else path.resolve()


def _resolve_name(name: str) -> str:
    return str(_resolve(paths.parse_path(name))) if "://" in name else paths.resolve_links(name)
