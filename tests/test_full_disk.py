"""A disk that is really full: each run ends with exit code 3 and the file's name, and goes on once there is room."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import curate

GROWS = """
import contextlib, hashlib, io, json, subprocess, sys
from pathlib import Path
from curate.cli import app

def run(*options):
    told = io.StringIO()
    sys.argv = ["curate", "run", "config.yaml", "--executor", "serial", "--log-format", "quiet", *options]
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        return app._run_app(), told.getvalue()

def published():
    current, report = Path("disk/run/export/current"), Path("disk/run/report.html")
    files = [path for path in (*current.rglob("*"), report) if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

def fill(step, *options):
    failed, size = [], sum(path.lstat().st_blocks for path in Path("disk").rglob("*")) // 2
    while True:
        size = 2 * size if failed and "report.html" in failed[-1]["told"] else size + step
        subprocess.run(["mount", "-o", f"remount,size={size}k", "disk"], check=True)
        code, told = run(*options)
        left = [path.name for path in Path("disk").rglob(".*.partial.*") if path.is_file()]
        failed.append({"code": code, "told": told, "published": published(), "left": left})
        if code != 3:
            return failed

subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", "disk"], check=True)
fills = [fill(4)]  # a page more each time
Path("pool/b.jsonl").write_text(Path("pool/b.jsonl").read_text().replace("number 4", "numero 4"))
print(json.dumps([*fills, fill(32, "--set", "memory_limit=1KiB")]))
"""


def small_disks_can_be_had() -> bool:
    """Whether a file system can be mounted here, in a name space of our own."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not small_disks_can_be_had(), reason="needs the right to mount a file system")
def test_a_full_disk_in_any_stage_changes_nothing_that_is_published_and_is_completed(pool, config):
    settings = config(
        run="disk/run",
        embed=[{"use": "hashing", "name": f"of_{size}", "dimensions": size} for size in (256, 1024)],
        score=[{"use": "prototypicality"}, {"use": "length"}, {"use": "lexical_quality"}],
        select=[{"use": "k_center", "keep": 20}],
        refresh={"refit": "always"},
        export={"use": "jsonl", "rows_per_file": 4, "shuffle": True},  # which deals the rows to files first
    )
    Path("config.yaml").write_text(json.dumps(settings))
    Path("disk").mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", GROWS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    full = re.compile(
        r"curate: disk/run/([\w.]*?)(?:/\S*)?: cannot (?:write|publish)[\w ]*: .*No space left on device"
        r"(?:; check the free space[\w ,]*)?"
        r"(?:; nothing was published; the published version and its report are unchanged)?\n"
    )
    before, stages = {}, set()
    for *failed, last in json.loads(done.stdout):
        assert (last["code"], last["told"]) == (0, "")
        for one in failed:
            assert one["code"] == 3
            assert full.fullmatch(one["told"]), one["told"]
            assert one["published"] == before
            assert not one["left"]
            stages.add(full.fullmatch(one["told"])[1])
        before = last["published"]
    assert {"input", "cluster", "score", "select", "scratch", "report.html"} <= stages  # others may need no more
    curate.run("config.yaml")  # on a disk with room enough
    current = Path("disk/run/export/current")
    files = [path for path in current.rglob("*") if path.is_file()]
    del before["report.html"]  # it tells what the run cost
    assert before == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
