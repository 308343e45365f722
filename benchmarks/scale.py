"""Curate pools of millions of rows on this machine; prints one JSON line for each step, and one for the run.

    python benchmarks/scale.py vectors [--rows 10000000] [--workers 2] [--folder /tmp/scale]
    python benchmarks/scale.py texts   [--rows 20000000] [--workers 2] [--folder /tmp/scale]

``vectors``: rows of 128 float16 numbers in 4,096 long-tailed groups, of which one in ten is a near-copy of one of
50,000 others, go from Parquet through k-means (one cluster for 2,441 rows, five iterations), prototypicality, where,
semdedup, facility_location within clusters, and the export. ``texts``: short texts (8 to 24 words), one in ten a copy
and one in ten with a changed word, go through exact_duplicates and minhash.

A step has its rows a second, the highest memory of one process, and the size of its files. The line of the run has the
largest memory of all its processes together, sampled every quarter of a second (proportional set size, so shared pages
count once; pages of memory-mapped files, which the system can drop, are listed separately), and the largest size of the
run directory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ROWS_PER_FILE, BLOCK = 1_000_000, 100_000
DIMENSIONS, GROUPS, COPIED = 128, 4096, 50_000
WORDS, MAX_WORDS = 50_000, 24


# ---------------------------------------------------------------- the pools


def vectors(start: int, rows: int) -> pa.Table:
    """Return rows of a pool of vectors, the same for any division into blocks of ``BLOCK`` rows."""
    centers = np.random.default_rng(0).standard_normal((GROUPS, DIMENSIONS), np.float32)
    popularity = 1 / np.arange(1, GROUPS + 1) ** 0.5
    popularity /= popularity.sum()

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        group = rng.choice(GROUPS, count, p=popularity)
        x = centers[group] + rng.standard_normal((count, DIMENSIONS), np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    originals = draw(np.random.default_rng(1), COPIED)
    rng = np.random.default_rng((2, start))
    x = draw(rng, rows)
    copies = np.flatnonzero(rng.random(rows) < 0.1)
    x[copies] = originals[rng.integers(0, COPIED, len(copies))] + 0.005 * rng.standard_normal(
        (len(copies), DIMENSIONS), np.float32
    )
    values = pa.array(x.astype(np.float16).ravel())
    names = [f"row {number:09d}" for number in range(start, start + rows)]
    topics = pa.array(rng.integers(0, 50, rows)).cast(pa.string())
    return pa.table(
        [names, names, topics, pa.FixedSizeListArray.from_arrays(values, DIMENSIONS)],
        names=["id", "text", "topic", "vector"],
    )


def texts(start: int, rows: int) -> pa.Table:
    """Return rows of a pool of texts, the same for any division into blocks of ``BLOCK`` rows."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinsrhldcumfpgwybvkxjqz"))
    vocabulary = pa.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 10, WORDS)])
    rng = np.random.default_rng((1, start))
    seed = np.arange(start, start + rows, dtype=np.uint64)
    kind = rng.random(rows)
    copied = kind < 0.2
    seed[copied] = (rng.random(np.count_nonzero(copied)) * (seed[copied] + 1)).astype(np.uint64)
    column = np.arange(MAX_WORDS, dtype=np.uint64)
    draws = _mix(seed[:, None] * np.uint64(64) + column)
    words = (WORDS * (draws / 2**64) ** 3).astype(np.int32)  # frequent words first
    changed = np.flatnonzero(copied & (kind >= 0.1))
    words[changed, rng.integers(0, 8, len(changed))] = rng.integers(0, WORDS, len(changed))
    lengths = 8 + (_mix(~seed) % np.uint64(MAX_WORDS - 7)).astype(np.int64)
    flat = words[column < lengths[:, None].astype(np.uint64)]
    lists = pa.ListArray.from_arrays(np.concatenate(([0], np.cumsum(lengths))), vocabulary.take(pa.array(flat)))
    names = [f"row {number:09d}" for number in range(start, start + rows)]
    small = pa.FixedSizeListArray.from_arrays(pa.array(rng.random(2 * rows).astype(np.float16)), 2)
    return pa.table([names, pa.compute.binary_join(lists, " "), small], names=["id", "text", "vector"])


