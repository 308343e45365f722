"""Measure how fast the file formats are read, next to Hugging Face ``datasets`` with the same file; prints JSON lines.

    python benchmarks/formats.py [--rows 300000] [--formats jsonl csv parquet] [--repeats 3] [--folder /tmp]

Every measurement is a separate process, and the libraries alternate. Megabytes are those of the rows as JSON Lines, so
that formats can be compared; ``file_mb`` is the size of the file. curate parses and checks every value, on one core, as
a task of its input step does. ``datasets`` converts the file to its cache with one process.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import find_variants, machine, measure_in_process, memory, print_line

WORDS = [
    f"{left}{right}" for left in ("ba", "co", "du", "fe", "gi", "lo") for right in ("rin", "sta", "mel", "dor", "tik")
]
NEEDS = {"curate": "", "datasets": "datasets"}


# ---------------------------------------------------------------- the files


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield rows with an id, a text of 40 to 160 words, a number and a chat of two messages."""
    dice = random.Random(0)
    for number in range(count):
        text = " ".join(dice.choices(WORDS, k=dice.randrange(40, 160)))
        messages = [{"role": "user", "content": text[:80]}, {"role": "assistant", "content": text[80:240]}]
        yield {"id": f"row-{number:07d}", "text": text, "stars": number % 5, "messages": messages}


def write_files(folder: Path, count: int, formats: list[str]) -> dict[str, Path]:
    """Write the rows in each format; CSV files have the messages as JSON."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.feather
    import pyarrow.parquet as pq

    every = list(rows(count))
    table = pa.Table.from_pylist(every)
    lines = "".join(json.dumps(row) + "\n" for row in every).encode()
    flat = table.set_column(3, "messages", pa.array([json.dumps(row["messages"]) for row in every]))
    stream = folder / "stream.arrow"
    files = {name: folder / f"rows.{name}" for name in formats if name != "stream.arrow"} | (
        {"stream.arrow": stream} if "stream.arrow" in formats else {}
    )
    for name, path in files.items():
        if name == "jsonl":
            path.write_bytes(lines)
        elif name == "jsonl.gz":
            path.write_bytes(gzip.compress(lines, 6))
        elif name == "json":
            path.write_text(json.dumps(every))
        elif name == "csv":
            pa.csv.write_csv(flat, path)
        elif name == "parquet":
            pq.write_table(table, path, compression="zstd", row_group_size=50_000)
        elif name == "feather":
            pa.feather.write_feather(table, path, compression="lz4")
        else:
            with (pa.ipc.new_stream if name == "stream.arrow" else pa.ipc.new_file)(path, table.schema) as writer:
                writer.write_table(table, max_chunksize=1_000)
    (folder / "size").write_text(str(len(lines)))
    return files


# ---------------------------------------------------------------- reading


def read_with_curate(path: Path) -> int:
    """Read a file as a task of the input step does; return the number of rows."""
    from curate.store import readers
    from curate.store.records import Piece

    return sum(len(batch.rows) for batch in readers.read(Piece(str(path), 0)))


def read_with_datasets(path: Path) -> int:
    """Read a file into the cache of ``datasets``; return the number of rows."""
    import datasets

    datasets.disable_progress_bars()
    kind = {".jsonl": "json", ".json": "json", ".gz": "json", ".csv": "csv", ".parquet": "parquet"}.get(
        path.suffix, "arrow"
    )
    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        return int(datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=cache).num_rows)


READERS: dict[str, Callable[[Path], int]] = {"curate": read_with_curate, "datasets": read_with_datasets}
"""Function of each library that reads a file and returns the number of rows."""


def measure(library: str, path: Path) -> dict[str, Any]:
    """Return the seconds of this process for reading a file once, after its libraries are imported."""
    if library == "curate":
        from curate.store import readers  # noqa: F401
    else:
        import datasets  # noqa: F401
    path.read_bytes()  # into the page cache
    begun, cpu = time.perf_counter(), time.process_time()
    count = READERS[library](path)
    return {
        "rows": count,
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": memory("VmHWM"),
        **machine(),
    }


def compare(files: dict[str, Path], size: int, repeats: int) -> None:
    """Print the best of some repeats for each format and library."""
    variants = find_variants("formats", NEEDS)
    for name, path in files.items():
        done: dict[str, list[dict[str, Any]]] = {library: [] for library in variants}
        for _ in range(repeats):
            for library, python in variants.items():
                done[library].append(
                    measure_in_process(python, __file__, ["--measure", library, str(path)], kernel=None)
                )
        for library, runs in done.items():
            line = {"bench": "read", "format": name, "library": library, "file_mb": path.stat().st_size / 1e6}
            if failed := next((one["failed"] for one in runs if "failed" in one), None):
                print_line({**line, "failed": failed})
                continue
            seconds, cpu = (min(one[key] for one in runs) for key in ("seconds", "cpu_seconds"))
            rates = {"mb_per_second": size / 1e6 / seconds, "mb_per_cpu_second": size / 1e6 / cpu}
            print_line(
                {
                    **line,
                    "rows": runs[0]["rows"],
                    "seconds": seconds,
                    "cpu_seconds": cpu,
                    **rates,
                    "peak_mib": runs[0]["peak_mib"],
                }
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=300_000)
    formats = ["jsonl", "jsonl.gz", "json", "csv", "parquet", "arrow", "stream.arrow", "feather"]
    parser.add_argument("--formats", nargs="+", default=formats, choices=formats)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--measure", nargs=2, metavar=("LIBRARY", "FILE"))
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure[0], Path(arguments.measure[1]))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        files = write_files(Path(folder), arguments.rows, arguments.formats)
        compare(files, int((Path(folder) / "size").read_text()), arguments.repeats)


if __name__ == "__main__":
    sys.exit(main())
