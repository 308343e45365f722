"""Measure the quickstart end to end: wall seconds and peak memory with 1 and 2 workers; prints JSON lines.

    python benchmarks/pipeline.py [--config configs/quickstart.yaml] [--workers 1 2] [--repeat 1]

Every run starts in an empty directory. Seconds are those of the complete command, including the start of the
interpreter; on a busy machine, use the processor seconds. Memory is that of the process tree: every 100 ms, the
proportional shares (``Pss``, in which shared pages count once) of the command and all its workers are added up, and
``peak_mib`` is the highest sum; shorter peaks may be missed. ``largest_step_mib`` is the peak that the run reports: the
highest memory use of any single process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

EVERY = 0.1


def tree(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    processes = [pid]
    for parent in processes:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                processes += map(int, children.read_text().split())
            except OSError:  # it ended meanwhile
                continue
    return processes


def memory(pid: int) -> int:
    """Return the proportional memory of a process in bytes; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def cpu() -> float:
    """Return the processor seconds of all finished descendants."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(config: str, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="curate-pipeline-") as folder:
        command = [sys.executable, "-m", "curate", "run", config, "--json", "--log-format", "quiet"]
        command += ["--workers", str(workers), "--set", f"run={folder}/run"]
        began, used = time.perf_counter(), cpu()
        running = subprocess.Popen(command, stdout=subprocess.PIPE)
        sums = [0]
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(EVERY):
                sums.append(sum(map(memory, tree(running.pid))))

        watcher = threading.Thread(target=watch)
        watcher.start()
        stdout, _ = running.communicate()
        seconds = time.perf_counter() - began
        ended.set()
        watcher.join()
    if running.returncode:
        raise SystemExit(f"exit code {running.returncode}")
    summary = json.loads(stdout)
    return {
        "config": config,
        "workers": workers,
        "rows": summary["rows_in"],
        "kept": summary["kept"],
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu() - used, 2),
        "peak_mib": max(sums) >> 20,
        "largest_step_mib": max(step["peak_memory"] for step in summary["accounting"]) >> 20,
        "steps": {f"{step['stage']} {step['name']}": step["seconds"] for step in summary["accounting"]},
        "python": sys.version.split()[0],
        **{name: version(name) for name in ("numpy", "pyarrow", "polars", "scikit-learn")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="configs/quickstart.yaml")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=1)
    chosen = parser.parse_args()
    for _ in range(chosen.repeat):
        for workers in chosen.workers:
            print(json.dumps(measure(chosen.config, workers)), flush=True)


if __name__ == "__main__":
    main()
