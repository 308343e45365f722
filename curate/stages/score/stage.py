"""Score stage: compute the numbers by which selectors rank rows, one folder of shards per entry.

Memory: one shard per worker for scorers that see a shard, and one epoch of a proxy's dynamics (rows × classes × 4
bytes, twice); the pool's embeddings, in memory within ``memory_limit`` and memory-mapped beyond, for scorers that see
more than a shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from curate.errors import DataError, PluginError
from curate.kernels.types import Codes, Matrix, Vector, freeze
from curate.plugins.batches import ScoreBatch
from curate.plugins.interfaces import PROXY_READS, Traits
from curate.plugins.registry import PluginSpec
from curate.pool.stage_outputs import ProxyOutput, ScoreOutput
from curate.pool.view import PoolShard, PoolView
from curate.seeds import rng_for
from curate.stages import fitted_state
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
from curate.stages.score import scorer_fit
from curate.store import manifest, parquet_io, schemas
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import ScoreEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreResult(StageResult):
    """Result of one entry of the score stage, as stored in its manifest."""

    fit_summary: str = ""
    """Quality of the scorer's fit as a sentence; empty for a scorer that is not fitted."""

    measured: Mapping[str, float] = field(default_factory=dict)
    """Quality of the scorer's fit in numbers."""


class Score(Stage["ScoreEntry", ScoreOutput]):
    """Stage that computes the numbers by which rows are ranked."""

    name = "score"
    section = "score"
    result = ScoreResult

    def prepare(self, context: Context) -> None:
        scorer_fit.check_examples(context)

    def run(
        self, context: Context, done: CompletedStages, entry: ScoreEntry
    ) -> tuple[ScoreOutput, Record[ScoreResult]]:
        return score(context, done.pool, entry)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[ScoreOutput]) -> CompletedStages:
        done.pool.release_embeddings()
        return replace(done, view=replace(done.pool, score_outputs=tuple(results)))


def fingerprint_inputs(context: Context, pool: PoolView, entry: ScoreEntry) -> dict[str, object]:
    """Return the inputs of the fingerprint of an entry: only the earlier stages that it reads."""
    reads = entry.spec.plugin().traits.reads
    return {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "embed": [embedded.fingerprint for embedded in pool.embed_outputs],
        "cluster": pool.cluster_output.fingerprint if "cluster" in reads else None,
        "input": pool.inputs.fingerprint if "label" in reads else pool.inputs.text_fingerprint,
        **_proxy(entry, pool),
        **_target(entry, pool),
        **_group(entry, pool),
    }


def _group(entry: ScoreEntry, pool: PoolView) -> dict[str, str]:
    """Return the fingerprint of the groups that the scorer reads, if it does."""
    name = _group_column(entry.spec)
    if name is None:
        return {}
    return {"group": pool.cluster_output.fingerprint if name == "cluster" else pool.inputs.fingerprint}


def _group_column(spec: PluginSpec) -> str | None:
    """Return the column whose groups the scorer reads."""
    reads_groups = "group" in spec.plugin().traits.optional
    return dict(spec.fields)["group"] if reads_groups else None


def _read_group(spec: PluginSpec, pool: PoolView) -> Codes | None:
    """Return the group of each row, numbered in the order of their values, -1 for none."""
    name = _group_column(spec)
    if name is None:
        return None
    groups = pool.groups(name)
    if name == "cluster":
        groups = groups.replace(-1, None)
    codes: Codes = (groups.rank("dense").cast(pl.Int32) - 1).fill_null(-1).to_numpy().astype(np.int32)
    return freeze(codes)


def _target(entry: ScoreEntry, pool: PoolView) -> dict[str, str]:
    """Return the fingerprint of the target rows, if the scorer reads them and there are any."""
    traits = entry.spec.plugin().traits
    reads = "target" in traits.reads | traits.optional
    return {"target": pool.target_output.fingerprint} if reads and pool.target_output is not None else {}


