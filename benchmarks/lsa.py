"""Measure the power iterations of lsa's randomized decomposition: seconds of a fit, and recall of nearest neighbors.

    python benchmarks/lsa.py clinc150_data_full.json p3_half_dev.jsonl.gz
    … --iterations 2 4 7 --oversampling 10 --rows 20000 --dimensions 256

Files are JSON lines, or one JSON document, plain or .gz; every string in them of at least 20 characters is a text, up
to ``--rows`` distinct texts per file. "exact" is the truncated decomposition by implicitly restarted Lanczos (SciPy).
``recall`` is the share of texts whose nearest neighbor is that of the exact decomposition, ``recall_10`` the mean share
of the ten nearest, over 2,000 texts; ``expressed`` is the explained variance, as a share of the exact one.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, print_line
from scipy.sparse.linalg import svds

from curate.kernels.neighbors.hash_index import HashIndex
from curate.kernels.parallel import one_blas_thread
from curate.plugins.embedders import lsa

QUERIES = 2000
LETTERS = 20


def texts(path: Path, rows: int) -> list[str]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = data.decode().splitlines()
    document = (
        json.loads(data) if len(lines) < 2 or not lines[0].endswith("}") else [json.loads(line) for line in lines]
    )
    found = dict.fromkeys(text for text in strings(document) if len(text) >= LETTERS)
    chosen = np.random.default_rng(0).permutation(len(found))[:rows]
    every = list(found)
    return [every[number] for number in np.sort(chosen)]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def nearest(x: np.ndarray, k: int) -> np.ndarray:
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    queries = np.random.default_rng(1).permutation(len(x))[:QUERIES]
    products = x[queries] @ x.T
    products[np.arange(len(queries)), queries] = -2
    return np.argsort(-products, axis=1, kind="stable")[:, :k]


def fitted(sample: list[str], dimensions: int, decompose: Any) -> tuple[float, np.ndarray, float]:
    """Return the seconds of the fit, the vectors of the sample, and the sum of the squared singular values."""
    found = []

    def keep(matrix, count, seed):
        values, directions = decompose(matrix, count, seed)
        found.append(float(np.square(values, dtype=np.float64).sum()))
        return values, directions

    true, lsa._truncated_svd = lsa._truncated_svd, keep
    try:
        began = time.perf_counter()
        features, projection, _ = lsa.lsa_fit(
            sample, np.random.default_rng(0), dimensions=dimensions, max_features=65_536
        )
        seconds = time.perf_counter() - began
    finally:
        lsa._truncated_svd = true
    return seconds, lsa.lsa_encode(sample, HashIndex.from_keys(features), projection), found[0]


def exact(matrix, count, seed):
    with one_blas_thread():
        _, values, directions = svds(matrix.astype(np.float64), count, random_state=seed)
    return values[::-1].astype(np.float32), directions[::-1].astype(np.float32)


def randomized(iterations: int, oversampling: int) -> Any:
    from sklearn.utils.extmath import randomized_svd

    def decompose(matrix, count, seed):
        with one_blas_thread():
            _, values, directions = randomized_svd(
                matrix, count, n_iter=iterations, n_oversamples=oversampling, random_state=seed
            )
        return values, directions

    return decompose


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--iterations", nargs="+", type=int, default=[0, 1, 2, 4, 7, 10, 15])
    parser.add_argument("--oversampling", nargs="+", type=int, default=[10])
    chosen = parser.parse_args()
    for path in chosen.files:
        sample = texts(path, chosen.rows)
        seconds, vectors, all_of_it = fitted(sample, chosen.dimensions, exact)
        wanted = nearest(vectors, 10)
        common = {"bench": "lsa", "file": path.name, "texts": len(sample), "dimensions": chosen.dimensions}
        print_line({**common, "variant": "exact", "seconds": round(seconds, 2), **machine()})
        for oversampling in chosen.oversampling:
            for iterations in chosen.iterations:
                seconds, vectors, some = fitted(sample, chosen.dimensions, randomized(iterations, oversampling))
                found = nearest(vectors, 10)
                print_line(
                    {
                        **common,
                        "iterations": iterations,
                        "oversampling": oversampling,
                        "seconds": round(seconds, 2),
                        "recall": round(float((found[:, 0] == wanted[:, 0]).mean()), 3),
                        "recall_10": round(
                            float(np.mean([np.isin(a, b).mean() for a, b in zip(found, wanted, strict=True)])), 3
                        ),
                        "expressed": round(some / all_of_it, 4),
                    }
                )


if __name__ == "__main__":
    main()
