"""Runs on a Ray cluster of two nodes: the same bytes, also if a node or the head is killed or memory is short.

The nodes are processes of this machine, with one CPU each, that end with the test.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(find_spec("ray") is None, reason="needs ray"),  # which reads how to authenticate on import
]

OBSERVED = '''
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge

from curate.plugins.interfaces import OutputColumn, scorer

@scorer(version=1, reads={"text"}, columns=(OutputColumn(higher_is_better=True, unit="", range=(0, 999)),))
@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A scorer that notes its node, process and first text, and may wait for a file or fill the memory."""

    mib: Annotated[int, Ge(0)] = 0
    """Memory to fill until there is a file ``calm``."""

    tries: Annotated[int, Ge(0)] = 1
    """Number of calls for the same texts that fill the memory."""

    def score(self, batch, rng):
        raylet = os.getppid()
        with Path("calls").open("a") as file:
            file.write(f"{raylet}\\t{os.getpid()}\\t{batch.texts[0]}\\n")
        while not (Path("go").exists() or Path(f"go-{raylet}").exists()):
            time.sleep(0.05)
        calls = sum(line.endswith(f"\\t{batch.texts[0]}") for line in Path("calls").read_text().splitlines())
        if calls <= self.tries and self.mib and not Path("calm").exists():
            blocks = []
            for _ in range(self.mib // 64):
                blocks.append(np.ones(64 * 2**17))
                time.sleep(0.02)
            time.sleep(20)  # the memory monitor has noticed by now
        return np.array([len(text) for text in batch.texts], np.float32)
'''
"""A node is known by the process of its raylet, the parent of the workers."""

COMMAND = [sys.executable, "-m", "curate", "run", "config.yaml"]


class Call(NamedTuple):
    """Call of the scorer."""

    raylet: int
    """Process id of the node's raylet."""

    worker: int
    """Process id of the worker."""

    text: str
    """First text."""


def digest(run: str) -> str:
    """Return the sha256 of the names and bytes of the export."""
    root, result = Path(run) / "export" / "current", hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        result.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return result.hexdigest()


def wait_until(true: Callable[[], object], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def calls() -> list[Call]:
    """Return all calls of the scorer so far."""
    lines = Path("calls").read_text().splitlines() if Path("calls").exists() else []
    return [Call(int(raylet), int(worker), text) for raylet, worker, text in (line.split("\t", 2) for line in lines)]


def raylet(node: Any) -> int:
    """Return the process id of a node's raylet."""
    return int(node.all_processes["raylet"][0].process.pid)


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """Start a cluster with one CPU a node; the environment of its processes is that of the test."""
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    options = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    result = Cluster(initialize_head=True, head_node_args=options | {"include_dashboard": False, "temp_dir": folder})
    try:
        for _ in range(nodes - 1):
            result.add_node(**options)
        result.wait_for_nodes(60)
        yield result
    finally:
        result.shutdown()
        for process in psutil.Process().children(recursive=True):
            if process.pid not in before:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def curate_run(*options: str) -> Iterator[subprocess.Popen[str]]:
    """Start a run, which is killed if it has not ended with the test."""
    run = subprocess.Popen([*COMMAND, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        yield run
    finally:
        run.kill()
        run.communicate()


@pytest.fixture
def expected(ray_cluster: str, pool: Path, config: Callable[..., dict[str, Any]]) -> Callable[..., str]:
    """Write the configuration, and return the digest of its serial run; ``ray_cluster`` sets how to authenticate."""

    def write(**fields: int) -> str:
        Path("observed.py").write_text(OBSERVED)
        score = [{"use": "observed"} | fields]
        data = config(plugins=["./observed.py"], score=score, select=[{"use": "k_center", "keep": 20}])
        Path("config.yaml").write_text(json.dumps(data))
        for flag in ("go", "calm"):
            Path(flag).touch()
        subprocess.run([*COMMAND, "--set", "run=serial", "--executor", "serial"], check=True, capture_output=True)
        for name in ("go", "calm", "calls"):
            Path(name).unlink()
        return digest("serial")

    return write


def test_two_nodes_share_the_tasks_and_give_the_bytes_of_a_serial_run(expected):
    wanted = expected()
    with cluster(2) as two, curate_run("--executor", "ray", "--ray-address", two.address) as run:
        wait_until(lambda: len({call.raylet for call in calls()}) == 2 or run.poll() is not None)
        Path("go").touch()
        assert run.wait(120) == 0, run.communicate()
        assert {call.raylet for call in calls()} == {raylet(node) for node in (two.head_node, *two.worker_nodes)}
        assert max(Counter(call.text for call in calls()).values()) == 1
        assert digest("run") == wanted


@pytest.mark.parametrize("dies", ["raylet", "raylet and worker"])
def test_tasks_of_a_killed_node_run_again_on_the_other_one(dies, expected):
    wanted = expected()
    with cluster(2) as two, curate_run("--executor", "ray", "--ray-address", two.address) as run:
        (node,) = two.worker_nodes
        lost = raylet(node)
        wait_until(lambda: lost in {call.raylet for call in calls()} or run.poll() is not None)
        (call,) = [call for call in calls() if call.raylet == lost]
        killed = [lost, *([call.worker] if dies == "raylet and worker" else [])]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        node.all_processes["raylet"][0].process.wait()  # for its workers, a zombie would be alive
        other = raylet(two.head_node)
        Path(f"go-{other}").touch()  # a worker of the killed node would wait on
        assert run.wait(120) == 0, run.communicate()
        assert [again.raylet for again in calls() if again.text == call.text] == [lost, other]
        assert digest("run") == wanted


@pytest.mark.parametrize("continues", ["serial", "on another cluster"])
def test_a_run_of_two_nodes_whose_head_is_killed_ends_and_another_executor_finishes_it(
    continues, expected, ray_cluster
):
    wanted = expected()
    with cluster(2) as two, curate_run("--executor", "ray", "--ray-address", two.address) as run:
        wait_until(lambda: len({call.raylet for call in calls()}) == 2 or run.poll() is not None)
        (server,) = two.head_node.all_processes["gcs_server"]
        os.kill(server.process.pid, signal.SIGKILL)
        killed = time.monotonic()
        message = run.communicate(timeout=90)[1]
        assert time.monotonic() - killed < 30, message  # some 15 where nothing else runs
        assert run.returncode == 3, message
        assert f"the head of the Ray cluster at {two.address} does not answer; run the same command" in message
        assert not Path("run/export").exists()
        assert not list(Path("run/score").rglob("*.parquet"))  # no task had finished
        assert Path("run/.curate.lock").read_bytes() == b""
        Path("go").touch()
        options = ["--executor", "serial"] if continues == "serial" else ["--ray-address", ray_cluster]
        options = options if continues == "serial" else ["--executor", "ray", *options]
        again = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=120, check=False)
        assert again.returncode == 0, again.stderr
        assert "took over" not in again.stderr
        assert digest("run") == wanted


FILLS, SPARE = 4096, 2048  # MiB that a task allocates, and that may be allocated before the memory monitor acts


@contextmanager
def cluster_short_of_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a cluster whose memory monitor kills a task when the machine uses ``SPARE`` MiB more than now."""
    memory = psutil.virtual_memory()
    if memory.available < 2 * FILLS * 2**20:
        pytest.skip(f"needs {2 * FILLS} MiB of memory")
    threshold = (memory.total - memory.available + SPARE * 2**20) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{threshold:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    with cluster(1) as one:
        yield one


def test_a_task_that_the_memory_monitor_kills_is_tried_again(expected, monkeypatch):
    wanted = expected(mib=FILLS, tries=1)
    Path("go").touch()
    with cluster_short_of_memory(monkeypatch) as one:
        with curate_run("--executor", "ray", "--ray-address", one.address) as run:
            assert run.wait(200) == 0, run.communicate()
        assert set(Counter(call.text for call in calls()).values()) == {2}
        assert digest("run") == wanted


def test_a_task_that_the_memory_monitor_always_kills_ends_the_run_with_a_hint(expected, monkeypatch):
    wanted = expected(mib=FILLS, tries=9)
    Path("go").touch()
    with cluster_short_of_memory(monkeypatch) as one:
        with curate_run("--executor", "ray", "--ray-address", one.address) as run:
            message = run.communicate(timeout=200)[1]
        assert run.returncode == 3, message
        assert "the same task lost its Ray worker 3 times: OutOfMemoryError" in message
        assert "use fewer --workers or smaller shards" in message
        assert Counter(call.text for call in calls()).most_common(1)[0][1] == 3
        assert not Path("run/export").exists()
        Path("calm").touch()
        with curate_run("--executor", "ray", "--ray-address", one.address) as again:
            assert again.wait(120) == 0, again.communicate()
        assert digest("run") == wanted
