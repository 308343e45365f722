"""The command of ``export.after`` runs once per publication."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import curate
from curate.errors import CurateError, PublicationHookError
from curate.store import versions

APPEND = "import os; print(os.environ['CURATE_VERSION'], os.environ['CURATE_PATH'], file=open('calls.txt', 'a'))"


def settings(after: list[str], keep: int = 5) -> dict:
    Path("pool.jsonl").write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(10)))
    return {
        "curate": 1,
        "run": "run",
        "input": {"files": "pool.jsonl", "text": "text"},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep": keep}],
        "export": {"use": "parquet", "after": after},
    }


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def calls() -> list[str]:
    path = Path("calls.txt")
    return path.read_text().splitlines() if path.exists() else []


def test_it_runs_once_for_each_publication_with_the_path_of_the_version():
    first = curate.run(settings([sys.executable, "-c", APPEND]))
    assert calls() == [f"{Path(first.version).name} {Path(first.version).resolve()}"]
    curate.run(settings([sys.executable, "-c", APPEND]))  # nothing changed
    assert len(calls()) == 1
    curate.run(settings([sys.executable, "-c", APPEND], keep=6))
    assert len(calls()) == 2
    versions.rollback(Path("run"), None, print)
    curate.run(settings([sys.executable, "-c", APPEND], keep=6))  # published again
    assert len(calls()) == 3


def test_it_does_not_change_the_content_of_the_version():
    first = curate.run(settings([sys.executable, "-c", "0"]))
    second = curate.run(settings([sys.executable, "-c", "1"]))
    assert first.version == second.version
    assert "after" not in (Path(second.version) / "README.md").read_text().partition("Resolved configuration")[2]


def test_a_failure_names_command_and_status_keeps_the_version_and_is_repeated():
    fails = [
        sys.executable,
        "-c",
        "import sys; print('no such queue'); sys.exit(0 if __import__('os').path.exists('ok') else 7)",
    ]
    for _ in range(2):
        with pytest.raises(PublicationHookError, match="exit status 7; its last lines: no such queue") as error:
            curate.run(settings(fails))
        assert error.value.exit_code == 6
        assert versions.published_version(Path("run/export"))
        assert Path("run/report.html").exists()
    Path("ok").touch()
    curate.run(settings(fails))
    assert (Path("run/export") / "hook.json").exists()
    with pytest.raises(PublicationHookError, match="cannot start 'no-such-program'"):
        curate.run(settings(["no-such-program"]))


def test_a_link_in_place_of_the_record_is_refused():
    curate.run(settings([sys.executable, "-c", APPEND]))
    record = Path("run/export/hook.json")
    record.rename("elsewhere.json")
    record.symlink_to(Path("elsewhere.json").resolve())
    with pytest.raises(CurateError, match="symbolic link"):
        curate.run(settings([sys.executable, "-c", APPEND]))
    assert len(calls()) == 1


def test_a_termination_of_the_run_ends_the_command():
    sleeps = "import os, time; print(os.getpid(), file=open('pid', 'w'), flush=True); time.sleep(60)"
    Path("config.yaml").write_text(json.dumps(settings([sys.executable, "-c", sleeps])))
    run = subprocess.Popen([sys.executable, "-m", "curate", "run", "config.yaml", "--executor", "serial"])
    for _ in range(600):
        if Path("pid").exists() and Path("pid").read_text().strip():
            break
        time.sleep(0.1)
    child = int(Path("pid").read_text())
    run.send_signal(signal.SIGTERM)
    assert run.wait(30) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not Path("run/export/hook.json").exists()
