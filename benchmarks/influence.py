"""Compare methods of influence: CPU seconds, error of the solution, and correlation with the exact influence.

    python benchmarks/influence.py [--repeats 3] [--only small large]

Rows are those of ``mixture.py``; the label of a row is the most probable class of a random linear model, and 10 % of
the labels are uniform. A softmax regression is trained for 20 epochs as by the proxy ``logistic``; the influence is
that on the mean loss of 1,000 other rows, after the last epoch. Damping is 0.1 of the mean eigenvalue of the Hessian
(for kronecker and datainf, of the matrix that they use), as by default. ``large`` has too many weights for the dense
solve: there, conjugate gradients with the tolerance 1e-8 are the reference.

Errors are norms relative to that of the reference solution; correlations are of the influence of the rows, in order
(Spearman) and in size (Pearson). ``identity`` is the product of gradients, without a Hessian. Seconds are CPU time of
one solution, the least of ``--repeats``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import machine, print_line
from mixture import mixture

SIZES = {"small": (5_000, 64, 10), "medium": (20_000, 128, 20), "large": (50_000, 384, 100)}
"""Rows, dimensions and classes."""

TARGETS, EPOCHS, DAMPING, SEED = 1_000, 20, 0.1, 0


def make_layers(rows: int, dimensions: int, classes: int) -> tuple[Any, Any]:
    """Return the trained layer with its training rows, and with the target rows."""
    from curate.kernels.influence.softmax_layer import SoftmaxLayer
    from curate.kernels.stats.softmax import softmax
    from curate.plugins.proxies.logistic import Logistic

    rng = np.random.default_rng(SEED)
    x = mixture(rows + TARGETS, dimensions)[rng.permutation(rows + TARGETS)]
    labels = (x @ rng.standard_normal((dimensions, classes))).argmax(axis=1).astype(np.int32)
    flipped = rng.random(len(x)) < 0.1
    labels[flipped] = rng.integers(classes, size=np.count_nonzero(flipped))
    weights = Logistic(epochs=EPOCHS).train(x[:rows], labels[:rows], classes, rng)["weights"][0, -1]
    features = np.hstack((x, np.ones((len(x), 1), np.float32)))
    p = softmax(features @ weights)
    return (SoftmaxLayer(features[part], p[part], labels[part]) for part in (slice(rows), slice(rows, None)))


def make_methods(layer: Any, vector: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Return a function for each method that solves for the gradient of the targets."""
    from curate.kernels.influence import inverse_hessian, softmax_layer
    from curate.kernels.linalg.kronecker import kronecker_solve

    weights = layer.shape[0] * layer.shape[1]
    damping = DAMPING * softmax_layer.mean_hessian_eigenvalue(layer)
    fisher = DAMPING * float(softmax_layer.squared_gradient_norms(layer).mean()) / weights

    def kronecker() -> np.ndarray:
        a, b = softmax_layer.error_moments(layer)
        return kronecker_solve(a, b, vector, DAMPING * float(np.trace(a) * np.trace(b)) / weights)

    def conjugate_gradient(tolerance: float) -> np.ndarray:
        found = inverse_hessian.solve_by_conjugate_gradient(
            layer, vector, damping, tolerance=tolerance, max_iterations=10_000
        )
        print(f"conjugate_gradient: residual {found.residual:.1e} after {found.iterations} iterations", flush=True)
        return found.values

    def lissa(iterations: int) -> np.ndarray:
        found = inverse_hessian.solve_by_lissa(
            layer,
            vector,
            damping,
            np.random.default_rng(SEED),
            tolerance=np.inf,
            max_iterations=iterations,
            batch_size=256,
        )
        print(f"lissa: residual {found.residual:.1e} after {found.iterations} iterations", flush=True)
        return found.values

    methods: dict[str, Callable[[], np.ndarray]] = {}
    if weights <= inverse_hessian.MAX_DENSE_WEIGHTS:
        methods["exact"] = lambda: inverse_hessian.solve_exactly(layer, vector, damping)
    else:
        methods["conjugate_gradient 1e-8"] = lambda: conjugate_gradient(1e-8)
    for tolerance in (1e-5, 1e-3):
        methods[f"conjugate_gradient {tolerance:g}"] = lambda tolerance=tolerance: conjugate_gradient(tolerance)
    for iterations in (1_000, 10_000):
        methods[f"lissa {iterations:,}"] = lambda iterations=iterations: lissa(iterations)
    methods["kronecker"] = kronecker
    methods["datainf"] = lambda: inverse_hessian.solve_by_datainf(layer, vector, fisher)
    methods["identity"] = lambda: vector
    return methods


def measure(layer: Any, target: Any, repeats: int, size: str) -> None:
    from scipy.stats import spearmanr

    from curate.kernels.influence.softmax_layer import gradient_products, mean_gradient

    reference, expected = None, None
    for name, solve in make_methods(layer, mean_gradient(target)).items():
        times = []
        for _ in range(1 if name.startswith("lissa") else repeats):
            begun = time.process_time()
            solution = solve()
            times.append(time.process_time() - begun)
        influence = gradient_products(layer, solution)
        if reference is None or expected is None:
            reference, expected = solution, influence
        error = np.linalg.norm(solution - reference) / np.linalg.norm(reference)
        spearman = spearmanr(influence, expected).statistic
        pearson = np.corrcoef(influence, expected)[0, 1]
        print(f"| {size} | {name} | {min(times):.2f} | {error:.1e} | {spearman:.3f} | {pearson:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(SIZES), choices=SIZES)
    options = parser.parse_args()
    for size in options.only:
        layer, target = make_layers(*SIZES[size])
        print(f"{size}: {len(layer):,} rows, {layer.shape[0]} classes × {layer.shape[1]} inputs", flush=True)
        measure(layer, target, options.repeats, size)
    print_line({"machine": machine()})


if __name__ == "__main__":
    main()