def _proxy(entry: ScoreEntry, pool: PoolView) -> dict[str, str]:
    """Return the fingerprints of what the scorer reads of the proxy."""
    reads = entry.spec.plugin().traits.reads
    parts = {}
    if reads & (PROXY_READS - {"held_out"}) and pool.proxy_output is not None:
        parts["proxy"] = pool.proxy_output.fingerprint
    if "held_out" in reads and pool.held_out_output is not None:
        parts["held_out"] = pool.held_out_output.fingerprint
    return parts


def check_dynamics(entry: ScoreEntry, proxy: ProxyOutput) -> None:
    """Raise a DataError if a scorer needs statistics or epochs that a training log lacks."""
    traits = entry.spec.plugin().traits
    missing = [name for name in traits.statistics if name not in proxy.statistics]
    if missing:
        message = f"score {entry.name}: the training log contains no {missing[0]!r}"
        raise DataError(message, hint="log the probabilities or logits of each row; see the proxy recorded")
    if proxy.epochs < traits.min_epochs and "dynamics" in traits.reads:
        message = f"score {entry.name}: it needs {traits.min_epochs} epochs, and the training log has {proxy.epochs}"
        raise DataError(message, hint="log more epochs, or use another score")


def embedding_of(entry: ScoreEntry, pool: PoolView) -> str | None:
    """Return the embed entry that a scorer reads: by default the clustered one if it reads clusters, else None."""
    if entry.embedding is None and "cluster" in entry.spec.plugin().traits.reads:
        return pool.cluster_output.embedding
    return entry.embedding


def score_column_names(name: str, traits: Traits) -> tuple[str, ...]:
    """Return the column names of a score entry in its shards."""
    return tuple(f"score_{name}_{column.name}" if column.name else f"score_{name}" for column in traits.columns)


def score(context: Context, pool: PoolView, entry: ScoreEntry) -> tuple[ScoreOutput, Record[ScoreResult]]:
    """Run one entry of the score section."""
    folder = context.folder / "score" / entry.name
    traits = entry.spec.plugin().traits
    if pool.proxy_output is not None:
        check_dynamics(entry, pool.proxy_output)
    names = score_column_names(entry.name, traits)
    inputs = fingerprint_inputs(context, pool, entry)
    fit_of_scorer = scorer_fit.create_scorer_fit(context, entry)

    def done(fit: fitted_state.Fit | None) -> Record[ScoreResult]:
        return run_step(
            Step(context, "score", entry.name, folder, ScoreResult),
            inputs if fit is None else {**inputs, "fit": asdict(fit)},
            lambda key: _work(context, pool, entry, key, fit),
        )

    if fit_of_scorer is None:
        record = done(None)
    else:
        recipe = manifest.fingerprint(
            {**entry.fingerprint_parts(), "seed": context.config.seed, "examples": fit_of_scorer.recipe()}
        )
        current_pool = pool.inputs.text_fingerprint if fit_of_scorer.reads_pool else ""
        record = fitted_state.run_with_fit(
            context,
            folder / scorer_fit.FITTED,
            fit_of_scorer.is_complete,
            recipe,
            current_pool,
            lambda fitted_on: done(fitted_state.Fit(recipe=recipe, pool=fitted_on, fidelity=None)),
        )
    oriented = tuple(bool(column.higher_is_better) for column in traits.columns)
    return ScoreOutput(entry.name, folder, record.fingerprint, names, oriented), record


