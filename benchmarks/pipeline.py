"""The quickstart end to end: wall seconds and peak memory with 1 and 2 workers; prints JSON lines.

    python benchmarks/pipeline.py [--config configs/quickstart.yaml] [--workers 1 2] [--repeat 1]

Every run starts from nothing, in an empty folder. Seconds are those of the whole command, from the start of the
interpreter to its end; on a busy machine look at the processor seconds. Memory is the whole process tree's: every
100 ms the shares (``Pss``, so that pages held in common count once) of the command and all its workers are added up,
and ``peak_mib`` is the highest sum; a peak shorter than that may be missed. ``largest_step_mib`` is what the run itself
reports: the most that one process ever held.
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
    """The process and all that descend from it."""
    found = [pid]
    for parent in found:
        for listed in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, listed.read_text().split())
            except OSError:  # it ended meanwhile
                continue
    return found


def memory(pid: int) -> int:
    """Bytes held by one process, pages it shares counted in part; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def cpu() -> float:
    """Seconds of processor time that finished children, and theirs, have used."""
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
    told = json.loads(stdout)
    return {
        "config": config,
        "workers": workers,
        "rows": told["rows_in"],
        "kept": told["kept"],
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu() - used, 2),
        "peak_mib": max(sums) >> 20,
        "largest_step_mib": max(step["peak_memory"] for step in told["accounting"]) >> 20,
        "steps": {f"{step['stage']} {step['name']}": step["seconds"] for step in told["accounting"]},
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
