"""Tests of Ray: joining and leaving clusters, and the transfer of state to remote workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from curate.errors import ConfigError, PluginError
from curate.executors.ray import Ray
from curate.pipeline import open_executor

pytestmark = pytest.mark.xdist_group("ray")  # one cluster


def environment(name: str) -> str | None:
    return os.environ.get(name)


def parent(_: object) -> int:
    return os.getppid()


def alive(pid: int) -> bool:
    """Return whether a process runs; a finished process may remain as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_cluster_of_its_own_ends_with_the_executor(ray_cluster, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    executor = Ray(1)
    (result,) = executor.map(parent, [None])
    folder = Path(executor._folder.name)
    assert signal.getsignal(signal.SIGTERM) is before
    assert alive(result.value)
    assert folder.exists()
    executor.close()
    wait_until(lambda: not alive(result.value))
    assert not folder.exists()


def test_a_cluster_that_was_joined_lives_on_and_each_of_its_cpus_has_one_thread(ray_cluster, monkeypatch):
    import ray

    for address, given in ((ray_cluster, None), (None, ray_cluster)):
        if given:
            monkeypatch.setenv("RAY_ADDRESS", given)
        executor = Ray(None, address)
        names = ["CURATE_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"]
        assert {result.value for result in executor.map(environment, names)} == {"1"}
        assert executor.workers == 2  # the CPUs of the cluster
        executor.close()
        assert not ray.is_initialized()


def test_a_program_that_is_part_of_a_cluster_remains_so(ray_cluster):
    import ray

    ray.init(ray_cluster, logging_level="ERROR", log_to_driver=False)
    try:
        with open_executor("ray", 1) as executor:
            assert [result.value for result in executor.map(environment, ["CURATE_THREADS"])] == ["1"]
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "that is no address"),
        ("somewhere", "that is no address"),
        ("http://127.0.0.1:8265", "that is no address"),
        ("127.0.0.1:none", "Port could not be cast"),
        ("127.0.0.1:1", "Connection refused"),
        ("ray://127.0.0.1:1", "Connection refused"),
    ],
)
def test_an_address_where_no_cluster_is_is_reported_at_once(ray_cluster, address, told):
    with pytest.raises(ConfigError, match=rf"--ray-address: no Ray cluster can be joined at '{address}': .*{told}"):
        list(Ray(1, address).map(environment, ["HOME"]))


def test_an_address_without_ray_and_ray_without_its_package_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="add --executor ray"), open_executor("processes", 1, "auto"):
        pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PluginError, match=r"run: pip install .*\[ray\]'"):
        list(Ray(1).map(environment, ["HOME"]))


def test_workers_must_see_the_folder_of_the_driver_and_have_its_version(ray_cluster, tmp_path, monkeypatch):
    executor = Ray(1, ray_cluster)
    monkeypatch.chdir(tmp_path)
    assert [result.value for result in executor.map(os.path.abspath, ["x"])] == [str(tmp_path / "x")]
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setattr(Path, "cwd", lambda: gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"gone: a worker .*No such file or directory; share it at the same path"):
        list(executor.map(os.path.abspath, ["x"]))
    monkeypatch.setattr("curate.executors.ray.__version__", "0.0.0")
    with pytest.raises(PluginError, match=r"has curate .*, this is 0\.0\.0; install the same"):
        list(executor.map(os.path.abspath, ["x"]))
    executor.close()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_tasks_end_when_the_driver_leaves_and_when_it_is_killed(ray_cluster, tmp_path, sent):
    script = (
        "import os, sys; from curate.executors.ray import Ray; executor = Ray(1, sys.argv[1])\n"
        "list(executor.map(os.system, ['echo $PPID > part; mv part worker; exec sleep 1000']))"
    )
    driver = subprocess.Popen([sys.executable, "-c", script, ray_cluster], cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "worker").exists)
    worker = int((tmp_path / "worker").read_text())
    assert alive(worker)
    driver.send_signal(sent)
    driver.wait()
    wait_until(lambda: not alive(worker))


WAITS = """
import time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from curate.plugins.interfaces import OutputColumn, scorer

@scorer(version=1, reads={"text"}, columns=(OutputColumn(higher_is_better=True, unit="", range=(0, 9)),))
@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    '''A scorer that waits for a file.'''

    def score(self, batch, rng):
        Path("begun").touch()
        while not Path("go").exists():
            time.sleep(0.1)
        return np.ones(len(batch.texts), np.float32)
"""


@pytest.mark.parametrize("dies", ["the head's process", "the whole node"])
def test_a_head_that_dies_in_mid_run_is_reported_soon_and_the_same_command_goes_on(dies, ray_cluster, pool, config):
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    head = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "include_dashboard": False, "temp_dir": folder}
    mortal = Cluster(initialize_head=True, head_node_args=head)
    address = mortal.address
    Path("waits.py").write_text(WAITS)
    data = config(plugins=["./waits.py"], score=[{"use": "waits"}], select=[{"use": "uniform", "keep": 20}])
    Path("config.yaml").write_text(json.dumps(data))
    words = [sys.executable, "-m", "curate", "run", "config.yaml", "--executor", "ray", "--ray-address"]
    run = subprocess.Popen([*words, address], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        wait_until(lambda: Path("begun").exists() or run.poll() is not None)
        assert run.poll() is None, run.communicate()
        if dies == "the whole node":
            for processes in mortal.head_node.all_processes.values():
                for one in processes:
                    one.process.kill()
        else:
            mortal.head_node.kill_gcs_server()
        begun = time.monotonic()
        told = run.communicate(timeout=60)[1]
        assert time.monotonic() - begun < 20, told  # 15 where nothing else runs
        assert run.returncode == 3, told
        last = told.splitlines()[-1]
        assert last.startswith(f"curate: the head of the Ray cluster at {address} does not answer; the same")
        assert Path("run/.curate.lock").read_bytes() == b""  # let go of
        Path("go").touch()
        again = subprocess.run([*words, ray_cluster], capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        assert "took over" not in again.stderr
    finally:
        run.kill()
        mortal.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
