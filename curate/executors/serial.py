"""Runs every task in this process, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from curate.executors.base import Result, Task, Value, attempt, starting


class Serial:
    """The executor for debugging, and for pools of one shard."""

    workers = 1

    def map(self, fn: Callable[[Task], Value], tasks: Sequence[Task]) -> Iterator[Result[Value]]:
        for index, task in starting(enumerate(tasks)):
            yield attempt(fn, index, task)

    def close(self) -> None:
        pass
