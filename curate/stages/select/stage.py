"""Select stage: run the entries of the select section in order, each on the survivors of the previous one.

Every input row gets a line in the ledger: its outcome, the deciding entry, the reason and its representative. Memory:
the pool's embeddings (in memory within ``memory_limit``, memory-mapped beyond), the memory that each selector
documents, about 60 bytes per row, and for an epoch plan about 30 bytes per row and epoch. A selector that reads texts
receives one shard at a time; within groups, the shards are read again for each group.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import paths
from curate.accounting import Count
from curate.config.model import DECONTAMINATE
from curate.errors import GuardrailError
from curate.executors.base import peak_memory
from curate.kernels.types import AnyArray, Rows
from curate.plugins.results import Selection
from curate.pool.stage_outputs import SelectOutput
from curate.pool.view import PoolView
from curate.stages import guardrails
from curate.stages.base import (
    QUARANTINE,
    CompletedStages,
    Context,
    Forecast,
    Outcome,
    PlannedStep,
    Stage,
    Step,
    run_step,
)
from curate.stages.decontaminate.stage import NGRAM
from curate.stages.entry_tasks import describe_tasks
from curate.stages.select import cost_warnings, published_index
from curate.stages.select.entry_runner import EntryRunner
from curate.stages.select.incumbents import Incumbents
from curate.stages.select.ledger_builder import LedgerBuilder
from curate.stages.select.run_selector import max_rows_at_once
from curate.store import manifest, parquet_io, schemas, versions
from curate.store.ledger import SelectResult
from curate.store.manifest import EntryAccount, Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import RunConfig, SelectEntry


_WORK = "work"
"""Folder of the results of tasks in the stage's folder, while it runs."""


class Select(Stage[tuple["SelectEntry", ...], SelectOutput]):
    """Stage that chooses the kept rows, with a ledger that explains the outcome of every row."""

    name = "select"
    section = "select"
    result = SelectResult
    has_single_step = True
    extra_outputs = (published_index.FOLDER,)

    def entries(self, config: RunConfig) -> Sequence[tuple[SelectEntry, ...]]:
        return (config.select,)

    def run(
        self, context: Context, done: CompletedStages, entry: tuple[SelectEntry, ...]
    ) -> tuple[SelectOutput, Record[SelectResult]]:
        return select(context, done.pool)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[SelectOutput]) -> CompletedStages:
        done.pool.release_embeddings()
        return replace(done, view=replace(done.pool, select_result=results[0]))

    def prepare(self, context: Context) -> None:
        for warning in published_index.warn_deleted(context):
            context.progress.warn(warning)

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        if context.plan is None:
            guardrails.check_selection(context, done.pool, done.record_of(self.name, SelectResult))
        return ()

    def describe(self, entry: tuple[SelectEntry, ...]) -> Mapping[str, str]:
        summaries = {one.name: one.spec.plugin().summary() for one in entry}
        return {DECONTAMINATE: "Drop the rows that overlap an evaluation text", **summaries}

    # ------------------------------------------------------------ plans

    def forecast(self, config: RunConfig, step: PlannedStep, before: Forecast) -> tuple[list[PlannedStep], Forecast]:
        planned = []
        for entry in config.select:
            largest = before.largest.get(entry.within or "")
            note = "" if step.state == "fresh" else cost_warnings.cost_warning(entry, before.max_rows, largest)
            before = _after(entry, before)
            tasks = describe_tasks(entry)
            planned.append(
                replace(step, name=entry.name, rows=before.rows, epochs=entry.epochs, tasks=tasks, note=note)
            )
        return planned, before

    def estimate_slowdown(self, config: RunConfig, step: PlannedStep, scale: float) -> float:
        """Return the square of the scale for a quadratic selector, because its groups grow like the pool."""
        slow = any(entry.name == step.name and cost_warnings.is_quadratic(entry) for entry in config.select)
        return scale**2 if slow else scale

    def count_written_bytes(self, config: RunConfig, step: PlannedStep, last: Record[StageResult], folder: Path) -> int:
        """Return 0 for all entries but the last, because the ledger is written once, after the last entry."""
        return paths.total_size(folder) if step.name == config.select[-1].name else 0


def _after(entry: SelectEntry, before: Forecast) -> Forecast:
    """Return the forecast after an entry."""
    if (budget := entry.budget) is None:
        return replace(before, rows=None)
    rows = budget.keep if before.rows is None else budget.resolve_rows(before.rows, entry.name)
    return replace(before, rows=rows, max_rows=before.max_rows if rows is None else min(before.max_rows, rows))


