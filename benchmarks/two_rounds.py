"""Compare selection in two rounds with selection at once: the objective of the selected rows, and seconds.

    python benchmarks/two_rounds.py [--rows 20000] [--repeats 3]
    python benchmarks/two_rounds.py --texts banking77_train.csv

The pool is that of ``mixture.py`` with 64 dimensions or, with ``--texts``, the column ``text`` of a CSV file, embedded
by ``lsa`` in 64 dimensions. Clusters are those of k-means, which is not timed. Every selector keeps 1, 5 and 10 %
of the rows at once, in two rounds with 4 and 16 partitions, and at random. Objectives are computed on all rows:

- facility_location: mean similarity of a row to the most similar selected row, negative ones as 0; higher is better
- k_center: largest distance of a row to the nearest selected row; lower is better
- submodular, with the objective log_determinant: log det(I + K) of the selected rows; higher is better

Objectives are means over ``--repeats`` seeds, with the range in brackets; "at once" draws nothing. Seconds are CPU
time, the least of all seeds: of all partitions and the second round, and in brackets of the slowest partition and the
second round.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, print_line
from mixture import mixture

KEEP_RATES, PARTITIONS, DIMENSIONS, BLOCK = (0.01, 0.05, 0.10), (4, 16), 64, 1024


# ---------------------------------------------------------------- the pool


def embed(path: Path) -> np.ndarray:
    """Return the vectors of the column ``text``."""
    from curate.plugins.embedders.lsa import Lsa

    with path.open(newline="") as file:
        texts = [line["text"] for line in csv.DictReader(file)]
    embedder = Lsa(dimensions=DIMENSIONS)
    x = embedder.restore(embedder.fit(texts, np.random.default_rng(0))).encode(texts)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]


def make_pool(x: np.ndarray) -> Any:
    from curate.kernels.clustering.lloyd import assign
    from curate.kernels.types import Vectors
    from curate.plugins.batches import Pool
    from curate.plugins.clusterers.kmeans import KMeans

    clustering = KMeans().fit(Vectors.from_array(x), np.random.default_rng(0))
    quality = np.random.default_rng(1).random(len(x), dtype=np.float32)
    return Pool(x, quality, assign(x, clustering.centroids)[0])


# ---------------------------------------------------------------- selectors and objectives


def make_selector(name: str, n_partitions: int | None) -> Any:
    """Return the selector; ``n_partitions`` None selects at once."""
    from curate.plugins import registry
    from curate.plugins.selectors.coverage.submodular import Term

    cls = registry.get("selector", name).cls
    if name != "submodular":
        return cls(n_partitions=n_partitions)
    objective = (Term(log_determinant=1.0),)
    if n_partitions is None:
        return cls(objective=objective)
    return cls(objective=objective, optimizer="distributed", n_partitions=n_partitions)


def mean_similarity(x: np.ndarray, selected: np.ndarray) -> float:
    return float(np.mean([best for block in _best_cosines(x, selected) for best in np.clip(block, 0, 1)]))


def largest_distance(x: np.ndarray, selected: np.ndarray) -> float:
    return float(np.sqrt(2 - 2 * min(block.min() for block in _best_cosines(x, selected))))


def log_determinant(x: np.ndarray, selected: np.ndarray) -> float:
    rows = x[selected].astype(np.float64)
    return float(np.linalg.slogdet(np.eye(x.shape[1]) + rows.T @ rows)[1])


def _best_cosines(x: np.ndarray, selected: np.ndarray) -> list[np.ndarray]:
    return [(x[start : start + BLOCK] @ x[selected].T).max(axis=1) for start in range(0, len(x), BLOCK)]


OBJECTIVES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "facility_location": mean_similarity,
    "k_center": largest_distance,
    "submodular": log_determinant,
}


# ---------------------------------------------------------------- measurements


def select(selector: Any, pool: Any, budget: int, seed: int) -> tuple[np.ndarray, float, float]:
    """Return the selected rows, the CPU seconds, and those of the slowest partition and the second round."""
    from curate.plugins.two_rounds import PartSelection, combine, union_rows

    rng, start = np.random.default_rng(seed), time.process_time()
    partitions = selector.partition(len(pool), rng)
    if partitions is None:
        indices = selector.select(pool, budget, rng).indices
        return indices, (seconds := time.process_time() - start), seconds
    *part_rngs, merge_rng = rng.spawn(len(partitions) + 1)
    parts, times = [], []
    for rows, part_rng in zip(partitions, part_rngs, strict=True):
        begun = time.process_time()
        selection = selector.select_part(pool.take(rows), min(budget, len(rows)), part_rng)
        parts.append(PartSelection(rows, selection))
        times.append(time.process_time() - begun)
    begun = time.process_time()
    merged = selector.merge(pool.take(union_rows(parts)), parts, budget, merge_rng)
    indices = combine(pool, parts, merged).indices
    end = time.process_time()
    return indices, end - start, max(times) + end - begun


def measure(name: str, pool: Any, budget: int, n_partitions: int | None, repeats: int) -> tuple[str, str]:
    """Return the cells of the table: the objective, and seconds."""
    selector = make_selector(name, n_partitions)
    results = [select(selector, pool, budget, seed) for seed in range(repeats if n_partitions else 1)]
    values = [OBJECTIVES[name](pool.embeddings, indices) for indices, _, _ in results]
    total, longest = (min(result[i] for result in results) for i in (1, 2))
    return describe(values), f"{total:.2f}" + f" ({longest:.2f})" * (n_partitions is not None)


def describe(values: list[float]) -> str:
    spread = f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else ""
    return f"{np.mean(values):.4g}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--texts", type=Path, help="CSV file with a column text, instead of the mixture")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(OBJECTIVES))
    options = parser.parse_args()
    pool = make_pool(mixture(options.rows, DIMENSIONS) if options.texts is None else embed(options.texts))
    n = len(pool)
    for name in options.only:
        for keep_rate in KEEP_RATES:
            budget = round(keep_rate * n)
            rows: dict[str, tuple[str, str]] = {"at once": measure(name, pool, budget, None, 1)}
            for n_partitions in PARTITIONS:
                rows[f"{n_partitions} partitions"] = measure(name, pool, budget, n_partitions, options.repeats)
            draws = [np.random.default_rng(seed).choice(n, budget, replace=False) for seed in range(options.repeats)]
            rows["at random"] = describe([OBJECTIVES[name](pool.embeddings, draw) for draw in draws]), ""
            for what, (value, seconds) in rows.items():
                print(f"| {name} | {keep_rate:.0%} | {what} | {value} | {seconds} |", flush=True)
    print_line({"rows": n, "machine": machine()})


if __name__ == "__main__":
    main()
