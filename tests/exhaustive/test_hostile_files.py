"""Small files that expand to much: each ends soon, in little memory, with quarantined rows or one clear error."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MOST_MEMORY = 1 << 30
"""Bytes that no process of a run may hold."""

MOST_SECONDS = 30.0

GOOD = b'{"text": "a row of the pool", "k": 1}\n'


# ---------------------------------------------------------------- files


def _repeated(path: Path, opened: Callable[[Path], IO[bytes]], line: bytes, times: int, head: bytes = b"") -> None:
    """Write a line many times through a compressor."""
    block = line * max(1, (1 << 20) // len(line))
    with opened(path) as file:
        file.write(head)
        for _ in range(len(line) * times // len(block)):
            file.write(block)


def _gz(path: Path) -> IO[bytes]:
    return gzip.open(path, "wb", compresslevel=9)  # type: ignore[return-value]


def _zst(path: Path) -> IO[bytes]:
    import zstandard

    return zstandard.open(path, "wb", cctx=zstandard.ZstdCompressor(level=3))


def _bz2(path: Path) -> IO[bytes]:
    return bz2.open(path, "wb")  # type: ignore[return-value]


def _xz(path: Path) -> IO[bytes]:
    return lzma.open(path, "wb", preset=1)  # type: ignore[return-value]


def _plain(path: Path) -> IO[bytes]:
    return path.open("wb")


def _lines(path: Path, records: Iterable[object]) -> None:
    with path.open("w") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")


def _json(path: Path, records: Iterable[object]) -> None:
    path.write_text("[" + ",\n".join(map(json.dumps, records)) + "]")


def _row(number: int, **more: object) -> dict[str, object]:
    return {"text": f"row number {number}", **more}


def _each_its_key(rows: int) -> Iterator[dict[str, object]]:
    return (_row(number, **{f"key{number}": number}) for number in range(rows))


def _keys(number: int) -> dict[str, int]:
    return {f"key{key}": key for key in range(number)}


def _csv(path: Path, columns: int, rows: int) -> None:
    head = ",".join(["text", *(f"c{column}" for column in range(columns))])
    row = ",".join(["some text", *("1" for _ in range(columns))])
    path.write_text("\n".join([head, *[row] * rows]) + "\n")


def _parquet(path: Path, table: pa.Table, **options: object) -> None:
    pq.write_table(table, path, compression="zstd", **options)


def _struct(width: int) -> pa.Array:
    return pa.StructArray.from_arrays([pa.array([1, 2])] * width, names=[f"f{field}" for field in range(width)])


def _many_rows(path: Path, text: str, rows: int, rows_at_once: int = 1 << 24) -> None:
    """Write the same text in every row: a dictionary of one value, and runs of its index."""
    table = pa.table({"text": pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows_at_once, np.int8)), [text])})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as file:
        for _ in range(rows // rows_at_once):
            file.write_table(table, rows_at_once)


def _long_lists(path: Path, values: int) -> None:
    """Write two rows, each a list of the same number again and again."""
    numbers = pa.ListArray.from_arrays([0, values, 2 * values], pa.array(np.zeros(2 * values, np.int8)))
    _parquet(path, pa.table({"text": ["x", "y"], "numbers": numbers}))


def _dictionary_in_lists(path: Path) -> None:
    """Write lists of one long text, which the file stores once."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(400_000, np.int16)), ["long text " * 20_000])
    _parquet(path, pa.table({"text": ["x"] * 4, "texts": pa.ListArray.from_arrays([0, 1, 2, 3, 400_000], texts)}))


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _npy(path: Path, shape: tuple[int, ...], kind: str = "<f4") -> None:
    """Write an array file whose header claims a shape that its bytes do not have."""
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))


def _with_vectors(folder: Path, shape: tuple[int, ...]) -> None:
    (folder / "a.jsonl").write_bytes(GOOD * 3)
    _npy(folder / "a.npy", shape)


