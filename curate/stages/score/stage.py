"""The score stage: the numbers that selectors rank rows by, one folder of shards an entry.

Memory: one shard a worker for scorers that see a shard, and of a proxy's dynamics one epoch (rows × classes × 4 bytes,
twice); the pool's embeddings, within ``memory_limit`` in memory and mapped from a file beyond, for scorers that must
see more at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.accounting import Count
from curate.errors import PluginError
from curate.kernels.types import Vector
from curate.plugins.batches import Dynamics, ScoreBatch
from curate.plugins.interfaces import Traits
from curate.plugins.registry import Spec
from curate.pool import embedding_matrix
from curate.pool.rows import PoolRows
from curate.seeds import rng_for
from curate.stages import fitted_state
from curate.stages.cluster import Clustered
from curate.stages.context import Context
from curate.stages.proxy.stage import Proxied
from curate.stages.score import scorer_fit
from curate.stages.step import Outcome, current, refuse_failed, running, step
from curate.store import manifest, parquet_io, schemas
from curate.store.manifest import Record

if TYPE_CHECKING:
    from curate.config.model import ScoreEntry


@dataclass(frozen=True, slots=True)
class Scored:
    """A handle on one entry's shards."""

    name: str
    folder: Path
    fingerprint: str
    columns: tuple[str, ...]
    """The names of its columns in the shards: ``score_<name>`` first."""

    higher_is_better: tuple[bool, ...]

    def read(self, shard: int) -> pa.Table:
        return parquet_io.read(parquet_io.part(self.folder, shard), self.columns)


def parts(
    context: Context, rows: PoolRows, clustered: Clustered, proxied: Proxied | None, entry: ScoreEntry
) -> dict[str, Any]:
    """What an entry's shards are made from: of the stages before, only those it reads."""
    reads = entry.spec.plugin().traits.reads
    return {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "embed": [embedded.fingerprint for embedded in rows.embedded],
        "cluster": clustered.fingerprint if "cluster" in reads else None,
        "input": rows.source.fingerprint if "label" in reads else rows.source.text_fingerprint,
        **_proxy(entry, proxied),
    }


def _proxy(entry: ScoreEntry, proxied: Proxied | None) -> dict[str, str]:
    """The proxy, among what a scorer's shards are made from if it reads dynamics."""
    reads = "dynamics" in entry.spec.plugin().traits.reads
    return {"proxy": proxied.fingerprint} if reads and proxied is not None else {}


def embedding_of(entry: ScoreEntry, clustered: Clustered) -> str | None:
    """The embed entry a scorer reads: the one named; else the clustered one if it reads clusters; else the first."""
    if entry.embedding is None and "cluster" in entry.spec.plugin().traits.reads:
        return clustered.embedding
    return entry.embedding


def column_names(name: str, traits: Traits) -> tuple[str, ...]:
    """The columns of a score entry, as they are called in its shards."""
    return tuple(f"score_{name}_{column.name}" if column.name else f"score_{name}" for column in traits.columns)


def score(
    context: Context, rows: PoolRows, clustered: Clustered, proxied: Proxied | None, entry: ScoreEntry
) -> tuple[Scored, Record]:
    """Run one entry of the score section."""
    folder = context.folder / "score" / entry.name
    traits = entry.spec.plugin().traits
    names = column_names(entry.name, traits)
    made_from = parts(context, rows, clustered, proxied, entry)
    lesson = scorer_fit.lesson(context, entry)

    def done(fit: fitted_state.Fit | None) -> Record:
        return step(
            context,
            "score",
            entry.name,
            folder,
            made_from if fit is None else {**made_from, "learnt": asdict(fit)},
            lambda key: _work(context, rows, clustered, proxied, entry, folder, key, fit),
        )

    if lesson is None:
        record = done(None)
    else:
        recipe = manifest.fingerprint(
            {**entry.fingerprint_parts(), "seed": context.config.seed, "examples": lesson.recipe()}
        )
        pool = rows.source.text_fingerprint if lesson.reads_pool else ""
        record = fitted_state.up_to_date(
            context,
            lesson.kept(),
            recipe,
            pool,
            lambda of: done(fitted_state.Fit(recipe=recipe, pool=of, fidelity=None)),
        )
    oriented = tuple(bool(column.higher_is_better) for column in traits.columns)
    return Scored(entry.name, folder, record.fingerprint, names, oriented), record


def _work(
    context: Context,
    rows: PoolRows,
    clustered: Clustered,
    proxied: Proxied | None,
    entry: ScoreEntry,
    folder: Path,
    fingerprint: str,
    fit: fitted_state.Fit | None,
) -> Outcome:
    traits = entry.spec.plugin().traits
    state: fitted_state.State | None = None
    facts: dict[str, Any] = {}
    if fit is not None:
        state, learnt = scorer_fit.Lesson(context, entry).fit(rows.source, fit)
        facts = {"learnt": learnt.told, **learnt.facts}
    keys = (
        _keys(context, rows, clustered, proxied, entry, state)
        if traits.within == "shard"
        else [fingerprint] * len(rows.rows)
    )
    tasks = [
        _Task(
            entry.spec,
            entry.name,
            embedding_of(entry, clustered),
            rows,
            clustered,
            proxied,
            shard,
            folder,
            key,
            context.config.seed,
            state,
        )
        for shard, key in enumerate(keys)
    ]
    peak = 0
    if traits.within == "shard":
        _, failed, peak = context.map(f"scoring {entry.name}", _score_shard, tasks, rows.rows)
        refuse_failed(failed)
    else:
        context.progress.begin(f"scoring {entry.name}", sum(rows.rows))
        _write_all(tasks, _score_pool(context, tasks))
    sources = sum((rows.sources(shard) for shard in range(len(rows.rows))), Counter[str]())
    counts = {name: Count(rows_in=n, kept=n) for name, n in sorted(sources.items())}
    return Outcome(sources=counts, shards=len(tasks), peak_memory=peak, facts=facts)


