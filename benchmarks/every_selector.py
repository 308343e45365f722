"""Measure seconds and peak memory of every selector as the pool grows; docs/reference/cost.md contains the table.

    python benchmarks/every_selector.py --kernel SkylakeX [--rows 10000 100000 1000000] [--only k_center …] [--again]
    python docs/generate.py      # writes the table of docs/reference/cost.md from the results

Each selector runs in a separate process, with the options of its example and otherwise its defaults, at one keep rate:
the median of up to three runs within ten seconds. The pool is that of ``mixture.py``, with 384 dimensions and the
clusters that k-means finds; quality and scores are random, sequences are 32 random states out of four, texts are 100
random words, every tenth one a copy; the target has 100 rows of five tasks. Memory is the peak of the process, and its
memory before the selector starts: interpreter, libraries and pool. A selector is skipped if, by extrapolation from
smaller pools, it would take longer than ``--limit`` seconds, or more than the available memory.

Results are stored in docs/cost/selectors.json. Results of the same version of a selector at the same keep rate are not
measured again (except with ``--again``), so the command can be interrupted and repeated. Prints each measurement as a
JSON line. Two threads; ``--kernel`` sets OPENBLAS_CORETYPE.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measuring import machine, measure_in_process, memory, print_line, reset_peak
from mixture import CACHE, mixture

from curate.kernels.clustering.lloyd import assign
from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Texts, Vectors
from curate.plugins import registry
from curate.plugins.batches import Pool, TargetRows
from curate.plugins.clusterers.kmeans import KMeans

RESULTS = Path(__file__).parent.parent / "docs" / "cost" / "selectors.json"
REPEATS, ENOUGH = 3, 10.0  # runs, and seconds after which there is no further one
MEMORY_RATE = 0.85  # of the machine's
SEQUENCES = "states"  # a column of this name holds sequences

Line = dict[str, Any]


# ---------------------------------------------------------------- one measurement


def clusters(n: int) -> np.ndarray:
    """Return the clusters of the pipeline, (n,) int32, which are stored on disk."""
    file = CACHE / f"clusters-{n}.npy"
    if not file.exists():
        x = mixture(n)
        np.save(file, assign(x, KMeans().fit(Vectors.from_array(x), np.random.default_rng(0)).centroids)[0])
    return np.load(file)


def words(value: Any) -> Iterator[str]:
    """Return every string in the options of a plugin, including the names of scores."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (*words(key), *words(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from words(item)


def texts(n: int) -> Texts:
    """Return texts of 100 words each; every tenth text is a copy of the previous one."""
    rng = np.random.default_rng(1)
    made = [" ".join(map(str, rng.integers(0, 5_000, 100).tolist())) for _ in range(n)]
    return Texts.from_list([made[row - (row % 10 == 9)] for row in range(n)])


def target_rows() -> TargetRows:
    """Return 100 rows of five tasks, from the clusters of the pool."""
    number = np.arange(100, dtype=np.int32)
    words = tuple(text for block in texts(100).blocks() for text in block)
    return TargetRows(mixture(100), np.full(100, -1, np.int32), number % 5, words)


def pool_for(name: str, n: int) -> tuple[Any, Pool]:
    record = registry.get("selector", name)
    plugin, reads = record.cls(**record.traits.example), record.traits.reads
    rng = np.random.default_rng(0)
    numbers = rng.random(n, dtype=np.float32)
    columns = {column: pl.Series(numbers) for column in plugin.columns()} if "frame" in reads else {}
    if SEQUENCES in columns:
        columns[SEQUENCES] = pl.Series(rng.integers(0, 4, (n, 32)))
    pool = Pool(
        mixture(n) if "embedding" in reads else np.empty((n, 0), np.float32),
        numbers,
        clusters(n) if "cluster" in reads else np.zeros(n, np.int32),
        dict.fromkeys(words(asdict(plugin)), numbers) if "scores" in reads else {},
        {},
        pl.DataFrame(columns) if columns else None,
        texts(n) if "text" in reads else None,
        target=target_rows() if "target" in reads else None,
    )
    return plugin, pool


