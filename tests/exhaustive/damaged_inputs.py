"""Damages input files of every format and compression, and reads them.

    python tests/exhaustive/damaged_inputs.py [--files 3000] [--seed 0] [--out FILE]

A file is a good one with one to three damages: bytes flipped, zeroed, inserted, cut off, a chunk twice or elsewhere, or
a chunk of another file. It becomes the input of a run, in a process of its own, which may neither end by a signal nor
take longer than 30 seconds. Either every row is kept or quarantined, and of plain lines there are as many rows as
lines; or an error names the file, on one printable line, with an exit code that is not that of a bug. Prints a JSON
line for each fault and a tally by format; exits with 1 on any fault.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import json
import lzma
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate import errors
from curate.cli.exit_codes import exit_code
from curate.config.loader import config_from_dict
from curate.executors.serial import Serial
from curate.progress import NullProgress
from curate.stages.base import Context
from curate.stages.ingest.stage import ingest

PATIENCE = 30
"""Seconds after which reading a file hangs."""

BATCH = 50
"""Number of files that one process reads, unless it ends before."""

WORDS = ("amber", "birch", "cobalt", "dünn", "embers\u2028", "日本", "grove")


def rows(number: int) -> list[dict[str, Any]]:
    """Return rows of many types."""
    return [
        {
            "id": f"r{row}",
            "text": " ".join(WORDS[(row * step) % len(WORDS)] for step in range(1, 5 + row % 7)),
            "topic": None if row % 5 == 0 else f"t{row % 3}",
            "n": row * 1.5 if row % 2 else row,
            "tags": [f"t{row % 3}", str(row)],
            "inner": {"a": row, "b": {"c": [row, None]}},
        }
        for row in range(number)
    ]


def jsonl(number: int) -> bytes:
    """Return lines of JSON."""
    return "".join(json.dumps(row, ensure_ascii=bool(number % 2)) + "\n" for row in rows(number)).encode()


def cells(separator: str, number: int) -> bytes:
    """Return a table with quoted cells."""
    lines = [["id", "text", "topic", "n"]] + [
        [row["id"], f'"{row["text"]} ""{number}""\nmore"', row["topic"] or "", str(row["n"])] for row in rows(number)
    ]
    return "".join(separator.join(line) + "\r\n" for line in lines).encode()


def parquet(number: int, **options: Any) -> bytes:
    """Return a Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows(number)), file, **options)
    return file.getvalue()


def zst(data: bytes) -> bytes:
    """Return zstd-compressed bytes with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".zst": zst,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
PLAIN: dict[str, Callable[[int], bytes]] = {
    ".jsonl": jsonl,
    ".json": lambda number: json.dumps(rows(number), indent=number % 3).encode(),
    ".csv": lambda number: cells(",", number),
    ".tsv": lambda number: "".join(
        "\t".join([row["id"], row["text"], row["topic"] or "", str(row["n"])]) + "\n"
        for row in [{"id": "id", "text": "text", "topic": "topic", "n": "n"}, *rows(number)]
    ).encode(),
}
PARQUET: tuple[dict[str, Any], ...] = (
    {"compression": "none"},
    {"compression": "snappy", "row_group_size": 7},
    {"compression": "zstd", "data_page_version": "2.0", "use_dictionary": False},
    {"compression": "gzip", "write_page_checksum": True},
    {"compression": "brotli", "write_page_index": True},
    {"compression": "lz4", "use_byte_stream_split": False},
)


Good = dict[str, tuple[str, bytes, Callable[[bytes], bytes]]]
"""Good files by a label: the ending, the bytes before they are compressed, and what compresses them."""


def good_files() -> Good:
    """Return good files."""
    found: Good = {}
    for ending, make in PLAIN.items():
        for suffix, pack in PACKED.items():
            for number in (20, 41):
                found[f"{ending}{suffix} {number}"] = (f"{ending}{suffix}", make(number), pack)
    for place, options in enumerate(PARQUET):
        found[f".parquet {place}"] = (".parquet", parquet(20, **options), PACKED[""])
    vectors = io.BytesIO()
    np.save(vectors, np.eye(20, 6, dtype=np.float32))
    found[".npy"] = (".npy", vectors.getvalue(), PACKED[""])
    return found


def damaged(data: bytes, other: bytes, rng: random.Random) -> tuple[bytes, list[str]]:
    """Return bytes with one to three damages, and their names."""
    done = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        size = len(data)
        if not size:
            break
        start = rng.choice((0, rng.randrange(size), rng.randrange(size), max(0, size - rng.randint(1, 64))))
        length = min(size - start, rng.choice((1, 2, 4, 8, 64, 256)))
        kind = rng.choice(
            ("flip", "random", "zero", "insert", "cut", "remove", "twice", "elsewhere", "splice", "number")
        )
        chunk, rest = data[start : start + length], data[start + length :]
        match kind:
            case "flip":
                data = data[:start] + bytes([data[start] ^ (1 << rng.randrange(8))]) + data[start + 1 :]
            case "random":
                data = data[:start] + rng.randbytes(length) + rest
            case "zero":
                data = data[:start] + bytes(length) + rest
            case "insert":
                data = (
                    data[:start]
                    + rng.choice((rng.randbytes(length), b"\x00", b"\n", b'"', b"\xff\xfe", b"[" * 99))
                    + data[start:]
                )
            case "cut":
                data = data[:start]
            case "remove":
                data = data[:start] + rest
            case "twice":
                data = data[: start + length] + chunk * rng.choice((1, 1, 50)) + rest
            case "elsewhere":
                place = rng.randrange(len(data))
                data = data[:place] + chunk + data[place:]
            case "splice":
                data = data[:start] + other[rng.randrange(len(other)) :]
            case "number":  # a length or an offset, perhaps
                data = (
                    data[:start]
                    + rng.choice((b"\xff\xff\xff\x7f", b"\xff" * 9, b"\x80" * 9 + b"\x01"))
                    + data[start + 4 :]
                )
        done.append(kind)
    return data, done


def attempt(name: str, data: bytes, *, named: bool) -> str:
    """Read one file as an input; return how that ended, beginning with FAULT where it should not have."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        section: dict[str, Any] = {"files": str(path), "text": "text", "rows_per_shard": 8}
        if name.endswith(".npy"):
            path.with_suffix(".jsonl").write_bytes(jsonl(20))
            section |= {"files": str(path.with_suffix(".jsonl")), "vectors": ".npy"}
        if named:
            section |= {"id": "id"}
        config = config_from_dict(
            {"curate": 1, "run": f"{folder}/run", "input": section, "select": [{"use": "uniform", "keep": 1}]}
        )
        try:
            with errors.convert_panics():
                source, record = ingest(Context(config, Serial(), NullProgress()))
                record.check()
                read = sum(len(table) for table in source.iterate_shards(columns=tuple(source.columns)))
        except errors.CurateError as error:
            told = str(error)
            if exit_code(error) == errors.BUG or not (name.partition(".")[0] in told or "input" in told):
                return f"FAULT names no file: {told[:300]}"
            return "error" if told.isprintable() and len(told) < 1000 else f"FAULT not one short line: {told[:300]!r}"
        except (Exception, RecursionError) as error:
            return f"FAULT a bug: {type(error).__name__}: {str(error)[:300]}"
        if not source.rows == read == record.count.kept > 0:
            return f"FAULT {source.rows} rows, {read} read, {record.count}"
        if name.endswith(".jsonl") and record.count.rows_in != (
            lines := sum(bool(line.strip()) for line in data.split(b"\n"))
        ):
            return f"FAULT {record.count.rows_in} rows of {lines} lines"
        return "quarantined" if record.count.quarantined else "read"


