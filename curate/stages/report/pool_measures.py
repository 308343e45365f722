"""Measures of the pool that a report shows whatever was selected, computed once and kept in the run directory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.kernels.neighbors.knn import knn
from curate.kernels.types import Rows, Vector
from curate.pool.view import PoolView
from curate.report import copy_threshold
from curate.report.charts import projection
from curate.report.copy_threshold import CopyThreshold
from curate.seeds import rng_for
from curate.stages.base import Context
from curate.store import manifest, parquet_io
from curate.store.json_shape import parse_dataclass

NAME = "report_cache.json"
"""Name of the file in the run directory; it may be deleted, and the next report computes it again."""

MAX_PROBES = 2_000
"""Rows of each set whose nearest neighbor is searched for."""

_VERSION = 1
"""Raised whenever the same rows would give other measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMeasures:
    """Measures of the pool that depend on its rows, their vectors and the seed alone."""

    fingerprint: str
    """Fingerprint of the rows, the vectors and the seed."""

    x: tuple[float, ...]
    """Horizontal places of the rows of the map, in [-1, 1]."""

    y: tuple[float, ...]
    """Vertical places of the rows of the map, in [-1, 1]."""

    nearest: tuple[float, ...]
    """Cosine similarity of each probe to its nearest other row."""

    copies: CopyThreshold

    @property
    def positions(self) -> NDArray[np.float32]:
        """Places of the rows of the map, (m, 2)."""
        return np.stack([np.array(self.x, np.float32), np.array(self.y, np.float32)], axis=1)

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError("the coordinates are not pairs")


def map_rows(context: Context, pool: PoolView) -> Rows:
    """Return the rows of the map, ascending: all, or an even sample."""
    return _sample(context, "report/map", len(pool), projection.SAMPLE)


def load_measures(context: Context, pool: PoolView) -> PoolMeasures:
    """Return the measures of the pool: those in the run directory, or new ones, which are then kept there."""
    path = context.folder / NAME
    made_from = manifest.fingerprint(
        {
            **pool.fingerprint_inputs(),
            "embedding": pool.cluster_output.embedding,
            "seed": context.config.seed,
            "sizes": [projection.SAMPLE, MAX_PROBES],
            "version": _VERSION,
        }
    )
    stored = parse_dataclass(PoolMeasures, parquet_io.read_json(path))
    if stored is not None and stored.fingerprint == made_from and len(stored.positions) == len(map_rows(context, pool)):
        return stored
    if stored is None and parquet_io.exists(path):
        context.progress.warn(f"{path} is corrupt, or not of this release, and is computed again")
    computed = _compute(context, pool, made_from)
    parquet_io.write_json(path, {name: getattr(computed, name) for name in computed.__dataclass_fields__}, indent=None)
    return computed


def _compute(context: Context, pool: PoolView, fingerprint: str) -> PoolMeasures:
    embeddings = pool.embeddings(pool.cluster_output.embedding)
    probes = _sample(context, "report/neighbours", len(pool), MAX_PROBES)
    places, similarities = knn(embeddings, 1, queries=probes)
    nearest, similarity = places[:, 0], similarities[:, 0]
    there = nearest >= 0
    pairs = np.stack([probes[there], nearest[there].astype(np.intp)], axis=1)
    rows = np.unique(pairs)
    texts = dict(zip(rows.tolist(), pool.read_texts(rows), strict=True))
    copies = copy_threshold.calibrate(similarity[there], [(texts[one], texts[other]) for one, other in pairs.tolist()])
    layout = projection.project(embeddings[map_rows(context, pool)])
    return PoolMeasures(
        fingerprint=fingerprint,
        x=_rounded(layout[:, 0]),
        y=_rounded(layout[:, 1]),
        nearest=_rounded(similarity[there]),
        copies=copies,
    )


def _rounded(values: Vector) -> tuple[float, ...]:
    return tuple(values.astype(np.float64).round(6).tolist())


def _sample(context: Context, task: str, n: int, most: int) -> Rows:
    if n <= most:
        return np.arange(n)
    return np.sort(rng_for(context.config.seed, task).choice(n, most, replace=False))
