"""The score stage: the numbers that selectors rank rows by, one folder of shards an entry.

Memory: one shard a worker for scorers that see a shard, and of a proxy's dynamics one epoch (rows × classes × 4 bytes,
twice); the pool's embeddings, within ``memory_limit`` in memory and mapped from a file beyond, for scorers that must
see more at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curate.errors import PluginError
from curate.kernels.types import Codes, Vector
from curate.plugins.batches import ScoreBatch
from curate.plugins.interfaces import Traits
from curate.plugins.registry import PluginSpec
from curate.pool.stage_outputs import ScoreOutput
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
    plugin_errors,
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
    """What scoring with one entry leaves in its manifest."""

    fit_summary: str = ""
    """How well the scorer learned what it learns first, as a sentence; empty for one that learns nothing."""

    measured: Mapping[str, float] = field(default_factory=dict)
    """The same in numbers."""


class Score(Stage["ScoreEntry", ScoreOutput]):
    """Rows to numbers that they are ranked by."""

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
    """Return what an entry's shards are made from: of the stages before, only those it reads."""
    reads = entry.spec.plugin().traits.reads
    return {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "embed": [embedded.fingerprint for embedded in pool.embed_outputs],
        "cluster": pool.cluster_output.fingerprint if "cluster" in reads else None,
        "input": pool.inputs.fingerprint if "label" in reads else pool.inputs.text_fingerprint,
        **_proxy(entry, pool),
    }


def _proxy(entry: ScoreEntry, pool: PoolView) -> dict[str, str]:
    """Return the proxy, among what a scorer's shards are made from if it reads dynamics."""
    reads = "dynamics" in entry.spec.plugin().traits.reads
    return {"proxy": pool.proxy_output.fingerprint} if reads and pool.proxy_output is not None else {}


def embedding_of(entry: ScoreEntry, pool: PoolView) -> str | None:
    """The embed entry a scorer reads: the one named; else the clustered one if it reads clusters; else the first."""
    if entry.embedding is None and "cluster" in entry.spec.plugin().traits.reads:
        return pool.cluster_output.embedding
    return entry.embedding


def score_column_names(name: str, traits: Traits) -> tuple[str, ...]:
    """The columns of a score entry, as they are called in its shards."""
    return tuple(f"score_{name}_{column.name}" if column.name else f"score_{name}" for column in traits.columns)


def score(context: Context, pool: PoolView, entry: ScoreEntry) -> tuple[ScoreOutput, Record[ScoreResult]]:
    """Run one entry of the score section."""
    folder = context.folder / "score" / entry.name
    traits = entry.spec.plugin().traits
    names = score_column_names(entry.name, traits)
    made_from = fingerprint_inputs(context, pool, entry)
    lesson = scorer_fit.create_scorer_fit(context, entry)

    def done(fit: fitted_state.Fit | None) -> Record[ScoreResult]:
        return run_step(
            Step(context, "score", entry.name, folder, ScoreResult),
            made_from if fit is None else {**made_from, "learnt": asdict(fit)},
            lambda key: _work(context, pool, entry, key, fit),
        )

    if lesson is None:
        record = done(None)
    else:
        recipe = manifest.fingerprint(
            {**entry.fingerprint_parts(), "seed": context.config.seed, "examples": lesson.recipe()}
        )
        today = pool.inputs.text_fingerprint if lesson.reads_pool else ""
        record = fitted_state.run_with_fit(
            context,
            folder / scorer_fit.FITTED,
            lesson.is_whole,
            recipe,
            today,
            lambda of: done(fitted_state.Fit(recipe=recipe, pool=of, fidelity=None)),
        )
    oriented = tuple(bool(column.higher_is_better) for column in traits.columns)
    return ScoreOutput(entry.name, folder, record.fingerprint, names, oriented), record


