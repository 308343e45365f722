"""Executor that runs all tasks in this process, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from curate.executors.base import Result, Task, Value, run_task, until_stopping


class Serial:
    """Executor without workers, for debugging and for pools with a single shard."""

    workers = 1

    def map(self, fn: Callable[[Task], Value], tasks: Sequence[Task]) -> Iterator[Result[Value]]:
        for index, task in until_stopping(enumerate(tasks)):
            yield run_task(fn, index, task)

    def close(self) -> None:
        pass
