"""Measure how fast the file formats are read, next to Hugging Face ``datasets`` with the same file; prints JSON lines.

    python benchmarks/formats.py [--rows 300000] [--formats jsonl csv parquet] [--repeats 3] [--folder /tmp]

Every measurement is a separate process, and the libraries alternate. Megabytes are those of the rows as JSON Lines, so
that formats can be compared; ``file_mb`` is the size of the file. curate parses and checks every value, on one core, as
a task of its input step does. ``datasets`` converts the file to its cache with one process.
"""Writers of the export formats next to those of the library ``datasets``: MB of rows a second, the best of three.

python benchmarks/formats.py [ROWS]
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


import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.plugins import registry
from curate.plugins.interfaces import get_traits


def table(rows: int) -> pa.Table:
    """Return rows with a text of about 600 bytes, numbers and a nested column, without nulls."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(5_000)])
    texts = [" ".join(words[row]) for row in rng.zipf(1.3, (rows, 90)) % 5_000]
    columns = {
        "id": pa.array([f"row-{number}" for number in range(rows)]),
        "text": pa.array(texts),
        "score": pa.array(rng.random(rows)),
        "n": pa.array(rng.integers(0, 1 << 40, rows)),
        "chat": pa.array([[{"role": "user", "content": text[:40]}] for text in texts]),
    }
    return pa.table(
        list(columns.values()), pa.schema([pa.field(name, each.type, False) for name, each in columns.items()])
    )


def seconds(write: Callable[[Path], object]) -> float:
    """Return the shortest of three times of a writer."""
    times = []
    for _ in range(3):
        folder = Path(tempfile.mkdtemp())
        started = time.perf_counter()
        write(folder)
        times.append(time.perf_counter() - started)
        shutil.rmtree(folder)
    return min(times)


def writers(rows: pa.Table) -> dict[str, Callable[[Path], object]]:
    """Return the writers by name, ours first; those whose library is not installed are left out."""
    import datasets

    datasets.disable_progress_bars()
    theirs = datasets.Dataset(rows.cast(pa.schema([field.with_nullable(True) for field in rows.schema])))
    ours: dict[str, Callable[[Path], object]] = {}
    for name in registry.names("exporter"):
        exporter = registry.get("exporter", name).cls()
        keys = {"keys": rows["id"].to_pylist()} if get_traits(type(exporter)).keys else {}
        try:
            exporter.write(
                rows.slice(0, 1), Path(tempfile.mkdtemp()) / f"a{exporter.suffix}", **{key: ["a"] for key in keys}
            )
        except Exception as error:  # its library is not installed
            print(f"{name}: {error}")
            continue
        ours[f"curate {name}"] = lambda folder, exporter=exporter, keys=keys: exporter.write(
            rows, folder / f"a{exporter.suffix}", **keys
        )
    return ours | {
        "datasets.to_parquet": lambda folder: theirs.to_parquet(folder / "a.parquet"),
        "datasets.to_json": lambda folder: theirs.to_json(folder / "a.jsonl"),
        "datasets.to_csv": lambda folder: theirs.to_csv(folder / "a.csv"),
        "datasets.save_to_disk": lambda folder: theirs.save_to_disk(str(folder / "a")),
    }


def main() -> None:
    """Print the speed of each writer."""
    rows = table(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    megabytes = rows.nbytes / 1e6
    print(f"{len(rows):,} rows, {megabytes:,.0f} MB; pyarrow {pa.__version__}")
    for name, write in writers(rows).items():
        print(f"{name:24s} {megabytes / seconds(write):8,.0f} MB/s", flush=True)


if __name__ == "__main__":
    main()
