"""The cluster stage: centres learnt from the pool's embeddings, then every row to its most similar one.

Memory: one shard a worker; the fit reads the embeddings shard by shard, once an iteration.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import DataError
from curate.kernels.arrow_categories import categories, codes
from curate.kernels.clustering import lloyd
from curate.kernels.linalg.centroids import streamed_mean_directions
from curate.kernels.types import Matrix
from curate.plugins.results import Clustering
from curate.pool import embedding_matrix
from curate.pool.rows import PoolRows
from curate.seeds import rng_for
from curate.stages import fitted_state
from curate.stages.context import Context
from curate.stages.step import Outcome, current, refuse_failed, running, step
from curate.store import inputs, manifest, parquet_io, schemas
from curate.store.manifest import Count, Record

if TYPE_CHECKING:
    from curate.config.model import ClusterEntry

CENTROIDS = "centroids.parquet"
_FACTS = b"curate.facts"


@dataclass(frozen=True, slots=True)
class Clustered:
    """A handle on the cluster shards."""

    folder: Path
    fingerprint: str
    recipe: str
    """How rows are assigned, whatever the pool."""

    embedding: str | None
    """The embed entry that was clustered."""

    def read(self, shard: int) -> pa.Table:
        return parquet_io.read(parquet_io.part(self.folder, shard), schemas.CLUSTER)

    def centroids(self) -> Matrix:
        """(k, d) float32, rows of unit length."""
        return embedding_matrix.matrix(parquet_io.read(self.folder / CENTROIDS, ["centroid"])["centroid"])


def cluster(context: Context, rows: PoolRows) -> tuple[Clustered, Record]:
    """Run the cluster section."""
    folder, entry = context.folder / "cluster", context.config.cluster
    column = _column(entry)
    recipe = {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "embedding": rows.entry(entry.embedding).recipe,
        "columns": None if column is None else rows.source.fingerprint,
    }
    pool = manifest.fingerprint({"embed": [embedded.fingerprint for embedded in rows.embedded]})

    def done(fitted_on: str) -> Record:
        made = {**recipe, "fitted_on": fitted_on}
        parts = {**made, "embed": {embedded.name: embedded.fingerprint for embedded in rows.embedded}}
        fit = fitted_state.Fit(recipe=manifest.fingerprint(recipe), pool=fitted_on, fidelity=None)
        return step(
            context,
            "cluster",
            entry.name,
            folder,
            parts,
            lambda _: _work(context, rows, folder, fit, manifest.fingerprint(made)),
            damage=lambda _: parquet_io.damage(folder / CENTROIDS),
        )

    if column is not None:  # groups the user has are not learnt
        record = done(pool)
    else:
        kept = fitted_state.load(folder)
        if kept is not None and not parquet_io.is_current(folder / CENTROIDS, kept.fingerprint):
            kept = None
        record = fitted_state.up_to_date(context, kept, manifest.fingerprint(recipe), pool, done)
    return Clustered(folder, record.fingerprint, record.facts["recipe"], entry.embedding), record


def _work(context: Context, rows: PoolRows, folder: Path, fit: fitted_state.Fit, recipe: str) -> Outcome:
    entry = context.config.cluster
    if not sum(rows.rows):
        raise DataError("there is no row to cluster", hint="every row was set aside when it was embedded")
    facts = _fitted(context, rows, folder, fit)
    kept = fitted_state.load(folder)
    keys = [manifest.fingerprint({"recipe": recipe, **digest}) for digest in rows.digests]
    tasks = [
        _Task(rows, shard, entry.embedding, folder, key, fit.fingerprint, _column(entry))
        for shard, key in enumerate(keys)
    ]
    done, failed, peak = context.map("assigning to clusters", _assign, tasks, rows.rows)
    refuse_failed(failed)
    sizes = np.sum([item.sizes for item in done], axis=0)
    similarity = sum(item.similarity for item in done) / sum(rows.rows)
    if kept is None:
        kept = replace(fit, fidelity=similarity)
        fitted_state.save(folder, kept)
    seen = sum((item.sources for item in done), Counter[str]())
    return Outcome(
        sources={name: Count(rows_in=n, kept=n) for name, n in sorted(seen.items())},
        shards=len(done),
        peak_memory=peak,
        facts={
            "clusters": len(sizes),
            "largest": int(sizes.max(initial=0)),
            "empty": int((sizes == 0).sum()),
            "recipe": recipe,
            "similarity": similarity,
            "drift": fitted_state.drift(kept, similarity),
            **facts,
        },
    )


def _fitted(context: Context, rows: PoolRows, folder: Path, fit: fitted_state.Fit) -> dict[str, Any]:
    """Learn the centroids of ``fit``, unless they are on disk.

    Returns
    -------
    What the clusterer tells of them.
    """
    entry, path = context.config.cluster, folder / CENTROIDS
    if parquet_io.is_current(path, fit.fingerprint):
        if (of := fitted_state.load(folder)) is not None and of.fingerprint != fit.fingerprint:
            (folder / fitted_state.NAME).unlink()
        return dict(json.loads((parquet_io.schema(path).metadata or {})[_FACTS]))
    (folder / fitted_state.NAME).unlink(missing_ok=True)
    column = _column(entry)
    names = None if column is None else _names(rows, column)
    if column is not None and names is not None:
        clustering = _means(rows, entry.embedding, column, names)
    else:
        context.progress.begin(f"clustering with {entry.name}", sum(rows.rows))
        rng = rng_for(context.config.seed, f"cluster/{entry.name}")
        with running(entry.spec, entry.name):
            clustering = entry.spec.build().fit(rows.stream(entry.embedding), rng)
    _write_centroids(path, fit.fingerprint, clustering, names)
    return dict(clustering.facts)


def _write_centroids(path: Path, fingerprint: str, clustering: Clustering, names: pa.Array | None) -> None:
    centroids = clustering.centroids
    k, d = centroids.shape
    table = pa.table(
        [
            pa.array(np.arange(k, dtype=np.int32)),
            pa.nulls(k, pa.string()) if names is None else names,
            pa.FixedSizeListArray.from_arrays(pa.array(centroids.ravel()), d),
        ],
        schema=schemas.centroids(d).with_metadata({_FACTS: json.dumps(dict(clustering.facts))}),
    )
    parquet_io.write(table, path, fingerprint)


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
    blocks = (
        (codes(_values(rows, shard, column), names), rows.vectors(embedding, shard, rows.ids(shard)))
        for shard in range(len(rows.rows))
    )
    return Clustering(streamed_mean_directions(blocks, len(names), rows.entry(embedding).dimensions))


# ---------------------------------------------------------------- one shard


@dataclass(frozen=True, slots=True)
class _Task:
    rows: PoolRows
    shard: int
    embedding: str | None
    folder: Path
    fingerprint: str
    fit: str
    column: str | None


@dataclass(frozen=True, slots=True)
class _Done:
    sizes: NDArray[np.int64]
    similarity: float
    """To the centroids, summed over the rows."""

    sources: Counter[str]


@lru_cache(maxsize=2)
def _centroids(folder: Path, fingerprint: str) -> tuple[Matrix, pa.Array]:
    path = folder / CENTROIDS
    if not parquet_io.is_current(path, fingerprint):
        raise DataError("the centroids are not whole", where=str(path), hint="run the cluster stage again")
    table = parquet_io.read(path)
    return embedding_matrix.matrix(table["centroid"]), table["name"].combine_chunks()


def _assign(task: _Task) -> _Done:
    path = parquet_io.part(task.folder, task.shard)
    centroids, names = _centroids(task.folder, task.fit)
    sources = task.rows.sources(task.shard)
    if current(path, task.fingerprint):
        table = parquet_io.read(path, ["cluster", "centroid_similarity"])
        return _summed(table["cluster"].to_numpy(), table["centroid_similarity"].to_numpy(), len(centroids), sources)
    ids = task.rows.ids(task.shard)
    x = task.rows.vectors(task.embedding, task.shard, ids)
    if task.column is None:
        cells, similarity = lloyd.assign(x, centroids)
    else:
        cells = codes(_values(task.rows, task.shard, task.column), names)
        own = centroids[np.maximum(cells, 0)]
        similarity = np.where(cells < 0, np.float32(0), np.einsum("ij,ij->i", x, own))
    table = pa.table([ids, pa.array(cells), pa.array(similarity)], names=schemas.CLUSTER.names)
    parquet_io.write(schemas.check(table, schemas.CLUSTER, str(path)), path, task.fingerprint)
    return _summed(cells, similarity, len(centroids), sources)


def _summed(cells: NDArray[np.int32], similarity: NDArray[np.float32], clusters: int, sources: Counter[str]) -> _Done:
    sizes = np.bincount(cells[cells >= 0], minlength=clusters).astype(np.int64)
    return _Done(sizes, float(similarity.sum(dtype=np.float64)), sources)
