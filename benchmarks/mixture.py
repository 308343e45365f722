"""Synthetic vectors that resemble text embeddings: a mixture of long-tailed clusters within topics, on the unit sphere.

``mixture(200_000)`` returns the same bytes for the same arguments and is stored in ``.cache/`` in this directory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CACHE = Path(__file__).parent / ".cache"


def mixture(
    n: int, d: int = 384, *, clusters: int = 2_000, topics: int = 60, duplicates: float = 0.05, seed: int = 0
) -> NDArray[np.float32]:
    """Return rows of unit length, (n, d) float32.

    Cluster sizes decrease as a power of the rank; the variance of a direction decreases as one over its number, as for
    sentence embeddings; ``duplicates`` of the rows are very close to another row (cosine about 0.98).
    """
    file = CACHE / f"mixture-{n}-{d}-{clusters}-{topics}-{duplicates}-{seed}.npy"
    if file.exists():
        return np.load(file)
    rng = np.random.default_rng(seed)
    scale = np.arange(1, d + 1, dtype=np.float32) ** -0.5
    scale /= np.linalg.norm(scale)

    def noise(rows: int) -> NDArray[np.float32]:
        return rng.standard_normal((rows, d), dtype=np.float32) * scale

    topic = noise(topics)
    center = _unit(0.8 * topic[rng.integers(topics, size=clusters)] + 0.7 * noise(clusters))
    share = np.arange(1, clusters + 1) ** -1.05
    cluster = rng.choice(clusters, size=n, p=share / share.sum())
    x = np.empty((n, d), np.float32)
    for start in range(0, n, 50_000):
        rows = slice(start, min(start + 50_000, n))
        x[rows] = _unit(center[cluster[rows]] + 0.75 * noise(rows.stop - start))
    copies = rng.permutation(n)[: int(n * duplicates)]
    originals = rng.integers(n, size=len(copies))
    x[copies] = _unit(x[originals] + 0.2 * d**-0.5 * rng.standard_normal((len(copies), d), dtype=np.float32))
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    np.save(file, x)
    return x


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x / np.linalg.norm(x, axis=1, keepdims=True)
