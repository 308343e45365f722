"""Tests that executors differ only in where tasks run."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from curate.errors import DataError, PanicError, RetryableError, ShardError
from curate.executors.processes import Processes
from curate.executors.ray import Ray
from curate.executors.serial import Serial


@dataclass(frozen=True)
class Task:
    number: int
    folder: str = ""


def squared(task: Task) -> int:
    if task.number == 3:
        raise ShardError("three is bad", where="part-3")
    return task.number**2


def refused(task: Task) -> int:
    raise DataError("no", where=f"row {task.number}", hint="yes")


def panics(task: Task) -> int:
    """Panic like a library in Rust: with an exception that is no Exception and cannot be pickled."""
    raise type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})(f"index {task.number} out of bounds")


def lucky_the_third_time(task: Task) -> int:
    mark = Path(task.folder) / f"{task.number}"
    tries = len(list(Path(task.folder).glob(f"{task.number}.*")))
    mark.with_suffix(f".{tries}").touch()
    if tries < 2:
        raise RetryableError("not yet")
    return tries


def dies_once(task: Task) -> int:
    mark = Path(task.folder) / f"dead-{task.number}"
    if task.number == 2 and not mark.exists():
        mark.touch()
        os._exit(9)
    return task.number


def dies(task: Task) -> int:
    with (Path(task.folder) / "begun").open("a") as file:
        file.write(".")
    os._exit(9)


def threads(task: Task) -> str:
    time.sleep(0.05)
    return os.environ["CURATE_THREADS"]


MADE = {
    "serial": lambda request: Serial(),
    "processes": lambda request: Processes(2),
    "ray": lambda request: Ray(2, request.getfixturevalue("ray_cluster")),
}


RAY = pytest.param("ray", marks=(pytest.mark.exhaustive, pytest.mark.xdist_group("ray")))  # one cluster


@pytest.fixture(scope="module", params=["serial", "processes", RAY])
def executor(request):
    made = MADE[request.param](request)
    yield made
    made.close()


with_workers = pytest.mark.parametrize("executor", ["processes", RAY], indirect=True)


def test_every_task_is_answered_and_a_bad_shard_does_not_stop_the_others(executor):
    results = sorted(executor.map(squared, [Task(number) for number in range(6)]), key=lambda result: result.index)
    assert [result.value for result in results] == [0, 1, 4, None, 16, 25]
    assert [str(result.error) for result in results if result.error] == ["part-3: three is bad"]
    assert all(result.peak_memory > 1_000_000 for result in results)


def test_any_other_error_ends_the_map_and_keeps_its_place_and_hint(executor):
    with pytest.raises(DataError, match="row 0: no; yes"):
        list(executor.map(refused, [Task(0), Task(0)]))


def test_the_panic_of_a_native_library_is_an_error_like_any_other(executor):
    with pytest.raises(PanicError, match="index 0 out of bounds"):
        list(executor.map(panics, [Task(0), Task(0)]))


def test_a_retryable_error_is_tried_three_times(executor, tmp_path):
    results = list(executor.map(lucky_the_third_time, [Task(0, str(tmp_path)), Task(1, str(tmp_path))]))
    assert [result.value for result in results] == [2, 2]


@with_workers
def test_a_worker_that_dies_is_replaced_and_its_task_done_again(executor, tmp_path):
    results = list(executor.map(dies_once, [Task(number, str(tmp_path)) for number in range(8)]))
    assert sorted(result.value for result in results) == list(range(8))


@with_workers
def test_a_task_whose_worker_always_dies_is_begun_three_times(executor, tmp_path):
    with pytest.raises(RetryableError, match=r"3 times.*; .* lack of memory: use fewer --workers"):
        list(executor.map(dies, [Task(number, str(tmp_path)) for number in range(2)]))
    assert 3 <= len((tmp_path / "begun").read_text()) <= 6  # the other task may have been begun as often


def test_workers_share_out_the_cores():
    executor = Processes(2)
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert {result.value for result in executor.map(threads, [Task(number) for number in range(4)])} == {share}
    executor.close()
