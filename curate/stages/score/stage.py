"""Score stage: compute the numbers by which selectors rank rows, one folder of shards per entry.

Memory: one shard per worker for scorers that see a shard, and one epoch of a proxy's dynamics (rows × classes × 4
bytes, twice); the pool's embeddings, in memory within ``memory_limit`` and memory-mapped beyond, for scorers that see
more than a shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from curate import paths
from curate.errors import DataError, PluginError
from curate.kernels.types import Advance, Codes, Matrix, Vector
from curate.plugins.batches import Retrievals, ScoreBatch
from curate.plugins.interfaces import PROXY_READS, ColumnScorer, GroupScorer, RetrievalScorer, Traits
from curate.plugins.judging import Judge
from curate.plugins.language_models import Example, ModelRequest, Outputs, Request, take_rows
from curate.plugins.registry import PluginSpec
from curate.plugins.results import Scores
from curate.pool.stage_outputs import ProxyOutput, ScoreOutput
from curate.pool.view import PoolShard, PoolView
from curate.progress import RowProgress
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
from curate.stages.model.stage import compute_outputs, model_identity, scorer_requests
from curate.stages.score import retrieval_log, scorer_fit
from curate.stages.summaries import add_summaries
from curate.store import manifest, npz, parquet_io, schemas
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import ScoreEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreResult(StageResult):
    """Result of one entry of the score stage, as stored in its manifest."""

    fit_summary: str = ""
    """Quality of the scorer's fit as a sentence; empty for a scorer that is not fitted."""

    measured: Mapping[str, float] = field(default_factory=dict)
    """Quality of the scorer's fit, and its findings about the pool, in numbers."""

    warnings: tuple[str, ...] = ()
    """Warnings of the scorer about its scores."""


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

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        results = [(record.name, record.result) for record in done.records_of(self.name)]
        return [
            f"score {name}: {warning}"
            for name, result in results
            if isinstance(result, ScoreResult)
            for warning in result.warnings
        ]


def fingerprint_inputs(context: Context, pool: PoolView, entry: ScoreEntry) -> dict[str, object]:
    """Return the inputs of the fingerprint of an entry: only the earlier stages that it reads."""
    reads = entry.spec.plugin().traits.reads
    group = group_of(entry.spec)
    reads_columns = bool(reads & {"label", "column"}) or group is not None
    return {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "embed": [embedded.fingerprint for embedded in pool.embed_outputs],
        "cluster": pool.cluster_output.fingerprint if "cluster" in reads or group == "cluster" else None,
        "input": pool.inputs.fingerprint if reads_columns else pool.inputs.text_fingerprint,
        **_proxy(entry, pool),
        **_target(entry, pool),
        **_models(context, pool, entry),
        **context.judge_identity(entry),
    }


def group_of(spec: PluginSpec) -> str | None:
    """Return the column by which a scorer groups the rows; None if it does not."""
    if "group" not in spec.plugin().traits.reads:
        return None
    plugin: GroupScorer = spec.build()
    return plugin.group


def _target(entry: ScoreEntry, pool: PoolView) -> dict[str, str]:
    """Return the digest of the target rows, if the scorer reads them and there are any."""
    traits = entry.spec.plugin().traits
    reads = "target" in traits.reads | traits.optional
    return {"target": pool.target_output.content} if reads and pool.target_output is not None else {}


