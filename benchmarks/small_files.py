"""Measure the seconds to read a pool of many small files, and to detect that none has changed; prints JSON lines.

    python benchmarks/small_files.py [--files 100000] [--format jsonl] [--workers 2] [--folder /tmp]

Each file has one to three rows, in directories of a thousand files. The rest of the run is ``embed: {use: hashing}``,
so that reading dominates: the seconds are those of the input step in its manifest, and for the second run those of the
complete command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def write_pool(folder: Path, files: int, kind: str) -> None:
    for number in range(files):
        place = folder / f"{number // 1000:04d}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        rows = [{"id": f"{number}-{row}", "text": f"text {row} of file {number}"} for row in range(number % 3 + 1)]
        lines = [json.dumps(row) for row in rows]
        if kind == "json":
            text = f"[{', '.join(lines)}]"
        elif kind == "csv":
            text = "\n".join(["id,text", *(f"{row['id']},{row['text']}" for row in rows)]) + "\n"
        else:
            text = "\n".join(lines) + "\n"
        (place / f"{number:06d}.{kind}").write_text(text)


def run(folder: Path, kind: str, workers: int) -> dict[str, Any]:
    """Run the pipeline once, and return its seconds, in total and of the input step."""
    written = folder / "x.yaml"
    config = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": f"{folder}/pool/**/*.{kind}", "id": "id", "text": "text"},
        "embed": {"use": "hashing", "dimensions": 16},
        "cluster": {"use": "kmeans", "n_clusters": 2},
        "select": [{"use": "uniform", "keep": 10}],
    }
    written.write_text(json.dumps(config))  # JSON is YAML
    command = [sys.executable, "-c", "from curate.cli import main; main()", "embed", str(written)]
    begun = time.perf_counter()
    subprocess.run([*command, "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    manifest = json.loads((folder / "run" / "input" / "manifest.json").read_text())
    return {"seconds": round(seconds, 1), "input_seconds": round(manifest["seconds"], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--format", choices=("jsonl", "json", "csv"), default="jsonl")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to put the pool and the run while they are measured")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="curate-small-files-", dir=chosen.folder) as folder:
        write_pool(Path(folder) / "pool", chosen.files, chosen.format)
        for which in ("first", "unchanged"):
            line = {"files": chosen.files, "format": chosen.format, "workers": chosen.workers, "run": which}
            print(json.dumps(line | run(Path(folder), chosen.format, chosen.workers)), flush=True)


if __name__ == "__main__":
    main()