def _mix(keys: np.ndarray) -> np.ndarray:
    """Mix bits: the finalizer of SplitMix64."""
    keys = keys * np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def write_pool(folder: Path, rows: int, block: Callable[[int, int], pa.Table]) -> None:
    """Write a pool in files of a million rows, unless it exists."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, rows, ROWS_PER_FILE):
        path = folder / f"part-{first // ROWS_PER_FILE:04d}.parquet"
        if path.exists():
            continue
        partial, writer = path.with_suffix(".partial"), None
        for start in range(first, min(rows, first + ROWS_PER_FILE), BLOCK):
            table = block(start, min(BLOCK, rows - start))
            writer = writer or pq.ParquetWriter(partial, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
        partial.rename(path)


def configuration(kind: str, folder: Path, rows: int) -> dict[str, Any]:
    """Return the configuration of a benchmark."""
    both = {
        "curate": 1,
        "run": str(folder / f"run-{kind}"),
        "input": {"files": str(folder / f"pool-{kind}" / "*.parquet"), "id": "id", "text": "text"},
        "embed": {"use": "column", "column": "vector", "precision": "float16"},
        "memory_limit": "2GiB",
    }
    if kind == "vectors":
        return both | {
            "input": {**both["input"], "label": "topic"},
            "cluster": {"use": "kmeans", "n_clusters": max(2, rows // 2441), "max_iterations": 5},
            "score": [{"use": "prototypicality"}],
            "select": [
                {"use": "where", "drop": "score_prototypicality > 0.9"},
                {"use": "semdedup", "min_similarity": 0.95},
                {"use": "facility_location", "keep_rate": 0.1, "within": "cluster"},
            ],
            "export": {"use": "parquet"},
        }
    return both | {
        "cluster": {"use": "kmeans", "n_clusters": 2},
        "score": [{"use": "length"}],
        "select": [{"use": "exact_duplicates"}, {"use": "minhash"}],
        "export": {"use": "parquet"},
    }


# ---------------------------------------------------------------- measuring


class Sampler(threading.Thread):
    """Largest memory of a process and its descendants, and largest size of a folder."""

    def __init__(self, pid: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self.pid, self.folder = pid, folder
        self.memory = self.mapped = self.disk = 0

    def run(self) -> None:
        tick = 0
        while True:
            private, mapped = self._measure()
            if private > self.memory:
                self.memory, self.mapped = private, mapped
            if tick % 20 == 0:
                self.disk = max(self.disk, folder_size(self.folder))
            tick += 1
            time.sleep(0.25)

    def _measure(self) -> tuple[int, int]:
        """Return bytes of anonymous memory, and of pages of files."""
        private = mapped = 0
        for pid in self._tree():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
            private += fields.get("Pss_Anon", 0) + fields.get("Pss_Shmem", 0)
            mapped += fields.get("Pss_File", 0)
        return private, mapped

    def _tree(self) -> list[int]:
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
        tree = [self.pid]
        for pid in tree:
            tree += [child for child, parent in parents.items() if parent == pid]
        return tree


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder that other processes change."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118 - fast, for many files
            except OSError:
                continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["vectors", "texts"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/scale"))
    parser.add_argument("--keep", action="store_true", help="keep the run of an earlier call, and continue it")
    options = parser.parse_args()
    rows = options.rows or {"vectors": 10_000_000, "texts": 20_000_000}[options.kind]
    folder = options.folder / f"{rows}"
    write_pool(folder / f"pool-{options.kind}", rows, {"vectors": vectors, "texts": texts}[options.kind])
    config = configuration(options.kind, folder, rows)
    run = Path(config["run"])
    if not options.keep:
        shutil.rmtree(run, ignore_errors=True)
    path = folder / f"{options.kind}.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "curate", "run", path, "--workers", options.workers, "--no-report"]
    started = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
    sampler = Sampler(process.pid, run)
    sampler.start()
    process.communicate()
    elapsed = time.perf_counter() - started
    for line in steps(run):
        print(json.dumps(line))
    print(
        json.dumps(
            {
                "run": options.kind,
                "rows": rows,
                "workers": options.workers,
                "exit": process.returncode,
                "seconds": round(elapsed, 1),
                "memory_mib": sampler.memory >> 20,
                "mapped_mib": sampler.mapped >> 20,
                "disk_mib": max(sampler.disk, folder_size(run)) >> 20,
            }
        )
    )


def steps(run: Path) -> list[dict[str, Any]]:
    """Return what the manifests of a run say about its steps."""
    lines = []
    paths = (path for path in run.rglob("manifest.json") if {"stage", "sources"} <= json.loads(path.read_text()).keys())
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        record = json.loads(path.read_text())
        for part in record.get("facts", {}).get("entries") or [record]:
            seconds = part.get("seconds") or 0
            counts = part["sources"].values()
            rows, kept = (sum(one[key] for one in counts) for key in ("rows_in", "kept"))
            lines.append(
                {
                    "stage": record["stage"],
                    "name": part["name"],
                    "rows": rows,
                    "kept": kept,
                    "seconds": round(seconds, 1),
                    "rows_per_s": round(rows / seconds) if seconds else None,
                    "peak_mib": (part.get("peak_memory") or 0) >> 20,
                    "disk_mib": folder_size(path.parent) >> 20,
                }
            )
    return lines


if __name__ == "__main__":
    main()
