"""What an executor is: it calls one function on many tasks, and no data travels through it, only paths."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from curate.errors import RetryableError, ShardError, convert_panics

Task = TypeVar("Task")
Value = TypeVar("Value")

MAX_TRIES = 3
"""How often a task is begun before its error, or the loss of its worker, ends the map."""

_THREADS = (
    "CURATE_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Result(Generic[Value]):
    """What came of one task."""

    index: int
    """The task's place in the sequence that was mapped."""

    value: Value | None
    error: ShardError | None
    """Why the task's shard cannot be processed; ``value`` is None then."""

    seconds: float
    peak_memory: int
    """Bytes: the most that the process which ran it ever held during the stage."""


class Executor(Protocol):
    """Decides where tasks run, and nothing else: the results do not depend on it."""

    workers: int

    def map(self, fn: Callable[[Task], Value], tasks: Sequence[Task]) -> Iterator[Result[Value]]:
        """Call ``fn`` on every task; results come as they are ready, in any order.

        ``fn`` is a module-level function. A ShardError it raises is handed on in its result; a RetryableError is
        tried three times; anything else ends the map. No task is started that cannot run at once, nor any when
        ``stopping``, so that after SIGTERM those that run are answered and the map ends.
        """

    def close(self) -> None:
        """Let the workers go."""


def run_task(fn: Callable[[Task], Value], index: int, task: Task) -> Result[Value]:
    """Run one task, as every executor does."""
    begun = time.perf_counter()
    reset_peak_memory()
    value: Value | None = None
    failed: ShardError | None = None
    for left in reversed(range(MAX_TRIES)):
        try:
            with convert_panics():
                value = fn(task)
            break
        except ShardError as error:
            failed = error
            break
        except RetryableError:
            if not left:
                raise
    return Result(index, value, failed, time.perf_counter() - begun, peak_memory())


def count_cores() -> int:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_environment(workers: int) -> dict[str, str]:
    """The environment of one of ``workers`` on this machine: every library computes on its share of the cores.

    The libraries read it once, when they are loaded.
    """
    return dict.fromkeys(_THREADS, str(max(1, count_cores() // workers)))


# ---------------------------------------------------------------- SIGTERM


class Terminated(BaseException):
    """SIGTERM arrived; the tasks that were running are done, unless it arrived twice."""


@dataclass(slots=True)
class _Sigterm:
    arrived: bool = False
    waits: bool = False
    """Tasks are running, whose results would be lost if it did not wait."""


_sigterm = _Sigterm()


def handle_sigterm(signum: int, frame: object) -> None:  # noqa: ARG001
    """The handler for SIGTERM: while tasks are running it waits for them; otherwise, and the second time, it does not.

    Raises
    ------
    Terminated
    """
    if _sigterm.arrived or not _sigterm.waits:
        raise Terminated
    _sigterm.arrived = True


def is_stopping() -> bool:
    """Whether SIGTERM has arrived: no task is to be started any more."""
    return _sigterm.arrived


def until_stopping(tasks: Iterable[Task]) -> Iterator[Task]:
    """The tasks in turn, for an executor to start; none once it is ``stopping``."""
    for task in tasks:
        if is_stopping():
            return
        yield task


@contextmanager
def finish_running_tasks() -> Iterator[None]:
    """Around a map: SIGTERM lets the tasks that are running finish, and then ends the block with Terminated."""
    _sigterm.waits = True
    try:
        yield
    finally:
        _sigterm.waits = False  # from here on it raises
        arrived, _sigterm.arrived = _sigterm.arrived, False
    if arrived:
        raise Terminated


# ---------------------------------------------------------------- memory


def peak_memory() -> int:
    """The most memory this process has held since the last reset, in bytes; 0 where the system does not say."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak_memory() -> None:
    """Start measuring the peak afresh, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
