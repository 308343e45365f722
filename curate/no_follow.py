"""Access to the files of a run directory without following symbolic links, even if another process changes it.

A run directory, and any directory above it, may be a link: that is its owner's choice. Below it, no link is followed.
Every directory on the path to a file is opened relative to its parent with ``O_NOFOLLOW``, and the file is then
addressed through the open directory (``/proc/PID/fd/N/NAME``). Where the system has no such paths (macOS), the
directories are checked just before the plain path is used. Paths outside of a run directory are used unchanged.
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

LINK_MESSAGE = "this is a symbolic link, which a run directory must not contain"
LINK_HINT = "replace it with what it points to, or delete it; what cannot be computed again is then lost"
SPECIAL_FILE_MESSAGE = "this is neither a file nor a directory, so it does not belong in a run directory"
SPECIAL_FILE_HINT = "delete it; what was stored there and cannot be computed again is lost"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # opening a pipe must not block
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SELF = Path("/proc/self")

_runs: list[Path] = []
"""Run directories that this process is working in."""


@contextmanager
def protect(*folders: Path) -> Iterator[None]:
    """Follow no link below these run directories while the block runs; object stores have no links."""
    local = [folder for folder in folders if isinstance(folder, Path)]
    _runs.extend(local)
    try:
        yield
    finally:
        for folder in local:
            _runs.remove(folder)


def protected_directories() -> tuple[Path, ...]:
    """Return the protected run directories of this process, for ``call_protected`` in another process."""
    return tuple(dict.fromkeys(_runs))


def call_protected(folders: tuple[Path, ...], fn: Callable[[Task], Value], task: Task) -> Value:
    """Call a function while run directories are protected, as a worker does."""
    with protect(*folders):
        return fn(task)


def is_protected(path: Path) -> bool:
    """Return whether a directory is, or is inside, a run directory that this process is working in."""
    return _locate(path) is not None


@contextmanager
def open_directory(path: Path, *, make: bool = False) -> Iterator[Path]:
    """Open a directory without following links, and yield a path that refers to the open directory.

    Parameters
    ----------
    path : Path
        Path of the directory.
    make : bool
        Whether to create the directory and its parents.

    Raises
    ------
    DataError
        If the directory, or one above it in the run directory, is a link.
    OSError
        If the path is missing, or not a directory.
    """
    location = _locate(path)
    if location is None:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    handle = _open_directory_handle(*location, make=make)
    try:
        handle_path = _handle_path(handle, path)
        try:
            yield handle_path
        except OSError as error:
            filename = str(error.filename)
            if handle_path != path and (filename + "/").startswith(f"{handle_path}/"):
                error.filename = f"{path}{filename[len(str(handle_path)) :]}"
            raise
    finally:
        os.close(handle)


@contextmanager
def open_parent(path: Path, *, make: bool = False) -> Iterator[Path]:
    """Open the parent directory without following links, and yield the path of the entry in it.

    The entry itself may be a link, or missing; see ``open_directory``.
    """
    with open_directory(path.parent, make=make) as parent:
        yield parent / path.name


@contextmanager
def open_for_reading(path: Path) -> Iterator[Path]:
    """Open a file without following links, and yield a path to the open file, for a library that takes a path.

    Raises
    ------
    DataError
        If the file, or a directory above it in the run directory, is a link, or if it is neither a file nor a
        directory.
    OSError
        If the file cannot be read.
    """
    if _locate(path.parent) is None:
        yield path
        return
    handle = _open_file_handle(path)
    try:
        yield _handle_path(handle, path)
    finally:
        os.close(handle)


def opener(name: str, flags: int) -> int:
    """Open a file for reading without following links; pass it as the ``opener`` of the built-in ``open``."""
    path = Path(name)
    return os.open(path, flags) if _locate(path.parent) is None else _open_file_handle(path)


def _open_file_handle(path: Path) -> int:
    with open_parent(path) as safe_path:
        try:
            handle = os.open(safe_path, _READ)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _link_error(path) from error
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
    """Create a file, and yield a path to the open file; its directory must come from ``open_directory``."""
    handle = os.open(path, _CREATE, 0o666)
    try:
        yield _handle_path(handle, path)
    finally:
        os.close(handle)


@contextmanager
def create_private_directory(path: Path) -> Iterator[Path]:
    """Create a directory that only this user can enter, and yield a path to the open directory; see ``create_file``."""
    path.mkdir(0o700)
    handle = os.open(path, _FOLDER | os.O_NOFOLLOW)
    try:
        yield _handle_path(handle, path)
    finally:
        os.close(handle)


def _locate(path: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Return the run directory that contains a path, and the names below it; None outside of any run directory."""
    for run in _runs:
        if path.parts[: len(run.parts)] == run.parts and path.is_absolute() == run.is_absolute():
            names = path.parts[len(run.parts) :]
            if ".." not in names:
                return run, names
    return None


def _open_directory_handle(run: Path, names: tuple[str, ...], *, make: bool) -> int:
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
                raise _link_error(path) from error
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


def _link_error(path: Path) -> DataError:
    if path.parts[-2:] == ("export", "current"):
        hint = "use the directory of the version itself; `curate path RUN` prints it"
        return DataError("this is the link to the published version", where=str(path), hint=hint)
    return DataError(LINK_MESSAGE, where=str(path), hint=LINK_HINT)


def _handle_path(handle: int, path: Path) -> Path:
    """Return a path of the open file or directory that other processes can use; ``path`` where there is none."""
    try:
        return Path(f"/proc/{_SELF.readlink()}/fd/{handle}")
    except OSError:
        return path