# ---------------------------------------------------------------- the table


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file, and how a run over it ends."""

    name: str
    write: Callable[[Path], None]
    code: int
    """Exit code."""

    says: str
    """Part of the message."""

    more: str = ""
    """Further lines of the section ``input``."""


_TOO_WIDE = "columns"

HOSTILE = [
    Hostile(
        "ragged.csv.gz",
        lambda path: _repeated(path, _gz, b"a,b,c,d,e\n", 10_000_000, b"text,k\nfirst,1\n"),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "bad.jsonl.gz",
        lambda path: _repeated(path, _gz, b'{"text": bad}\n', 8_000_000),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "bad.jsonl.zst",
        lambda path: _repeated(path, _zst, b'{"text": bad}\n', 8_000_000),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "bad.jsonl.bz2",
        lambda path: _repeated(path, _bz2, b'{"text": bad}\n', 1_000_000),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "bad.jsonl.xz",
        lambda path: _repeated(path, _xz, b'{"text": bad}\n', 8_000_000),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "empty-objects.jsonl.gz",
        lambda path: _repeated(path, _gz, b"{}\n", 40_000_000),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "blank.jsonl.gz",
        lambda path: _repeated(path, _gz, b"\n" * 64, 16_000_000, GOOD),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "blank.csv.gz",
        lambda path: _repeated(path, _gz, b"\n" * 64, 16_000_000, b"text\nx\n"),
        3,
        "bytes expands to more than",
    ),
    Hostile("good.jsonl.gz", lambda path: _repeated(path, _gz, GOOD, 4_000_000), 3, "bytes expands to more than"),
    Hostile("quotes.csv.gz", lambda path: _repeated(path, _gz, b'"a', 60_000_000, b"text,k\n"), 3, ""),
    Hostile(
        "quotes.tsv.gz",
        lambda path: _repeated(path, _gz, b'"a\n', 60_000_000, b"text\tk\n"),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "zeros.jsonl.gz",
        lambda path: _repeated(path, _gz, bytes(1 << 20), 2_000, GOOD),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "zeros.json.gz", lambda path: _repeated(path, _gz, b" " * (1 << 20), 2_000), 3, "bytes expands to more than"
    ),
    Hostile("zeros.csv.gz", lambda path: _repeated(path, _gz, bytes(1 << 20), 2_000, b"text\n"), 3, ""),
    Hostile("zeros.tsv.zst", lambda path: _repeated(path, _zst, bytes(1 << 20), 2_000, b"text\n"), 3, ""),
    Hostile(
        "long-lines.jsonl.gz",
        lambda path: _repeated(path, _gz, b"x" * (100 << 20) + b"\n", 20, GOOD),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "long-bad-lines.jsonl.gz",
        lambda path: _repeated(path, _gz, b"x" * (10 << 20) + b"\n", 12, GOOD * 10),
        3,
        "guard.max_quarantine_rate",
    ),
    Hostile(
        "long-good-line.jsonl.gz",
        lambda path: _repeated(path, _gz, b'{"text": "' + b"word " * 24_000_000 + b'"}\n', 1, GOOD * 10),
        3,
        "guard.max_quarantine_rate",
    ),
    Hostile(
        "empty-lists.jsonl.gz",
        lambda path: _repeated(path, _gz, b'{"text": "x", "a": [' + b"{}," * 5_000_000 + b"{}]}\n", 20),
        3,
        "bytes expands to more than",
    ),
    Hostile("each-its-key.jsonl", lambda path: _lines(path, _each_its_key(60_000)), 3, _TOO_WIDE),
    Hostile("each-its-key.json", lambda path: _json(path, _each_its_key(60_000)), 3, _TOO_WIDE),
    Hostile(
        "each-its-nested-key.jsonl",
        lambda path: _lines(path, (_row(n, a={"b": one}) for n, one in enumerate(_each_its_key(60_000)))),
        0,
        "published in",
    ),
    Hostile(
        "each-its-key-in-a-list.jsonl",
        lambda path: _lines(path, (_row(n, a=[one]) for n, one in enumerate(_each_its_key(60_000)))),
        0,
        "published in",
    ),
    Hostile("many-keys.jsonl", lambda path: _lines(path, [_row(n, **_keys(9_999)) for n in range(20)]), 3, _TOO_WIDE),
    Hostile("nested-keys.jsonl", lambda path: _lines(path, [_row(n, a=_keys(60_000)) for n in range(3)]), 3, _TOO_WIDE),
    Hostile("nested-keys.json", lambda path: _json(path, [_row(n, a=[_keys(60_000)]) for n in range(3)]), 3, _TOO_WIDE),
    Hostile(
        "keys-of-two-kinds.jsonl",
        lambda path: _lines(path, [_row(n, a=_keys(60_000) if n else 1) for n in range(3)]),
        0,
        "published in",
    ),
    Hostile("wide.csv", lambda path: _csv(path, 12_000, 3), 3, _TOO_WIDE),
    Hostile("wide.csv.gz", lambda path: _repeated(path, _gz, b"c,", 12_000_000), 3, ""),
    Hostile(
        "wide.parquet",
        lambda path: _parquet(path, pa.table({"text": ["x"], **{f"c{c}": [1] for c in range(60_000)}})),
        3,
        _TOO_WIDE,
    ),
    Hostile(
        "wide-struct.parquet",
        lambda path: _parquet(path, pa.table({"text": ["x", "y"], "s": _struct(60_000)})),
        3,
        _TOO_WIDE,
    ),
    Hostile("rows.parquet", lambda path: _many_rows(path, "x", 1 << 26), 3, "bytes expands to more than"),
    Hostile(
        "long-texts.parquet",
        lambda path: _many_rows(path, "long text " * 100_000, 1 << 16, 1 << 12),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "one-row-group.parquet",
        lambda path: _many_rows(path, "long text " * 100_000, 1 << 16, 1 << 16),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "deep.jsonl",
        lambda path: path.write_text('{"text": "x", "a": ' + _nested(1_000_000) + "}\n"),
        3,
        "all 1 rows were quarantined",
    ),
    Hostile("deep.json", lambda path: path.write_text('[{"text": "x", "a": ' + _nested(1_000_000) + "}]"), 3, "deep"),
    Hostile(
        "long-number.jsonl",
        lambda path: path.write_text('{"text": "x", "a": ' + "9" * 10_000_000 + "}\n"),
        3,
        "rows were quarantined",
    ),
    Hostile(
        "long-fraction.jsonl",
        lambda path: path.write_text('{"text": "x", "a": 0.' + "12" * 7_000_000 + "}\n"),
        3,
        "rows were quarantined",
    ),
    Hostile(
        "no-objects.json.gz",
        lambda path: _repeated(path, _gz, b"1,", 60_000_000, b'[{"text": "x"},'),
        3,
        "bytes expands to more than",
    ),
    Hostile(
        "lists.json.gz", lambda path: _repeated(path, _gz, b"[],", 40_000_000, b"["), 3, "bytes expands to more than"
    ),
    Hostile(
        "row-without-end.csv.gz",
        lambda path: _repeated(path, _gz, b'"\n",', 30_000_000, b"text,k\n"),
        3,
        "",
    ),
    Hostile(
        "wide-rows.csv.gz", lambda path: _repeated(path, _gz, b"1," * 8_000_000 + b"\n", 8, b"text,k\nx,1\n"), 3, ""
    ),
    Hostile("long-lists.parquet", lambda path: _long_lists(path, 20_000_000), 3, "values in 2 rows"),
    Hostile("texts-in-lists.parquet", _dictionary_in_lists, 3, "a row takes 80,"),
    Hostile("page.parquet", lambda path: _parquet(path, pa.table({"text": ["a" * (1 << 28)]})), 3, "expand"),
    Hostile(
        "sources.jsonl",
        lambda path: _lines(path, (_row(n, s=f"source {n}") for n in range(30_000))),
        0,
        "",
        "source: s",
    ),
    Hostile("at-the-limit.csv", lambda path: _csv(path, 4_999, 30), 0, ""),
    Hostile("at-the-limit.jsonl", lambda path: _lines(path, [_row(n, **_keys(4_999)) for n in range(30)]), 0, ""),
    Hostile(
        "nested-at-the-limit.jsonl", lambda path: _lines(path, [_row(n, a=_keys(4_999)) for n in range(30)]), 0, ""
    ),
    Hostile(
        "at-the-limit.parquet",
        lambda path: _parquet(path, pa.table({"text": ["x", "y"], **{f"c{c}": [1, 2] for c in range(4_999)}})),
        0,
        "",
    ),
    Hostile(
        "sparse-at-the-limit.jsonl",
        lambda path: _lines(path, (_row(n, **{f"key{n % 4_999}": n}) for n in range(10_000))),
        0,
        "",
    ),
    Hostile("vectors", lambda path: _with_vectors(path, (1 << 60, 8)), 3, "cannot read the vectors", 'vectors: ".npy"'),
    Hostile("wide-vectors", lambda path: _with_vectors(path, (3, 1 << 60)), 3, "cannot read", 'vectors: ".npy"'),
]


# ---------------------------------------------------------------- a run, watched


@dataclass(frozen=True, slots=True)
class Watched:
    """How a command ended, and what it took."""

    code: int
    output: str
    seconds: float
    memory: int
    """Peak resident bytes of any one of its processes."""


def _descendants(root: int) -> Iterator[int]:
    yield root
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from _descendants(int(child))


def _peak(root: int) -> int:
    """Return the peak resident bytes of any process of a tree that is alive now."""
    found = 0
    try:
        for process in _descendants(root):
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    found = max(found, int(line.split()[1]) << 10)
    except OSError:  # it ended meanwhile
        return found
    return found


def watched(words: list[str], folder: Path, *, terminate_after: float | None = None) -> Watched:
    """Run a command; end it if it takes twice the time or the memory that it may."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    begun = time.monotonic()
    with (folder / "output").open("w+b") as output:
        process = subprocess.Popen(
            words, cwd=folder, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        memory, told = 0, False
        while process.poll() is None:
            memory = max(memory, _peak(process.pid))
            seconds = time.monotonic() - begun
            if terminate_after is not None and seconds > terminate_after and not told:
                process.send_signal(signal.SIGTERM)
                told = True
            if memory > 2 * MOST_MEMORY or seconds > 2 * MOST_SECONDS:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.02)
        seconds = time.monotonic() - begun
        output.seek(0)
        return Watched(process.returncode, output.read().decode(errors="replace"), seconds, memory)


