"""Runs a function over fixed blocks on Python threads, so that results never depend on the number of threads.

Floating-point sums change with the way work is cut. So the caller cuts it by a fixed block size, every block is worked
on by one thread of BLAS, and results come back in the order of the blocks: any number of threads gives the same bytes.
Threads over blocks are also faster and steadier than a multi-threaded BLAS on a busy machine. NumPy and SciPy release
the interpreter lock in the calls that cost time.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

import threadpoolctl

A = TypeVar("A")
R = TypeVar("R")

THREADS_VARIABLE = "CURATE_THREADS"


def thread_count() -> int:
    """How many threads to use: ``CURATE_THREADS`` if it is set, else the processors this process may run on."""
    value = os.environ.get(THREADS_VARIABLE, "")
    if not value:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"{THREADS_VARIABLE} must be a whole number of at least 1, got {value!r}")
    return int(value)


def block_slices(n: int, size: int) -> Iterator[slice]:
    """Slices of ``size`` rows that cover n rows in order; the last may be shorter.

    >>> list(block_slices(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def map_blocks(fn: Callable[[A], R], blocks: Iterable[A]) -> Iterator[R]:
    """``fn(block)`` of every block, in the order of the blocks, computed by up to ``threads()`` threads.

    Parameters
    ----------
    fn : called from several threads at once; may write to places of its own in a shared array
    blocks : read lazily, from the calling thread, so a generator may stream from disk

    Yields
    ------
    The results in order. At most ``2 * threads()`` blocks and results exist at any time. Nothing runs before the first
    result is asked for. An error in ``fn`` is raised at its block's turn; blocks not yet begun are then dropped.

    >>> list(map_blocks(lambda rows: rows.stop - rows.start, block_slices(5, 2)))
    [2, 2, 1]
    """
    workers = thread_count()
    with one_blas_thread():
        if workers == 1:
            yield from map(fn, blocks)
        else:
            yield from _threaded(fn, iter(blocks), workers)


def _threaded(fn: Callable[[A], R], blocks: Iterator[A], workers: int) -> Generator[R, None, None]:
    first = list(islice(blocks, 2))
    if len(first) < 2:  # a pool of threads would cost more than it saves
        yield from map(fn, first)
        return
    with ThreadPoolExecutor(workers, "curate-block") as pool:
        pending: deque[Future[R]] = deque(pool.submit(fn, block) for block in first)
        try:
            pending.extend(pool.submit(fn, block) for block in islice(blocks, 2 * workers - len(first)))
            while pending:
                yield pending.popleft().result()
                pending.extend(pool.submit(fn, block) for block in islice(blocks, 1))
        finally:
            for future in pending:
                future.cancel()


# BLAS's thread count belongs to the process, not to a thread: the first one in lowers it, the last one out restores it.
_lock = threading.Lock()
_depth = 0
_limit: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it, every BLAS library that is loaded runs on one thread; may be nested, and entered from several threads.

    Finding the libraries costs milliseconds, so they are looked for again only when a module was imported since.
    """
    global _depth, _limit  # noqa: PLW0603 - the state is the process's
    with _lock:
        if _depth == 0:
            _limit = _libraries(len(sys.modules)).limit(limits=1, user_api="blas")
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _limit.restore_original_limits()
                _limit = None


@lru_cache(maxsize=1)
def _libraries(modules: int) -> threadpoolctl.ThreadpoolController:  # noqa: ARG001 - a library comes with a module
    """The libraries with threads of their own that are loaded while there are so many modules."""
    return threadpoolctl.ThreadpoolController()