def _work(
    context: Context, pool: PoolView, entry: ScoreEntry, fingerprint: str, fit: fitted_state.Fit | None
) -> Outcome[ScoreResult]:
    traits, numbers = entry.spec.plugin().traits, range(len(pool.shard_sizes))
    state, result = None, ScoreResult()
    if fit is not None:
        state, report = scorer_fit.ScorerFit(context, entry).fit(pool.inputs, fit)
        result = ScoreResult(fit_summary=report.summary, measured=report.facts)
    by_shard = traits.within == "shard"
    keys = _keys(context, pool, entry, state) if by_shard else [fingerprint] * len(numbers)
    job = _Job(
        entry.spec,
        entry.name,
        embedding_of(entry, pool),
        pool,
        context.folder / "score" / entry.name,
        context.config.seed,
        state,
    )
    tasks = [_Task(job, number, key) for number, key in zip(numbers, keys, strict=True)]
    peak = 0
    if by_shard:
        _, failed, peak = context.map(f"scoring {entry.name}", _score_shard, tasks, pool.shard_sizes)
        raise_if_failed(failed)
    else:
        context.progress.begin(f"scoring {entry.name}", len(pool))
        _write_all(tasks, _score_pool(job))
        context.progress.advance(len(pool))
    return Outcome(sources=count_all_kept(pool.source_counts()), shards=len(tasks), peak_memory=peak, result=result)


def _keys(context: Context, pool: PoolView, entry: ScoreEntry, state: fitted_state.StateFile | None) -> list[str]:
    """Return the fingerprint of each shard for a scorer that sees one shard: no other rows, unless by a proxy."""
    reads = entry.spec.plugin().traits.reads
    recipe = {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "cluster": pool.cluster_output.recipe if "cluster" in reads else None,
        "input": pool.inputs.fingerprint if "label" in reads else None,
        **_proxy(entry, pool),
        **_target(entry, pool),
        **({} if state is None else {"fit": state.fingerprint}),
    }
    return [manifest.fingerprint({**recipe, "pool": digest}) for digest in pool.digests]


@dataclass(frozen=True, slots=True)
class _Job:
    """Scorer of one entry, with the pool that it scores."""

    spec: PluginSpec
    name: str
    embedding: str | None
    pool: PoolView
    folder: Path
    seed: int
    state: fitted_state.StateFile | None
    """Fitted state of the scorer; None for a scorer that is not fitted."""

    def batch(self, rows: PoolView | PoolShard, cluster: Codes | None, shards: Sequence[int]) -> ScoreBatch:
        """Return the inputs of the scorer for some rows, which are those of ``shards``."""
        traits, name = self.spec.plugin().traits, self.embedding
        reads = traits.reads | traits.optional
        roles = tuple(role for role in ("text", "label") if role in reads)
        table = rows.read(roles) if roles else None
        images = rows.images() if "image" in reads else None

        def vectors(name: str | None) -> Matrix:
            return rows.embeddings(name) if isinstance(rows, PoolView) else rows.vectors(name)

        dynamics = held_out = learner = None
        proxied, predicted = self.pool.proxy_output, self.pool.held_out_output
        if proxied is not None and "dynamics" in reads:
            needs_network = reads & {"features", "input_gradients"}
            dynamics = proxied.dynamics(shards, vectors(proxied.embedding) if needs_network else None)
        if proxied is not None and proxied.is_trained and "learner" in reads:
            learner = proxied.learner(shards, vectors(proxied.embedding))
        if predicted is not None and "held_out" in reads:
            held_out = predicted.read(shards)
        target = None
        if self.pool.target_output is not None and "target" in reads:
            compared = name if "embedding" in reads or proxied is None else proxied.embedding
            target = self.pool.target_output.rows(self.pool.embedding(compared).name)
        return ScoreBatch(
            texts=table["text"].to_pylist() if table is not None and "text" in reads else None,
            labels=table["label"].to_pylist() if table is not None and "label" in reads else None,
            images=images,
            embeddings=vectors(name) if "embedding" in reads else None,
            cluster=cluster,
            centroids=self.pool.cluster_output.centroids() if "cluster" in reads else None,
            dynamics=dynamics,
            held_out=held_out,
            learner=learner,
            target=target,
            group=_read_group(self.spec, rows) if isinstance(rows, PoolView) else None,
        )


