"""Interface of executors, which call one function on many tasks; data is exchanged through files, not through tasks."""

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
"""Number of attempts after which the error of a task, or the loss of its worker, ends the map."""

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
    """Result of one task."""

    index: int
    """Position of the task in the sequence of tasks."""

    value: Value | None
    error: ShardError | None
    """Error if the shard of the task cannot be processed; ``value`` is then None."""

    seconds: float
    peak_memory: int
    """Highest memory use during the stage of the process that ran the task, in bytes."""


class Executor(Protocol):
    """Executor of tasks, which decides where they run; results do not depend on it."""

    workers: int
    """Number of tasks that run in parallel."""

    def map(self, fn: Callable[[Task], Value], tasks: Sequence[Task]) -> Iterator[Result[Value]]:
        """Call ``fn`` on every task, and yield the results as they become available, in any order.

        ``fn`` is a module-level function. A ShardError is returned in the result of the task. After a RetryableError,
        the task is tried again, three times in all. Any other error ends the map. A task is only started when a worker
        is free and ``is_stopping`` is false, so that after SIGTERM the running tasks finish and the map ends.
        """

    def close(self) -> None:
        """Stop the workers."""


def run_task(fn: Callable[[Task], Value], index: int, task: Task) -> Result[Value]:
    """Run one task and measure its time and memory; used by every executor."""
    begun = time.perf_counter()
    reset_peak_memory()
    value: Value | None = None
    failed: ShardError | None = None
    for tries_left in reversed(range(MAX_TRIES)):
        try:
            with convert_panics():
                value = fn(task)
            break
        except ShardError as error:
            failed = error
            break
        except RetryableError:
            if not tries_left:
                raise
    return Result(index, value, failed, time.perf_counter() - begun, peak_memory())


def count_cores() -> int:
    """Return the number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_environment(workers: int) -> dict[str, str]:
    """Return the environment variables with which each of ``workers`` processes uses its share of the cores.

    Libraries read these variables once, when they are loaded.
    """
    return dict.fromkeys(_THREADS, str(max(1, count_cores() // workers)))


# ---------------------------------------------------------------- SIGTERM


class Terminated(BaseException):
    """Termination by SIGTERM, after the running tasks are done, or at once if SIGTERM arrives twice."""


@dataclass(slots=True)
class _Sigterm:
    arrived: bool = False
    waits: bool = False
    """Whether tasks are running, whose results would be lost without waiting."""


_sigterm = _Sigterm()


def handle_sigterm(signum: int, frame: object) -> None:  # noqa: ARG001
    """Handle SIGTERM: wait for running tasks, or terminate at once if there are none or the signal arrives again.

    Raises
    ------
    Terminated
        If no tasks are running, or at the second signal.
    """
    if _sigterm.arrived or not _sigterm.waits:
        raise Terminated
    _sigterm.arrived = True


def is_stopping() -> bool:
    """Return whether SIGTERM has arrived, after which no task may be started."""
    return _sigterm.arrived


def until_stopping(tasks: Iterable[Task]) -> Iterator[Task]:
    """Yield the tasks one by one until ``is_stopping`` is true."""
    for task in tasks:
        if is_stopping():
            return
        yield task


@contextmanager
def finish_running_tasks() -> Iterator[None]:
    """Let running tasks finish after SIGTERM, and then end the block, which runs a map, with Terminated."""
    _sigterm.waits = True
    try:
        yield
    finally:
        _sigterm.waits = False  # from here on, the handler raises
        arrived, _sigterm.arrived = _sigterm.arrived, False
    if arrived:
        raise Terminated


# ---------------------------------------------------------------- memory


def peak_memory() -> int:
    """Return the highest memory use of this process since the last reset, in bytes."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak_memory() -> None:
    """Reset the peak of the memory use, where the system supports it (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