def _keys(
    context: Context,
    rows: PoolRows,
    clustered: Clustered,
    proxied: Proxied | None,
    entry: ScoreEntry,
    state: fitted_state.State | None,
) -> list[str]:
    """What each shard of a scorer that sees a shard is made from: no other shard's rows, but for a proxy's sake."""
    reads = entry.spec.plugin().traits.reads
    recipe = {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "cluster": clustered.recipe if "cluster" in reads else None,
        "input": rows.source.fingerprint if "label" in reads else None,
        **_proxy(entry, proxied),
        **({} if state is None else {"learnt": state.fingerprint}),
    }
    return [manifest.fingerprint({**recipe, "pool": digest}) for digest in rows.digests]


@dataclass(frozen=True, slots=True)
class _Task:
    spec: Spec
    name: str
    embedding: str | None
    rows: PoolRows
    clustered: Clustered
    proxied: Proxied | None
    shard: int
    folder: Path
    fingerprint: str
    seed: int
    state: fitted_state.State | None
    """What the scorer learnt; None for one that learns nothing."""

    @property
    def path(self) -> Path:
        return parquet_io.part(self.folder, self.shard)

    def dynamics(self, shards: Sequence[int]) -> Dynamics | None:
        """Of the rows of some shards, for a scorer that reads them."""
        reads = "dynamics" in self.spec.plugin().traits.reads
        return self.proxied.dynamics(shards) if reads and self.proxied is not None else None


# ---------------------------------------------------------------- scorers that see a shard


def _score_shard(task: _Task) -> None:
    if current(task.path, task.fingerprint):
        return
    traits = task.spec.plugin().traits
    ids = task.rows.ids(task.shard)
    clusters = task.clustered.read(task.shard)["cluster"].to_numpy() if "cluster" in traits.reads else None
    batch = ScoreBatch(
        texts=task.rows.input(task.shard, ("text",))["text"].to_pylist() if "text" in traits.reads else None,
        labels=task.rows.input(task.shard, ("label",))["label"].to_pylist() if "label" in traits.reads else None,
        embeddings=task.rows.vectors(task.embedding, task.shard, ids) if "embedding" in traits.reads else None,
        cluster=clusters,
        centroids=task.clustered.centroids() if "cluster" in traits.reads else None,
        dynamics=task.dynamics([task.shard]),
    )
    rng = rng_for(task.seed, f"score/{task.name}", task.shard)
    _write(task, ids, _scores(task, batch, rng, len(ids)))


# ---------------------------------------------------------------- scorers that see more


def _score_pool(context: Context, tasks: Sequence[_Task]) -> Vector:
    task = tasks[0]
    traits = task.spec.plugin().traits
    n = sum(task.rows.rows)
    clusters = np.concatenate([task.clustered.read(other.shard)["cluster"].to_numpy() for other in tasks])
    batch = ScoreBatch(
        texts=task.rows.columns(("text",))["text"].to_pylist() if "text" in traits.reads else None,
        labels=task.rows.columns(("label",))["label"].to_pylist() if "label" in traits.reads else None,
        embeddings=gather(context, task.rows, task.embedding) if "embedding" in traits.reads else None,
        cluster=clusters,
        centroids=task.clustered.centroids() if "cluster" in traits.reads else None,
        dynamics=task.dynamics([other.shard for other in tasks]),
    )
    if traits.within == "corpus":
        rng = rng_for(task.seed, f"score/{task.name}")
        return _scores(task, batch, rng, n)
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
        rng = rng_for(task.seed, f"score/{task.name}", int(cluster) + 1)
        scores[rows] = _scores(task, own, rng, len(rows))
    return scores


def gather(context: Context, rows: PoolRows, embedding: str | None) -> Any:
    """The embeddings of all pool rows as one read-only array; see ``vectors.gather``."""
    return embedding_matrix.gather(rows.stream(embedding), context.config.memory_limit, context.scratch)


# ---------------------------------------------------------------- writing


def _scores(task: _Task, batch: ScoreBatch, rng: np.random.Generator, n: int) -> Vector:
    """The scorer's answer for a batch of n rows, (n, columns)."""
    m = len(task.spec.plugin().traits.columns)
    with running(task.spec, task.name):
        plugin = task.spec.build() if task.state is None else fitted_state.ready(task.spec, task.state)
        scores: Any = plugin.score(batch, rng)
    if not isinstance(scores, np.ndarray) or scores.dtype != np.float32 or scores.shape not in ((n,), (n, m)):
        got = f"{scores.dtype} {scores.shape}" if isinstance(scores, np.ndarray) else type(scores).__name__
        raise PluginError(f"scorer {task.name!r} gave {got}; expected float32 ({n}, {m})")
    answer: Vector = scores.reshape(n, m)
    return answer


def _write_all(tasks: Sequence[_Task], scores: Vector) -> None:
    start = 0
    for task in tasks:
        ids = task.rows.ids(task.shard)
        _write(task, ids, scores[start : start + len(ids)])
        start += len(ids)


def _write(task: _Task, ids: pa.Array, scores: Vector) -> None:
    traits = task.spec.plugin().traits
    names = column_names(task.name, traits)
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
