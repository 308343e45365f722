"""Compare the graph of 32 nearest neighbors with faiss, hnswlib and usearch, each tuned to the same recall.

    CURATE_PEERS_PYTHON=peers/bin/python python benchmarks/neighbors.py --kernel SkylakeX --repeats 3

Every library has a few ways to build its index and a ladder of its search parameter. The first value that reaches the
recall on the probe rows is used, with the build whose complete graph is then expected to be the fastest. With these
settings, all libraries are timed in alternating rounds, one process each: the build (for curate and faiss IVF: k-means
over the rows), the search for all rows, and both. The search alone is the cost in the pipeline, where clusters exist.
Recall is that of the graph, on the probe rows, against all similarities. All use two threads; ``--kernel`` sets
OPENBLAS_CORETYPE for all, also inside faiss. Prints JSON lines: settings, runs, and medians with ranges.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from measuring import find_variants, machine, measure_in_process, memory, print_line, reset_peak, run_in_rounds, summary
from mixture import CACHE, mixture

K = 32
THREADS = 2
PROBES = 3_000
CELLS_LADDER = (4, 8, 12, 16, 20, 24, 32, 48, 64)
GRAPH_LADDER = (33, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384)

Ids = np.ndarray
Search = Callable[[Ids, int], Ids]
"""Rows and a rung to at least k neighbors of each row, possibly including the row itself."""


# ---------------------------------------------------------------- the libraries: (vectors, build) to a search


def curate(x: np.ndarray, build: dict[str, Any]) -> Search:
    from curate.kernels.clustering.lloyd import assign
    from curate.kernels.linalg.centroids import clusters_as_cells
    from curate.kernels.neighbors.knn import knn
    from curate.kernels.types import Vectors
    from curate.plugins.clusterers.kmeans import KMeans

    cluster = assign(x, KMeans(**build).fit(Vectors.from_array(x), np.random.default_rng(0)).centroids)[0]

    def search(rows: Ids, n_probe: int) -> Ids:
        centroids, cell = clusters_as_cells(x, cluster)  # as a selector does
        return knn(x, K, queries=rows, centroids=centroids, cluster=cell, n_probe=n_probe)[0]

    return search


def curate_exact(x: np.ndarray, build: dict[str, Any]) -> Search:  # noqa: ARG001
    from curate.kernels.neighbors.knn import knn

    return lambda rows, _: knn(x, K, queries=rows)[0]


def faiss_exact(x: np.ndarray, build: dict[str, Any]) -> Search:  # noqa: ARG001
    import faiss

    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    return lambda rows, _: index.search(x[rows], K + 1)[1]


def faiss_ivf(x: np.ndarray, build: dict[str, Any]) -> Search:
    import faiss

    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(x.shape[1]), x.shape[1], build["nlist"], faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = 64  # its k-means on a sample: half the time of its default, and as good here
    index.train(x)
    index.add(x)

    def search(rows: Ids, nprobe: int) -> Ids:
        index.nprobe = nprobe
        return index.search(x[rows], K + 1)[1]

    return search


def faiss_hnsw(x: np.ndarray, build: dict[str, Any]) -> Search:
    import faiss

    metric = {"ip": faiss.METRIC_INNER_PRODUCT, "l2": faiss.METRIC_L2}[build["metric"]]
    index = faiss.IndexHNSWFlat(x.shape[1], build["M"], metric)
    index.hnsw.efConstruction = build["efConstruction"]
    index.add(x)

    def search(rows: Ids, ef: int) -> Ids:
        index.hnsw.efSearch = ef
        return index.search(x[rows], K + 1)[1]

    return search


def hnswlib(x: np.ndarray, build: dict[str, Any]) -> Search:
    import hnswlib as library

    index = library.Index("ip", x.shape[1])
    index.init_index(len(x), M=build["M"], ef_construction=build["ef_construction"])
    index.set_num_threads(THREADS)
    index.add_items(x)

    def search(rows: Ids, ef: int) -> Ids:
        index.set_ef(ef)
        return index.knn_query(x[rows], K + 1)[0].astype(np.int64)

    return search


def usearch(x: np.ndarray, build: dict[str, Any]) -> Search:
    from usearch.index import Index

    index = Index(ndim=x.shape[1], metric="ip", **build)
    index.add(np.arange(len(x)), x, threads=THREADS)

    def search(rows: Ids, expansion: int) -> Ids:
        index.expansion_search = expansion
        return index.search(x[rows], K + 1, threads=THREADS).keys.astype(np.int64)

    return search


@dataclass(frozen=True)
class Library:
    """Library or curate: the module it needs ("" for curate), how the index is built, and the settings to try."""

    module: str
    start: Callable[[np.ndarray, dict[str, Any]], Search]
    builds: tuple[dict[str, Any], ...] = ({},)
    ladder: tuple[int, ...] = (0,)


LIBRARIES = {
    "curate": Library("", curate, ({"n_clusters": "auto"},), CELLS_LADDER),
    "faiss IVF": Library("faiss", faiss_ivf, ({"nlist": 256}, {"nlist": 512}, {"nlist": 1024}), CELLS_LADDER),
    "faiss HNSW": Library(
        "faiss",
        faiss_hnsw,
        (
            {"M": 16, "efConstruction": 64, "metric": "ip"},
            {"M": 16, "efConstruction": 64, "metric": "l2"},
            {"M": 32, "efConstruction": 64, "metric": "l2"},
        ),
        GRAPH_LADDER,
    ),
    "hnswlib": Library(
        "hnswlib",
        hnswlib,
        ({"M": 16, "ef_construction": 64}, {"M": 16, "ef_construction": 100}, {"M": 24, "ef_construction": 100}),
        GRAPH_LADDER,
    ),
    "usearch": Library(
        "usearch.index",
        usearch,
        (
            {"dtype": "bf16", "connectivity": 16, "expansion_add": 64},
            {"dtype": "bf16", "connectivity": 16, "expansion_add": 128},
            {"dtype": "f32", "connectivity": 16, "expansion_add": 64},
        ),
        GRAPH_LADDER,
    ),
    "curate, exact": Library("", curate_exact),
    "faiss flat, exact": Library("faiss", faiss_exact),
}
EXACT = ("curate, exact", "faiss flat, exact")


# ---------------------------------------------------------------- recall


def probe_rows(rows: int) -> tuple[Ids, Ids]:
    """Return some rows, and the ``K`` most similar other rows of each; both are stored on disk."""
    file = CACHE / f"neighbors-{rows}.npz"
    if not file.exists():
        x = mixture(rows)
        chosen = np.sort(np.random.default_rng(3).choice(rows, min(PROBES, rows), replace=False))
        nearest = []
        for block in np.array_split(chosen, -(-len(chosen) // 500)):
            similarities = x[block] @ x.T
            similarities[np.arange(len(block)), block] = -np.inf
            nearest.append(np.argpartition(-similarities, K, axis=1)[:, :K])
        np.savez(file, rows=chosen, nearest=np.concatenate(nearest))
    with np.load(file) as found:
        return found["rows"], found["nearest"]


def recall(rows: Ids, found: Ids, nearest: Ids) -> float:
    """Return the share of the true neighbors among the first ``K`` results."""
    own_last = np.argsort(found == rows[:, None], axis=1, kind="stable")
    first = np.take_along_axis(found, own_last, axis=1)[:, :K]
    return float(np.mean([np.isin(true, mine).mean() for true, mine in zip(nearest, first, strict=True)]))


# ---------------------------------------------------------------- in a process of its own


def tune(library: Library, size: argparse.Namespace) -> dict[str, Any]:
    """Return the setting with the shortest expected time among those that reach the recall, and all tested settings."""
    x = mixture(size.rows)
    rows, nearest = probe_rows(size.rows)
    tried = []
    for build in library.builds:
        began = time.perf_counter()
        search = library.start(x, build)
        build_seconds = time.perf_counter() - began
        for rung in library.ladder:
            began = time.perf_counter()
            reached = recall(rows, search(rows, rung), nearest)
            expected = build_seconds + (time.perf_counter() - began) * size.rows / len(rows)
            if reached >= size.recall:
                break
        tried.append({"build": build, "rung": rung, "recall": reached, "expected_seconds": expected})
    enough = [one for one in tried if one["recall"] >= size.recall]
    best = min(enough, key=lambda one: one["expected_seconds"], default=max(tried, key=lambda one: one["recall"]))
    return {"setting": best, "tried": tried}


def run(library: Library, size: argparse.Namespace) -> dict[str, Any]:
    x = mixture(size.rows)
    rows, nearest = probe_rows(size.rows)
    setting = json.loads(size.setting)
    import_module(library.module or "curate.plugins.clusterers.kmeans")  # not part of what is timed
    before = reset_peak()
    began = time.perf_counter()
    search = library.start(x, setting["build"])
    built = time.perf_counter()
    found = search(np.arange(size.rows), setting["rung"])
    ended = time.perf_counter()
    return {
        **setting,
        "seconds": ended - began,
        "build_seconds": built - began,
        "search_seconds": ended - built,
        "recall": recall(rows, found[rows], nearest),
        "peak_mib": memory("VmHWM"),
        "before_mib": before,
        **machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(LIBRARIES), choices=LIBRARIES, metavar="NAME")
    parser.add_argument("--kernel", help="OPENBLAS_CORETYPE: Haswell, SkylakeX, Zen, …")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    size = parser.parse_args()
    if size.child:
        library = LIBRARIES[size.child]
        print(json.dumps(run(library, size) if size.setting else tune(library, size)))
        return
    probe_rows(size.rows)
    commands = {}
    for name, python in find_variants("neighbors", {name: LIBRARIES[name].module for name in size.only}).items():
        arguments = ["--rows", str(size.rows), "--recall", str(size.recall), "--child", name]
        tuned = {"setting": {"build": {}, "rung": 0}}
        if name not in EXACT:
            tuned = measure_in_process(python, __file__, arguments, kernel=size.kernel)
            print_line({"bench": "neighbors", "tuned": name, **tuned})
        if "failed" not in tuned:
            setting = {key: tuned["setting"][key] for key in ("build", "rung")}
            commands[name] = (python, [*arguments, "--setting", json.dumps(setting)])
    runs = run_in_rounds("neighbors", commands, size.repeats, script=__file__, kernel=size.kernel, once=EXACT)
    for name, results in runs.items():
        keys = ("seconds", "build_seconds", "search_seconds")
        line = {"bench": "neighbors", "variant": name, "rows": size.rows, "k": K, **summary(results, keys)}
        print_line(line | {"reached": line.get("recall", 0) >= size.recall})


if __name__ == "__main__":
    sys.exit(main())
