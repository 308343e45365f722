"""Standard input as the pool: stored once, read again on resume, and never by plan or check."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = [{"id": f"r{number}", "text": f"a text of row {number}"} for number in range(40)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configure("-")
    return tmp_path


def configure(files: str, **guard: float) -> None:
    data = {
        "curate": 1,
        "run": "run",
        "input": {"files": files, "text": "text", "id": "id", "rows_per_shard": 8},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep": 20}],
        "guard": guard,
    }
    Path("c.yaml").write_text(json.dumps(data))


@pytest.fixture
def curate(command, monkeypatch, tmp_path):
    """Runs a command with bytes, an open file, or nothing as standard input."""

    def run(*arguments: str, data: bytes | None = None, stdin: Any = None) -> Any:
        if stdin is None:
            path = Path("/dev/null") if data is None else tmp_path / "stdin"
            if data is not None:
                path.write_bytes(data)
            stdin = path.open()
        with stdin, monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            return command(*arguments)

    return run


def message(done: Any) -> str:
    return " ".join(done.stderr.split())


def exported() -> set[str]:
    return set(pq.read_table("run/export/current/data")["id"].to_pylist())


def test_rows_come_in_once_and_the_run_resumes_without_them(curate, folder):
    assert curate("check", "c.yaml").stdout.startswith("note: input.files: standard input is read when a run starts")
    planned = curate("plan", "c.yaml", data=LINES)
    assert planned.returncode == 3
    assert "no run has stored it yet" in message(planned)
    first = curate("embed", "c.yaml", "--workers", "2", data=LINES)
    assert first.returncode == 0, first.stderr
    assert Path("run/stdin/rows.jsonl").read_bytes() == LINES
    assert curate("plan", "c.yaml", data=b"not read").returncode == 0
    resumed = curate("run", "c.yaml")
    assert resumed.returncode == 0, resumed.stderr
    assert "there is no standard input; the rows of the previous run are used" in message(resumed)
    kept = exported()
    assert len(kept) == 20
    again = curate("run", "c.yaml", data=LINES)
    assert "unchanged" in again.stdout
    assert curate("explain", "run", min(kept)).stdout
    assert curate("check", "c.yaml").returncode == 0
    other = curate("run", "c.yaml", data=LINES.replace(b"r1", b"s1"))
    assert other.returncode == 0
    assert any(name.startswith("s1") for name in exported())


def test_the_bytes_do_not_depend_on_the_workers(curate, folder):
    contents = []
    for workers in ("1", "4"):
        assert curate("run", "c.yaml", "--workers", workers, "--set", f"run=run{workers}", data=LINES).returncode == 0
        files = sorted(Path(f"run{workers}/export/current/data").iterdir())
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]


def test_no_input_is_an_error_and_leaves_the_stored_rows(curate, folder):
    nothing = curate("run", "c.yaml")
    assert nothing.returncode == 3
    assert "input.files: standard input is a terminal or closed; pipe rows to the command" in message(nothing)
    assert curate("run", "c.yaml", data=LINES).returncode == 0
    empty = curate("run", "c.yaml", data=b"")
    assert empty.returncode == 3
    assert "standard input is empty" in message(empty)
    assert Path("run/stdin/rows.jsonl").read_bytes() == LINES


def test_a_terminal_is_never_read(curate, folder):
    ours, theirs = pty.openpty()
    try:
        done = curate("run", "c.yaml", stdin=os.fdopen(theirs))
    finally:
        os.close(ours)
    assert "standard input is a terminal or closed" in message(done)


def test_a_closed_input_is_an_error(folder, command, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    done = command("run", "c.yaml")
    assert done.returncode == 3
    assert "standard input is a terminal or closed" in message(done)


def test_a_pipe_is_read_to_its_end(folder):
    rows = f"{sys.executable} -c \"import time; print(open('lines').read(9), end='', flush=True); time.sleep(1)\""
    Path("lines").write_bytes(LINES)
    shell = f"({rows}; tail -c +10 lines) | {sys.executable} -m curate embed c.yaml --executor serial"
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path("run/stdin/rows.jsonl").read_bytes() == LINES


def test_a_stream_that_ends_within_a_row_has_that_row_quarantined(curate, folder):
    configure("-", max_quarantine_rate=0.5)
    done = curate("run", "c.yaml", data=LINES[:-20])
    assert done.returncode == 0, done.stderr
    [row] = pq.read_table("run/input/quarantine").to_pylist()
    assert (row["file"], row["line"]) == ("run/stdin/rows.jsonl", 40)
    assert row["reason"].startswith("does not parse")


@pytest.mark.parametrize("ending", [".csv", ".jsonl.gz", ".parquet", ".arrow"])
def test_another_format_is_named_after_the_hyphen(curate, folder, ending):
    table = pa.Table.from_pylist(ROWS)
    sink = pa.BufferOutputStream()
    if ending == ".csv":
        data = "id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in ROWS)
        content = data.encode()
    elif ending == ".jsonl.gz":
        content = gzip.compress(LINES)
    elif ending == ".parquet":
        pq.write_table(table, sink)
        content = sink.getvalue().to_pybytes()
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        content = sink.getvalue().to_pybytes()
    assert curate("run", "c.yaml", data=LINES).returncode == 0
    configure(f"-{ending}")
    done = curate("run", "c.yaml", data=content)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in Path("run/stdin").iterdir()] == [f"rows{ending}"]
    assert len(exported()) == 20


def test_an_unknown_ending_and_a_list_are_errors(curate, folder):
    configure("-.warc")
    assert "no known format" in message(curate("run", "c.yaml", data=LINES))
    data = json.loads(Path("c.yaml").read_text())
    data["input"]["files"] = ["-", "a.jsonl"]
    Path("c.yaml").write_text(json.dumps(data))
    assert "standard input must be the only entry" in message(curate("run", "c.yaml", data=LINES))


def test_a_link_in_place_of_the_stored_rows_is_refused(curate, folder):
    assert curate("run", "c.yaml", data=LINES).returncode == 0
    Path("run/stdin/rows.jsonl").rename("elsewhere.jsonl")
    Path("run/stdin/rows.jsonl").symlink_to(Path("elsewhere.jsonl").resolve())
    done = curate("run", "c.yaml")
    assert done.returncode == 3
    assert "symbolic link" in message(done)