@dataclass(frozen=True, slots=True)
class _PublishedVersions:
    """Published versions that the ledger depends on."""

    previous: str | None = None
    """Version whose rows a new selection keeps according to ``keep_previous_weight``."""

    compared: tuple[str, ...] = ()
    """Versions that entries compare with."""


def fingerprint_inputs(context: Context, pool: PoolView, published: _PublishedVersions) -> dict[str, object]:
    """Return the inputs of the fingerprint of the ledger."""
    decontaminated = pool.decontaminate_output
    return {
        "entries": [entry.fingerprint_parts() for entry in context.config.select],
        **{key: value for entry in context.config.select for key, value in context.judge_identity(entry).items()},
        "seed": context.config.seed,
        "cluster": pool.cluster_output.fingerprint,
        "score": {entry.name: entry.fingerprint for entry in pool.score_outputs},
        **(
            {"target": pool.target_output.fingerprint}
            if pool.target_output is not None and _reads_target(context)
            else {}
        ),
        **({} if decontaminated is None else {DECONTAMINATE: decontaminated.fingerprint}),
        "keep_previous_weight": context.config.refresh.keep_previous_weight,
        "previous": published.previous,
        **(
            {published_index.FOLDER: list(published.compared)}
            if published_index.comparing_entries(context.config)
            else {}
        ),
        **pool.fingerprint_inputs(),
    }


def _reads_target(context: Context) -> bool:
    """Return whether an entry reads the target rows."""
    return any("target" in entry.spec.plugin().traits.reads for entry in context.config.select)


def _load_published(context: Context, pool: PoolView) -> _PublishedVersions:
    """Return the present published versions, or those that an up-to-date or lost ledger was made with."""
    folder, root = context.folder / "select", context.folder / versions.FOLDER
    current = _PublishedVersions(
        versions.published_version(root) if context.config.refresh.keep_previous_weight else None,
        tuple(published_index.active_versions(versions.read_history(root)))
        if published_index.comparing_entries(context.config)
        else (),
    )
    record = manifest.load(folder, SelectResult)
    if record is None:
        exported = manifest.load(root)
        ledger_fingerprint = None if exported is None else exported.inputs.get("select")
        candidates = _earlier_versions(context, current) if ledger_fingerprint is not None else ()
        pairs = ((candidate, fingerprint_inputs(context, pool, candidate)) for candidate in candidates)
        matching = (candidate for candidate, parts in pairs if manifest.fingerprint(parts) == ledger_fingerprint)
        return next(matching, current)
    recorded = _PublishedVersions(record.inputs.get("previous"), _compared_versions(record))
    up_to_date = manifest.compare(record, fingerprint_inputs(context, pool, recorded))[0] == "fresh"
    lost = recorded.previous is not None and not versions.ids_path(root, recorded.previous).exists()
    if up_to_date and not (lost and manifest.find_broken_files(record, folder)):  # otherwise it cannot be rebuilt
        return recorded
    return current


def _earlier_versions(context: Context, current: _PublishedVersions) -> Iterator[_PublishedVersions]:
    """Yield the published versions before each publication, the last first."""
    lines = versions.read_history(context.folder / versions.FOLDER)
    for count in reversed(range(len(lines))):
        before = lines[:count]
        previous = before[-1]["version"] if before and current.previous is not None else None
        yield _PublishedVersions(previous, tuple(published_index.active_versions(before)) if current.compared else ())


def _compared_versions(record: Record[SelectResult]) -> tuple[str, ...]:
    return tuple(record.inputs.get(published_index.FOLDER, ()))


def select(context: Context, pool: PoolView) -> tuple[SelectOutput, Record[SelectResult]]:
    """Run the select section."""
    folder, published = context.folder / "select", _load_published(context, pool)
    record = run_step(
        Step(context, "select", "select", folder, SelectResult),
        fingerprint_inputs(context, pool, published),
        lambda key: _work(context, pool, published, folder, key),
    )
    return SelectOutput(folder, record.fingerprint, record.result.epochs, _compared_versions(record)), record


# ---------------------------------------------------------------- the entries


