"""What an executor is: it calls one function on many tasks, and no data travels through it, only paths."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from curate.errors import RetryableError, ShardError

Task = TypeVar("Task")
Value = TypeVar("Value")

TRIES = 3


@dataclass(frozen=True, slots=True)
class Result(Generic[Value]):
    """What came of one task."""

    index: int
    """The task's place in the sequence that was mapped."""

    value: Value | None
    failed: ShardError | None
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
        tried three times; anything else ends the map.
        """

    def close(self) -> None:
        """Let the workers go."""


def attempt(fn: Callable[[Task], Value], index: int, task: Task) -> Result[Value]:
    """Run one task, as every executor does."""
    begun = time.perf_counter()
    reset_peak_memory()
    value: Value | None = None
    failed: ShardError | None = None
    for left in reversed(range(TRIES)):
        try:
            value = fn(task)
            break
        except ShardError as error:
            failed = error
            break
        except RetryableError:
            if not left:
                raise
    return Result(index, value, failed, time.perf_counter() - begun, peak_memory())


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