def measure(name: str, n: int, keep_rate: float) -> Line:
    plugin, pool = pool_for(name, n)
    budget = int(keep_rate * n) if registry.get("selector", name).traits.budgeted else None
    before, seconds = reset_peak(), []
    with one_blas_thread():  # as the driver has it
        while len(seconds) < REPEATS and sum(seconds) < ENOUGH:
            start = time.perf_counter()
            selection = plugin.select(pool, budget, np.random.default_rng(0)).check(n, budget)
            seconds.append(time.perf_counter() - start)
    return {
        "kept": len(selection.indices),
        "seconds": statistics.median(seconds),
        "seconds_range": [min(seconds), max(seconds)],
        "peak_mib": memory("VmHWM"),
        "before_mib": before,
        "machine": machine(),
    }


# ---------------------------------------------------------------- all of them


def expected(smaller: Sequence[Line], n: int) -> tuple[float, float]:
    """Return the seconds and MiB that a selector is expected to need on ``n`` rows, from its runs on smaller pools."""
    last = smaller[-1]
    growth = n / last["rows"]
    power = 2.0 if registry.get("selector", last["selector"]).traits.quadratic else 1.0
    if len(smaller) > 1:
        first = smaller[-2]
        measured_power = math.log(last["seconds"] / first["seconds"]) / math.log(last["rows"] / first["rows"])
        power = max(power, measured_power)
    return last["seconds"] * growth**power, last["peak_mib"] * growth


def reason_to_skip(smaller: Sequence[Line], n: int, limit: float) -> str:
    """Return the reason why a selector is not run on ``n`` rows; empty if it is."""
    tried = [line for line in smaller if "skipped" not in line]
    if not tried:
        return str(smaller[-1]["skipped"]) if smaller else ""
    seconds, mib = expected(tried, n)
    if seconds > limit:
        return f"{in_words(seconds)} expected"
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return f"{mib / 1024:.0f} GiB expected" if mib > MEMORY_RATE * have else ""


def in_words(seconds: float) -> str:
    """Return an approximate duration as text."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} s"


def key(line: Line) -> tuple[Any, ...]:
    return line["selector"], line["version"], line["rows"]


def kept(path: Path, keep_rate: float) -> list[Line]:
    """Return the stored measurements of selectors whose version and keep rate are unchanged."""
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    versions = {name: registry.get("selector", name).traits.version for name in registry.names("selector")}
    lines = found["measured"] if found["keep_rate"] == keep_rate else []
    return [line for line in lines if versions.get(line["selector"]) == line["version"]]


def save(path: Path, keep_rate: float, lines: Sequence[Line]) -> None:
    ordered = sorted(lines, key=lambda line: (line["selector"], line["rows"]))
    head = {"keep_rate": keep_rate, "dimensions": 384, "measured": ordered}
    text = json.dumps(json.loads(json.dumps(head), parse_float=lambda number: round(float(number), 5)), indent=1)
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(path)


def all_of_them(chosen: argparse.Namespace) -> None:
    lines = {key(line): line for line in kept(chosen.results, chosen.keep_rate)}
    for n in sorted(chosen.rows):
        mixture(n)  # written once, so that no measured process makes it
        clusters(n)
        for name in chosen.only:
            version = registry.get("selector", name).traits.version
            about: Line = {"selector": name, "version": version, "rows": n}
            if key(about) in lines and "skipped" not in lines[key(about)] and not chosen.again:
                continue
            smaller = sorted((one for one in lines.values() if one["selector"] == name), key=lambda one: one["rows"])
            why = reason_to_skip([one for one in smaller if one["rows"] < n], n, chosen.limit)
            done: Line = {"skipped": why}
            if not why:
                one = ["--here", "--rows", str(n), "--only", name, "--keep-rate", str(chosen.keep_rate)]
                done = measure_in_process(sys.executable, __file__, one, kernel=chosen.kernel, limit=2 * chosen.limit)
            if "failed" in done:
                done = {"skipped": done["failed"]}
            lines[key(about)] = about | done
            print_line(lines[key(about)])
            save(chosen.results, chosen.keep_rate, list(lines.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--only", nargs="+", default=registry.names("selector"), metavar="NAME")
    parser.add_argument("--keep-rate", type=float, default=0.01)
    parser.add_argument("--limit", type=float, default=900, help="seconds that a selector may be expected to take")
    parser.add_argument("--again", action="store_true", help="also what was measured before")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--kernel", help="OPENBLAS_CORETYPE: Haswell, SkylakeX, Zen, …")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.here:
        print(json.dumps(measure(chosen.only[0], chosen.rows[0], chosen.keep_rate)))
    else:
        all_of_them(chosen)


if __name__ == "__main__":
    main()
