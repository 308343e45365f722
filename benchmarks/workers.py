"""Measure selection on one core and on two; prints a JSON line for each entry and round, and one for each ratio.

    python benchmarks/workers.py [--repeats 3] [--folder /tmp/workers] [--only filters minhash semdedup within compare]

One worker runs on one core (``sched_setaffinity``), two workers on two; rounds alternate. Times are those of the
entries in the manifest of ``select``; a first entry starts the workers, and does not count. Entries of one pass over
the shards share its time, so the first entry before ``minhash`` is one that ends the pass. The line of a ratio has that
of the best times. ``compare`` is the time of the command, over selectors that were not compared before. The pools:
60,000 documents of 300 words for the filters; 2,000,000 short texts for ``minhash``; 2,000,000 rows of 128 numbers in
818 clusters for ``semdedup``, 1,000,000 in 409 for ``facility_location`` within clusters; 40,000 rows for ``compare``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scale
import yaml

DOCUMENTS, WORDS = 60_000, 300
ROWS = {"minhash": 2_000_000, "semdedup": 2_000_000, "within": 1_000_000, "compare": 40_000}
CLUSTERS = {"semdedup": 818, "within": 409}
FILTERS = ("gopher_repetition", "gopher_quality", "c4_quality", "fineweb_quality")


def documents(rows: int) -> pa.Table:
    """Return texts in sentences and lines, of which some repeat lines."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinsrhldcumfpgwybvkxjqz"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 10, 20_000)])
    words[:8] = ["the", "be", "to", "of", "and", "that", "have", "with"]
    ends = np.array(["", "", "", "", "", "", "", ",", ".", ".\n"])
    texts = []
    for _ in range(rows):
        ranks = np.minimum(rng.zipf(1.2, WORDS), len(words)) - 1
        text = np.char.add(words[ranks], ends[rng.integers(0, len(ends), WORDS)])
        texts.append(" ".join(text.tolist()))
    return pa.table({"id": [f"d{row}" for row in range(rows)], "text": texts, "vector": [[1.0, 0.0]] * rows})


def select(only: str) -> list[dict[str, Any]]:
    """Return the select section of a measurement."""
    sections: Mapping[str, list[dict[str, Any]]] = {
        "filters": [{"use": name} for name in FILTERS],
        "minhash": [{"use": "minhash"}],
        "semdedup": [{"use": "semdedup", "min_similarity": 0.95}],
        "within": [{"use": "facility_location", "keep_rate": 0.1, "within": "cluster"}],
        "compare": [{"use": "facility_location", "keep_rate": 0.1}],
    }
    if only == "minhash":
        return [{"use": "exact_duplicates"}, *sections[only]]
    return [{"use": "where", "name": "start", "drop": "id = ''"}, *sections[only]]


def prepare(folder: Path, only: str) -> Path:
    """Write the pool and the configuration, and run the stages before select."""
    pool, path = folder / f"pool-{only}", folder / f"{only}.yaml"
    pool.mkdir(parents=True, exist_ok=True)
    if only == "filters" and not (pool / "a.parquet").exists():
        pq.write_table(documents(DOCUMENTS), pool / "a.parquet", row_group_size=5_000)
    elif only == "minhash":
        scale.write_pool(pool, ROWS[only], scale.texts)
    elif only in ROWS:
        scale.write_pool(pool, ROWS[only], scale.vectors)
    config = {
        "curate": 1,
        "run": str(folder / f"run-{only}"),
        "input": {"files": str(pool / "*.parquet"), "id": "id", "text": "text", "rows_per_shard": 5_000},
        "embed": {"use": "column", "column": "vector", "precision": "float16"},
        "cluster": {
            "use": "kmeans",
            "n_clusters": {"semdedup": 818, "within": 409}.get(only, 100),
            "max_iterations": 5,
        },
        "score": [{"use": "length"}],
        "select": select(only),
        "metrics": [{"use": "coverage"}, {"use": "mmd"}],
        "memory_limit": "4GiB",
    }
    if only in ("minhash", "semdedup", "within"):
        config["input"]["rows_per_shard"] = 65_536
    path.write_text(yaml.safe_dump(config))
    run(["score", path, "--log-format", "quiet"], cores=2)
    return path


def run(arguments: list[Any], cores: int) -> float:
    """Run a command of curate with as many workers as cores, and return the seconds."""
    command = [sys.executable, "-m", "curate", *map(str, arguments), "--workers", str(cores)]
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, allowed))
    return time.perf_counter() - started


def measure(folder: Path, only: str, cores: int) -> dict[str, float]:
    """Return the seconds of each entry."""
    path, target = folder / f"{only}.yaml", folder / f"run-{only}"
    if only == "compare":
        shutil.rmtree(target / "evaluate", ignore_errors=True)
        names = "k_center,facility_location,herding,uniform"
        return {"compare": run(["compare", path, "--select", names, "--log-format", "quiet"], cores)}
    shutil.rmtree(target / "select", ignore_errors=True)
    run(["select", path, "--log-format", "quiet"], cores)
    record = json.loads((target / "select" / "manifest.json").read_text())
    return {entry["name"]: entry["seconds"] for entry in record["facts"]["entries"][1:]}


def main() -> None:
    names = ["filters", "minhash", "semdedup", "within", "compare"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/workers"))
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    for only in options.only:
        prepare(options.folder, only)
        best: dict[tuple[str, int], float] = {}
        for number in range(options.repeats):
            for cores in (1, 2):
                seconds = measure(options.folder, only, cores)
                seconds = {only: sum(seconds.values())} if only == "filters" else seconds
                print(json.dumps({"round": number, "measured": only, "workers": cores, "seconds": seconds}), flush=True)
                for name, value in seconds.items():
                    best[name, cores] = min(value, best.get((name, cores), value))
        for name in sorted({name for name, _ in best}):
            ratio = round(best[name, 1] / best[name, 2], 2)
            print(
                json.dumps(
                    {"measured": only, "entry": name, "one": best[name, 1], "two": best[name, 2], "ratio": ratio}
                )
            )


if __name__ == "__main__":
    main()
