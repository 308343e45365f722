"""Cluster stage: fit centroids to the pool's embeddings, then assign every row to its most similar centroid.

Memory: one shard per worker; the fit reads the embeddings shard by shard, once per iteration.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import paths
from curate.errors import DataError
from curate.kernels.arrow_categories import encode_categories, unique_categories
from curate.kernels.clustering import lloyd
from curate.kernels.linalg.centroids import streamed_mean_directions
from curate.kernels.types import Matrix, Vectors
from curate.plugins.results import Clustering
from curate.pool import embedding_matrix
from curate.pool.stage_outputs import ClusterOutput
from curate.pool.view import PoolShard, PoolView
from curate.seeds import rng_for
from curate.stages import fitted_state, guardrails
from curate.stages.base import (
    CompletedStages,
    Context,
    Outcome,
    Stage,
    Step,
    count_all_kept,
    is_current_shard,
    plugin_call,
    raise_if_failed,
    run_step,
)
from curate.stages.embed.stage import EmbedResult
from curate.store import inputs, manifest, parquet_io, schemas
from curate.store.manifest import Record, StageResult
from curate.store.schemas import CENTROIDS

if TYPE_CHECKING:
    from curate.config.model import ClusterEntry

_FACTS = b"curate.facts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterResult(StageResult):
    """Result of the cluster stage, as stored in its manifest."""

    clusters: int
    largest: int
    """Number of rows in the largest cluster."""

    empty: int
    """Number of empty clusters."""

    recipe: str
    """Fingerprint of the settings that assign rows to clusters, independent of the pool."""

    similarity: float
    """Mean cosine similarity of a row to its centroid."""

    drift: float | None
    """Relative decrease of the mean similarity since the centroids were fitted."""

    fit: Mapping[str, float]
    """Facts reported by the clusterer: inertia, iterations, …"""


class Cluster(Stage["ClusterEntry", ClusterOutput]):
    """Stage that groups similar rows by their vectors."""

    name = "cluster"
    section = "cluster"
    result = ClusterResult
    has_single_step = True

    def run(
        self, context: Context, done: CompletedStages, entry: ClusterEntry
    ) -> tuple[ClusterOutput, Record[ClusterResult]]:
        return cluster(context, done.pool)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[ClusterOutput]) -> CompletedStages:
        return replace(done, view=replace(done.pool, cluster_result=results[0]))

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        return guardrails.find_drift(
            context.config, {f"{one.stage} {one.name}": _drift(one.result) for one in done.records}
        )

    def largest_groups(self, record: Record[StageResult]) -> Mapping[str, int]:
        return {"cluster": record.result.largest} if isinstance(record.result, ClusterResult) else {}

    def remarks(self, record: Record[StageResult]) -> list[str]:
        return fitted_state.describe_drift(_drift(record.result))


def _drift(result: StageResult) -> float | None:
    return result.drift if isinstance(result, EmbedResult | ClusterResult) else None


def cluster(context: Context, pool: PoolView) -> tuple[ClusterOutput, Record[ClusterResult]]:
    """Run the cluster section."""
    folder, entry = context.folder / "cluster", context.config.cluster
    column = _column(entry)
    recipe = {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "embedding": pool.embedding(entry.embedding).recipe,
        "columns": None if column is None else pool.inputs.fingerprint,
    }
    current_pool = manifest.fingerprint({"embed": [embedded.fingerprint for embedded in pool.embed_outputs]})

    def done(fitted_on: str) -> Record[ClusterResult]:
        fit_inputs = {**recipe, "fitted_on": fitted_on}
        parts = {**fit_inputs, "embed": {embedded.name: embedded.fingerprint for embedded in pool.embed_outputs}}
        fit = fitted_state.Fit(recipe=manifest.fingerprint(recipe), pool=fitted_on, fidelity=None)
        return run_step(
            Step(context, "cluster", entry.name, folder, ClusterResult),
            parts,
            lambda _: _work(context, pool, folder, fit, manifest.fingerprint(fit_inputs)),
        )

    if column is not None:  # the user's groups are not fitted
        record = done(current_pool)
    else:
        record = fitted_state.run_with_fit(
            context,
            folder / CENTROIDS,
            lambda fit: _are_complete(folder / CENTROIDS, fit.fingerprint),
            manifest.fingerprint(recipe),
            current_pool,
            done,
            lambda result: result.drift,
        )
    return ClusterOutput(folder, record.fingerprint, record.result.recipe, entry.embedding), record


def _are_complete(centroids: Path, fingerprint: str) -> bool:
    """Return whether the centroids of a fit are on disk and intact."""
    if not parquet_io.is_current(centroids, fingerprint):
        return False
    try:
        parquet_io.read(centroids)
    except DataError:
        return False
    return True


def _work(context: Context, pool: PoolView, folder: Path, fit: fitted_state.Fit, recipe: str) -> Outcome[ClusterResult]:
    entry = context.config.cluster
    if not len(pool):
        hint = "every row was quarantined by the embed stage; see embed/*/quarantine in the run directory"
        raise DataError("there are no rows to cluster", hint=hint)
    reported = _fit_centroids(context, pool, folder, fit)
    kept = fitted_state.load(folder)
    keys = [manifest.fingerprint({"recipe": recipe, **digest}) for digest in pool.digests]
    tasks = [
        _Task(pool, shard, entry.embedding, folder, key, fit.fingerprint, _column(entry))
        for shard, key in enumerate(keys)
    ]
    done, failed, peak = context.map("assigning to clusters", _assign, tasks, pool.shard_sizes)
    raise_if_failed(failed)
    sizes = np.sum([item.sizes for item in done], axis=0)
    similarity = sum(item.similarity for item in done) / len(pool)
    if kept is None:
        kept = replace(fit, fidelity=similarity)
        fitted_state.save(folder, kept)
    seen = sum((item.sources for item in done), Counter[str]())
    return Outcome(
        sources=count_all_kept(dict(sorted(seen.items()))),
        shards=len(done),
        peak_memory=peak,
        result=ClusterResult(
            clusters=len(sizes),
            largest=int(sizes.max(initial=0)),
            empty=int((sizes == 0).sum()),
            recipe=recipe,
            similarity=similarity,
            drift=fitted_state.compute_drift(kept, similarity),
            fit=reported,
        ),
    )


def _fit_centroids(context: Context, pool: PoolView, folder: Path, fit: fitted_state.Fit) -> dict[str, float]:
    """Fit the centroids of ``fit`` unless they are on disk.

    Returns
    -------
    dict
        Facts reported by the clusterer.
    """
    entry, path = context.config.cluster, folder / CENTROIDS
    if parquet_io.is_current(path, fit.fingerprint):
        if (stored := fitted_state.load(folder)) is not None and stored.fingerprint != fit.fingerprint:
            paths.unlink(folder / fitted_state.NAME)
        return dict(json.loads((parquet_io.read_schema(path).metadata or {})[_FACTS]))
    paths.unlink(folder / fitted_state.NAME, missing_ok=True)
    column = _column(entry)
    names = None if column is None else _names(pool, column)
    if column is not None and names is not None:
        clustering = _mean_directions(pool, entry.embedding, column, names)
    else:
        rng = rng_for(context.config.seed, f"cluster/{entry.name}")
        vectors = _report_passes(context, f"clustering with {entry.name}", pool.stream_embeddings(entry.embedding))
        with plugin_call(entry.spec, entry.name):
            clustering = entry.spec.build().fit(vectors, rng)
    _write_centroids(path, fit.fingerprint, clustering, names)
    return dict(clustering.facts)


def _report_passes(context: Context, label: str, vectors: Vectors) -> Vectors:
    """Return vectors that report the progress of each pass over them."""
    number = itertools.count(1)

    def blocks() -> Iterator[Matrix]:
        context.progress.begin(f"{label}: pass {next(number)}", vectors.rows)
        for block in vectors.blocks():
            yield block
            context.progress.advance(len(block))

    return replace(vectors, blocks=blocks)


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


# ---------------------------------------------------------------- groups of the user


def _column(entry: ClusterEntry) -> str | None:
    reads_column = "column" in entry.spec.plugin().traits.reads
    return str(dict(entry.spec.fields)["column"]) if reads_column else None


def _names(pool: PoolView, column: str) -> pa.Array:
    """Return the distinct values of the column over all shards, sorted."""
    parts = [unique_categories(_values(shard, column)) for shard in pool.shards()]
    return unique_categories(pa.concat_arrays(parts))


def _values(shard: PoolShard, column: str) -> pa.ChunkedArray:
    return inputs.as_text(shard.read(columns=(column,))[column])


def _mean_directions(pool: PoolView, embedding: str | None, column: str, names: pa.Array) -> Clustering:
    blocks = ((encode_categories(_values(shard, column), names), shard.vectors(embedding)) for shard in pool.shards())
    return Clustering(streamed_mean_directions(blocks, len(names), pool.embedding(embedding).dimensions))


# ---------------------------------------------------------------- one shard


@dataclass(frozen=True, slots=True)
class _Task:
    pool: PoolView
    number: int
    embedding: str | None
    folder: Path
    fingerprint: str
    fit: str
    column: str | None


@dataclass(frozen=True, slots=True)
class _Done:
    sizes: NDArray[np.int64]
    similarity: float
    """Similarity to the centroids, summed over the rows."""

    sources: Counter[str]


@lru_cache(maxsize=2)
def _centroids(folder: Path, fingerprint: str) -> tuple[Matrix, pa.Array]:
    path = folder / CENTROIDS
    if not parquet_io.is_current(path, fingerprint):
        raise DataError("the centroids are missing or corrupt", where=str(path), hint="run again to fit them again")
    table = parquet_io.read(path)
    return embedding_matrix.to_matrix(table["centroid"]), table["name"].combine_chunks()


def _assign(task: _Task) -> _Done:
    path, shard = parquet_io.shard_path(task.folder, task.number), task.pool.shard(task.number)
    centroids, names = _centroids(task.folder, task.fit)
    sources = shard.sources()
    if is_current_shard(path, task.fingerprint):
        table = parquet_io.read(path, ["cluster", "centroid_similarity"])
        return _summarize(table["cluster"].to_numpy(), table["centroid_similarity"].to_numpy(), len(centroids), sources)
    x = shard.vectors(task.embedding)
    if task.column is None:
        cells, similarity = lloyd.assign(x, centroids)
    else:
        cells = encode_categories(_values(shard, task.column), names)
        nearest = centroids[np.maximum(cells, 0)]
        similarity = np.where(cells < 0, np.float32(0), np.einsum("ij,ij->i", x, nearest))
    table = pa.table([shard.ids, pa.array(cells), pa.array(similarity)], names=schemas.CLUSTER.names)
    parquet_io.write(schemas.check(table, schemas.CLUSTER, str(path)), path, task.fingerprint)
    return _summarize(cells, similarity, len(centroids), sources)


def _summarize(
    cells: NDArray[np.int32], similarity: NDArray[np.float32], clusters: int, sources: Counter[str]
) -> _Done:
    sizes = np.bincount(cells[cells >= 0], minlength=clusters).astype(np.int64)
    return _Done(sizes, float(similarity.sum(dtype=np.float64)), sources)