def drawn(seed: int, number: int, good: Good) -> tuple[str, str, bytes, list[str], bool]:
    """Return the label, the name and the bytes of a damaged file, its damages, and whether its rows have ids."""
    rng = random.Random(f"{seed}/{number}")
    label = rng.choice(sorted(good))
    ending, data, pack = good[label]
    other, inside = good[rng.choice(sorted(good))][1], rng.random() < 0.5
    data, damages = damaged(data if inside else pack(data), other, rng)
    data = pack(data) if inside else data
    return label, f"pool{ending}", data, damages, rng.random() < 0.7


def batch(seed: int, numbers: list[int], good: Good) -> Iterator[dict[str, Any]]:
    """Read some files in a process of its own; a file that ends the process is a fault, and the others follow."""
    while numbers:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            with os.fdopen(write, "w", buffering=1) as file:
                for number in numbers:
                    label, name, data, damages, named = drawn(seed, number, good)
                    signal.setitimer(signal.ITIMER_REAL, PATIENCE)  # ends the process
                    begun = time.monotonic()
                    ended = attempt(name, data, named=named)
                    line = {"file": number, "of": label, "damages": damages, "ended": ended}
                    file.write(json.dumps(line | {"s": round(time.monotonic() - begun, 2)}) + "\n")
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as file:
            lines = [json.loads(line) for line in file]
        _, status = os.waitpid(child, 0)
        yield from lines
        numbers = numbers[len(lines) :]
        if status and numbers:
            label, _, _, damages, _ = drawn(seed, numbers[0], good)
            number = os.waitstatus_to_exitcode(status)
            ended = "FAULT hangs" if number == -signal.SIGALRM else f"FAULT ends the process: {number}"
            yield {"file": numbers[0], "of": label, "damages": damages, "ended": ended, "s": 0.0}
            numbers = numbers[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the faults to this JSON file")
    asked = parser.parse_args()
    os.fsync = lambda _: None
    good, tally = good_files(), Counter[tuple[str, str]]()
    faults: list[dict[str, Any]] = []
    folder = tempfile.mkdtemp(prefix="curate-inputs-")
    tempfile.tempdir = folder
    slowest = 0.0
    for start in range(0, asked.files, BATCH):
        for line in batch(asked.seed, list(range(start, min(start + BATCH, asked.files))), good):
            ended = line["ended"].partition(" ")[0]
            tally[line["of"].partition(" ")[0], ended] += 1
            slowest = max(slowest, line["s"])
            if ended == "FAULT":
                faults.append(line)
                print(json.dumps(line), flush=True)  # noqa: T201
                if asked.out:
                    asked.out.write_text(json.dumps(faults, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    by_format: dict[str, dict[str, int]] = {}
    for (label, ended), count in sorted(tally.items()):
        by_format.setdefault(label, {})[ended] = count
    print(json.dumps({"files": tally.total(), "faults": len(faults), "slowest": slowest, "by format": by_format}))  # noqa: T201
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