def written(one: Hostile, folder: Path) -> Path:
    """Write the file, in a folder of its own if there are several, and a configuration over it."""
    pool = folder / "pool"
    pool.mkdir()
    folders = "." not in one.name
    one.write(pool if folders else pool / one.name)
    files = "pool/*.jsonl" if folders else f"pool/{one.name}"
    embed = "{use: column}" if folders else "{use: hashing, dimensions: 16}"
    path = folder / "x.yaml"
    path.write_text(
        f"curate: 1\nrun: run\ninput:\n  files: {files}\n  text: text\n  {one.more}\n"
        f"embed: {embed}\ncluster: {{use: kmeans, n_clusters: 1}}\n"
        "select: [{use: uniform, keep: 1}]\n"
    )
    return path


COMMAND = [sys.executable, "-c", "from curate.cli import main; main()", "run", "x.yaml"]


@pytest.mark.parametrize("executor", ["serial", "processes"])
@pytest.mark.parametrize("one", HOSTILE, ids=lambda one: one.name)
def test_a_hostile_file_ends_soon_and_in_little_memory(tmp_path, one, executor):
    written(one, tmp_path)
    ended = watched([*COMMAND, "--executor", executor, "--workers", "2"], tmp_path)
    assert (ended.code, one.says in ended.output) == (one.code, True), ended
    assert "Traceback" not in ended.output
    assert ended.memory < MOST_MEMORY, ended
    assert ended.seconds < MOST_SECONDS, ended


@pytest.mark.parametrize("name", ["zeros.json.gz", "blank.csv.gz"])
def test_a_run_that_reads_a_hostile_file_ends_at_sigterm(tmp_path, name):
    (one,) = (each for each in HOSTILE if each.name == name)
    written(one, tmp_path)
    ended = watched([*COMMAND, "--executor", "serial"], tmp_path, terminate_after=2.0)
    assert ended.code == 143, ended
    assert ended.seconds < 2.0 + 10, ended
