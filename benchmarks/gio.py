"""Compare GIO with the authors' package, grad-info-opt, on the same points from the same start.

    CURATE_PEERS_PYTHON=peers/bin/python python benchmarks/gio.py

``--rows`` points of a pool, half of them like 500 target points, in 64 dimensions; 20 of them are added to 20 random
unit vectors, from the mean of the target, with 50 gradient steps each and the estimate of the published code. The
package needs ``jax`` and imports ``pyspark`` for clustering, which is not measured: a stub replaces it. Variants
alternate in separate processes; times include compilation, which takes most of the first descent of the package.
``same`` is the share of the points that both add.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
import types
from itertools import islice
from pathlib import Path

import numpy as np

D, TARGETS, STARTS, ADDED = 64, 500, 20, 20
MODULES = {"curate": "", "grad-info-opt": "jax"}


def points(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pool, the target and the start as unit vectors, float32."""
    rng = np.random.default_rng(0)
    center = rng.standard_normal(D)

    def unit(x: np.ndarray) -> np.ndarray:
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    alike = unit(center + 0.7 * rng.standard_normal((TARGETS + rows // 2, D)))
    others = unit(rng.standard_normal((rows - rows // 2, D)))
    return np.concatenate([alike[TARGETS:], others]), alike[:TARGETS], unit(rng.standard_normal((STARTS, D)))


def curate(rows: int) -> tuple[float, list[int], float]:
    from curate.kernels.neighbors.kl_divergence import DivergenceEstimate, descend

    pool, target, start = points(rows)
    began = time.perf_counter()
    estimate = DivergenceEstimate(target, start, 5, "all")
    steps = descend(estimate, pool, np.random.default_rng(0), start="mean", steps=50, learning_rate=0.01)
    added = [index for index, _ in islice(steps, ADDED)]
    return time.perf_counter() - began, added, estimate.value()


def grad_info_opt(rows: int) -> tuple[float, list[int], float]:
    class Anything(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            return Anything(name) if not name.startswith("__") else None

        def __call__(self, *_: object, **__: object) -> object:
            return self

    for name in ("", ".sql", ".sql.functions", ".sql.types", ".ml", ".ml.clustering"):
        sys.modules[f"pyspark{name}"] = Anything(f"pyspark{name}")
    sys.modules["pyspark.sql.types"].__all__ = []
    sys.modules["sentence_transformers"] = Anything("sentence_transformers")
    import jax.numpy as jnp
    from GIO import GIOKL

    pool, target, start = points(rows)
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        model = GIOKL.GIOKL(dim=D)
        chosen, values, _ = model.fit(
            jnp.array(pool),
            jnp.array(target),
            D=jnp.array(start),
            stop_criterion="data_size",
            max_data_size=(ADDED - 0.5) / rows,
            max_iter=10**6,
        )
    seconds = time.perf_counter() - began
    number = {row.tobytes(): index for index, row in enumerate(pool)}
    added = [number[np.asarray(row, np.float32).tobytes()] for row in np.asarray(chosen)[STARTS:]]
    return seconds, added, float(values[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=MODULES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        seconds, added, value = {"curate": curate, "grad-info-opt": grad_info_opt}[given.child](given.rows)
        (given.folder / f"{given.child}.json").write_text(json.dumps(added))
        print(json.dumps({"seconds": seconds, "added": len(added), "divergence": value}))
        return
    from measuring import find_variants, machine, print_line, run_in_rounds, summary

    print_line({"bench": "gio", "rows": given.rows, **machine()})
    with tempfile.TemporaryDirectory() as name:
        commands = {
            variant: (python, ["--child", variant, "--folder", name, "--rows", str(given.rows)])
            for variant, python in find_variants("gio", MODULES).items()
        }
        runs = run_in_rounds("gio", commands, given.repeats, script=__file__, kernel=None)
        lines = {variant: summary(one) for variant, one in runs.items()}
        for variant, line in lines.items():
            print_line({"bench": "gio", "variant": variant, **line})
        if len(lines) == len(MODULES) and not any("failed" in line for line in lines.values()):
            ours, theirs = (json.loads((Path(name) / f"{variant}.json").read_text()) for variant in MODULES)
            same = len(set(ours) & set(theirs)) / len(theirs)
            speedup = lines["grad-info-opt"]["seconds"] / lines["curate"]["seconds"]
            print_line({"bench": "gio", "same": same, "speedup": speedup})


if __name__ == "__main__":
    main()
