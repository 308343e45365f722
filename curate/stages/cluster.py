"""The cluster stage: centres learnt from the pool's embeddings, then every row to its most similar one.

Memory: one shard a worker; the fit reads the embeddings shard by shard, once an iteration.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from curate.errors import DataError
from curate.kernels import lloyd
from curate.plugins.clusterers.column import categories, codes
from curate.plugins.pool import Clustering, Matrix
from curate.seeds import rng_for
from curate.stages import vectors
from curate.stages.context import Context
from curate.stages.rows import PoolRows
from curate.stages.step import Outcome, current, refuse_failed, running, step
from curate.store import inputs, schemas, shards
from curate.store.manifest import Count, Record

if TYPE_CHECKING:
    from curate.settings.model import ClusterEntry

CENTROIDS = "centroids.parquet"


@dataclass(frozen=True, slots=True)
class Clustered:
    """A handle on the cluster shards."""

    folder: Path
    fingerprint: str
    embedding: str | None
    """The embed entry that was clustered."""

    def read(self, shard: int) -> pa.Table:
        return shards.read(shards.part(self.folder, shard), ["id", "cluster", "centroid_similarity"])

    def centroids(self) -> Matrix:
        """(k, d) float32, rows of unit length."""
        return vectors.matrix(shards.read(self.folder / CENTROIDS, ["centroid"])["centroid"])


def parts(context: Context, rows: PoolRows) -> dict[str, Any]:
    """What the cluster shards are made from."""
    entry = context.config.cluster
    reads_column = "column" in entry.spec.plugin().traits.reads
    return {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "embedding": rows.entry(entry.embedding).fingerprint,
        "input": rows.source.fingerprint if reads_column else None,
        "embed": [embedded.fingerprint for embedded in rows.embedded],
    }


def cluster(context: Context, rows: PoolRows) -> tuple[Clustered, Record]:
    """Run the cluster section."""
    folder = context.folder / "cluster"
    entry = context.config.cluster
    record = step(
        context, "cluster", entry.name, folder, parts(context, rows), lambda key: _work(context, rows, folder, key)
    )
    return Clustered(folder, record.fingerprint, entry.embedding), record


def _work(context: Context, rows: PoolRows, folder: Path, fingerprint: str) -> Outcome:
    entry = context.config.cluster
    if not sum(rows.rows):
        raise DataError("there is no row to cluster", hint="every row was set aside when it was embedded")
    column = _column(entry)
    names = None if column is None else _names(rows, column)
    if column is not None and names is not None:
        clustering = _means(rows, entry.embedding, column, names)
    else:
        context.progress.begin(f"clustering with {entry.name}", sum(rows.rows))
        rng = rng_for(context.config.seed, f"cluster/{entry.name}")
        with running(entry.spec, entry.name):
            clustering = entry.spec.build().fit(rows.stream(entry.embedding), rng)
    tasks = [_Task(rows, shard, entry.embedding, folder, fingerprint, column) for shard in range(len(rows.rows))]
    _write_centroids(folder, fingerprint, clustering.centroids, names)
    done, failed, peak = context.map("assigning to clusters", _assign, tasks, rows.rows)
    refuse_failed(failed)
    sizes = np.sum([item.sizes for item in done], axis=0)
    seen = sum((item.sources for item in done), Counter[str]())
    sources = {name: Count(rows_in=n, kept=n) for name, n in sorted(seen.items())}
    facts = {
        "clusters": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "empty": int((sizes == 0).sum()),
        **clustering.facts,
    }
    return Outcome(sources=sources, shards=len(done), peak_memory=peak, facts=facts)


def _write_centroids(folder: Path, fingerprint: str, centroids: Matrix, names: pa.Array | None) -> None:
    k, d = centroids.shape
    table = pa.table(
        [
            pa.array(np.arange(k, dtype=np.int32)),
            pa.nulls(k, pa.string()) if names is None else names,
            pa.FixedSizeListArray.from_arrays(pa.array(centroids.ravel()), d),
        ],
        schema=schemas.centroids(d),
    )
    shards.write(table, folder / CENTROIDS, fingerprint)


# ---------------------------------------------------------------- groups the user already has


def _column(entry: ClusterEntry) -> str | None:
    reads_column = "column" in entry.spec.plugin().traits.reads
    return str(dict(entry.spec.fields)["column"]) if reads_column else None


def _names(rows: PoolRows, column: str) -> pa.Array:
    """The distinct values of the column over all shards, sorted."""
    parts = [categories(_values(rows, shard, column)) for shard in range(len(rows.rows))]
    return categories(pa.concat_arrays(parts))


def _values(rows: PoolRows, shard: int, column: str) -> pa.ChunkedArray:
    return inputs.as_text(rows.input(shard, columns=(column,))[column])


def _means(rows: PoolRows, embedding: str | None, column: str, names: pa.Array) -> Clustering:
    """The mean direction of each group; any direction for a group whose rows cancel out."""
    total = np.zeros((len(names), rows.entry(embedding).dimensions))
    for shard in range(len(rows.rows)):
        cells = codes(_values(rows, shard, column), names)
        x = rows.vectors(embedding, shard, rows.ids(shard))
        members = np.flatnonzero(cells >= 0)
        one_each = np.ones(len(members), np.float32)
        total += csr_array((one_each, (cells[members], members)), shape=(len(names), len(x))) @ x
    norms = np.linalg.norm(total, axis=1, keepdims=True)
    total[norms[:, 0] == 0, 0] = 1
    return Clustering((total / np.where(norms == 0, 1, norms)).astype(np.float32))


# ---------------------------------------------------------------- one shard


@dataclass(frozen=True, slots=True)
class _Task:
    rows: PoolRows
    shard: int
    embedding: str | None
    folder: Path
    fingerprint: str
    column: str | None


@dataclass(frozen=True, slots=True)
class _Done:
    sizes: np.ndarray[Any, np.dtype[np.int64]]
    sources: Counter[str]


@lru_cache(maxsize=2)
def _centroids(folder: Path, fingerprint: str) -> tuple[Matrix, pa.Array]:
    path = folder / CENTROIDS
    if not shards.is_current(path, fingerprint):
        raise DataError("the centroids are not whole", where=str(path), hint="run the cluster stage again")
    table = shards.read(path)
    return vectors.matrix(table["centroid"]), table["name"].combine_chunks()


def _assign(task: _Task) -> _Done:
    path = shards.part(task.folder, task.shard)
    centroids, names = _centroids(task.folder, task.fingerprint)
    sources = task.rows.sources(task.shard)
    if current(path, task.fingerprint):
        cells = shards.read(path, ["cluster"])["cluster"].to_numpy()
        return _Done(_sizes(cells, len(centroids)), sources)
    ids = task.rows.ids(task.shard)
    x = task.rows.vectors(task.embedding, task.shard, ids)
    if task.column is None:
        cells, similarity = lloyd.assign(x, centroids)
    else:
        cells = codes(_values(task.rows, task.shard, task.column), names)
        own = centroids[np.maximum(cells, 0)]
        similarity = np.where(cells < 0, np.float32(0), np.einsum("ij,ij->i", x, own))
    table = pa.table([ids, pa.array(cells), pa.array(similarity)], names=schemas.CLUSTER.names)
    shards.write(schemas.check(table, schemas.CLUSTER, str(path)), path, task.fingerprint)
    return _Done(_sizes(cells, len(centroids)), sources)


def _sizes(cells: np.ndarray[Any, np.dtype[np.int32]], k: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.bincount(cells[cells >= 0], minlength=k).astype(np.int64)