@dataclass(frozen=True, slots=True)
class _Task:
    job: _Job
    number: int
    fingerprint: str

    @property
    def path(self) -> Path:
        return parquet_io.shard_path(self.job.folder, self.number)


# ---------------------------------------------------------------- scorers that see a shard


def _score_shard(task: _Task) -> None:
    if is_current_shard(task.path, task.fingerprint):
        return
    job, shard = task.job, task.job.pool.shard(task.number)
    reads = job.spec.plugin().traits.reads
    cluster = job.pool.cluster_output.read(task.number)["cluster"].to_numpy() if "cluster" in reads else None
    rng = rng_for(job.seed, f"score/{job.name}", task.number)
    _write(task, shard.ids, _scores(job, job.batch(shard, cluster, [task.number]), rng, len(shard)))


# ---------------------------------------------------------------- scorers that see more than a shard


def _score_pool(job: _Job) -> Vector:
    traits, pool = job.spec.plugin().traits, job.pool
    n, clusters = len(pool), pool.cluster
    batch = job.batch(pool, clusters, range(len(pool.shard_sizes)))
    if traits.within == "corpus":
        return _scores(job, batch, rng_for(job.seed, f"score/{job.name}"), n)
    scores = np.empty((n, len(traits.columns)), np.float32)
    for cluster in np.unique(clusters):
        rows = np.flatnonzero(clusters == cluster)
        part = ScoreBatch(
            texts=None if batch.texts is None else [batch.texts[row] for row in rows],
            labels=None if batch.labels is None else [batch.labels[row] for row in rows],
            images=None if batch.images is None else batch.images.take(rows),
            embeddings=None if batch.embeddings is None else batch.embeddings[rows],
            cluster=clusters[rows],
            centroids=batch.centroids,
            dynamics=None if batch.dynamics is None else batch.dynamics.take(rows),
            held_out=None if batch.held_out is None else batch.held_out.take(rows),
            learner=None if batch.learner is None else batch.learner.take(rows),
            target=batch.target,
            group=None if batch.group is None else batch.group[rows],
        )
        rng = rng_for(job.seed, f"score/{job.name}", int(cluster) + 1)
        scores[rows] = _scores(job, part, rng, len(rows))
    return scores


# ---------------------------------------------------------------- writing


def _scores(job: _Job, batch: ScoreBatch, rng: np.random.Generator, n: int) -> Vector:
    """Return the scores of a batch of n rows, shape (n, columns)."""
    m = len(job.spec.plugin().traits.columns)
    with plugin_call(job.spec, job.name):
        plugin = job.spec.build() if job.state is None else fitted_state.build_fitted(job.spec, job.state)
        scores: object = plugin.score(batch, rng)
    if not isinstance(scores, np.ndarray) or scores.dtype != np.float32 or scores.shape not in ((n,), (n, m)):
        got = f"{scores.dtype} {scores.shape}" if isinstance(scores, np.ndarray) else type(scores).__name__
        raise PluginError(f"scorer {job.name!r} returned {got}, expected float32 ({n}, {m})")
    columns: Vector = scores.reshape(n, m)
    return columns


def _write_all(tasks: Sequence[_Task], scores: Vector) -> None:
    start = 0
    for task in tasks:
        ids = task.job.pool.shard(task.number).ids
        _write(task, ids, scores[start : start + len(ids)])
        start += len(ids)


def _write(task: _Task, ids: pa.Array, scores: Vector) -> None:
    traits = task.job.spec.plugin().traits
    names = score_column_names(task.job.name, traits)
    facts = {
        f"{name}.{key}": str(value)
        for name, column in zip(names, traits.columns, strict=True)
        for key, value in (
            ("higher_is_better", column.higher_is_better),
            ("unit", column.unit),
            ("range", list(column.range)),
        )
    }
    schema = schemas.score(names, facts)
    table = pa.table([ids, *(pa.array(column) for column in scores.T)], names=schema.names)
    parquet_io.write(schemas.check(table, schema, str(task.path)), task.path, task.fingerprint)
