"""Writers of the export formats next to those of the library ``datasets``: MB of rows a second, the best of three.

python benchmarks/export_formats.py [ROWS]
"""

from __future__ import annotations

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
