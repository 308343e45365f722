"""Executor that runs tasks in spawned processes on this machine."""

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
    """Executor with a pool of processes, which are started on first use and share the cores evenly.

    If a worker dies (for example, killed for its memory), its task is tried again, three times in all.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(self, fn: Callable[[Task], Value], tasks: Sequence[Task]) -> Iterator[Result[Value]]:
        if len(tasks) <= 1 or self.workers == 1:  # nothing to distribute: avoid starting a process
            for index, task in until_stopping(enumerate(tasks)):
                yield run_task(fn, index, task)
            return
        todo = dict(enumerate(tasks))
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                for result in self._once(fn, todo):
                    del todo[result.index]
                    yield result
                return
            except BrokenProcessPool as error:
                self.close()
                if not tries_left:
                    raise RetryableError(
                        f"a worker process died {MAX_TRIES} times",
                        hint="this is usually caused by a lack of memory: use fewer --workers or smaller shards",
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
            signal.siginterrupt(signal.SIGINT, True)  # with Polars' handler, waiting for a worker would continue
            context = multiprocessing.get_context("spawn")
            share = thread_environment(self.workers)
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=(share,))
        return self._pool

    def close(self) -> None:
        """Kill the workers and their running tasks, so that an interrupted run ends at once."""
        if self._pool is not None:
            for worker in list((self._pool._processes or {}).values()):
                worker.kill()  # first, so that they end even if this method is interrupted
            self._pool.shutdown(wait=True, cancel_futures=True)  # its thread must not outlive this process
            self._pool = None


def _begin(share: dict[str, str]) -> None:
    """Set up a new worker: its share of the cores, set before the libraries are loaded, and its signal handlers."""
    os.environ.update(share)
    for sent in (signal.SIGINT, signal.SIGTERM):  # signals reach the process group, and the parent handles them
        signal.signal(sent, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent process has ended, for whatever reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
