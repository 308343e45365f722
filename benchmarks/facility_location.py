"""Compare facility location with apricot and submodlib by the objective on all similarities; and run a million rows.

    CURATE_PEERS_PYTHON=peers/bin/python python benchmarks/facility_location.py --rows 50000 --kernel SkylakeX
    python benchmarks/facility_location.py --rows 1000000 --clustered [--folder /tmp]

The first command selects a tenth of the rows with each library, alternating, one process each. All libraries use
cosine similarities, with negative values set to 0. "sparse" is a graph of 64 neighbors, which faiss computes for the
other libraries (the search of apricot fails with current scikit-learn, and that of submodlib fills an n × n matrix
first). "dense" is all n × n similarities, and is skipped if they do not fit into memory. The objective of the selected
rows is computed on all similarities, as a share of its maximum n. Runs that take longer than ``--limit`` are ended.

The second command is `curate select` on a Parquet file of vectors: k-means, then facility location within each
cluster. It prints seconds and peak memory of every step, from the manifest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import environment, find_variants, machine, memory, print_line, reset_peak, run_in_rounds, summary
from mixture import CACHE, mixture

NEIGHBORS = 64
MODULES = {
    "uniform": "",
    "curate": "",
    "apricot sparse": "apricot",
    "apricot dense": "apricot",
    "submodlib sparse": "submodlib",
    "submodlib dense": "submodlib",
}
DENSE = {"apricot dense": 13, "submodlib dense": 9}
"""Bytes that a pair of rows takes at the peak, measured at 5,000 rows."""

Picked = tuple[np.ndarray, dict[str, float]]
"""The rows, and seconds of parts of the work."""


# ---------------------------------------------------------------- the libraries


def uniform(x: np.ndarray, budget: int) -> Picked:
    return np.random.default_rng(0).choice(len(x), budget, replace=False), {}


def curate(x: np.ndarray, budget: int) -> Picked:
    """Run the two halves of the selector; the graph of a large pool is computed in the cells of k-means."""
    from curate.kernels.clustering.lloyd import assign
    from curate.kernels.submodular.similarities import EXACT_ROWS, similarity_graph
    from curate.kernels.types import Vectors
    from curate.plugins.clusterers.kmeans import KMeans
    from curate.plugins.selectors.coverage.facility_location import facility_location

    began = time.perf_counter()
    cluster = np.zeros(len(x), np.int32)
    if len(x) > EXACT_ROWS:
        cluster = assign(x, KMeans().fit(Vectors.from_array(x), np.random.default_rng(0)).centroids)[0]
    clustered = time.perf_counter()
    graph = similarity_graph(x, cluster, NEIGHBORS)
    variants = time.perf_counter()
    order = facility_location(graph, budget)[0]
    parts = {"cluster_seconds": clustered - began, "graph_seconds": variants - clustered}
    return order, parts | {"greedy_seconds": time.perf_counter() - variants}


def _graph(x: np.ndarray) -> Any:
    """Return the symmetric graph of nearest neighbors, including the rows themselves, like curate's but with faiss."""
    import faiss
    from scipy import sparse

    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    similarities, rows = index.search(x, NEIGHBORS + 1)
    starts = np.arange(0, rows.size + 1, NEIGHBORS + 1)
    one_way = sparse.csr_matrix((np.maximum(similarities, 0).ravel(), rows.ravel(), starts), shape=(len(x), len(x)))
    return one_way.maximum(one_way.T).tocsr()


def _apricot(similarities: Any, budget: int) -> np.ndarray:
    from apricot import FacilityLocationSelection

    return FacilityLocationSelection(budget, metric="precomputed", optimizer="lazy").fit(similarities).ranking


def apricot_sparse(x: np.ndarray, budget: int) -> Picked:
    began = time.perf_counter()
    graph = _graph(x).astype(np.float64)  # the only type it takes
    variants = time.perf_counter()
    return _apricot(graph, budget), {"graph_seconds": variants - began}


def apricot_dense(x: np.ndarray, budget: int) -> Picked:
    return _apricot(np.maximum(x @ x.T, 0), budget), {}


def _submodlib(budget: int, **given: Any) -> np.ndarray:
    from submodlib import FacilityLocationFunction

    objective = FacilityLocationFunction(**given)
    quiet = {"stopIfZeroGain": False, "stopIfNegativeGain": False, "verbose": False, "show_progress": False}
    return np.array([row for row, _ in objective.maximize(budget=budget, optimizer="LazyGreedy", **quiet)])


def submodlib_sparse(x: np.ndarray, budget: int) -> Picked:
    began = time.perf_counter()
    graph = _graph(x)
    variants = time.perf_counter()
    order = _submodlib(budget, n=len(x), mode="sparse", sijs=graph, separate_rep=False, num_neighbors=NEIGHBORS)
    return order, {"graph_seconds": variants - began}


def submodlib_dense(x: np.ndarray, budget: int) -> Picked:
    return _submodlib(budget, n=len(x), mode="dense", sijs=np.maximum(x @ x.T, 0), separate_rep=False), {}


PICK: dict[str, Callable[[np.ndarray, int], Picked]] = {
    "uniform": uniform,
    "curate": curate,
    "apricot sparse": apricot_sparse,
    "apricot dense": apricot_dense,
    "submodlib sparse": submodlib_sparse,
    "submodlib dense": submodlib_dense,
}


# ---------------------------------------------------------------- one answer


def warm(pick: Callable[[np.ndarray, int], Picked]) -> None:
    """Import modules and compile numba functions, which are not part of the measured time."""
    pick(np.ascontiguousarray(np.eye(NEIGHBORS + 1, 70, dtype=np.float32)), 2)