def _models(context: Context, pool: PoolView, entry: ScoreEntry) -> dict[str, object]:
    """Return the fingerprints of the outputs of language models that the scorer reads, and of models that it may run.

    A scorer with ``within="corpus"`` may run each of the models.
    """
    traits = entry.spec.plugin().traits
    if not traits.reads_model:
        return {}
    parts: dict[str, object] = {"outputs": [pool.model_output(one).fingerprint for one in scorer_requests(entry)]}
    if traits.within == "corpus":
        parts["models"] = [model_identity(one) for one in context.config.model]
    return parts


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
        raise DataError(
            message, hint="log the probabilities or logits of each row, or the columns that the proxy recorded lists"
        )
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
            {
                **entry.fingerprint_parts(),
                "seed": context.config.seed,
                "examples": fit_of_scorer.recipe(),
                **_target(entry, pool),
            }
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
        state, report = scorer_fit.ScorerFit(context, entry).fit(pool, fit)
        result = ScoreResult(fit_summary=report.summary, measured=report.facts)
    by_shard = traits.within == "shard"
    keys = _keys(context, pool, entry, state) if by_shard else [fingerprint] * len(numbers)
    folder = context.folder / "score" / entry.name
    job = _Job(
        entry.spec,
        entry.name,
        embedding_of(entry, pool),
        pool,
        folder,
        context.config.seed,
        state,
        requests=scorer_requests(entry),
    )
    tasks = [_Task(job, number, key) for number, key in zip(numbers, keys, strict=True)]
    peak = 0
    if traits.summarizes:
        tasks, peak = _summarize(context, tasks, pool.shard_sizes)
    if by_shard:
        _, failed, scoring_peak = context.map(f"scoring {entry.name}", _score_shard, tasks, pool.shard_sizes)
        raise_if_failed(failed)
        peak = max(peak, scoring_peak)
    else:
        context.progress.begin(f"scoring {entry.name}", len(pool))
        rows = RowProgress(context.progress, len(pool))
        with context.judge(entry, len(pool)) as judge:
            scores = _score_pool(context, job, judge, _read_retrievals(context, pool, entry), rows.advance)
        _write_all(tasks, scores.values)
        result = replace(result, warnings=scores.warnings, measured={**result.measured, **scores.facts})
        if scores.facts:
            facts = ", ".join(f"{name} {value:,.4g}" for name, value in scores.facts.items())
            context.progress.note(f"score {entry.name}: {facts}")
        if not traits.reads_judge:
            rows.advance(1)
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
        **_models(context, pool, entry),
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

    summary: fitted_state.StateFile | None = None
    """Sums over all shards; None for a scorer that does not summarize them."""

    requests: tuple[ModelRequest, ...] = ()
    """Requests to language models whose outputs the scorer reads."""

    def batch(self, rows: PoolView | PoolShard, cluster: Codes | None, shards: Sequence[int]) -> ScoreBatch:
        """Return the inputs of the scorer for some rows, which are those of ``shards``; see also ``_score_pool``."""
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
            target = self.pool.target_output.rows(self.pool.embedding(compared).name, texts="text" in reads)
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
            outputs=tuple(rows.read_model_outputs(one) for one in self.requests) if self.requests else None,
        )


@dataclass(frozen=True, slots=True)
class _Task:
    job: _Job
    number: int
    fingerprint: str

    @property
    def path(self) -> Path:
        return parquet_io.shard_path(self.job.folder, self.number)

    @property
    def summary_path(self) -> Path:
        return self.job.folder / _SUMMARIES / f"part-{self.number:05d}.npz"

    def batch(self) -> ScoreBatch:
        """Return the inputs of the scorer for the shard."""
        job, shard = self.job, self.job.pool.shard(self.number)
        reads = job.spec.plugin().traits.reads
        cluster = job.pool.cluster_output.read(self.number)["cluster"].to_numpy() if "cluster" in reads else None
        return job.batch(shard, cluster, [self.number])


# ---------------------------------------------------------------- scorers that see a shard


def _score_shard(task: _Task) -> None:
    if is_current_shard(task.path, task.fingerprint):
        return
    job, shard = task.job, task.job.pool.shard(task.number)
    batch, rng = task.batch(), rng_for(job.seed, f"score/{job.name}", task.number)
    if job.summary is not None:
        batch = replace(batch, summary=npz.load_required(job.summary.path, job.summary.fingerprint))
    _write(task, shard.ids, _scores(job, batch, rng, len(shard)).values)


_SUMMARIES = "summaries"
_SUM = "summary.npz"


def _summarize(context: Context, tasks: Sequence[_Task], sizes: Sequence[int]) -> tuple[list[_Task], int]:
    """Add the summaries of all shards; return the tasks with the sum, and the peak memory of a worker.

    The fingerprint of a task then depends on the sum, so all shards are scored again if it changed. The summaries of
    unchanged shards are kept.
    """
    job = tasks[0].job
    _, failed, peak = context.map(f"scoring {job.name}: first pass", _summarize_shard, tasks, sizes)
    raise_if_failed(failed)
    total = add_summaries(npz.load_required(task.summary_path, task.fingerprint) for task in tasks)
    key = manifest.fingerprint({name: values.tolist() for name, values in total.items()})
    npz.save(job.folder / _SUM, key, total)
    wanted = {task.summary_path.name for task in tasks}
    for name in paths.list_names(job.folder / _SUMMARIES):
        if name not in wanted:
            paths.unlink(job.folder / _SUMMARIES / name)
    job = replace(job, summary=fitted_state.StateFile(job.folder / _SUM, key))
    return [
        _Task(job, task.number, manifest.fingerprint({"shard": task.fingerprint, "summary": key})) for task in tasks
    ], peak


