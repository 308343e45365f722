"""Measures of the pool that do not depend on the selection, computed once and stored in the run directory."""

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
"""Name of the file in the run directory; it may be deleted, because the next report computes it again."""

MAX_PROBES = 2_000
"""Largest number of rows of each set whose nearest neighbor is searched."""

_VERSION = 2
"""Version of the computation; increased when the same rows give other measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMeasures:
    """Measures of the pool that depend only on its rows, their vectors and the seed."""

    fingerprint: str
    """Fingerprint of the rows, the vectors and the seed."""

    x: tuple[float, ...]
    """Horizontal positions of the rows on the map, in [-1, 1]."""

    y: tuple[float, ...]
    """Vertical positions of the rows on the map, in [-1, 1]."""

    nearest: tuple[float, ...]
    """Cosine similarity of each probe to its nearest other row."""

    copies: CopyThreshold

    @property
    def positions(self) -> NDArray[np.float32]:
        """Positions of the rows on the map, shape (m, 2)."""
        return np.stack([np.array(self.x, np.float32), np.array(self.y, np.float32)], axis=1)

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError("x and y have different lengths")


def map_rows(context: Context, pool: PoolView) -> Rows:
    """Return the rows on the map, ascending: all rows, or a uniform sample."""
    return _sample(context, "report/map", len(pool), projection.SAMPLE)


def load_measures(context: Context, pool: PoolView) -> PoolMeasures:
    """Return the measures of the pool from the run directory; compute and store them if they are missing."""
    path = context.folder / NAME
    fingerprint = manifest.fingerprint(
        {
            **pool.fingerprint_inputs(),
            "embedding": pool.cluster_output.embedding,
            "seed": context.config.seed,
            "sizes": [projection.SAMPLE, MAX_PROBES],
            "version": _VERSION,
        }
    )
    stored = parse_dataclass(PoolMeasures, parquet_io.read_json(path))
    if (
        stored is not None
        and stored.fingerprint == fingerprint
        and len(stored.positions) == len(map_rows(context, pool))
    ):
        return stored
    if stored is None and parquet_io.exists(path):
        context.progress.warn(f"{path} is corrupt, or from another release, and is computed again")
    computed = _compute(context, pool, fingerprint)
    parquet_io.write_json(path, {name: getattr(computed, name) for name in computed.__dataclass_fields__}, indent=None)
    return computed


def _compute(context: Context, pool: PoolView, fingerprint: str) -> PoolMeasures:
    embeddings = pool.embeddings(pool.cluster_output.embedding)
    probes = _sample(context, "report/neighbors", len(pool), MAX_PROBES)
    positions, similarities = knn(embeddings, 1, queries=probes)
    nearest, similarity = positions[:, 0], similarities[:, 0]
    has_neighbor = nearest >= 0
    pairs = np.stack([probes[has_neighbor], nearest[has_neighbor].astype(np.intp)], axis=1)
    rows = np.unique(pairs)
    texts = dict(zip(rows.tolist(), pool.read_texts(rows), strict=True))
    compared = [(texts[one], texts[other]) for one, other in pairs.tolist()]
    copies = copy_threshold.CopyThreshold()
    if context.config.input.text is not None:
        copies = copy_threshold.calibrate(similarity[has_neighbor], compared)
    layout = projection.project(embeddings[map_rows(context, pool)])
    return PoolMeasures(
        fingerprint=fingerprint,
        x=_round(layout[:, 0]),
        y=_round(layout[:, 1]),
        nearest=_round(similarity[has_neighbor]),
        copies=copies,
    )


def _round(values: Vector) -> tuple[float, ...]:
    return tuple(values.astype(np.float64).round(6).tolist())


def _sample(context: Context, task: str, n: int, most: int) -> Rows:
    if n <= most:
        return np.arange(n)
    return np.sort(rng_for(context.config.seed, task).choice(n, most, replace=False))