def child(size: argparse.Namespace) -> dict[str, Any]:
    x, budget = mixture(size.rows), int(size.rows * size.keep_rate)
    pick = PICK[size.child]
    warm(pick)
    before = reset_peak()
    began, busy = time.perf_counter(), time.process_time()
    rows, parts = pick(x, budget)
    seconds, processor = time.perf_counter() - began, time.process_time() - busy
    peak = memory("VmHWM")
    np.save(answer(size.child), rows)
    variants = {"seconds": seconds, "processor_seconds": processor, **parts, "picked": len(set(rows.tolist()))}
    return {**variants, "peak_mib": peak, "before_mib": before, **machine()}


def answer(variant: str) -> Path:
    return CACHE / f"facility-location-{variant.replace(' ', '-')}.npy"


def objective(x: np.ndarray, rows: np.ndarray) -> float:
    """Return the mean over all rows of the largest similarity, at least 0, to a selected row, on all similarities."""
    among = x[rows]
    blocks = (x[start : start + 2048] @ among.T for start in range(0, len(x), 2048))
    return sum(float(np.maximum(block.max(axis=1), 0).sum(dtype=np.float64)) for block in blocks) / len(x)


def fits(variant: str, rows: int) -> bool:
    need = DENSE.get(variant, 0) * rows**2
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need <= 0.85 * have:
        return True
    why = f"about {need >> 30:,} GiB for {rows:,}² similarities, the machine has {have >> 30}"
    print_line({"bench": "facility location", "variant": variant, "skipped": why})
    return False


def compared(size: argparse.Namespace) -> None:
    x = mixture(size.rows)
    needs = {variant: MODULES[variant] for variant in size.only if fits(variant, size.rows)}
    shape = ["--rows", str(size.rows), "--keep-rate", str(size.keep_rate)]
    variants = find_variants("facility location", needs)
    commands = {variant: (python, [*shape, "--child", variant]) for variant, python in variants.items()}
    slow = [
        variant for variant in variants if variant.startswith("submodlib") or variant in DENSE
    ]  # minutes: once tells
    options = {"script": __file__, "kernel": size.kernel, "limit": size.limit}
    runs = run_in_rounds("facility location", commands, size.repeats, once=() if size.all_repeats else slow, **options)
    for variant, results in runs.items():
        line = {
            "bench": "facility location",
            "variant": variant,
            "rows": size.rows,
            **summary(results, ("seconds", "processor_seconds")),
        }
        if "failed" not in results[-1]:
            line |= {"objective": objective(x, np.load(answer(variant)))}
        print_line(line)


# ---------------------------------------------------------------- a pool too large for one graph


def clustered(size: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="curate-clustered-", dir=size.folder) as name:
        folder = Path(name)
        write_pool(folder / "pool.parquet", size.rows)
        settings = {
            "curate": 1,
            "run": str(folder / "run"),
            "input": {"files": str(folder / "pool.parquet"), "id": "id", "text": "text"},
            "embed": {"use": "column", "column": "vector"},
            "cluster": {"use": "kmeans"},
            "score": [{"use": "prototypicality"}],
            "select": [{"use": "facility_location", "keep_rate": size.keep_rate, "within": "cluster"}],
        }
        written = folder / "config.yaml"
        written.write_text(json.dumps(settings))  # JSON is YAML
        code = "from curate.cli import main; main()"
        command = [sys.executable, "-c", code, "select", str(written), "--json", "--workers", "2"]
        done = subprocess.run(command, env=environment(size.kernel), stdout=subprocess.PIPE, check=True)
        steps = json.loads(done.stdout)["accounting"]
        common = {"bench": "facility location", "variant": "curate within clusters", "rows": size.rows}
        for step in steps:
            at = {"step": f"{step['stage']} {step['name']}", "kept": step["kept"], "seconds": step["seconds"]}
            print_line({**common, **at, "peak_mib": step["peak_memory"] >> 20})
        peaks = [step["peak_memory"] >> 20 for step in steps]
        clusters = json.loads((folder / "run" / "cluster" / "manifest.json").read_text())["facts"]
        sizes = {key: clusters[key] for key in ("clusters", "largest")}
        print_line(
            {**common, **sizes, "seconds": sum(step["seconds"] for step in steps), "peak_mib": max(peaks), **machine()}
        )


def write_pool(path: Path, rows: int) -> None:
    """Write one row per vector, in row groups, so that the vectors are streamed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    mixture(rows)
    x = np.load(next(CACHE.glob(f"mixture-{rows}-384-*.npy")), mmap_mode="r")
    kind = pa.list_(pa.float32(), x.shape[1])
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("vector", kind)])
    with pq.ParquetWriter(path, schema, compression="none") as file:
        for start in range(0, rows, 50_000):
            block = np.ascontiguousarray(x[start : start + 50_000])
            names = pa.array([f"row-{row:08d}" for row in range(start, start + len(block))])
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), x.shape[1])
            file.write_table(pa.table([names, names, vectors], schema=schema))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--keep-rate", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--all-repeats", action="store_true", help="also of what takes minutes; else once each")
    parser.add_argument("--limit", type=float, default=900, help="seconds after which a run is ended")
    parser.add_argument("--only", nargs="+", default=list(PICK), choices=PICK, metavar="NAME")
    parser.add_argument("--kernel", help="OPENBLAS_CORETYPE: Haswell, SkylakeX, Zen, …")
    parser.add_argument("--clustered", action="store_true", help="by the pipeline, within the clusters of k-means")
    parser.add_argument("--folder", type=Path, help="with --clustered: where to put the pool and the run meanwhile")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    size = parser.parse_args()
    if size.child:
        print(json.dumps(child(size)))
    elif size.clustered:
        clustered(size)
    else:
        compared(size)


if __name__ == "__main__":
    main()
