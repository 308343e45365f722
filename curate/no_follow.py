"""Files of a run directory, reached without following a link in it, whoever changes its folders meanwhile.

A run directory may itself be a link, and so may any folder above it: that is its owner's choice. Below it nothing leads
elsewhere: every folder on the way to a file is opened from the one before, as a folder and not as a link, and the file
is then named by the open folder (``/proc/PID/fd/N/NAME``). Where the system has no such names (macOS), the way is
checked just before the plain path is used. Paths outside of a run directory are used as they are.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from curate.errors import DataError

Task = TypeVar("Task")
Value = TypeVar("Value")

LINK_MESSAGE = "this is a link; a run folder holds none"
LINK_HINT = "put what it leads to in its place; or delete it: what cannot be made again is lost then"
SPECIAL_FILE_MESSAGE = "this is neither a file nor a folder; a run folder holds none"
SPECIAL_FILE_HINT = "delete it; what was there before, and cannot be made again, is lost"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is refused, and not waited for
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SELF = Path("/proc/self")

_runs: list[Path] = []
"""Run directories that this process works in."""


@contextmanager
def protect(*folders: Path) -> Iterator[None]:
    """Follow no link below these run directories while the block runs; an object store has none."""
    local = [one for one in folders if isinstance(one, Path)]
    _runs.extend(local)
    try:
        yield
    finally:
        for one in local:
            _runs.remove(one)


def protected_directories() -> tuple[Path, ...]:
    """Return the run directories that this process works in, for ``call`` in another."""
    return tuple(dict.fromkeys(_runs))


def call_protected(folders: tuple[Path, ...], fn: Callable[[Task], Value], task: Task) -> Value:
    """Call a function within run directories, as a worker does."""
    with protect(*folders):
        return fn(task)


def is_protected(path: Path) -> bool:
    """Return whether a folder is a run directory that this process works in, or lies in one."""
    return _below(path) is not None


@contextmanager
def open_directory(path: Path, *, make: bool = False) -> Iterator[Path]:
    """Yield a path to the same folder that leads nowhere else.

    Parameters
    ----------
    path : Path
        A folder.
    make : bool
        Make it, and the folders above it.

    Raises
    ------
    DataError
        It, or a folder above it in the run directory, is a link.
    OSError
        It is missing, or no folder.
    """
    way = _below(path)
    if way is None:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    handle = _opened_folder(*way, make=make)
    try:
        named = _named(handle, path)
        try:
            yield named
        except OSError as error:
            shown = str(error.filename)
            if named != path and (shown + "/").startswith(f"{named}/"):
                error.filename = f"{path}{shown[len(str(named)) :]}"
            raise
    finally:
        os.close(handle)


@contextmanager
def open_parent(path: Path, *, make: bool = False) -> Iterator[Path]:
    """Yield a path to the same name in the same folder, see ``folder``; what has the name may be a link, or missing."""
    with open_directory(path.parent, make=make) as above:
        yield above / path.name


@contextmanager
def open_for_reading(path: Path) -> Iterator[Path]:
    """Yield a path to the very file, for a library that opens it by a path.

    Raises
    ------
    DataError
        It, or a folder above it in the run directory, is a link; or it is neither a file nor a folder.
    OSError
        It cannot be read.
    """
    if _below(path.parent) is None:
        yield path
        return
    handle = _opened(path)
    try:
        yield _named(handle, path)
    finally:
        os.close(handle)


def opener(name: str, flags: int) -> int:
    """Open a file to read, see ``reading``; for the parameter of that name of ``open``."""
    path = Path(name)
    return os.open(path, flags) if _below(path.parent) is None else _opened(path)


def _opened(path: Path) -> int:
    with open_parent(path) as there:
        try:
            handle = os.open(there, _READ)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _refused(path) from error
            raise
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise DataError(SPECIAL_FILE_MESSAGE, where=str(path), hint=SPECIAL_FILE_HINT)
    return handle


@contextmanager
def create_file(path: Path) -> Iterator[Path]:
    """Make a file, and yield a path to the very file; its folder is one that ``folder`` yielded."""
    handle = os.open(path, _CREATE, 0o666)
    try:
        yield _named(handle, path)
    finally:
        os.close(handle)


@contextmanager
def create_private_directory(path: Path) -> Iterator[Path]:
    """Make a folder that only this user can enter, and yield a path to it that leads nowhere else; see ``created``."""
    path.mkdir(0o700)
    handle = os.open(path, _FOLDER | os.O_NOFOLLOW)
    try:
        yield _named(handle, path)
    finally:
        os.close(handle)


def _below(path: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Return the run directory that a folder is or lies in, and the names below it; None outside of any."""
    for run in _runs:
        if path.parts[: len(run.parts)] == run.parts and path.is_absolute() == run.is_absolute():
            names = path.parts[len(run.parts) :]
            if ".." not in names:
                return run, names
    return None


def _opened_folder(run: Path, names: tuple[str, ...], *, make: bool) -> int:
    if make:
        run.mkdir(parents=True, exist_ok=True)
    handle = os.open(run, _FOLDER)
    for depth, name in enumerate(names, 1):
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=handle)
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
        except OSError as error:
            path = run.joinpath(*names[:depth])
            error.filename = str(path)
            if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(name, handle):
                raise _refused(path) from error
            raise
        finally:
            os.close(handle)
        handle = inner
    return handle


def _is_link(name: str, handle: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _refused(path: Path) -> DataError:
    if path.parts[-2:] == ("export", "current"):
        return DataError("this is the link to the published version", where=str(path), hint="name the version's folder")
    return DataError(LINK_MESSAGE, where=str(path), hint=LINK_HINT)


def _named(handle: int, path: Path) -> Path:
    """Return a name of the open file or folder, for other processes too; ``path`` where there are no such names."""
    try:
        return Path(f"/proc/{_SELF.readlink()}/fd/{handle}")
    except OSError:
        return path
