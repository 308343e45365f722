"""The select stage: the entries of the select section in order, each on the survivors of the last.

Every input row gets a line in the ledger: chosen or not, by which entry, why, and what stands for it. Memory: the
pool's embeddings (in memory within ``memory_limit``, mapped from a file beyond), what each selector states, some 60
bytes a row, and of an epoch plan some 30 bytes a row of each epoch. A selector that reads texts is handed those of one
shard at a time; within groups, each group's shards are read again for it.
"""

from __future__ import annotations

import time
from collections import Counter
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
from curate.executors.base import peak_memory, reset_peak_memory
from curate.kernels.parallel import one_blas_thread
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
from curate.stages.select import cost_warnings, published_index
from curate.stages.select.incumbents import Incumbents
from curate.stages.select.ledger_builder import LedgerBuilder
from curate.stages.select.run_selector import choose, max_rows_at_once
from curate.store import manifest, parquet_io, schemas, versions
from curate.store.ledger import SelectResult
from curate.store.manifest import EntryAccount, Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import RunConfig, SelectEntry


class Select(Stage[tuple["SelectEntry", ...], SelectOutput]):
    """Rows that are kept, and a ledger that explains every row."""

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
        own = {one.name: one.spec.plugin().summary() for one in entry}
        return {DECONTAMINATE: "Drop the rows that share too much with an evaluation text", **own}

    # ------------------------------------------------------------ plans

    def forecast(self, config: RunConfig, step: PlannedStep, before: Forecast) -> tuple[list[PlannedStep], Forecast]:
        planned = []
        for entry in config.select:
            largest = before.largest.get(entry.within or "")
            note = "" if step.state == "fresh" else cost_warnings.cost_warning(entry, before.max_rows, largest)
            before = _after(entry, before)
            planned.append(replace(step, name=entry.name, rows=before.rows, epochs=entry.epochs, note=note))
        return planned, before

    def estimate_slowdown(self, config: RunConfig, step: PlannedStep, scale: float) -> float:
        """Return the square of the scale for a quadratic selector: its groups grow as the pool does."""
        slow = any(entry.name == step.name and cost_warnings.is_quadratic(entry) for entry in config.select)
        return scale**2 if slow else scale

    def count_written_bytes(self, config: RunConfig, step: PlannedStep, last: Record[StageResult], folder: Path) -> int:
        """Return 0 for all entries but the last: the ledger is written once, after it."""
        return paths.total_size(folder) if step.name == config.select[-1].name else 0


def _after(entry: SelectEntry, before: Forecast) -> Forecast:
    """Return the rows that an entry leaves."""
    if (budget := entry.budget) is None:
        return replace(before, rows=None)
    rows = budget.keep if before.rows is None else budget.resolve_rows(before.rows, entry.name)
    return replace(before, rows=rows, max_rows=before.max_rows if rows is None else min(before.max_rows, rows))


@dataclass(frozen=True, slots=True)
class _Published:
    """Earlier exports that the ledger depends on."""

    previous: str | None = None
    """The version whose rows a new selection keeps as far as ``keep_previous_weight`` asks."""

    known: tuple[str, ...] = ()
    """The versions that entries compare with."""


def fingerprint_inputs(context: Context, pool: PoolView, published: _Published) -> dict[str, object]:
    """Return what the ledger is made from."""
    decontaminated = pool.decontaminate_output
    return {
        "entries": [entry.fingerprint_parts() for entry in context.config.select],
        "seed": context.config.seed,
        "cluster": pool.cluster_output.fingerprint,
        "score": {entry.name: entry.fingerprint for entry in pool.score_outputs},
        **({} if decontaminated is None else {DECONTAMINATE: decontaminated.fingerprint}),
        "keep_previous_weight": context.config.refresh.keep_previous_weight,
        "previous": published.previous,
        **(
            {published_index.FOLDER: list(published.known)} if published_index.comparing_entries(context.config) else {}
        ),
        **pool.fingerprint_inputs(),
    }


def _published(context: Context, pool: PoolView) -> _Published:
    """Return the exports as they are now; for a ledger that is right, or was lost, those that it was made with."""
    folder, root = context.folder / "select", context.folder / versions.FOLDER
    now = _Published(
        versions.published_version(root) if context.config.refresh.keep_previous_weight else None,
        tuple(published_index.active_versions(versions.read_history(root)))
        if published_index.comparing_entries(context.config)
        else (),
    )
    record = manifest.load(folder, SelectResult)
    if record is None:
        exported = manifest.load(root)
        of_ledger = None if exported is None else exported.inputs.get("select")
        candidates = _earlier(context, now) if of_ledger is not None else ()
        made_from = ((own, fingerprint_inputs(context, pool, own)) for own in candidates)
        return next((own for own, parts in made_from if manifest.fingerprint(parts) == of_ledger), now)
    own = _Published(record.inputs.get("previous"), _known(record))
    right = manifest.compare(record, fingerprint_inputs(context, pool, own))[0] == "fresh"
    gone = own.previous is not None and not versions.ids_path(root, own.previous).exists()
    return (
        own if right and not (gone and manifest.find_broken_files(record, folder)) else now
    )  # it could not be made again