def _work(
    context: Context, pool: PoolView, published: _PublishedVersions, folder: Path, fingerprint: str
) -> Outcome[SelectResult]:
    ledger = LedgerBuilder(pool.ids)
    incumbents = None if published.previous is None else _incumbents(context, pool, published.previous)
    runner = EntryRunner(context, pool, folder / _WORK, fingerprint)
    entries: list[EntryAccount] = []
    names = _names(context, pool)
    if pool.decontaminate_output is not None:
        entries.append(_decontaminate(pool, pool.decontaminate_output.folder, ledger))
    first = len(entries)
    for number, entry in enumerate(context.config.select, first):
        before = ledger.survivors
        if cost_warnings.is_quadratic(entry):
            warning = cost_warnings.cost_warning(entry, len(before), max_rows_at_once(pool, before, entry))
            if warning:
                context.progress.note(warning)
        lookup = (
            None
            if entry.against is None
            else published_index.load_published_rows(context, pool, entry, published.compared)
        )
        if lookup is not None and lookup.forgotten:
            context.progress.warn(
                f"select {entry.name}: the embeddings were fitted again, so {lookup.forgotten:,} published rows that "
                "are no longer in the pool are not compared"
            )
        result = runner.run(
            context.config.select[number - first :],
            before,
            None if incumbents is None else incumbents.take(before),
            None if lookup is None else lookup.published.take(before),
        )
        ranked = entry.spec.plugin().traits.budgeted
        ledger.record(number, result.selection, ranked=ranked, published_ids=None if lookup is None else lookup.ids)
        retention = result.selection.retention
        entries.append(
            EntryAccount(
                name=entry.name,
                sources=_counts(pool, before, ledger.survivors),
                seconds=result.seconds,
                peak_memory=result.peak_memory,
                retention=None if retention is None else retention.curve(),
            )
        )
    _write(pool, names, ledger, folder, fingerprint)
    paths.remove_directory(folder / _WORK)
    return Outcome(
        sources=_counts(pool, np.arange(len(pool)), ledger.survivors),
        shards=len(pool.shard_sizes),
        peak_memory=max(entry.peak_memory for entry in entries),
        entries=tuple(entries),
        result=SelectResult(
            tokens=int(pool.tokens.sum(dtype=np.int64)),
            tokens_kept=int(pool.tokens[ledger.survivors].sum(dtype=np.int64)),
            epochs=tuple(len(rows) for rows in ledger.epochs or ()),
        ),
    )


def _names(context: Context, pool: PoolView) -> list[str]:
    """Return the names of the entries that can drop rows, in order."""
    first = [] if pool.decontaminate_output is None else [DECONTAMINATE]
    return first + [entry.name for entry in context.config.select]


def _decontaminate(pool: PoolView, folder: Path, ledger: LedgerBuilder) -> EntryAccount:
    """Drop the rows that overlap an evaluation text, each for its first hit."""
    started, before, n = time.perf_counter(), ledger.survivors, len(pool)
    first = pool.hits.unique("row", keep="first", maintain_order=True)
    rows = first["row"].to_numpy()
    texts = list(map(_reason, first["kind"], first["set"]))
    code = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    reason, similarity = np.full(n, -1, np.int32), np.full(n, np.nan, np.float32)
    reason[rows] = [code[text] for text in texts]
    similarity[rows] = first["similarity"].to_numpy()
    survivors = np.flatnonzero(reason < 0)
    gain = np.zeros(len(survivors), np.float32)
    selection = Selection(survivors, gain, reasons=tuple(code), reason=reason, similarity=similarity)
    ledger.record(0, selection.check(n, None), ranked=False)
    if not len(ledger.survivors):
        message = f"all {n:,} rows overlap an evaluation text: no row would be exported"
        hint = "check the hits in this folder, and the thresholds in the section decontaminate"
        raise GuardrailError(message, where=str(folder), hint=hint)
    return _account(pool, DECONTAMINATE, before, ledger.survivors, started)


def _reason(kind: str, name: str) -> str:
    overlap = "shares a run of words with" if kind == NGRAM else "has an embedding similar to a text of"
    return f"{overlap} the evaluation set {name!r}"


def _account(pool: PoolView, name: str, before: Rows, after: Rows, started: float) -> EntryAccount:
    return EntryAccount(
        name=name,
        sources=_counts(pool, before, after),
        seconds=time.perf_counter() - started,
        peak_memory=peak_memory(),
    )


def _incumbents(context: Context, pool: PoolView, version: str) -> Incumbents:
    """Return the rows of the pool that are in a version of the export, as incumbents."""
    ids = versions.read_ids(context.folder / versions.FOLDER, version)["id"]
    return Incumbents(pc.is_in(pool.ids, ids.to_arrow()).to_numpy(), context.config.refresh.keep_previous_weight)


