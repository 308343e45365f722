"""Compute all scores of training dynamics from one training of a proxy; prints a JSON line a step, and one for the run.

    python benchmarks/dynamics.py [--rows 100000] [--classes 100] [--epochs 20] [--runs 3] [--proxy logistic mlp]

Rows of 384 numbers around the center of their class, of which 5 % have the label of another class, go through the
stages embed (which reads the vectors), proxy, held_out and score. With ``logistic``, the score ``vog`` is left out. The
line of the run has the largest memory of all its processes together, as in benchmarks/scale.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scale
import yaml

DIMENSIONS = 384
SCORES = (
    *("el2n", "grand", "aum", "forgetting", "cartography", "training_loss", "pvi", "consistency"),
    *("influence", "vog"),
)


def write_pool(path: Path, rows: int, classes: int) -> None:
    """Write labeled vectors as one Parquet file."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((classes, DIMENSIONS), np.float32)
    truth = rng.integers(0, classes, rows)
    x = centers[truth] + 2 * rng.standard_normal((rows, DIMENSIONS), np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    label = np.where(rng.random(rows) < 0.05, rng.integers(0, classes, rows), truth)
    names = pa.array([f"row {row}" for row in range(rows)])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), DIMENSIONS)
    labels = pa.array(label).cast(pa.string())
    table = pa.table([names, names, labels, vectors], names=["id", "text", "label", "vector"])
    pq.write_table(table, path, row_group_size=10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--proxy", nargs="+", default=["logistic", "mlp"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/dynamics"))
    options = parser.parse_args()
    pool = options.folder / f"pool-{options.rows}-{options.classes}.parquet"
    options.folder.mkdir(parents=True, exist_ok=True)
    if not pool.exists():
        write_pool(pool, options.rows, options.classes)
    for proxy in options.proxy:
        run, path = options.folder / f"run-{proxy}", options.folder / f"{proxy}.yaml"
        config = {
            "curate": 1,
            "run": str(run),
            "input": {"files": str(pool), "id": "id", "text": "text", "label": "label"},
            "embed": {"use": "column", "column": "vector"},
            "cluster": {"use": "column", "column": "label"},
            "proxy": {"use": proxy, "epochs": options.epochs, "runs": options.runs},
            "score": [{"use": name} for name in SCORES if name != "vog" or proxy == "mlp"],
            "select": [{"use": "uniform", "keep_rate": 0.5}],
        }
        path.write_text(yaml.safe_dump(config))
        shutil.rmtree(run, ignore_errors=True)
        command = [sys.executable, "-m", "curate", "score", path, "--workers", options.workers]
        started = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
        sampler = scale.Sampler(process.pid, run)
        sampler.start()
        process.communicate()
        elapsed = time.perf_counter() - started
        lines = scale.steps(run)
        for line in lines:
            print(json.dumps({"proxy": proxy, **line}))
        of_scores = sum(line["seconds"] for line in lines if line["stage"] in ("proxy", "held_out", "score"))
        summary = {
            "proxy": proxy,
            "rows": options.rows,
            "exit": process.returncode,
            "seconds": round(elapsed, 1),
            "seconds_of_proxy_and_scores": round(of_scores, 1),
            "memory_mib": sampler.memory >> 20,
            "mapped_mib": sampler.mapped >> 20,
            "disk_mib": scale.folder_size(run) >> 20,
        }
        print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    main()