def _earlier(context: Context, now: _Published) -> Iterator[_Published]:
    """Yield the exports as they were before each publication, the last first."""
    lines = versions.read_history(context.folder / versions.FOLDER)
    for count in reversed(range(len(lines))):
        before = lines[:count]
        previous = before[-1]["version"] if before and now.previous is not None else None
        yield _Published(previous, tuple(published_index.active_versions(before)) if now.known else ())


def _known(record: Record[SelectResult]) -> tuple[str, ...]:
    return tuple(record.inputs.get(published_index.FOLDER, ()))


def select(context: Context, pool: PoolView) -> tuple[SelectOutput, Record[SelectResult]]:
    """Run the select section."""
    folder, published = context.folder / "select", _published(context, pool)
    record = run_step(
        Step(context, "select", "select", folder, SelectResult),
        fingerprint_inputs(context, pool, published),
        lambda key: _work(context, pool, published, folder, key),
    )
    return SelectOutput(folder, record.fingerprint, record.result.epochs, _known(record)), record


# ---------------------------------------------------------------- the entries


def _work(
    context: Context, pool: PoolView, published: _Published, folder: Path, fingerprint: str
) -> Outcome[SelectResult]:
    fates = LedgerBuilder(pool.ids)
    anchor = None if published.previous is None else _anchor(context, pool, published.previous)
    seed = context.config.seed
    entries: list[EntryAccount] = []
    names = _names(context, pool)
    if pool.decontaminate_output is not None:
        entries.append(_decontaminate(pool, pool.decontaminate_output.folder, fates))
    for number, entry in enumerate(context.config.select, len(names) - len(context.config.select)):
        begun = time.perf_counter()
        reset_peak_memory()
        before = fates.survivors
        if cost_warnings.is_quadratic(entry):
            told = cost_warnings.cost_warning(entry, len(before), max_rows_at_once(pool, before, entry))
            if told:
                context.progress.note(told)
        context.progress.begin(f"selecting with {entry.name}", len(before))
        known = (
            None
            if entry.against is None
            else published_index.load_published_rows(context, pool, entry, published.known)
        )
        if known is not None and known.forgotten:
            context.progress.warn(
                f"select {entry.name}: since the embeddings were fitted again, {known.forgotten:,} rows that were "
                "published and are no longer in the pool are not compared with"
            )
        with one_blas_thread():
            chosen = choose(
                pool,
                before,
                entry,
                seed,
                None if anchor is None else anchor.take(before),
                None if known is None else known.published.take(before),
            )
        ranked = entry.spec.plugin().traits.budgeted
        fates.record(number, chosen, ranked=ranked, others=None if known is None else known.ids)
        account = _account(pool, entry.name, before, fates.survivors, begun)
        entries.append(replace(account, retention=None if chosen.retention is None else chosen.retention.curve()))
        context.progress.advance(len(before))
    _write(pool, names, fates, folder, fingerprint)
    return Outcome(
        sources=_counts(pool, np.arange(len(pool)), fates.survivors),
        shards=len(pool.shard_sizes),
        peak_memory=max(entry.peak_memory for entry in entries),
        entries=tuple(entries),
        result=SelectResult(
            tokens=int(pool.tokens.sum(dtype=np.int64)),
            tokens_kept=int(pool.tokens[fates.survivors].sum(dtype=np.int64)),
            epochs=tuple(len(rows) for rows in fates.epochs or ()),
        ),
    )


def _names(context: Context, pool: PoolView) -> list[str]:
    """Return what rows can be dropped by, in order."""
    first = [] if pool.decontaminate_output is None else [DECONTAMINATE]
    return first + [entry.name for entry in context.config.select]


def _decontaminate(pool: PoolView, folder: Path, fates: LedgerBuilder) -> EntryAccount:
    """Drop the rows that share too much with an evaluation text, each for its first hit."""
    begun, before, n = time.perf_counter(), fates.survivors, len(pool)
    first = pool.hits.unique("row", keep="first", maintain_order=True)
    rows = first["row"].to_numpy()
    texts = list(map(_shared, first["kind"], first["set"]))
    code = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    reason, similarity = np.full(n, -1, np.int32), np.full(n, np.nan, np.float32)
    reason[rows] = [code[text] for text in texts]
    similarity[rows] = first["similarity"].to_numpy()
    left = np.flatnonzero(reason < 0)
    gain = np.zeros(len(left), np.float32)
    selection = Selection(left, gain, reasons=tuple(code), reason=reason, similarity=similarity)
    fates.record(0, selection.check(n, None), ranked=False)
    if not len(fates.survivors):
        message = f"every one of {n:,} rows shares too much with an evaluation text: nothing would be exported"
        hint = "look at the hits there, and at the section decontaminate"
        raise GuardrailError(message, where=str(folder), hint=hint)
    return _account(pool, DECONTAMINATE, before, fates.survivors, begun)


