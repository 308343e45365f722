"""Time of targeted selection from many rows: 100,000 of 1,000,000 × 384 for 1,000 target rows.

    python benchmarks/targeted_speed.py [--rows 1000000] [--only tarot …]

Vectors are random around 1,000 centers; target rows are around 100 of them. Each method runs in a separate process on
two threads, which reads the pool from a file. ``peak_mib`` is the largest resident memory of the process, with the
pool's vectors, which take 1,465 MiB. For dsir, which reads texts, run ``dsir.py --rows 1000000 --only curate``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

D, CENTERS, TARGETS = 384, 1_000, 1_000
BLOCK = 100_000


def write_vectors(folder: Path, rows: int) -> None:
    """Write the pool and the target as unit vectors."""
    from curate.kernels.linalg.cosines import normalize_rows

    rng = np.random.default_rng(0)
    centers = rng.standard_normal((CENTERS, D)).astype(np.float32)
    pool = np.lib.format.open_memmap(folder / "pool.npy", "w+", np.float32, (rows, D))
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        noise = rng.standard_normal((size, D), np.float32)
        pool[start : start + size] = normalize_rows(centers[rng.integers(CENTERS, size=size)] + noise)
    pool.flush()
    near = centers[rng.integers(100, size=TARGETS)] + rng.standard_normal((TARGETS, D), np.float32)
    np.save(folder / "target.npy", normalize_rows(near))


def methods() -> dict[str, Callable[[], object]]:
    """Return the plugins by name."""
    from curate.plugins.selectors.targeted.gio import GIO
    from curate.plugins.selectors.targeted.less import Less
    from curate.plugins.selectors.targeted.rds_plus import RDSPlus
    from curate.plugins.selectors.targeted.tarot import Tarot

    return {
        "rds_plus": RDSPlus,
        "rds_plus, best": lambda: RDSPlus(rule="best"),
        "less": Less,
        "tarot": Tarot,
        "gio": GIO,
    }


NAMES = ("rds_plus", "rds_plus, best", "less", "tarot", "gio")


def measure(folder: Path, name: str) -> dict[str, float]:
    """Return the seconds and the memory of one selection."""
    from measuring import memory

    from curate.plugins.batches import Pool, TargetRows

    x, targets = np.load(folder / "pool.npy", mmap_mode="r"), np.load(folder / "target.npy")
    n, m = len(x), len(targets)
    target = TargetRows(targets, np.full(m, -1, np.int32), np.zeros(m, np.int32))
    pool = Pool(np.asarray(x), np.zeros(n, np.float32), np.zeros(n, np.int32), target=target)
    began = time.perf_counter()
    chosen = methods()[name]().select(pool, n // 10, np.random.default_rng(0)).indices
    return {"seconds": time.perf_counter() - began, "peak_mib": memory("VmHWM"), "rows": len(chosen)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--child", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.folder, given.child)))
        return
    from measuring import find_variants, machine, print_line, run_in_rounds, summary

    print_line({"bench": "targeted_speed", "rows": given.rows, **machine()})
    pythons = find_variants("targeted_speed", dict.fromkeys(given.only, ""))
    with tempfile.TemporaryDirectory() as name:
        write_vectors(Path(name), given.rows)
        commands = {one: (python, ["--child", one, "--folder", name]) for one, python in pythons.items()}
        runs = run_in_rounds("targeted_speed", commands, given.repeats, script=__file__, kernel=None)
        for one, lines in runs.items():
            print_line({"bench": "targeted_speed", "variant": one, **summary(lines)})


if __name__ == "__main__":
    main()
