"""Parallel map over fixed blocks, with results that do not depend on the number of threads.

Floating-point sums depend on how the work is split. Callers therefore use a fixed block size, each block runs on one
BLAS thread, and results are returned in block order: any number of threads gives the same bytes. Threads over blocks
are also faster and steadier than a multi-threaded BLAS on a busy machine. NumPy and SciPy release the interpreter lock
in the expensive calls.
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

Block = TypeVar("Block")
Result = TypeVar("Result")

THREADS_VARIABLE = "CURATE_THREADS"


def thread_count() -> int:
    """Return the number of threads to use.

    It is the value of ``CURATE_THREADS`` if that is set, otherwise the number of processors available to this process.

    Raises
    ------
    ValueError : if ``CURATE_THREADS`` is not an integer >= 1
    """
    value = os.environ.get(THREADS_VARIABLE, "")
    if not value:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"{THREADS_VARIABLE} must be an integer >= 1, got {value!r}")
    return int(value)


def block_slices(n: int, size: int) -> Iterator[slice]:
    """Return slices of ``size`` rows that cover n rows in order; the last may be shorter.

    Parameters
    ----------
    n : number of rows
    size : number of rows in a slice

    Examples
    --------
    >>> list(block_slices(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def map_blocks(fn: Callable[[Block], Result], blocks: Iterable[Block]) -> Iterator[Result]:
    """Yield ``fn(block)`` for every block, in block order, computed by up to ``thread_count()`` threads.

    Parameters
    ----------
    fn : called from several threads at once; may write to disjoint parts of a shared array
    blocks : read lazily, from the calling thread, so a generator may stream from disk

    Yields
    ------
    results, in block order

    Notes
    -----
    At most ``2 * thread_count()`` blocks and results exist at any time. Nothing runs before the first result is
    requested. An error in ``fn`` is raised at its block's turn; blocks that have not started are then dropped.

    Examples
    --------
    >>> list(map_blocks(lambda rows: rows.stop - rows.start, block_slices(5, 2)))
    [2, 2, 1]
    """
    workers = thread_count()
    with one_blas_thread():
        if workers == 1:
            yield from map(fn, blocks)
        else:
            yield from _threaded(fn, iter(blocks), workers)


def _threaded(fn: Callable[[Block], Result], blocks: Iterator[Block], workers: int) -> Generator[Result, None, None]:
    first = list(islice(blocks, 2))
    if len(first) < 2:  # a thread pool would cost more than it saves
        yield from map(fn, first)
        return
    with ThreadPoolExecutor(workers, "curate-block") as pool:
        pending: deque[Future[Result]] = deque(pool.submit(fn, block) for block in first)
        try:
            pending.extend(pool.submit(fn, block) for block in islice(blocks, 2 * workers - len(first)))
            while pending:
                yield pending.popleft().result()
                pending.extend(pool.submit(fn, block) for block in islice(blocks, 1))
        finally:
            for future in pending:
                future.cancel()


# The BLAS thread count is a setting of the process: the first caller lowers it, the last one restores it.
_lock = threading.Lock()
_depth = 0
_limits: list[Any] = []
_n_modules = 0


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit every loaded BLAS library to one thread within the context.

    Contexts may be nested, and entered from several threads. Finding the libraries takes milliseconds, so the search is
    repeated only if a module was imported since the last one, also within a context. The library of scipy, which
    scikit-learn uses as well, is loaded first, so that a module that is imported within the context cannot bring one
    without a limit.
    """
    global _depth, _n_modules  # noqa: PLW0603 - state of the process
    with _lock:
        if _depth == 0:
            import scipy.linalg  # noqa: F401 - loads the library
        if _depth == 0 or len(sys.modules) != _n_modules:
            _n_modules = len(sys.modules)
            _limits.append(_libraries(_n_modules).limit(limits=1, user_api="blas"))
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                while _limits:
                    _limits.pop().restore_original_limits()


@lru_cache(maxsize=1)
def _libraries(n_modules: int) -> threadpoolctl.ThreadpoolController:  # noqa: ARG001 - cache key: importing a module may load a library
    """Return a controller of the loaded libraries that have thread pools."""
    return threadpoolctl.ThreadpoolController()
