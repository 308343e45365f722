"""Measure how long short commands take, next to the start of Python and the imports that they need; prints a table.

    python benchmarks/start.py [--repeat 5] [--rows 1000000]

Seconds are the lowest of the repetitions, of the complete process; CPU seconds are those of all its threads, and change
less on a busy machine. Modules are compiled before the first measurement. ``explain`` reads a run of ``--rows`` rows,
which is made first: random texts with vectors of 16 dimensions; 0 leaves it out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
QUICKSTART = str(ROOT / "configs/quickstart.yaml")
LIBRARIES = "import numpy, pyarrow.compute, polars, pydantic, typer, rich, yaml"


def measure(*command: str) -> tuple[float, float]:
    """Return the seconds and the CPU seconds of a command."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, check=True)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(title: str, repeat: int, *command: str, fresh: Path | None = None) -> None:
    """Print the lowest seconds and CPU seconds of a command; ``fresh`` is deleted before each repetition."""
    figures = []
    for _ in range(repeat):
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
        figures.append(measure(*command))
    seconds, cpu = (min(column) for column in zip(*figures, strict=True))
    print(f"| {title} | {seconds:.2f} | {cpu:.2f} |", flush=True)


def write_run(folder: Path, rows: int) -> tuple[str, str, str]:
    """Write and run a pool whose ids are in no order; return the run directory, the id of a row, and its line."""
    rng = np.random.default_rng(0)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rng.standard_normal(rows * 16, dtype=np.float32)), 16)
    words = np.array([f"word{number}" for number in range(5_000)])[rng.integers(0, 5_000, (rows, 8))]
    ids = [f"row-{number:09}" for number in rng.permutation(rows).tolist()]
    texts = [" ".join(text) for text in words.tolist()]
    pq.write_table(pa.table({"id": ids, "text": texts, "vector": vectors}), folder / "pool.parquet")
    config = {
        "curate": 1,
        "run": f"{folder}/run",
        "input": {"files": f"{folder}/pool.parquet", "id": "id", "text": "text"},
        "embed": {"use": "column", "column": "vector"},
        "cluster": {"use": "kmeans", "n_clusters": 100},
        "score": [{"use": "prototypicality"}, {"use": "length"}],
        "select": [{"use": "top_k", "keep_rate": 0.3, "quality": "prototypicality"}],
    }
    (folder / "config.json").write_text(json.dumps(config))
    measure("-m", "curate", "run", f"{folder}/config.json", "--no-report")
    row = rows * 9 // 10
    return f"{folder}/run", ids[row], f"{folder}/pool.parquet:{row + 1}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="curate-start-") as name:
        folder = Path(name)
        run, options = folder / "quickstart", ("--set", f"run={folder}/quickstart")
        measure("-m", "curate", "run", QUICKSTART, *options)
        print("| command | seconds | CPU seconds |\n|---|---|---|")
        show("`python -c pass`", given.repeat, "-c", "pass")
        show("`import typer, rich`", given.repeat, "-c", "import typer, rich")
        show("the libraries that most commands import", given.repeat, "-c", LIBRARIES)
        show("`curate --help`", given.repeat, "-m", "curate", "--help")
        show("`curate check`, quickstart", given.repeat, "-m", "curate", "check", QUICKSTART, *options)
        show("`curate run`, quickstart", given.repeat, "-m", "curate", "run", QUICKSTART, *options, fresh=run)
        show("`curate run`, unchanged", given.repeat, "-m", "curate", "run", QUICKSTART, *options)
        show("`curate plan`, unchanged", given.repeat, "-m", "curate", "plan", QUICKSTART, *options)
        if given.rows:
            large, row, line = write_run(folder, given.rows)
            show(f"`curate explain RUN ID`, {given.rows:,} rows", given.repeat, "-m", "curate", "explain", large, row)
            show(
                f"`curate explain RUN FILE:LINE`, {given.rows:,} rows",
                given.repeat,
                "-m",
                "curate",
                "explain",
                large,
                line,
            )


if __name__ == "__main__":
    main()
