"""Two processes never write to one run folder, and no dead one keeps a living one out."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from curate.errors import LOCKED, DataError, LockedError
from curate.store import lock

HOLDER = """
import sys, time
from pathlib import Path
from curate.store import lock
class Terminated(BaseException): pass
def terminated(*_): raise Terminated
import signal
signal.signal(signal.SIGTERM, terminated)
with lock.acquire(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(folder: Path):
    """Another process that holds the folder's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def refused(message: str) -> None:
    raise AssertionError(message)


def left_by(folder: Path, **who: object) -> Path:
    """A lock that a killed run left, but for ``who`` of this process."""
    path = folder / lock.NAME
    mine = lock._this_process()
    data = {"host": mine.host, "process": 1, "started": mine.started, "boot": mine.boot} | who
    path.write_text(json.dumps(data))
    return path


def test_a_second_run_is_refused_at_once_and_told_who_holds_the_folder(tmp_path):
    with holder(tmp_path) as other:
        with pytest.raises(LockedError) as refusal, lock.acquire(tmp_path, refused):
            pass
        assert refusal.value.exit_code == LOCKED == 75
        started = json.loads((tmp_path / lock.NAME).read_text())["started"]
        assert str(refusal.value) == (
            f"{tmp_path}: another run is using this run directory: process {other.pid} on {socket.gethostname()}, "
            f"started {started}; wait until it ends, or stop it"
        )
        assert started.endswith("+00:00")


@pytest.mark.parametrize("killed_by", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_run_that_was_killed_is_free(tmp_path, killed_by):
    notes: list[str] = []
    with holder(tmp_path) as other:
        other.send_signal(killed_by)
        other.wait()
        with lock.acquire(tmp_path, notes.append):
            pass
        told = f"took over the lock of a killed run: process {other.pid} on {socket.gethostname()}"
        assert [note.split(", started")[0] for note in notes] == ([told] if killed_by == signal.SIGKILL else [])


SLOW = """
import time
from dataclasses import dataclass
from pathlib import Path
from curate.plugins.interfaces import selector
from curate.plugins.selectors.sampling.uniform import Uniform
@selector(version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    \"\"\"Keeps everything, after a while.\"\"\"
    def select(self, pool, budget, rng):
        Path("begun").touch()
        while not Path("go").exists():
            time.sleep(0.01)
        return Uniform().select(pool, budget, rng)
"""


@contextmanager
def run_under_way(*arguments: str):
    """A ``curate run`` in the middle of its select stage."""
    process = subprocess.Popen([sys.executable, "-m", "curate", "run", *arguments], stderr=subprocess.PIPE, text=True)
    try:
        while not Path("begun").exists():
            assert process.poll() is None
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("what", "told"), [("pipe", "neither a file nor a directory"), ("link", "a symbolic link")])
def test_what_is_no_file_in_the_place_of_the_lock_is_told(tmp_path, what, told):
    path = tmp_path / lock.NAME
    os.mkfifo(path) if what == "pipe" else path.symlink_to("elsewhere")
    with pytest.raises(DataError, match=rf"\.curate\.lock: this is {told}.*; delete it"), lock.acquire(tmp_path, print):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def slow(pool, config):
    """A configuration whose run waits in the select stage until there is a file ``go``."""
    Path("slow.py").write_text(SLOW)
    settings = config(plugins=["./slow.py"], select=[{"use": "slow", "keep": 20}])
    Path("config.yaml").write_text(json.dumps(settings))  # JSON is YAML
    return "config.yaml"


@pytest.mark.parametrize("name", ["run", "select", "report", "rollback"])
def test_while_a_run_is_under_way_every_command_that_writes_exits_with_75(command, slow, name):
    with run_under_way(slow, "--executor", "serial") as process:
        (Path("run") / "export" / "0123456789ab").mkdir(parents=True)
        (Path("run") / "export" / "0123456789ab" / "manifest.json").write_text(
            '{"fingerprint": "f", "rows": 1, "files": []}'
        )
        (Path("run") / "export" / "current").symlink_to("0123456789ab")
        line = {"version": "0123456789ab", "published": "2026-01-01 00:00:00+00:00", "by": "run", "rows": 1}
        (Path("run") / "export" / "history.json").write_text(json.dumps({"publications": [line]}))
        done = command(name, "run" if name == "rollback" else slow)
        assert (done.returncode, done.stdout) == (75, "")
        owner = f"process {process.pid} on {socket.gethostname()}, started 2"
        told = f"curate: run: another run is using this run directory: {owner}"
        assert told in done.stderr
        assert process.poll() is None
        assert command("plan", slow).returncode == 0


def test_a_run_that_was_killed_leaves_no_lock_and_the_next_one_ends_what_it_began(command, slow):
    with run_under_way(slow, "--executor", "serial") as process:
        process.kill()
        process.wait()
    Path("go").touch()
    done = command("run", slow, "--executor", "serial")
    assert done.returncode == 0
    assert f"took over the lock of a killed run: process {process.pid} on " in done.stderr
    assert (Path("run") / lock.NAME).read_bytes() == b""


def test_the_lock_is_let_go_at_the_end_and_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lock.acquire(tmp_path, refused):
            raise ZeroDivisionError
        with lock.acquire(tmp_path, refused):
            pass
    assert (tmp_path / lock.NAME).read_bytes() == b""


def test_two_runs_in_one_process_are_two_runs(tmp_path):
    with (
        lock.acquire(tmp_path, refused),
        pytest.raises(LockedError, match=f"process {os.getpid()} on "),
        lock.acquire(tmp_path, refused),
    ):
        pass


def test_of_many_threads_that_begin_together_one_gets_the_lock(tmp_path):
    begin, ended = threading.Barrier(8), threading.Barrier(8)
    answers: list[str] = []

    def attempt() -> None:
        begin.wait()
        try:
            with lock.acquire(tmp_path, refused):
                answers.append("held")
                ended.wait()
        except LockedError:
            answers.append("refused")
            ended.wait()

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["held"] + ["refused"] * 7


def test_a_lock_left_on_another_host_is_refused_and_the_file_to_delete_is_named(tmp_path):
    path = left_by(tmp_path, host="elsewhere", boot="another", started="2026-01-02 03:04:05+00:00")
    for _ in range(2):  # being refused changes nothing
        with pytest.raises(LockedError) as refusal, lock.acquire(tmp_path, refused):
            pass
        assert str(refusal.value) == (
            f"{tmp_path}: a run on another host left its lock here: process 1 on elsewhere, "
            f"started 2026-01-02 03:04:05+00:00; make sure that it has ended, then delete {path}"
        )
    path.unlink()
    with lock.acquire(tmp_path, refused):
        pass


@pytest.mark.parametrize("who", [{"host": "a-container-before"}, {"boot": "before-the-reboot"}])
def test_a_container_on_the_same_kernel_and_the_same_host_before_a_reboot_are_known_to_have_ended(tmp_path, who):
    left_by(tmp_path, **who)
    notes: list[str] = []
    with lock.acquire(tmp_path, notes.append):
        pass
    assert len(notes) == 1


def test_without_a_name_for_the_boot_only_the_host_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_BOOT", tmp_path / "nothing")
    left_by(tmp_path, host="elsewhere", boot="")
    with pytest.raises(LockedError, match="on another host"), lock.acquire(tmp_path, refused):
        pass
    left_by(tmp_path, boot="")
    with lock.acquire(tmp_path, lambda _: None):
        pass


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"host": 1}', b"\xff\x00", b"null"])
def test_a_lock_that_says_nothing_is_taken(tmp_path, left):
    (tmp_path / lock.NAME).write_bytes(left)
    with lock.acquire(tmp_path, refused):
        assert json.loads((tmp_path / lock.NAME).read_text())["process"] == os.getpid()


def test_a_worker_does_not_inherit_the_lock(tmp_path):
    with lock.acquire(tmp_path, refused):
        command = [sys.executable, "-c", "print(flush=True); input()"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
        assert child.stdout is not None
        child.stdout.readline()  # before it is itself, it holds what its parent does
    with lock.acquire(tmp_path, refused):
        child.communicate(b"\n")


def test_a_file_system_that_cannot_lock_says_so(tmp_path, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    message = "the file system does not support locks: No locks available"
    with pytest.raises(DataError, match=message), lock.acquire(tmp_path, refused):
        pass


def test_a_folder_that_cannot_be_made_is_a_data_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match="file: this is a file, but a directory is expected"),
        lock.acquire(tmp_path / "file" / "run", refused),
    ):
        pass