def _summarize_shard(task: _Task) -> None:
    if npz.load(task.summary_path, task.fingerprint) is None:
        batch = task.batch()
        with plugin_call(task.job.spec, task.job.name):
            summary = task.job.spec.build().summarize(batch)
        npz.save(task.summary_path, task.fingerprint, summary)


# ---------------------------------------------------------------- scorers that see more than a shard


def _read_retrievals(context: Context, pool: PoolView, entry: ScoreEntry) -> Retrievals | None:
    """Return the log of retrievals of a scorer that reads one."""
    if "retrievals" not in entry.spec.plugin().traits.reads:
        return None
    plugin: RetrievalScorer = entry.spec.build()
    return retrieval_log.read(context.progress, entry.name, plugin.files, pool.ids)


def build_groups(values: pl.Series) -> tuple[Codes, tuple[str, ...]]:
    """Return the group of each row by its value, -1 for null, and the names of the groups in the order of the values.

    >>> codes, names = build_groups(pl.Series([10, 9, None, 10]))
    >>> codes.tolist(), names
    ([1, 0, -1, 1], ('9', '10'))
    """
    codes: Codes = (values.rank("dense").cast(pl.Int32) - 1).fill_null(-1).to_numpy()
    groups, rows = np.unique(codes, return_index=True)
    first = values[rows[groups >= 0]]
    try:
        names = first.cast(pl.String).to_list()
    except pl.exceptions.PolarsError:  # lists and objects
        names = [str(value) for value in first.to_list()]
    return codes, tuple(names)


def _run_model(context: Context, model: str | None, examples: Sequence[Example], request: Request) -> Outputs:
    """Run the model entry with a name, or the first one, on examples that are no rows of the pool."""
    entry = next(one for one in context.config.model if model in (None, one.name))
    return compute_outputs(entry.spec, entry.name, examples, request)


def _score_pool(
    context: Context, job: _Job, judge: Judge | None, retrievals: Retrievals | None, advance: Advance
) -> Scores:
    traits, pool = job.spec.plugin().traits, job.pool
    n, clusters = len(pool), pool.cluster
    batch = job.batch(pool, clusters, range(len(pool.shard_sizes)))
    batch = replace(batch, retrievals=retrievals, advance=advance, judge=judge)
    if traits.reads_model and traits.within == "corpus":
        batch = replace(batch, run_model=partial(_run_model, context))
    if (group := group_of(job.spec)) is not None:
        values = pool.groups(group)
        codes, names = build_groups(values.replace(-1, None) if group == "cluster" else values)
        batch = replace(batch, groups=codes, group_names=names)
    if "column" in traits.reads:
        plugin: ColumnScorer = job.spec.build()
        batch = replace(batch, column=pool.frame([plugin.column])[plugin.column].to_list())
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
            outputs=None if batch.outputs is None else tuple(take_rows(one, rows) for one in batch.outputs),
        )
        rng = rng_for(job.seed, f"score/{job.name}", int(cluster) + 1)
        scores[rows] = _scores(job, part, rng, len(rows)).values
    return Scores(scores)


# ---------------------------------------------------------------- writing


def _scores(job: _Job, batch: ScoreBatch, rng: np.random.Generator, n: int) -> Scores:
    """Return the scores of a batch of n rows, with values of shape (n, columns)."""
    traits = job.spec.plugin().traits
    m = len(traits.columns)
    with plugin_call(job.spec, job.name):
        plugin = job.spec.build() if job.state is None else fitted_state.build_fitted(job.spec, job.state)
        returned: object = plugin.score(batch, rng)
    if isinstance(returned, Scores) and traits.within != "corpus":
        raise PluginError(
            f"scorer {job.name!r} returned Scores, but sees less than the pool",
            hint='return an array, or declare within="corpus"',
        )
    scores = returned if isinstance(returned, Scores) else None
    values: object = returned if scores is None else scores.values
    if not isinstance(values, np.ndarray) or values.dtype != np.float32 or values.shape not in ((n,), (n, m)):
        got = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise PluginError(f"scorer {job.name!r} returned {got}, expected float32 ({n}, {m})")
    columns: Vector = values.reshape(n, m)
    return Scores(columns) if scores is None else replace(scores, values=columns)


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
