"""One writer a run folder: a lock that the kernel lets go of when its holder ends, however it ends.

An object store has no locks, but it can refuse to write an object that is there already. So a run there holds such an
object against other hosts, and the lock of a local file against the runs of its own, which says whether an object that
was left behind is one of a run that was killed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curate import no_follow, paths
from curate.errors import CurateError, DataError, LockedError
from curate.store import parquet_io

NAME = ".curate.lock"

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOwner:
    """Who holds a lock, as it stands in the file for others to read."""

    host: str
    process: int
    started: str
    boot: str
    """Names one boot of one kernel; containers on it share it. Empty where the system has no such name."""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, started {self.started}"

    def is_visible_to(self, kernel: LockOwner) -> bool:
        """Whether that kernel knows if this holder lives: it is the same one, or the same host booted again."""
        return (bool(self.boot) and self.boot == kernel.boot) or self.host == kernel.host


@contextmanager
def acquire(folder: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of ``folder``, which is made if need be, while the block runs.

    The lock is on the file, not in it: what stands in the file says who, and is emptied at the end. The file itself
    stays, as two runs could otherwise hold the locks of two files of the same name. So a file that is free and not
    empty was left by a run that was killed. ``note`` is told when such a lock is taken over.

    Raises
    ------
    LockedError : another run holds it; or one on another host left it, of which nobody here can say whether it lives
    """
    path = folder / NAME
    if not paths.is_object(path):
        with _file(path, folder, note):
            yield
        return
    name = hashlib.sha256(str(path).encode()).hexdigest()[:32]
    with (
        _file(Path(tempfile.gettempdir()) / f"curate-{os.getuid()}-{name}.lock", folder, lambda _: None) as handle,
        _object(path, handle, note),
    ):
        yield


# ---------------------------------------------------------------- a file


@contextmanager
def _file(path: Path, folder: Path, note: Callable[[str], None]) -> Iterator[int]:
    handle = _opened(path)
    try:
        _acquire(handle, path, folder, note)
        try:
            yield handle
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)  # lets go of the lock; workers never inherit the handle


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(no_follow.LINK_MESSAGE, where=str(path), hint="delete it") from error
        raise paths.unwritable_error(path, error) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise DataError(no_follow.SPECIAL_FILE_MESSAGE, where=str(path), hint="delete it")
    return handle


def _acquire(handle: int, path: Path, folder: Path, note: Callable[[str], None]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            told = f"this file system cannot lock files: {error.strerror}"
            raise DataError(told, where=str(path), hint="let 'run' be a folder on another") from error
        by = _read(handle) or "it has only just begun"
        told = f"another run holds this folder: {by}"
        raise LockedError(told, where=str(folder), hint="wait until it ends, or end it") from error
    mine, left = _mine(), _read(handle)
    if left is not None and not left.is_visible_to(mine):
        raise LockedError(
            f"a run on another host left its lock here: {left}",
            where=str(folder),
            hint=f"if it is sure to have ended, delete {path}",
        )
    if left is not None:
        note(f"took over the lock of a run that was killed: {left}")
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(mine)).encode(), 0)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(path)) from error


# ---------------------------------------------------------------- an object


@contextmanager
def _object(path: Path, handle: int, note: Callable[[str], None]) -> Iterator[None]:
    """Hold the object at ``path``; ``handle`` is the local file whose lock is held already."""
    file = os.fstat(handle)
    mine = {**asdict(_mine()), "file": f"{file.st_dev}:{file.st_ino}"}
    try:
        paths.create_object(path, json.dumps(mine).encode())
    except FileExistsError:
        left = parquet_io.read_json(path)
        if left != mine:  # else the store had it already when the request was sent once more
            _take_over(path, left, mine, note)
    try:
        yield
    except BaseException:
        with suppress(CurateError):  # what went wrong before is what is to be told
            _release(path, mine)
        raise
    _release(path, mine)


def _take_over(
    path: Path, left: Mapping[str, object] | None, mine: Mapping[str, object], note: Callable[[str], None]
) -> None:
    """Replace the object of a run that held the local lock which this one holds now: no other process may."""
    by = _holder(left)
    if left is None or by is None or any(left.get(key) != mine[key] for key in ("host", "boot", "file")):
        raise LockedError(
            f"another run holds this folder, or left its lock: {by or 'it does not say who'}",
            where=str(path.parent),
            hint=f"if it is sure to have ended, delete {path}",
        )
    note(f"took over the lock of a run that was killed: {by}")
    parquet_io.write_json(path, mine)


def _release(path: Path, mine: Mapping[str, object]) -> None:
    if parquet_io.read_json(path) == mine:  # else somebody deleted it, and another run may hold its own
        path.unlink(missing_ok=True)


# ---------------------------------------------------------------- who


def _mine() -> LockOwner:
    started = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return LockOwner(host=socket.gethostname(), process=os.getpid(), started=started, boot=boot)


def _read(handle: int) -> LockOwner | None:
    """Who wrote the file; None if it is empty, or its writer was killed in the middle of it."""
    try:
        return _holder(json.loads(os.pread(handle, 4096, 0)))
    except (ValueError, RecursionError):
        return None


def _holder(data: Any) -> LockOwner | None:
    try:
        return LockOwner(**{field.name: data[field.name] for field in fields(LockOwner)})
    except (TypeError, KeyError):
        return None
