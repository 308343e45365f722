"""Runs tasks in spawned processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from curate.errors import RetryableError
from curate.executors.base import MAX_TRIES, Result, Task, Value, run_task, thread_environment, until_stopping


class Processes:
    """A pool of ``workers`` processes, started when first needed; each computes on its share of the cores.

    A worker that dies (killed for memory, say) takes its task with it; the task is tried again, three times in all.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(self, fn: Callable[[Task], Value], tasks: Sequence[Task]) -> Iterator[Result[Value]]:
        if len(tasks) <= 1 or self.workers == 1:  # nothing to share out: save the start of a process
            for index, task in until_stopping(enumerate(tasks)):
                yield run_task(fn, index, task)
            return
        todo = dict(enumerate(tasks))
        for left in reversed(range(MAX_TRIES)):
            try:
                for result in self._once(fn, todo):
                    del todo[result.index]
                    yield result
                return
            except BrokenProcessPool as error:
                self.close()
                if not left:
                    raise RetryableError(
                        f"a worker process died {MAX_TRIES} times",
                        hint="most often the machine ran out of memory: use fewer --workers or smaller shards",
                    ) from error

    def _once(self, fn: Callable[[Task], Value], todo: dict[int, Task]) -> Iterator[Result[Value]]:
        pool = self._started()
        waiting = until_stopping(sorted(todo.items()))
        running: set[Future[Result[Value]]] = set()
        while True:
            while len(running) < self.workers and (following := next(waiting, None)) is not None:
                index, task = following
                running.add(pool.submit(partial(run_task, fn, index, task)))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            signal.siginterrupt(signal.SIGINT, True)  # Polars' handler would let the wait for a worker go on
            context = multiprocessing.get_context("spawn")
            share = thread_environment(self.workers)
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=(share,))
        return self._pool

    def close(self) -> None:
        """Let the workers go; a task that is still running is lost, so that an interrupted run ends at once."""
        if self._pool is not None:
            for worker in list((self._pool._processes or {}).values()):
                worker.kill()  # first, so that they end even if this is interrupted in turn
            self._pool.shutdown(wait=True, cancel_futures=True)  # else its thread would still be at it when we exit
            self._pool = None


def _begin(share: dict[str, str]) -> None:
    """Give a new worker its share of the cores, before the libraries that read these names are loaded."""
    os.environ.update(share)
    for sent in (signal.SIGINT, signal.SIGTERM):  # they reach the whole group: only the parent answers them
        signal.signal(sent, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that ended: nothing else would tell it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
