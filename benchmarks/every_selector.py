"""Seconds and peak memory of every selector, each in a process of its own; prints JSON lines.

    python benchmarks/every_selector.py [--rows 10000 100000] [--only k_center facility_location] [--keep-rate 0.01]

The pool is ``mixture.py``'s, 384 dimensions, clustered by nearness to 1,000 (at most n / 100) of its own rows. Memory
is the peak of the process, and what it held before the selector began: interpreter, libraries and pool.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
import threadpoolctl
from mixture import mixture

from curate.kernels.parallel import map_blocks, ranges, threads
from curate.plugins import registry
from curate.plugins.pool import Pool


def memory(key: str) -> int:
    """MiB; ``VmHWM`` is this process's own peak, where ru_maxrss would start from its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) // 1024


def pool_for(name: str, n: int) -> tuple[object, Pool]:
    record = registry.get("selector", name)
    plugin, reads = record.cls(**record.traits.example), record.traits.reads
    x = mixture(n) if "embedding" in reads else np.empty((n, 0), np.float32)
    rng = np.random.default_rng(0)
    numbers = rng.random(n, dtype=np.float32)
    cluster = np.zeros(n, np.int32)
    if "cluster" in reads:
        centres = x[np.sort(rng.choice(n, min(1000, n // 100), replace=False))]
        parts = map_blocks(lambda rows: (x[rows] @ centres.T).argmax(axis=1), ranges(n, 4096))
        cluster = np.concatenate(list(parts)).astype(np.int32)
    frame = pl.DataFrame(dict.fromkeys(plugin.columns(), numbers)) if "frame" in reads else None
    scores = dict.fromkeys(record.traits.example.values(), numbers) if "scores" in reads else {}
    return plugin, Pool(x, numbers, cluster, scores, {}, frame)


def measure(name: str, n: int, keep_rate: float) -> dict[str, object]:
    plugin, pool = pool_for(name, n)
    budget = int(keep_rate * n) if registry.get("selector", name).traits.budgeted else None
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = memory("VmRSS")
    start = time.perf_counter()
    selection = plugin.select(pool, budget, np.random.default_rng(0)).check(n, budget)
    seconds = time.perf_counter() - start
    return {
        "selector": name,
        "rows": n,
        "kept": len(selection.order),
        "seconds": round(seconds, 3),
        "peak_mib": memory("VmHWM"),
        "before_mib": before,
        **machine(),
    }


def machine() -> dict[str, object]:
    blas = [f"{found['internal_api']} {found.get('architecture')}" for found in threadpoolctl.threadpool_info()]
    versions = {library: version(library) for library in ("numpy", "scipy", "polars")}
    return {"threads": threads(), "blas": sorted(set(blas)), **versions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--only", nargs="+", default=registry.names("selector"))
    parser.add_argument("--keep-rate", type=float, default=0.01)
    parser.add_argument("--here", action="store_true", help="measure in this process, which then does one only")
    chosen = parser.parse_args()
    for n in chosen.rows:
        if not chosen.here:
            mixture(n)  # written once, so that no measured process makes it
        for name in chosen.only:
            if chosen.here:
                print(json.dumps(measure(name, n, chosen.keep_rate)), flush=True)
            else:
                one = ["--here", "--rows", str(n), "--only", name, "--keep-rate", str(chosen.keep_rate)]
                subprocess.run([sys.executable, __file__, *one], check=True)


if __name__ == "__main__":
    main()
