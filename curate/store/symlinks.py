"""A run folder holds files and folders: nothing in it leads elsewhere, whoever made it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from curate import no_follow, paths
from curate.errors import DataError

RESULTS = (
    "input",
    "embed",
    "cluster",
    "score",
    "decontaminate",
    "select",
    "export",
    "published",
    "manifest.json",
    "mask.json",
)
"""Entries of a run directory that are read without running a stage."""

_CURRENT = re.compile(r"(\.[0-9]+\.partial\.)?current")
"""The link to the published version, and the one that will take its place."""


def refuse_links(folder: Path, owned: Collection[str] = RESULTS) -> None:
    """Refuse a run directory that holds anything but files, folders, and the link ``export/current``.

    What is behind a link would be read, deleted or overwritten as if it were the run's own.

    Parameters
    ----------
    folder : Path
        The run directory.
    owned : collection of str
        Names of the entries of the run directory that are read or written.

    Raises
    ------
    DataError
        Naming the first.
    """
    for entry in () if paths.is_object(folder) else _entries(str(folder), owned):  # a store has no links
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except FileNotFoundError:  # a run that is under way has deleted or renamed it
            continue
        above, name = os.path.split(entry.path)
        current = above == str(folder / "export") and _CURRENT.fullmatch(name)
        if not stat.S_ISREG(mode) and not (current and stat.S_ISLNK(mode)):
            message, hint = (
                (no_follow.LINK_MESSAGE, no_follow.LINK_HINT)
                if stat.S_ISLNK(mode)
                else (no_follow.SPECIAL_FILE_MESSAGE, no_follow.SPECIAL_FILE_HINT)
            )
            raise DataError(message, where=entry.path, hint=hint)


def _entries(folder: str, names: Collection[str] | None) -> Iterator[os.DirEntry[str]]:
    """Yield everything in a folder and the folders in it, except for folders; of the first, only these ``names``."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if names is not None and entry.name not in names:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from _entries(entry.path, None)
                else:
                    yield entry
    except FileNotFoundError:  # the first run, or what it held was deleted just now
        return
    except OSError as error:
        raise DataError(f"cannot read the folder: {error.strerror}", where=folder) from error
