"""Check that a run directory contains only files and folders, and no links that lead elsewhere."""

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
"""Names of the entries of a run directory that are read without running a stage."""

_CURRENT = re.compile(r"(\.[0-9]+\.partial\.)?current")
"""Names of the link to the published version, and of the one that will replace it."""


def refuse_links(folder: Path, owned: Collection[str] = RESULTS) -> None:
    """Raise an error if a run directory contains anything but files, folders, and the link ``export/current``.

    The target of a link would be read, deleted or overwritten like a file of the run.

    Parameters
    ----------
    folder : Path
        The run directory.
    owned : collection of str
        Names of the entries of the run directory that are read or written.

    Raises
    ------
    DataError
        The run directory contains a link or a special file; the error names the first one.
    """
    for entry in () if paths.is_object(folder) else _entries(str(folder), owned):  # a store has no links
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except FileNotFoundError:  # deleted or renamed by a run in progress
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
    """Yield all entries below a folder that are not folders; at the top level, only these ``names``."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if names is not None and entry.name not in names:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from _entries(entry.path, None)
                else:
                    yield entry
    except FileNotFoundError:  # the first run, or deleted by a run in progress
        return
    except OSError as error:
        raise DataError(
            f"cannot read the folder: {error.strerror}", where=folder, hint="check its permissions"
        ) from error
