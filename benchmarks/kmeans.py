"""Compare k-means with scikit-learn and faiss: the same vectors, start and number of iterations, one process each.

    python benchmarks/kmeans.py --repeats 3 --kernel SkylakeX

Prints one JSON line per run as it ends, then one per variant: seconds per iteration (median of the repeats, which
alternate), the inertia of the centroids (sum of 1 - cosine to the nearest, computed in the same way for all), peak
memory (VmHWM), the memory before the measurement, and the share of the rate of a matrix product measured in the same
rounds. On a busy machine, compare the best times, and the processor seconds of all threads. ``--kernel`` sets
OPENBLAS_CORETYPE for all variants, including the one inside faiss. faiss is a dependency of this benchmark only:
``pip install faiss-cpu``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
from measuring import memory
from mixture import mixture

LLOYD = ("curate", "scikit-learn", "faiss")
SEEDING = ("seed: curate", "seed: scikit-learn")
SAMPLE_PER_CLUSTER = 16


def inertia(x: np.ndarray, centroids: np.ndarray) -> float:
    c = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    return float(sum((1 - (x[i : i + 4096] @ c.T).max(axis=1)).sum(dtype=np.float64) for i in range(0, len(x), 4096)))


def product_rate(x: np.ndarray, start: np.ndarray) -> float:
    """Return the floating-point operations per second of the same product, in the faster of two forms."""
    from curate.kernels.parallel import block_slices, map_blocks

    def block(rows: slice) -> None:
        np.matmul(x[rows], start.T)

    def by_blocks() -> None:
        for _ in map_blocks(block, block_slices(len(x), 2048)):
            pass

    def full_product() -> None:
        for i in range(0, len(x), 16_384):
            np.matmul(x[i : i + 16_384], start.T)

    seconds = []
    for form in (by_blocks, full_product) * 3:
        began = time.perf_counter()
        form()
        seconds.append(time.perf_counter() - began)
    return 2 * x.shape[0] * x.shape[1] * len(start) / min(seconds)


def lloyd(variant: str, x: np.ndarray, start: np.ndarray, iterations: int) -> dict[str, Any]:
    k, d = start.shape
    if variant == "curate":
        from curate.kernels.clustering.lloyd import lloyd as ours

        def fit() -> np.ndarray:
            blocks = [x[i : i + 65_536] for i in range(0, len(x), 65_536)]
            return ours(lambda: iter(blocks), start, max_iterations=iterations, tolerance=-1).centroids  # never met

    elif variant == "scikit-learn":
        from sklearn.cluster import KMeans

        def fit() -> np.ndarray:
            model = KMeans(k, init=start, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd", copy_x=False)
            return model.fit(x).cluster_centers_

    else:
        import faiss

        def fit() -> np.ndarray:
            model = faiss.Kmeans(d, k, niter=iterations, spherical=True, max_points_per_centroid=10**9)
            model.train(x, init_centroids=start)
            return model.centroids

    before = memory("VmRSS")
    began, worked = time.perf_counter(), time.process_time()
    centroids = fit()
    seconds, work = time.perf_counter() - began, time.process_time() - worked
    peak = memory("VmHWM")
    return {
        "seconds_per_iteration": seconds / iterations,
        "processor_seconds_per_iteration": work / iterations,
        "inertia": inertia(x, centroids),
        "peak_mib": peak,
        "before_mib": before,
    }


def seeding(variant: str, x: np.ndarray, k: int) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    sample = x[np.sort(rng.choice(len(x), SAMPLE_PER_CLUSTER * k, replace=False))]
    began = time.perf_counter()
    if variant == "seed: curate":
        from curate.kernels.clustering.kmeans_plusplus import choose_seeds

        rows = choose_seeds(sample, k, rng)
    else:
        from sklearn.cluster import kmeans_plusplus

        rows = kmeans_plusplus(sample, k, random_state=0)[1]
    return {"seconds": time.perf_counter() - began, "inertia": inertia(x, sample[rows]), "peak_mib": memory("VmHWM")}


def versions() -> dict[str, Any]:
    from importlib import metadata

    from threadpoolctl import threadpool_info

    names = ("numpy", "scipy", "scikit-learn", "faiss-cpu", "threadpoolctl")
    blas = [f"{i['prefix']} {i['version']} {i.get('architecture')} ×{i['num_threads']}" for i in threadpool_info()]
    return {"versions": {name: metadata.version(name) for name in names}, "libraries": sorted(set(blas))}


def child(variant: str, size: argparse.Namespace) -> None:
    x = mixture(size.rows, size.dimensions)
    start = x[np.sort(np.random.default_rng(1).choice(size.rows, size.clusters, replace=False))]
    if variant == "product":
        result: dict[str, Any] = {"flops": product_rate(x, start)}
    elif variant in SEEDING:
        result = seeding(variant, x, size.clusters)
    else:
        result = lloyd(variant, x, start, size.iterations)
    print(json.dumps({**result, **versions()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--clusters", type=int, default=1_000)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kernel", help="OPENBLAS_CORETYPE: Haswell, SkylakeX, Zen, …")
    parser.add_argument("--skip-seeding", action="store_true", help="scikit-learn's takes longest of all")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    size = parser.parse_args()
    if size.child:
        child(size.child, size)
        return
    mixture(size.rows, size.dimensions)
    environment = {**os.environ, **({"OPENBLAS_CORETYPE": size.kernel} if size.kernel else {})}
    runs: dict[str, list[dict[str, Any]]] = {
        variant: [] for variant in ("product", *LLOYD, *(() if size.skip_seeding else SEEDING))
    }
    for turn in range(size.repeats):
        for variant, results in runs.items():
            if variant in SEEDING and turn:
                continue
            load = os.getloadavg()[0]
            command = [sys.executable, __file__, *sys.argv[1:], "--child", variant]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            results.append({**json.loads(done.stdout.splitlines()[-1]), "load_before": round(load, 2)})
            print(json.dumps({"bench": "kmeans", "run": variant, **results[-1]}), flush=True)
    flops = max(run["flops"] for run in runs["product"])
    work = 2 * size.rows * size.dimensions * size.clusters
    for variant, results in runs.items():
        key = "flops" if variant == "product" else "seconds" if variant in SEEDING else "seconds_per_iteration"
        values = [run[key] for run in results]
        line = {"bench": "kmeans", "variant": variant, **results[-1], key: statistics.median(values)}
        line |= {"best": (max if variant == "product" else min)(values), "all": [round(value, 4) for value in values]}
        line |= {"load_before": [run["load_before"] for run in results]}
        if variant in LLOYD:
            key = "processor_seconds_per_iteration"
            line[key] = statistics.median(run[key] for run in results)
            line["share_of_product_rate"] = work / min(values) / flops  # best against best
        line |= {"rows": size.rows, "dimensions": size.dimensions, "clusters": size.clusters}
        line |= {"iterations": size.iterations, "processors": len(os.sched_getaffinity(0))}
        print(json.dumps({name: round(v, 4) if isinstance(v, float) else v for name, v in line.items()}), flush=True)


if __name__ == "__main__":
    main()
