"""Lock on a run directory, which the kernel releases when its owner ends, however it ends.

An object store has no locks, but it can refuse to overwrite an existing object. A run in a store therefore creates a
lock object to exclude other hosts, and locks a local file to exclude runs on the same host. The local lock also shows
whether an existing lock object is left over from a killed run.
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
    """Owner of a lock, as written into the lock file."""

    host: str
    process: int
    started: str
    boot: str
    """Boot id of the kernel, shared by its containers; empty if the system has none."""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, started {self.started}"

    def is_visible_to(self, kernel: LockOwner) -> bool:
        """Return whether ``kernel`` can tell if this owner is alive: same kernel, or same host after a reboot."""
        return (bool(self.boot) and self.boot == kernel.boot) or self.host == kernel.host


@contextmanager
def acquire(folder: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of ``folder`` while the block runs; the folder is created if needed.

    The kernel locks the file; its content names the owner and is erased at the end. The file itself stays: otherwise
    two runs could lock two different files of the same name. An unlocked file with content was left by a killed run.
    ``note`` is called when such a lock is taken over.

    Raises
    ------
    LockedError
        Another run holds the lock, or a run on another host left it and may still be alive.
    """
    path = folder / NAME
    if not paths.is_object(path):
        with _file_lock(path, folder, note):
            yield
        return
    name = hashlib.sha256(str(path).encode()).hexdigest()[:32]
    with (
        _file_lock(Path(tempfile.gettempdir()) / f"curate-{os.getuid()}-{name}.lock", folder, lambda _: None) as handle,
        _object_lock(path, handle, note),
    ):
        yield


# ---------------------------------------------------------------- a file


@contextmanager
def _file_lock(path: Path, folder: Path, note: Callable[[str], None]) -> Iterator[int]:
    handle = _open(path)
    try:
        _acquire(handle, path, folder, note)
        try:
            yield handle
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)  # releases the lock; workers never inherit the handle


def _open(path: Path) -> int:
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
            message = f"the file system does not support locks: {error.strerror}"
            hint = "set 'run' to a directory on a file system that supports locks"
            raise DataError(message, where=str(path), hint=hint) from error
        owner = _read(handle) or "it has just started"
        message = f"another run is using this run directory: {owner}"
        raise LockedError(message, where=str(folder), hint="wait until it ends, or stop it") from error
    current, previous = _this_process(), _read(handle)
    if previous is not None and not previous.is_visible_to(current):
        raise LockedError(
            f"a run on another host left its lock here: {previous}",
            where=str(folder),
            hint=f"make sure that it has ended, then delete {path}",
        )
    if previous is not None:
        note(f"took over the lock of a killed run: {previous}")
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(current)).encode(), 0)
    except OSError as error:
        hint = "check the free space and the permissions of the run directory"
        raise DataError(f"cannot write the lock file: {error.strerror}", where=str(path), hint=hint) from error


# ---------------------------------------------------------------- an object


@contextmanager
def _object_lock(path: Path, handle: int, note: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock object at ``path``; ``handle`` is the locked local file."""
    file = os.fstat(handle)
    current = {**asdict(_this_process()), "file": f"{file.st_dev}:{file.st_ino}"}
    try:
        paths.create_object(path, json.dumps(current).encode())
    except FileExistsError:
        existing = parquet_io.read_json(path)
        if existing != current:  # equal if the store received a repeated request
            _take_over(path, existing, current, note)
    try:
        yield
    except BaseException:
        with suppress(CurateError):  # report the first error
            _release(path, current)
        raise
    _release(path, current)


def _take_over(
    path: Path, existing: Mapping[str, object] | None, current: Mapping[str, object], note: Callable[[str], None]
) -> None:
    """Replace the lock object of a killed run on this host; only the owner of the local lock may do so."""
    owner = _parse_owner(existing)
    if existing is None or owner is None or any(existing.get(key) != current[key] for key in ("host", "boot", "file")):
        raise LockedError(
            f"another run is using this run directory, or left its lock: {owner or 'unknown owner'}",
            where=str(path.parent),
            hint=f"make sure that it has ended, then delete {path}",
        )
    note(f"took over the lock of a killed run: {owner}")
    parquet_io.write_json(path, current)


def _release(path: Path, current: Mapping[str, object]) -> None:
    if parquet_io.read_json(path) == current:  # otherwise it was deleted, and another run may have created its own
        path.unlink(missing_ok=True)


# ---------------------------------------------------------------- owners


def _this_process() -> LockOwner:
    started = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return LockOwner(host=socket.gethostname(), process=os.getpid(), started=started, boot=boot)


def _read(handle: int) -> LockOwner | None:
    """Return the owner written in the file; None if the file is empty or was written only in part."""
    try:
        return _parse_owner(json.loads(os.pread(handle, 4096, 0)))
    except (ValueError, RecursionError):
        return None


def _parse_owner(data: Any) -> LockOwner | None:
    try:
        return LockOwner(**{field.name: data[field.name] for field in fields(LockOwner)})
    except (TypeError, KeyError):
        return None
