"""Compare near-duplicates within cells with faiss and semhash on the same vectors, and count missed pairs.

    CURATE_PEERS_PYTHON=peers/bin/python python benchmarks/semdedup.py --rows 200000 --cells 1000 --kernel SkylakeX
    … --rows 1000000 --cells 5000 --only curate products "faiss in cells" "faiss IVF 1"

All variants drop a row if an earlier one is similar to it, alternating, one process each: "curate" and "faiss in cells"
(one flat index per cell) search the cell of the row, so they drop the same rows; "curate p" searches p cells; "faiss
IVF p" searches by radius in the p nearest cells of the same centroids; semhash searches a graph over all rows.
"products" computes only the similarities within the cells: its time divided by curate's is the share of matrix
products. "curate farthest" is "curate" in the order of the paper.

Finally, a sample of rows is compared with all others, to count the similar pairs that each number of probes misses.
Cells are curate's k-means, computed before. All use two threads; ``--kernel`` sets OPENBLAS_CORETYPE for all, also
inside faiss. On a busy machine, compare the processor seconds of all threads.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
from measuring import find_variants, machine, measure_in_process, memory, print_line, reset_peak, run_in_rounds, summary
from mixture import CACHE, mixture

Cells = tuple[np.ndarray, np.ndarray]
"""(n,) the cell of each row, and (k, d) the centroids."""

MODULES = {
    "curate": "",
    **{f"curate {n_probe}": "" for n_probe in (2, 4, 8)},
    "curate farthest": "",
    "products": "",
    "faiss in cells": "faiss",
    "faiss IVF 1": "faiss",
    "faiss IVF 8": "faiss",
    "semhash": "semhash",
}


def cells(rows: int, count: int) -> Cells:
    """Return the cells of k-means over all rows, which are stored on disk; computed with the same threads."""
    with np.load(CACHE / f"cells-{rows}-{count}.npz") as found:
        return found["cell"], found["centroids"]


def make_cells(rows: int, count: int) -> dict[str, Any]:
    from curate.kernels.clustering.lloyd import assign
    from curate.kernels.types import Vectors
    from curate.plugins.clusterers.kmeans import KMeans

    file = CACHE / f"cells-{rows}-{count}.npz"
    if file.exists():
        with np.load(file) as found:
            cell, seconds = found["cell"], float(found["seconds"])
    else:
        x = mixture(rows)
        began = time.perf_counter()
        centroids = KMeans(n_clusters=count).fit(Vectors.from_array(x), np.random.default_rng(0)).centroids
        cell = assign(x, centroids)[0]
        seconds = time.perf_counter() - began
        np.savez(file, cell=cell, centroids=centroids, seconds=seconds)
    sizes = np.bincount(cell)
    return {"cells": len(sizes), "largest": int(sizes.max()), "median": float(np.median(sizes)), "seconds": seconds}


def members(cell: np.ndarray) -> Iterator[np.ndarray]:
    rows = np.argsort(cell, kind="stable")
    yield from np.split(rows, np.flatnonzero(np.diff(cell[rows])) + 1)


# ---------------------------------------------------------------- the libraries: which rows are dropped

Drop = tuple[np.ndarray, dict[str, Any]]
"""(n,) bool, and what else there is to tell."""


def curate(x: np.ndarray, at: Cells, similarity: float, n_probe: int, first: str = "best_quality") -> Drop:
    from curate.kernels.neighbors import cells
    from curate.plugins.selectors.duplicates.semdedup import semdedup

    alike = np.zeros(len(x), np.float32)  # of equal quality: the order is that of the pool
    looked_into = cells.Cells.from_clusters(x, at[0], alike, first=first, n_probe=n_probe)
    return ~semdedup(x, looked_into, min_similarity=similarity)[0], {}


def products(x: np.ndarray, at: Cells, similarity: float) -> Drop:  # noqa: ARG001
    """Multiply each block of a cell with the rows of the cell up to its end, which needs the fewest products."""
    from curate.kernels.parallel import block_slices, map_blocks

    pairs = 0

    def cell(rows: np.ndarray) -> int:
        own = x[rows]
        blocks = list(block_slices(len(own), 1024))
        for block in blocks:
            for others in block_slices(block.stop, 1024):
                np.matmul(own[block], own[others].T)
        return sum((block.stop - block.start) * block.stop for block in blocks)

    for done in map_blocks(cell, members(at[0])):
        pairs += done
    return np.zeros(len(x), bool), {"flop": 2 * x.shape[1] * pairs}


def faiss_in_cells(x: np.ndarray, at: Cells, similarity: float) -> Drop:
    import faiss

    drop = np.zeros(len(x), bool)
    for rows in members(at[0]):
        index = faiss.IndexFlatIP(x.shape[1])
        index.add(x[rows])
        starts, _, found = index.range_search(x[rows], similarity)
        rows_of_pairs = np.repeat(np.arange(len(rows)), np.diff(starts).astype(int))
        drop[rows[rows_of_pairs[found < rows_of_pairs]]] = True
    return drop, {}


def faiss_ivf(x: np.ndarray, at: Cells, similarity: float, nprobe: int) -> Drop:
    import faiss

    began = time.perf_counter()
    quantizer = faiss.IndexFlatIP(x.shape[1])
    quantizer.add(at[1])
    index = faiss.IndexIVFFlat(quantizer, x.shape[1], len(at[1]), faiss.METRIC_INNER_PRODUCT)
    index.add(x)
    index.nprobe = nprobe
    built = time.perf_counter() - began
    starts, _, found = index.range_search(x, similarity)
    rows_of_pairs = np.repeat(np.arange(len(x)), np.diff(starts).astype(int))
    drop = np.zeros(len(x), bool)
    drop[rows_of_pairs[found < rows_of_pairs]] = True
    return drop, {"build_seconds": built}


def semhash_index(x: np.ndarray) -> Any:
    """Return a semhash index over existing vectors; its records are row numbers."""
    from semhash import SemHash

    class Model:
        """Placeholder for the model that semhash requires, as the vectors exist already."""

        def encode(self, *given: Any, **options: Any) -> np.ndarray:
            raise NotImplementedError

    return SemHash.from_embeddings(embeddings=x, records=[str(row) for row in range(len(x))], model=Model())


def semhash(x: np.ndarray, at: Cells, similarity: float) -> Drop:  # noqa: ARG001
    began = time.perf_counter()
    found = semhash_index(x)
    built = time.perf_counter() - began
    drop = np.ones(len(x), bool)
    drop[[int(row) for row in found.self_deduplicate(threshold=similarity).selected]] = False
    return drop, {"build_seconds": built}


DROP: dict[str, Callable[[np.ndarray, Cells, float], Drop]] = {
    "curate": lambda x, at, similarity: curate(x, at, similarity, 1),
    "curate 2": lambda x, at, similarity: curate(x, at, similarity, 2),
    "curate 4": lambda x, at, similarity: curate(x, at, similarity, 4),
    "curate 8": lambda x, at, similarity: curate(x, at, similarity, 8),
    "curate farthest": lambda x, at, similarity: curate(x, at, similarity, 1, "farthest"),
    "products": products,
    "faiss in cells": faiss_in_cells,
    "faiss IVF 1": lambda x, at, similarity: faiss_ivf(x, at, similarity, 1),
    "faiss IVF 8": lambda x, at, similarity: faiss_ivf(x, at, similarity, 8),
    "semhash": semhash,
}


def child(size: argparse.Namespace) -> dict[str, Any]:
    x, at = mixture(size.rows), cells(size.rows, size.cells)
    import_module(MODULES[size.child] or "curate.plugins.selectors.duplicates.semdedup")  # not part of what is timed
    before = reset_peak()
    began, busy = time.perf_counter(), time.process_time()
    drop, common = DROP[size.child](x, at, size.min_similarity)
    seconds, processor = time.perf_counter() - began, time.process_time() - busy
    found = {"seconds": seconds, "processor_seconds": processor, "dropped": int(drop.sum()), **common}
    return {**found, "peak_mib": memory("VmHWM"), "before_mib": before, **machine()}


# ---------------------------------------------------------------- what is missed


def missed(size: argparse.Namespace) -> dict[str, Any]:
    from curate.kernels.neighbors import cells as looked_into
    from curate.plugins.selectors.duplicates.semdedup import missed_pairs

    x, cell = mixture(size.rows), cells(size.rows, size.cells)[0]
    alike, found = np.zeros(size.rows, np.float32), {}
    for n_probe in (1, 2, 4, 8):
        at = looked_into.Cells.from_clusters(x, cell, alike, first="best_quality", n_probe=n_probe)
        common = missed_pairs(x, at, size.min_similarity, size.sample)
        if common is not None:
            found[str(n_probe)] = {"pairs": common.pairs, "share": common.missed / max(1, common.pairs)}
    return {"sample": size.sample, "by_probes": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--cells", type=int, default=1_000)
    parser.add_argument("--min-similarity", type=float, default=0.95)
    parser.add_argument("--sample", type=int, default=5_000, help="rows that are compared with all others")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=900, help="seconds after which a run is ended")
    parser.add_argument("--only", nargs="+", default=list(DROP), choices=DROP, metavar="NAME")
    parser.add_argument("--kernel", help="OPENBLAS_CORETYPE: Haswell, SkylakeX, Zen, …")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    size = parser.parse_args()
    if size.child:
        own = {"cells": lambda: make_cells(size.rows, size.cells), "missed": lambda: missed(size)}
        print(json.dumps(own[size.child]() if size.child in own else child(size)))
        return
    mixture(size.rows)
    shape = ["--rows", str(size.rows), "--cells", str(size.cells), "--min-similarity", str(size.min_similarity)]
    shape += ["--sample", str(size.sample), "--child"]
    common = {"bench": "semdedup", "rows": size.rows, "min_similarity": size.min_similarity}
    print_line(
        {**common, "k-means": measure_in_process(sys.executable, __file__, [*shape, "cells"], kernel=size.kernel)}
    )
    found = find_variants("semdedup", {variant: MODULES[variant] for variant in size.only})
    commands = {variant: (python, [*shape, variant]) for variant, python in found.items()}
    options = {"script": __file__, "kernel": size.kernel, "limit": size.limit, "once": ("semhash", "faiss IVF 8")}
    runs = run_in_rounds("semdedup", commands, size.repeats, **options)
    shares = {variant: summary(results, ("seconds", "processor_seconds")) for variant, results in runs.items()}
    for variant, line in shares.items():
        if variant.startswith("curate") and "seconds" in shares.get("products", {}):
            line["share_of_products"] = shares["products"]["seconds"] / line["seconds"]
        if "flop" in line:
            line["gflops"] = line["flop"] / line["seconds"] / 1e9
        print_line({**common, "cells": size.cells, "variant": variant, **line})
    print_line(
        {**common, "missed": measure_in_process(sys.executable, __file__, [*shape, "missed"], kernel=size.kernel)}
    )


if __name__ == "__main__":
    main()
