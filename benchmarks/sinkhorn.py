"""Compare optimal transport with POT, at equal error.

    CURATE_PEERS_PYTHON=peers/bin/python python benchmarks/sinkhorn.py

Rows and columns are random unit vectors in 64 dimensions, shifted, and the cost is their distance. POT's
``sinkhorn_log`` stops at a deviation of the plan from the weights of about 0.001, which it checks every 10 iterations;
curate then computes the plan to the deviation that POT reached, in a separate process with the same two threads.
``difference`` is that of the transport costs of the two plans.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = ((1_000, 1_000), (4_000, 1_000))
REGULARIZATIONS = (0.05, 0.01, 0.003)
TOLERANCE = 1e-3
MODULES = {"pot": "ot", "curate": ""}


def cost_of(n: int, m: int) -> np.ndarray:
    """Return the distances between two sets of points."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, 64)), rng.standard_normal((m, 64)) + 0.3
    x, y = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in (x, y))
    return np.sqrt(np.maximum(0, 2 - 2 * x @ y.T))


def pot(cost: np.ndarray, regularization: float, tolerance: float) -> tuple[float, np.ndarray]:
    import ot

    n, m = cost.shape
    a, b = np.full(n, 1 / n), np.full(m, 1 / m)
    began = time.perf_counter()
    plan = ot.sinkhorn(
        a, b, cost, regularization, "sinkhorn_log", numItermax=100_000, stopThr=tolerance / np.sqrt(m), warn=False
    )
    return time.perf_counter() - began, plan


def curate(cost: np.ndarray, regularization: float, tolerance: float) -> tuple[float, np.ndarray]:
    from curate.kernels.stats.sinkhorn import sinkhorn

    sinkhorn(cost[:50, :50], 0.1, tolerance=0.1, max_iterations=10)  # loads the libraries
    began = time.perf_counter()
    result = sinkhorn(cost, regularization, tolerance=tolerance, max_iterations=100_000)
    seconds = time.perf_counter() - began
    return seconds, np.exp((result.f[:, None] + result.g - cost) / regularization) / cost.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=MODULES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        asked = json.loads((given.folder / "problem.json").read_text())
        cost = cost_of(*asked["size"])
        seconds, plan = {"pot": pot, "curate": curate}[given.child](cost, asked["regularization"], asked["tolerance"])
        error = np.abs(plan.sum(axis=1) * len(plan) - 1).mean() + np.abs(plan.sum(axis=0) * plan.shape[1] - 1).mean()
        print(json.dumps({"seconds": seconds, "error": float(error), "transport": float((plan * cost).sum())}))
        return
    from measuring import find_variants, machine, print_line, run_in_rounds, summary

    print_line({"bench": "sinkhorn", **machine()})
    pythons = find_variants("sinkhorn", MODULES)
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            for regularization in REGULARIZATIONS:
                tolerance, lines = TOLERANCE, {}
                for variant, python in pythons.items():
                    problem = {"size": size, "regularization": regularization, "tolerance": tolerance}
                    (Path(name) / "problem.json").write_text(json.dumps(problem))
                    commands = {variant: (python, ["--child", variant, "--folder", name])}
                    runs = run_in_rounds("sinkhorn", commands, given.repeats, script=__file__, kernel=None)
                    lines[variant] = summary(runs[variant])
                    tolerance = lines[variant].get("error", tolerance)
                line = {"bench": "sinkhorn", **problem, **{variant: one["seconds"] for variant, one in lines.items()}}
                if len(lines) == len(MODULES):
                    line["speedup"] = lines["pot"]["seconds"] / lines["curate"]["seconds"]
                    line["difference"] = abs(lines["pot"]["transport"] - lines["curate"]["transport"])
                print_line(line)


if __name__ == "__main__":
    main()