def _counts(pool: PoolView, before: Rows, after: Rows) -> dict[str, Count]:
    rows_in, kept = (dict(pool.source[rows].value_counts().iter_rows()) for rows in (before, after))
    return {
        name: Count(rows_in=rows, kept=kept.get(name, 0), dropped=rows - kept.get(name, 0))
        for name, rows in sorted(rows_in.items())
    }


# ---------------------------------------------------------------- the ledger


def _write(pool: PoolView, names: Sequence[str], ledger: LedgerBuilder, folder: Path, fingerprint: str) -> None:
    """Write one ledger shard for each input shard, with a line for each row."""
    n = len(pool)
    rank = np.full(n, -1, np.int32)
    rank[ledger.indices] = np.arange(len(ledger.indices), dtype=np.int32)
    reasons = list(ledger.reasons)
    ids = ledger.ids
    plan = None if ledger.epochs is None else _Plan(ledger.epochs, n)
    start = 0
    for shard, rows in enumerate(pool.shard_sizes):
        part = slice(start, start + rows)
        representatives = ledger.representative[part]
        table = pa.table(
            [
                ids.slice(start, rows),
                pa.array(rank[part] >= 0),
                _masked_array(rank[part], rank[part] < 0),
                _masked_array(ledger.gain[part], np.isnan(ledger.gain[part]) | (rank[part] < 0)),
                _masked_array(ledger.weight[part], np.isnan(ledger.weight[part]) | (rank[part] < 0)),
                pa.nulls(rows, pa.list_(pa.int32())) if plan is None else plan.select(start, rows),
                _decode_names(names, ledger.dropped_by[part]),
                _decode_names(reasons, ledger.reason[part]),
                ids.take(_masked_array(representatives.astype(np.int64), representatives < 0)),
                _masked_array(ledger.similarity[part], np.isnan(ledger.similarity[part])),
            ],
            schema=schemas.SELECT,
        )
        path = parquet_io.shard_path(folder, shard)
        table = _add_quarantined(pool, shard, table)
        parquet_io.write(schemas.check(table, schemas.SELECT, str(path)), path, fingerprint, compression="zstd")
        start += rows


class _Plan:
    """Epoch plan by row: the epochs of each of n rows."""

    def __init__(self, epochs: Sequence[Rows], n: int) -> None:
        rows = np.concatenate(epochs)
        number = np.repeat(np.arange(len(epochs), dtype=np.int32), [len(each) for each in epochs])
        self.number = number[np.argsort(rows, kind="stable")]
        self.ends = np.cumsum([0, *np.bincount(rows, minlength=n)])

    def select(self, start: int, rows: int) -> pa.Array:
        """Return the epochs of ``rows`` rows from ``start`` on, ascending; null for a row in no epoch."""
        ends = self.ends[start : start + rows + 1]
        return pa.ListArray.from_arrays(
            pa.array(ends - ends[0], pa.int32()),
            pa.array(self.number[ends[0] : ends[-1]]),
            mask=pa.array(np.diff(ends) == 0),
        )


def _masked_array(values: AnyArray, null: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=null)


def _decode_names(names: Sequence[str], codes: NDArray[np.integer]) -> pa.Array:
    return pa.array([*names, None], pa.string()).take(pa.array(np.where(codes < 0, len(names), codes)))


def _add_quarantined(pool: PoolView, shard: int, table: pa.Table) -> pa.Table:
    """Return the ledger of a shard in input order, including the rows that could not be embedded."""
    if len(table) == pool.inputs.shards[shard]:
        return table
    quarantined: dict[str, tuple[str, str]] = {}
    for entry in pool.embed_outputs:
        if entry.rows[shard] < pool.inputs.shards[shard]:
            rows_quarantined = parquet_io.read(
                parquet_io.shard_path(entry.folder / QUARANTINE, shard), ["id", "reason"]
            ).to_pylist()
            quarantined |= {row["id"]: (entry.name, row["reason"]) for row in rows_quarantined}
    ids = pool.inputs.read(shard, ("id",))["id"].combine_chunks()
    missing = [name for name in ids.to_pylist() if name in quarantined]
    lost = [
        {"id": name, "selected": False, "dropped_by": quarantined[name][0], "reason": quarantined[name][1]}
        for name in missing
    ]
    both = pa.concat_tables([table, pa.Table.from_pylist(lost, schemas.SELECT)])
    return both.take(pc.index_in(ids, both["id"].combine_chunks()))
