"""Measure the peak memory of every stage as the pool grows; prints JSON lines.

    python benchmarks/memory.py [--rows 50000 200000 800000] [--workers 2] [--folder /tmp]

Each pool is generated JSONL: about 60 words per text, drawn from the long-tailed distributions of 400 topics. The
command line runs lsa, k-means, the scorers that read one shard, top_k and parquet in a separate process. The peak of a
step is that of its manifest: the maximum of the driver and of any worker during the step (``VmHWM``, reset before it),
so with w workers the machine may need up to w + 1 times as much. The report has no manifest; its peak is that of
``curate report``, and a run writes the same report in its driver, next to idle workers. The last line is the growth of
each step: the slope of a line through the peaks, in bytes per row, and the ratio of the peaks of the largest and the
smallest pool.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

WORDS, TOPICS, WORDS_A_TEXT = 30_000, 400, 60


def texts(rows: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """Yield the same rows for the same arguments; a longer pool begins with a shorter one."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinsrhldcumfpgwybvkxjqz"))
    likely = 1 / np.arange(1, 27)
    words = ["".join(rng.choice(letters, size, p=likely / likely.sum())) for size in rng.integers(2, 11, WORDS)]
    topic_words = [rng.permutation(WORDS) for _ in range(TOPICS)]  # each topic prefers words of its own
    for start in range(0, rows, 10_000):
        rng = np.random.default_rng((seed, start))
        topics = np.minimum(rng.zipf(1.3, 10_000), TOPICS) - 1
        lengths = rng.poisson(WORDS_A_TEXT, 10_000) + 1
        for row, (topic, length) in enumerate(zip(topics, lengths, strict=True), start):
            if row == rows:
                return
            ranks = np.minimum(rng.zipf(1.2, length), WORDS) - 1
            text = " ".join(words[rank] if rank < 40 else words[topic_words[topic][rank]] for rank in ranks)
            yield {"id": f"row-{row:08d}", "text": text, "topic": f"t{topic}", "source": f"s{row % 3}"}


def write_pool(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in texts(rows):
            file.write(json.dumps(row) + "\n")


def config(pool: Path, run: Path) -> dict[str, Any]:
    from curate.plugins import registry

    scorers = [name for name in ("length", "lexical_quality", "prototypicality") if name in registry.names("scorer")]
    return {
        "curate": 1,
        "run": str(run),
        "input": {"files": str(pool), "id": "id", "text": "text", "label": "topic", "source": "source"},
        "embed": {"use": "lsa", "dimensions": 128},
        "cluster": {"use": "kmeans", "n_clusters": 200, "max_iterations": 5},
        "score": [{"use": name} for name in scorers],
        "select": [{"use": "top_k", "keep_rate": 0.2, "quality": "prototypicality"}],
        "guard": {"max_source_drop_rate": 1.0},
        "export": {"use": "parquet"},
    }


def measure(rows: int, workers: int, folder: Path) -> list[dict[str, Any]]:
    """Return one line per step."""
    pool = folder / f"pool-{rows}.jsonl"
    write_pool(pool, rows)
    config_file = folder / f"{rows}.yaml"
    run = folder / f"run-{rows}"
    config_file.write_text(json.dumps(config(pool, run)))  # JSON is YAML
    command = [sys.executable, "-c", "from curate.cli import main; main()", "run", str(config_file), "--json"]
    command += ["--workers", str(workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    seconds, peak = peak_of([*command[:3], "report", str(config_file)])
    common = {"rows": rows, "workers": workers, "pool_mib": mib(pool.stat().st_size), "run_mib": mib(size)}
    pool.unlink()
    return [
        {
            **common,
            "step": f"{step['stage']} {step['name']}",
            "seconds": step["seconds"],
            "peak_mib": mib(step["peak_memory"]),
        }
        for step in json.loads(done.stdout)["accounting"]
    ] + [{**common, "step": "report", "seconds": seconds, "peak_mib": mib(peak)}]


def peak_of(command: list[str]) -> tuple[float, int]:
    """Return the seconds and the peak memory of a command in bytes."""
    begun, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with suppress(OSError):  # it has ended
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max([peak, *(int(line.split()[1]) << 10 for line in status.splitlines() if "VmHWM" in line)])
            time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"{command} ended with code {process.returncode}")
    return round(time.perf_counter() - begun, 1), peak


def growth(lines: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the growth of each step over the measured sizes."""
    growth_by_step = {}
    for step in dict.fromkeys(line["step"] for line in lines):
        rows, peaks = np.array([(line["rows"], line["peak_mib"]) for line in lines if line["step"] == step], float).T
        slope = np.polyfit(rows, peaks, 1)[0] * 2**20
        growth_by_step[step] = {
            "bytes_per_row": round(slope, 1),
            "ratio": round(peaks[rows.argmax()] / peaks[rows.argmin()], 2),
        }
    return growth_by_step


def mib(size: int) -> int:
    return size >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 200_000, 800_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to put the pools and runs while they are measured")
    chosen = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for rows in chosen.rows:
        with tempfile.TemporaryDirectory(prefix="curate-memory-", dir=chosen.folder) as folder:
            for line in measure(rows, chosen.workers, Path(folder)):
                lines.append(line)
                print(json.dumps(line), flush=True)
    if len(chosen.rows) > 1:
        versions = {name: version(name) for name in ("numpy", "pyarrow", "polars", "scipy", "scikit-learn")}
        print(json.dumps({"growth": growth(lines), "python": sys.version.split()[0], **versions}))


if __name__ == "__main__":
    main()
