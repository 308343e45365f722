"""Compare KNN-Shapley with two implementations in the style of the authors' code.

    python benchmarks/knn_shapley.py [--rows 100000] [--tests 1000] [--kernel SkylakeX] [--repeats 3]

"loop" follows the authors' code: for each test row, distances to all rows, their order, and the recursion in Python.
"vectorized" replaces the recursion by a cumulative sum, and the distances by one matrix product for each test row: the
best that NumPy does one test row at a time. Both are slow, so they value ``--peer-tests`` test rows only, and
``seconds`` is scaled to all; ``measured_seconds`` is not. All values agree, which every run checks on some test rows.
All use two threads where they can; every run is a process. Prints JSON lines: runs, and medians with ranges.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np
from measuring import machine, memory, print_line, reset_peak, run_in_rounds, summary
from mixture import mixture

K = 10
CLASSES = 100
CHECKED = 3
"""Number of test rows on which the values are compared."""


def curate(x: np.ndarray, y: np.ndarray, test: np.ndarray, test_y: np.ndarray) -> np.ndarray:
    from curate.kernels.valuation.knn_shapley import knn_shapley

    return knn_shapley(x, y, test, test_y, K)


def weighted(x: np.ndarray, y: np.ndarray, test: np.ndarray, test_y: np.ndarray) -> np.ndarray:
    from curate.kernels.valuation.knn_shapley import knn_shapley

    return knn_shapley(x, y, test, test_y, K, "similarity")


def vectorized(x: np.ndarray, y: np.ndarray, test: np.ndarray, test_y: np.ndarray) -> np.ndarray:
    n = len(x)
    places = np.arange(1, n)
    weight = np.minimum(K, places) / (places * K)
    total = np.zeros(n)
    for row, label in zip(test, test_y, strict=True):
        order = np.argsort(-(x @ row), kind="stable")
        matches = (y[order] == label).astype(np.float64)
        values = np.append((matches[:-1] - matches[1:]) * weight, matches[-1] * min(K, n) / (n * K))
        total[order] += np.cumsum(values[::-1])[::-1]
    return total / len(test)


def loop(x: np.ndarray, y: np.ndarray, test: np.ndarray, test_y: np.ndarray) -> np.ndarray:
    n = len(x)
    values = np.zeros((len(test), n))
    for number in range(len(test)):
        order = np.argsort(np.linalg.norm(x - test[number], axis=1), kind="stable")
        values[number, order[-1]] = (y[order[-1]] == test_y[number]) * min(K, n) / (n * K)
        for i in range(n - 2, -1, -1):
            change = int(y[order[i]] == test_y[number]) - int(y[order[i + 1]] == test_y[number])
            values[number, order[i]] = values[number, order[i + 1]] + change / K * min(K, i + 1) / (i + 1)
    return values.mean(axis=0)


VARIANTS: dict[str, Callable[..., np.ndarray]] = {
    "curate": curate,
    "curate, similarity": weighted,
    "vectorized": vectorized,
    "loop": loop,
}
PEERS = ("vectorized", "loop")


def run(variant: str, size: argparse.Namespace) -> dict[str, object]:
    """Return the time of one variant, in a separate process."""
    x = mixture(size.rows + size.tests)
    y = np.random.default_rng(1).integers(0, CLASSES, len(x)).astype(np.int32)
    data = (x[: size.rows], y[: size.rows], x[size.rows :], y[size.rows :])
    checked = (*(part[:2_000] for part in data[:2]), *(part[:CHECKED] for part in data[2:]))
    difference = 0.0
    if variant in PEERS:
        difference = float(np.abs(VARIANTS[variant](*checked) - curate(*checked)).max())
    tests = size.peer_tests if variant in PEERS else size.tests
    before = reset_peak()
    began, began_cpu = time.perf_counter(), time.process_time()
    VARIANTS[variant](*data[:2], *(part[:tests] for part in data[2:]))
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    scale = size.tests / tests
    return {
        "seconds": seconds * scale,
        "cpu_seconds": cpu * scale,
        "measured_seconds": seconds,
        "tests": tests,
        "largest_difference": difference,
        "peak_mib": memory("VmHWM"),
        "before_mib": before,
        **machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--tests", type=int, default=1_000)
    parser.add_argument("--peer-tests", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kernel", help="OPENBLAS_CORETYPE: Haswell, SkylakeX, Zen, …")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    size = parser.parse_args()
    if size.child:
        print(json.dumps(run(size.child, size)))
        return
    mixture(size.rows + size.tests)
    arguments = ["--rows", str(size.rows), "--tests", str(size.tests), "--peer-tests", str(size.peer_tests)]
    commands = {variant: (sys.executable, [*arguments, "--child", variant]) for variant in VARIANTS}
    runs = run_in_rounds("knn_shapley", commands, size.repeats, script=__file__, kernel=size.kernel)
    lines = {variant: summary(results, ("seconds", "cpu_seconds")) for variant, results in runs.items()}
    for variant, line in lines.items():
        ratio = line["seconds"] / lines["curate"]["seconds"]
        print_line({"bench": "knn_shapley", "variant": variant, "rows": size.rows, **line, "times_curate": ratio})


if __name__ == "__main__":
    sys.exit(main())
