"""Measure the time of `curate compare`: ten selectors × four prune rates × five seeds; prints one JSON line.

    python benchmarks/compare.py [--rows 15000] [--classes 150] [--workers 2] [--folder /tmp]

The pool consists of generated unit vectors with 384 dimensions in classes of equal size, with a third as many test
rows. Embedding, clustering, the proxy and the scores are computed before the clock starts, as for a finished run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from evidence import SELECTORS

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.evaluation import verdict
from curate.evaluation.compare import compare
from curate.executors.base import count_cores
from curate.progress import console_progress

DIMENSIONS, NOISE = 384, 0.06
RATES = (0.5, 0.7, 0.9, 0.95)


def write(path: Path, rows: int, classes: int, rng: np.random.Generator, centers: np.ndarray) -> None:
    """Write rows around the centers of their classes."""
    labels = rng.integers(0, classes, rows)
    vectors = centers[labels] + NOISE * rng.standard_normal((rows, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"{path.stem} {number}" for number in range(rows)]
    columns = {"id": texts, "text": texts, "label": labels.astype(str), "vector": list(vectors.astype(np.float32))}
    pq.write_table(pa.table(columns), path)


def settings(folder: Path) -> dict[str, Any]:
    return {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": str(folder / "pool.parquet"), "id": "id", "text": "text", "label": "label"},
        "embed": {"use": "column", "column": "vector"},
        "cluster": {"use": "kmeans"},
        "proxy": {"use": "logistic"},
        "score": [{"use": name} for name in ("el2n", "aum", "forgetting", "prototypicality")],
        "select": [{**entry, "prune_rate": 0.5} for entry in SELECTORS[:10]],
        "export": {"use": "parquet"},
        "evaluate": {"files": str(folder / "test.parquet"), "seeds": 5},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--workers", type=int, default=count_cores())
    parser.add_argument("--folder", type=Path, help="where to put the pool and the run while they are measured")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((options.classes, DIMENSIONS)) / DIMENSIONS**0.5
    with tempfile.TemporaryDirectory(dir=options.folder) as directory:
        folder = Path(directory)
        write(folder / "pool.parquet", options.rows, options.classes, rng, centers)
        write(folder / "test.parquet", options.rows // 3, options.classes, rng, centers)
        config = config_from_dict(settings(folder))
        names = [entry.get("name", entry["use"]) for entry in SELECTORS[:10]]
        with console_progress("plain") as progress, pipeline.open_executor("processes", options.workers) as runner:
            pipeline.run(config, runner, progress, until="score")
            begun = time.perf_counter()
            comparison = compare(config, runner, progress, select=names, prune_rates=RATES)
        seconds = time.perf_counter() - begun
    print(f"{verdict.sentence(comparison)}", file=sys.stderr)
    measured = {"rows": options.rows, "classes": options.classes, "workers": options.workers}
    print(json.dumps({**measured, "selectors": 10, "rates": 4, "seeds": 5, "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
