"""Runs on disks of many sizes, and with other things that fail when the export is published.

    python tests/exhaustive/disk_sizes.py [--sizes 25]

A finished run whose pool has changed lies on a file system that is too small for the next one, by a page, by two, and
so on. Each time the run either exits with 0, and the new version is published and whole; or with another code, and
everything that was published is byte for byte what it was. With room, the next run ends as one that nothing disturbed.
The same is asked of a limit on the size of files, of closed and of full outputs, of a file system that becomes
read-only, and of a disk that cannot sync. Prints a JSON line for each and exits with 1 on any fault.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curate.store import versions

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "curate", "run", "config.yaml", "--executor", "serial", "--log-format", "quiet"]
CONFIG: dict[str, Any] = {
    "curate": 1,
    "run": "disk/run",
    "input": {"files": "pool/*.jsonl", "id": "id", "text": "text", "label": "topic", "rows_per_shard": 40},
    "embed": {"use": "hashing", "dimensions": 64},
    "cluster": {"use": "kmeans", "n_clusters": 2},
    "score": [{"use": "length"}],
    "select": [{"use": "exact_duplicates", "against": "published"}, {"use": "top_k", "keep": 30}],
    "export": {"use": "jsonl", "rows_per_file": 8},
}


def write_pool(edited: bool) -> None:
    """Write the pool."""
    Path("pool").mkdir(exist_ok=True)
    words = ["amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "iris"]
    rows = [
        {
            "id": f"r{number:03d}",
            "text": " ".join(words[(number * step) % 8] for step in range(4 + number % 9)) + f" {number}",
            "topic": f"t{number % 3}",
        }
        for number in range(90)
    ]
    if edited:
        for number in range(0, 90, 7):
            rows[number]["text"] += " with words that were added to it since"
    Path("pool/a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(command: list[str] = COMMAND, **options: Any) -> tuple[int, str]:
    """Run a command; return its exit code and what it said."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    settings: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": env,
    } | options
    done = subprocess.run(command, check=False, **settings)
    return done.returncode, done.stderr or ""


