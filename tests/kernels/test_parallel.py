import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from curate.kernels import parallel
from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread, thread_count


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(params=["1", "2", "4"])
def any_threads(request, monkeypatch):
    monkeypatch.setenv(parallel.THREADS_VARIABLE, request.param)
    return int(request.param)


def test_results_are_in_the_order_of_the_blocks(any_threads):
    def slow_first(block):
        time.sleep(0.02 if block == 0 else 0)
        return block

    assert list(map_blocks(slow_first, range(20))) == list(range(20))


def test_blas_runs_on_one_thread_inside_and_as_before_outside(any_threads):
    before = blas_threads()
    assert set().union(*map_blocks(lambda _: blas_threads(), range(4))) == {1}
    assert blas_threads() == before


def test_nested_and_overlapping_limits_are_lifted_by_the_last_one_out():
    before = blas_threads()
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before


def test_a_library_that_is_loaded_later_is_found_too():
    script = (
        "import numpy\nfrom threadpoolctl import threadpool_info\n"
        "from curate.kernels.parallel import one_blas_thread\n"
        "with one_blas_thread(): pass\n"
        "import scipy.linalg\n"
        "with one_blas_thread(): print([one['num_threads'] for one in threadpool_info()])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert set(json.loads(done.stdout)) == {1}


def test_map_blocks_may_be_called_from_inside_a_block(any_threads):
    assert list(map_blocks(lambda b: sum(map_blocks(lambda c: c, range(b))), range(6))) == [0, 0, 1, 3, 6, 10]


def test_no_more_than_twice_the_threads_are_in_flight(any_threads):
    taken = 0

    def blocks():
        nonlocal taken
        for block in range(50):
            taken += 1
            yield block

    for done, _ in enumerate(map_blocks(lambda block: block, blocks())):
        assert taken - done <= 2 * any_threads


def test_nothing_runs_before_the_first_result_is_requested():
    called = []
    map_blocks(called.append, range(3))
    assert called == []


def test_the_blocks_are_read_in_the_calling_thread(any_threads):
    readers = set()

    def blocks():
        for block in range(5):
            readers.add(threading.current_thread())
            yield block

    list(map_blocks(lambda block: block, blocks()))
    assert readers == {threading.current_thread()}


def test_an_error_is_raised_at_its_turn_and_lifts_the_limit(any_threads):
    before = blas_threads()

    def fails(block):
        if block == 2:
            raise RuntimeError("block 2")
        return block

    results = map_blocks(fails, range(10))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(RuntimeError, match="block 2"):
        next(results)
    assert blas_threads() == before


def test_a_loop_that_stops_early_lifts_the_limit_and_ends_the_threads(any_threads):
    before = blas_threads()
    results = map_blocks(lambda block: block, range(100))
    assert next(results) == 0
    results.close()
    assert blas_threads() == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("curate-block")]


def test_the_same_bytes_for_any_number_of_threads(monkeypatch):
    x = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)

    def total(count):
        monkeypatch.setenv(parallel.THREADS_VARIABLE, count)
        return sum(map_blocks(lambda rows: x[rows].T @ x[rows], block_slices(len(x), 128))).tobytes()

    assert total("1") == total("2") == total("4")


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (3, 3), (7, 3)])
def test_ranges_cover_every_row_once(n, size):
    assert [row for rows in block_slices(n, size) for row in range(rows.start, rows.stop)] == list(range(n))


def test_threads_are_those_of_the_variable_else_those_of_the_machine(monkeypatch):
    monkeypatch.setenv(parallel.THREADS_VARIABLE, "3")
    assert thread_count() == 3
    monkeypatch.setenv(parallel.THREADS_VARIABLE, "")
    assert thread_count() >= 1


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads_is_refused_by_name(monkeypatch, value):
    monkeypatch.setenv(parallel.THREADS_VARIABLE, value)
    with pytest.raises(ValueError, match=f"CURATE_THREADS must be an integer >= 1, got '{value}'"):
        thread_count()


@pytest.mark.parametrize("module", ["scipy.linalg", "sklearn.utils.extmath", "scipy.sparse.linalg"])
def test_a_library_that_is_loaded_within_the_context_has_one_thread_too(module):
    code = (
        "import threadpoolctl\nfrom curate.kernels.parallel import one_blas_thread\n"
        f"with one_blas_thread():\n    import {module}\n    with one_blas_thread():\n        pass\n"
        "    counts = [one['num_threads'] for one in threadpoolctl.threadpool_info() if one['user_api'] == 'blas']\n"
        "after = [one['num_threads'] for one in threadpoolctl.threadpool_info() if one['user_api'] == 'blas']\n"
        "print(sorted({*counts}), sorted({*after}))"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[1] [2]\n"