def _work(
    context: Context, pool: PoolView, entry: ScoreEntry, fingerprint: str, fit: fitted_state.Fit | None
) -> Outcome[ScoreResult]:
    traits, numbers = entry.spec.plugin().traits, range(len(pool.shard_sizes))
    state, result = None, ScoreResult()
    if fit is not None:
        state, learnt = scorer_fit.ScorerFit(context, entry).fit(pool.inputs, fit)
        result = ScoreResult(fit_summary=learnt.summary, measured=learnt.facts)
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
    """Return what each shard of a scorer that sees a shard is made from: no other shard's rows, unless by a proxy."""
    reads = entry.spec.plugin().traits.reads
    recipe = {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "cluster": pool.cluster_output.recipe if "cluster" in reads else None,
        "input": pool.inputs.fingerprint if "label" in reads else None,
        **_proxy(entry, pool),
        **({} if state is None else {"learnt": state.fingerprint}),
    }
    return [manifest.fingerprint({**recipe, "pool": digest}) for digest in pool.digests]


@dataclass(frozen=True, slots=True)
class _Job:
    """One entry's scorer, and the pool that it scores."""

    spec: PluginSpec
    name: str
    embedding: str | None
    pool: PoolView
    folder: Path
    seed: int
    state: fitted_state.StateFile | None
    """What the scorer learned; None for one that learns nothing."""

    def batch(self, rows: PoolView | PoolShard, cluster: Codes | None, shards: Sequence[int]) -> ScoreBatch:
        """Return what the scorer reads of some rows, which are those of ``shards``."""
        reads, name = self.spec.plugin().traits.reads, self.embedding
        roles = tuple(role for role in ("text", "label") if role in reads)
        table = rows.read(roles) if roles else None
        proxied = self.pool.proxy_output if "dynamics" in reads else None
        vectors = None
        if "embedding" in reads:
            vectors = rows.embeddings(name) if isinstance(rows, PoolView) else rows.vectors(name)
        return ScoreBatch(
            texts=table["text"].to_pylist() if table is not None and "text" in reads else None,
            labels=table["label"].to_pylist() if table is not None and "label" in reads else None,
            embeddings=vectors,
            cluster=cluster,
            centroids=self.pool.cluster_output.centroids() if "cluster" in reads else None,
            dynamics=None if proxied is None else proxied.dynamics(shards),
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


# ---------------------------------------------------------------- scorers that see more


def _score_pool(job: _Job) -> Vector:
    traits, pool = job.spec.plugin().traits, job.pool
    n, clusters = len(pool), pool.cluster
    batch = job.batch(pool, clusters, range(len(pool.shard_sizes)))
    if traits.within == "corpus":
        return _scores(job, batch, rng_for(job.seed, f"score/{job.name}"), n)
    scores = np.empty((n, len(traits.columns)), np.float32)
    for cluster in np.unique(clusters):
        rows = np.flatnonzero(clusters == cluster)
        own = ScoreBatch(
            texts=None if batch.texts is None else [batch.texts[row] for row in rows],
            labels=None if batch.labels is None else [batch.labels[row] for row in rows],
            embeddings=None if batch.embeddings is None else batch.embeddings[rows],
            cluster=clusters[rows],
            centroids=batch.centroids,
            dynamics=None if batch.dynamics is None else batch.dynamics.take(rows),
        )
        rng = rng_for(job.seed, f"score/{job.name}", int(cluster) + 1)
        scores[rows] = _scores(job, own, rng, len(rows))
    return scores


# ---------------------------------------------------------------- writing


def _scores(job: _Job, batch: ScoreBatch, rng: np.random.Generator, n: int) -> Vector:
    """Return the scorer's answer for a batch of n rows, (n, columns)."""
    m = len(job.spec.plugin().traits.columns)
    with plugin_errors(job.spec, job.name):
        plugin = job.spec.build() if job.state is None else fitted_state.build_fitted(job.spec, job.state)
        scores: object = plugin.score(batch, rng)
    if not isinstance(scores, np.ndarray) or scores.dtype != np.float32 or scores.shape not in ((n,), (n, m)):
        got = f"{scores.dtype} {scores.shape}" if isinstance(scores, np.ndarray) else type(scores).__name__
        raise PluginError(f"scorer {job.name!r} gave {got}; expected float32 ({n}, {m})")
    answer: Vector = scores.reshape(n, m)
    return answer


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