def published(report: bool = True) -> dict[str, str]:
    """Return the bytes of what is published, and of the report if asked, as hashes."""
    found, base = {}, Path("disk/run")
    current = base / "export" / "current"
    files = [*current.rglob("*"), *([base / "report.html"] if report else [])]
    for path in files:
        if path.is_file():
            found[path.relative_to(base).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found | {"current": str(current.readlink())}


def history() -> list[dict[str, Any]]:
    """Return the publications as commands see them."""
    lines = versions.read_history(Path("disk/run/export"))
    return [{key: value for key, value in line.items() if key != "published"} for line in lines]


def mount(size: int) -> None:
    """Give the file system so many KiB."""
    subprocess.run(["mount", "-o", f"remount,rw,size={size}k", "disk"], check=True)


def restore() -> None:
    """Put the finished run back, on a large file system."""
    mount(1 << 20)
    shutil.rmtree("disk/run", ignore_errors=True)
    shutil.copytree("before", "disk/run", symlinks=True)


def used() -> int:
    """Return the KiB that are in use."""
    found = os.statvfs("disk")
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024


def judged(code: int, told: str, before: dict[str, str], lines: Any, expected: Any, *, unprinted: bool) -> list[str]:
    """Return what is wrong after a run that something may have disturbed, and after the next one."""
    wrong = []
    if code == 0:
        if (published(report=False), history()) != expected:
            wrong.append("exit code 0, but the new version is not published and complete")
    elif code != 3 or unprinted:  # a result that cannot be printed after publishing is a warning
        wrong.append(f"exit code {code}")
    elif (published(), history()) != (before, lines):
        wrong.append("failed, but what was published has changed")
    if "Traceback" in told or "bug" in told:
        wrong.append(f"told as a bug: {told[-300:]}")
    mount(1 << 20)
    if left := [path.name for path in Path("disk").rglob(".*.partial.*") if path.is_file()]:
        wrong.append(f"left behind: {left}")
    again, told = run()
    if again or (published(report=False), history()) != expected:
        wrong.append(f"with room the next run gives {again}, or another export: {told[-300:]}")
    return wrong


def closed(number: int) -> dict[str, Any]:
    """Return options that close an output before the command begins."""
    return {"preexec_fn": lambda: os.close(number), "stdout": None, "stderr": None}


SYNC = """
import errno, os, sys
def fails(handle): raise OSError(errno.EIO, "Input/output error")
import curate.cli.app
done = [0]
whole = os.fsync
def fsync(handle):
    done[0] += 1
    return fails(handle) if done[0] >= {nth} else whole(handle)
os.fsync = fsync
sys.argv = ["curate", *{arguments}]
curate.cli.app.main()
"""


def disturbances(smallest: int, largest: int, sizes: int) -> Iterator[tuple[str, Callable[[], tuple[int, str]]]]:
    """Yield each way to disturb a run, with a function that runs one so."""
    for number in range(sizes):
        size = smallest + (largest - smallest) * number // max(1, sizes - 1) // 4 * 4

        def small(size: int = size) -> tuple[int, str]:
            mount(size)
            return run()

        yield f"a disk of {size} KiB", small
    for limit in (1, 4, 16, 64, 100, 120, 140, 160, 200, 1000):
        yield (
            f"ulimit -f {limit}",
            lambda limit=limit: run(["bash", "-c", f'ulimit -f {limit}; exec "$@"', "run", *COMMAND]),
        )
    shell = 'exec "$@" '
    for name in (
        ">&-",
        "2>&-",
        ">&- 2>&-",
        "<&- >&- 2>&-",
        ">/dev/full",
        "2>/dev/full",
        ">/dev/full 2>/dev/full",
        "|true",
    ):
        script = f'"$@" {name}; exit ${{PIPESTATUS[0]}}' if name == "|true" else f"{shell}{name}"
        for style in ("plain", "json"):
            command = [*COMMAND[:-1], style]
            yield (
                f"{name} --log-format {style}",
                lambda script=script, command=command: run(["bash", "-c", script, "run", *command]),
            )
    for nth in (1, 30, 60, 70, 75, 80, 85, 90):
        code = SYNC.format(nth=nth, arguments=COMMAND[3:])
        yield f"EIO from sync {nth} on", lambda code=code: run([sys.executable, "-c", code])

    def read_only() -> tuple[int, str]:
        subprocess.run(["mount", "-o", "remount,ro", "disk"], check=True)
        try:
            return run()
        finally:
            mount(1 << 20)

    yield "a read-only file system", read_only


def rounds(sizes: int) -> Iterator[dict[str, Any]]:
    """Play every disturbance in the current folder, in a name space of its own."""
    Path("disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1G", "none", "disk"], check=True)
    Path("config.yaml").write_text(json.dumps(CONFIG))
    write_pool(edited=False)
    if run()[0]:
        raise RuntimeError("the first run failed")
    shutil.copytree("disk/run", "before", symlinks=True)
    write_pool(edited=True)
    restore()
    smallest = used()
    code, told = run()
    if code:
        raise RuntimeError(told)
    expected, largest = (published(report=False), history()), used() + 768
    for name, disturb in disturbances(smallest + 4, largest, sizes):
        restore()
        before, lines = published(), history()
        code, told = disturb()
        wrong = judged(code, told, before, lines, expected, unprinted=name.startswith(">/dev/full"))
        yield {"what": name, "code": code, "told": told[-200:], "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, default=25)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.inside:
        folder = tempfile.mkdtemp(prefix="curate-disk-")
        command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, str(Path(__file__).resolve())]
        done = subprocess.run([*command, "--inside", "--sizes", str(asked.sizes)], cwd=folder, check=False)
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit(done.returncode)
    wrong = played = succeeded = 0
    for line in rounds(asked.sizes):
        print(json.dumps(line), flush=True)  # noqa: T201
        played, wrong, succeeded = played + 1, wrong + bool(line["wrong"]), succeeded + (line["code"] == 0)
    print(json.dumps({"rounds": played, "exit code 0": succeeded, "wrong": wrong}))  # noqa: T201
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