def _shared(kind: str, name: str) -> str:
    shared = "shares a run of words with" if kind == NGRAM else "has an embedding similar to one of"
    return f"{shared} the evaluation set {name!r}"


def _account(pool: PoolView, name: str, before: Rows, after: Rows, begun: float) -> EntryAccount:
    return EntryAccount(
        name=name,
        sources=_counts(pool, before, after),
        seconds=time.perf_counter() - begun,
        peak_memory=peak_memory(),
    )


def _anchor(context: Context, pool: PoolView, version: str) -> Incumbents:
    """Return which rows of the pool are in a version of the export."""
    ids = versions.read_ids(context.folder / versions.FOLDER, version)["id"]
    return Incumbents(pc.is_in(pool.ids, ids.to_arrow()).to_numpy(), context.config.refresh.keep_previous_weight)


def _counts(pool: PoolView, before: Rows, after: Rows) -> dict[str, Count]:
    came = Counter(pool.source[before].to_list())
    stayed = Counter(pool.source[after].to_list())
    return {
        name: Count(rows_in=rows, kept=stayed[name], dropped=rows - stayed[name]) for name, rows in sorted(came.items())
    }


# ---------------------------------------------------------------- the ledger


def _write(pool: PoolView, names: Sequence[str], fates: LedgerBuilder, folder: Path, fingerprint: str) -> None:
    """Write one shard for each input shard, with a line for every one of its rows."""
    n = len(pool)
    rank = np.full(n, -1, np.int32)
    rank[fates.indices] = np.arange(len(fates.indices), dtype=np.int32)
    reasons = list(fates.reasons)
    every_id = fates.ids
    plan = None if fates.epochs is None else _Plan(fates.epochs, n)
    start = 0
    for shard, rows in enumerate(pool.shard_sizes):
        mine = slice(start, start + rows)
        stands = fates.representative[mine]
        table = pa.table(
            [
                every_id.slice(start, rows),
                pa.array(rank[mine] >= 0),
                _masked(rank[mine], rank[mine] < 0),
                _masked(fates.gain[mine], np.isnan(fates.gain[mine]) | (rank[mine] < 0)),
                _masked(fates.weight[mine], np.isnan(fates.weight[mine]) | (rank[mine] < 0)),
                pa.nulls(rows, pa.list_(pa.int32())) if plan is None else plan.of(start, rows),
                _named(names, fates.dropped_by[mine]),
                _named(reasons, fates.reason[mine]),
                every_id.take(_masked(stands.astype(np.int64), stands < 0)),
                _masked(fates.similarity[mine], np.isnan(fates.similarity[mine])),
            ],
            schema=schemas.SELECT,
        )
        path = parquet_io.shard_path(folder, shard)
        table = _with_quarantined(pool, shard, table)
        parquet_io.write(schemas.check(table, schemas.SELECT, str(path)), path, fingerprint, compression="zstd")
        start += rows


class _Plan:
    """Which epochs each of n rows is in."""

    def __init__(self, epochs: Sequence[Rows], n: int) -> None:
        rows = np.concatenate(epochs)
        number = np.repeat(np.arange(len(epochs), dtype=np.int32), [len(each) for each in epochs])
        self.number = number[np.argsort(rows, kind="stable")]
        self.ends = np.cumsum([0, *np.bincount(rows, minlength=n)])

    def of(self, start: int, rows: int) -> pa.Array:
        """Those of so many rows, ascending; null for a row that is in none."""
        ends = self.ends[start : start + rows + 1]
        return pa.ListArray.from_arrays(
            pa.array(ends - ends[0], pa.int32()),
            pa.array(self.number[ends[0] : ends[-1]]),
            mask=pa.array(np.diff(ends) == 0),
        )


def _masked(values: AnyArray, null: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=null)


def _named(names: Sequence[str], codes: NDArray[np.integer]) -> pa.Array:
    return pa.array([*names, None], pa.string()).take(pa.array(np.where(codes < 0, len(names), codes)))


def _with_quarantined(pool: PoolView, shard: int, table: pa.Table) -> pa.Table:
    """The shard's rows in input order, those that could not be embedded among them."""
    if len(table) == pool.inputs.shards[shard]:
        return table
    aside: dict[str, tuple[str, str]] = {}
    for entry in pool.embed_outputs:
        if entry.rows[shard] < pool.inputs.shards[shard]:
            found = parquet_io.read(
                parquet_io.shard_path(entry.folder / QUARANTINE, shard), ["id", "reason"]
            ).to_pylist()
            aside |= {row["id"]: (entry.name, row["reason"]) for row in found}
    ids = pool.inputs.read(shard, ("id",))["id"].combine_chunks()
    missing = [name for name in ids.to_pylist() if name in aside]
    lost = [{"id": name, "selected": False, "dropped_by": aside[name][0], "reason": aside[name][1]} for name in missing]
    both = pa.concat_tables([table, pa.Table.from_pylist(lost, schemas.SELECT)])
    return both.take(pc.index_in(ids, both["id"].combine_chunks()))
