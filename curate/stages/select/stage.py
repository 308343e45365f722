"""The select stage: the entries of the select section in order, each on the survivors of the last.

Every input row gets a line in the ledger: chosen or not, by which entry, why, and what stands for it. Memory: the
pool's embeddings (in memory within ``memory_limit``, mapped from a file beyond), what each selector states, some 60
bytes a row, and of an epoch plan some 30 bytes a row of each epoch. A selector that reads texts is handed those of one
shard at a time; within groups, each group's shards are read again for it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.accounting import Count
from curate.config.model import DECONTAMINATE
from curate.errors import GuardrailError
from curate.executors.base import peak_memory, reset_peak_memory
from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Rows
from curate.pool.columns import PoolColumns
from curate.pool.rows import PoolRows
from curate.stages.context import Context
from curate.stages.decontaminate.stage import Decontaminated
from curate.stages.select import cost_warnings, published_index
from curate.stages.select.incumbents import Anchor
from curate.stages.select.ledger_builder import Fates
from curate.stages.select.run_selector import choose, most_at_once
from curate.stages.step import QUARANTINE, Outcome, damaged_shard, step
from curate.store import manifest, parquet_io, schemas, versions
from curate.store.manifest import Record


@dataclass(frozen=True, slots=True)
class Selected:
    """A handle on the ledger."""

    folder: Path
    fingerprint: str

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        return parquet_io.read(parquet_io.part(self.folder, shard), columns)


@dataclass(frozen=True, slots=True)
class Past:
    """What of the exports before has a say in the ledger."""

    previous: str | None = None
    """The version that anchors it."""

    known: tuple[str, ...] = ()
    """The versions that entries compare with."""

    @classmethod
    def of(cls, record: Record) -> Past:
        """That of a ledger."""
        return cls(record.parts.get("previous"), tuple(record.parts.get(published_index.FOLDER, ())))


def parts(columns: PoolColumns, past: Past) -> dict[str, Any]:
    """What the ledger is made from."""
    context, decontaminated = columns.context, columns.decontaminated
    return {
        "entries": [entry.fingerprint_parts() for entry in context.config.select],
        "seed": context.config.seed,
        "cluster": columns.clustered.fingerprint,
        "score": {entry.name: entry.fingerprint for entry in columns.scored},
        **({} if decontaminated is None else {DECONTAMINATE: decontaminated.fingerprint}),
        "keep_previous_weight": context.config.refresh.keep_previous_weight,
        "previous": past.previous,
        **({published_index.FOLDER: list(past.known)} if published_index.entries(context.config) else {}),
        **columns.rows.facts(),
    }


def _past(context: Context, made_from: Callable[[Past], dict[str, Any]]) -> Past:
    """The past as it is now; for a ledger that is still right, that of its own."""
    folder, root = context.folder / "select", context.folder / versions.FOLDER
    now = Past(
        versions.published(root) if context.config.refresh.keep_previous_weight else None,
        tuple(published_index.standing(root)) if published_index.entries(context.config) else (),
    )
    record = manifest.load(folder)
    if record is None:
        return now
    own = Past.of(record)
    right = manifest.compare(record, made_from(own))[0] == "fresh"
    gone = own.previous is not None and not versions.ids(root, own.previous).exists()
    return own if right and not (gone and damaged_shard(record, folder)) else now  # it could not be made again


def select(columns: PoolColumns) -> tuple[Selected, Record]:
    """Run the select section."""
    context = columns.context
    folder = context.folder / "select"
    made_from = partial(parts, columns)
    past = _past(context, made_from)
    record = step(
        context,
        "select",
        "select",
        folder,
        made_from(past),
        lambda key: _work(columns, past, folder, key),
    )
    return Selected(folder, record.fingerprint), record


# ---------------------------------------------------------------- the entries


def _work(columns: PoolColumns, past: Past, folder: Path, fingerprint: str) -> Outcome:
    context, fates = columns.context, Fates(columns.ids)
    anchor = None if past.previous is None else _anchor(columns, past.previous)
    seed = context.config.seed
    entries: list[dict[str, Any]] = []
    peaks: list[int] = []
    names = _names(columns)
    if columns.decontaminated is not None:
        entries.append(_decontaminate(columns, columns.decontaminated, fates))
        peaks.append(peak_memory())
    for number, entry in enumerate(context.config.select, len(names) - len(context.config.select)):
        begun = time.perf_counter()
        reset_peak_memory()
        before = fates.survivors
        if cost_warnings.is_quadratic(entry):
            told = cost_warnings.note(entry, len(before), most_at_once(columns, before, entry))
            if told:
                context.progress.note(told)
        context.progress.begin(f"selecting with {entry.name}", len(before))
        known = None if entry.against is None else published_index.recall(columns, entry, past.known)
        with one_blas_thread():
            chosen = choose(
                columns,
                before,
                entry,
                seed,
                None if anchor is None else anchor.take(before),
                None if known is None else known.published.take(before),
            )
        ranked = entry.spec.plugin().traits.budgeted
        fates.settle(number, chosen, ranked=ranked, others=None if known is None else known.ids)
        peaks.append(peak_memory())
        retention = {} if chosen.retention is None else {"retention": chosen.retention.facts()}
        entries.append(_account(columns, entry.name, before, fates.survivors, begun) | retention)
        context.progress.advance(len(before))
    _write(columns, fates, folder, fingerprint)
    return Outcome(
        sources=_counts(columns, np.arange(columns.n), fates.survivors),
        shards=len(columns.rows.rows),
        peak_memory=max(peaks),
        facts={
            "entries": entries,
            "tokens": int(columns.tokens.sum(dtype=np.int64)),
            "tokens_kept": int(columns.tokens[fates.survivors].sum(dtype=np.int64)),
            **({} if fates.epochs is None else {"epochs": [len(rows) for rows in fates.epochs]}),
        },
    )


def _names(columns: PoolColumns) -> list[str]:
    """What rows can be dropped by, in order."""
    first = [] if columns.decontaminated is None else [DECONTAMINATE]
    return first + [entry.name for entry in columns.context.config.select]


def _decontaminate(columns: PoolColumns, decontaminated: Decontaminated, fates: Fates) -> dict[str, Any]:
    """Drop the rows that share too much with an evaluation text."""
    begun, before = time.perf_counter(), fates.survivors
    fates.settle(0, decontaminated.selection(columns.rows).check(columns.n, None), ranked=False)
    if not len(fates.survivors):
        told = f"every one of {columns.n:,} rows shares too much with an evaluation text: nothing would be exported"
        raise GuardrailError(
            told, where=str(decontaminated.folder), hint="look at the hits there, and at the section decontaminate"
        )
    return _account(columns, DECONTAMINATE, before, fates.survivors, begun)


def _account(columns: PoolColumns, name: str, before: Rows, after: Rows, begun: float) -> dict[str, Any]:
    """What the manifest says of an entry."""
    return {
        "name": name,
        "sources": {source: asdict(count) for source, count in _counts(columns, before, after).items()},
        "seconds": time.perf_counter() - begun,
        "peak_memory": peak_memory(),
    }


def _anchor(columns: PoolColumns, version: str) -> Anchor:
    """Which rows of the pool are in a version of the export."""
    context = columns.context
    ids = versions.read_ids(context.folder / versions.FOLDER, version)["id"]
    return Anchor(pc.is_in(columns.ids, ids.to_arrow()).to_numpy(), context.config.refresh.keep_previous_weight)


def _counts(columns: PoolColumns, before: Rows, after: Rows) -> dict[str, Count]:
    came = Counter(columns.source[before].to_list())
    stayed = Counter(columns.source[after].to_list())
    return {
        name: Count(rows_in=rows, kept=stayed[name], dropped=rows - stayed[name]) for name, rows in sorted(came.items())
    }


# ---------------------------------------------------------------- the ledger


def _write(columns: PoolColumns, fates: Fates, folder: Path, fingerprint: str) -> None:
    """One shard for each input shard, with a line for every one of its rows."""
    n = columns.n
    rank = np.full(n, -1, np.int32)
    rank[fates.order] = np.arange(len(fates.order), dtype=np.int32)
    names = _names(columns)
    reasons = list(fates.reasons)
    every_id = fates.every_id
    plan = None if fates.epochs is None else _Plan(fates.epochs, n)
    start = 0
    for shard, rows in enumerate(columns.rows.rows):
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
        path = parquet_io.part(folder, shard)
        table = _with_quarantined(columns.rows, shard, table)
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


def _masked(values: NDArray[Any], null: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=null)


def _named(names: Sequence[str], codes: NDArray[np.integer]) -> pa.Array:
    return pa.array([*names, None], pa.string()).take(pa.array(np.where(codes < 0, len(names), codes)))


def _with_quarantined(rows: PoolRows, shard: int, table: pa.Table) -> pa.Table:
    """The shard's rows in input order, those that could not be embedded among them."""
    if len(table) == rows.source.shards[shard]:
        return table
    aside: dict[str, tuple[str, str]] = {}
    for entry in rows.embedded:
        if entry.rows[shard] < rows.source.shards[shard]:
            found = parquet_io.read(parquet_io.part(entry.folder / QUARANTINE, shard), ["id", "reason"]).to_pylist()
            aside |= {row["id"]: (entry.name, row["reason"]) for row in found}
    ids = rows.source.read(shard, ("id",))["id"].combine_chunks()
    missing = [name for name in ids.to_pylist() if name in aside]
    lost = [{"id": name, "selected": False, "dropped_by": aside[name][0], "reason": aside[name][1]} for name in missing]
    both = pa.concat_tables([table, pa.Table.from_pylist(lost, schemas.SELECT)])
    return both.take(pc.index_in(ids, both["id"].combine_chunks()))
