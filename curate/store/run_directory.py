"""Whose a folder is: one that holds somebody else's files does not become a run's unasked."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath

from curate import paths
from curate.errors import ConfigError
from curate.store import lock, manifest

MARK = ".curate"
"""The object that makes a folder in a store a run's: the first to be written, and never deleted."""

_SHOWN = 5
"""Names in a message."""


def is_run(folder: Path) -> bool:
    """Whether ``folder`` is a run's, told by what a run makes before anything else and never deletes.

    On a disk that is its lock. A run of an older release is known by its input.
    """
    if (MARK if paths.is_object(folder) else lock.NAME) in paths.list_names(folder):
        return True
    read = manifest.load(folder / "input")
    return read is not None and read.stage == "input"


def claim(folder: Path, *, overwrite: bool) -> None:
    """Make ``folder`` a run's: it is one already, or empty, or not there, or ``overwrite`` says so.

    Raises
    ------
    ConfigError : naming some of what was found in it
    """
    if is_run(folder):
        return
    if not overwrite:
        refuse_foreign(folder)
    if paths.is_object(folder):  # on a disk the lock follows, and is the mark
        with suppress(FileExistsError):  # another run was faster; the lock will tell
            paths.create_object(folder / MARK, b"This folder is a run's: curate replaces what is in it.\n")


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder with files that is not a run directory.

    Raises
    ------
    ConfigError
        It names some of the files.
    """
    names = sorted(paths.list_names(folder))
    if names and not is_run(folder):
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        raise ConfigError(
            f"the folder is not a run's, and not empty: it holds {', '.join(names[:_SHOWN])}{more}",
            where=str(folder),
            hint="let 'run' name another, or say --overwrite if files that are in the way may be replaced",
        )


def refuse_run_files(files: Iterable[str], folder: Path, key: str = "input.files") -> None:
    """Refuse to read what the run itself writes.

    Raises
    ------
    ConfigError : naming the first of the input files that lies in the run folder
    """
    own = _resolved(folder)
    below = f"{own}/"
    if inside := next((name for name in files if _resolved_name(name).startswith(below)), None):
        told = f"{key}: this file lies in the run folder {folder}, which a run writes to"
        raise ConfigError(told, where=inside, hint="let 'run' name a folder that holds no input")


def _resolved(path: Path) -> PurePath:
    return PurePosixPath(str(path)) if paths.is_object(path) else path.resolve()


def _resolved_name(name: str) -> str:
    return str(_resolved(paths.parse_path(name))) if "://" in name else paths.resolve_links(name)
