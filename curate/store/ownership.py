"""Whose a folder is: one that holds somebody else's files does not become a run's unasked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath, PurePosixPath

from curate import places
from curate.errors import ConfigError
from curate.store import lock, manifest

_SHOWN = 5
"""Names in a message."""


def is_run(folder: Path) -> bool:
    """Whether ``folder`` is a run's.

    A run makes its lock before anything else, and on a disk never deletes it; then it writes its configuration.
    """
    read = manifest.load(folder / "input")
    mark = "config.yaml" if places.is_object(folder) else lock.NAME
    return bool(places.names(folder) & {mark, lock.NAME}) or (read is not None and read.stage == "input")


def claim(folder: Path, *, overwrite: bool) -> None:
    """See to it that a run may write to ``folder``: it is a run's, or empty, or not there, or ``overwrite`` says so.

    Raises
    ------
    ConfigError : naming some of what was found in it
    """
    if overwrite or is_run(folder):
        return
    if names := sorted(places.names(folder)):
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        raise ConfigError(
            f"the folder is not a run's, and not empty: it holds {', '.join(names[:_SHOWN])}{more}",
            where=str(folder),
            hint="let 'run' name another, or say --overwrite if files that are in the way may be replaced",
        )


def refuse_own(files: Iterable[str], folder: Path) -> None:
    """Refuse to read what the run itself writes.

    Raises
    ------
    ConfigError : naming the first of the input files that lies in the run folder
    """
    if inside := next(
        (name for name in files if _resolved(places.place(name)).is_relative_to(_resolved(folder))), None
    ):
        told = f"input.files: this file lies in the run folder {folder}, which a run writes to"
        raise ConfigError(told, where=inside, hint="let 'run' name a folder that holds no input")


def _resolved(path: Path) -> PurePath:
    return PurePosixPath(str(path)) if places.is_object(path) else path.resolve()
