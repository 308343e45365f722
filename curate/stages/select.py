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

from curate.errors import GuardrailError
from curate.executors.base import peak_memory, reset_peak_memory
from curate.kernels.parallel import one_blas_thread
from curate.plugins.pool import Rows, Selection, Vector
from curate.settings.model import DECONTAMINATE
from curate.stages import quadratic
from curate.stages.anchor import Anchor
from curate.stages.choosing import choose, most_at_once
from curate.stages.columns import PoolColumns
from curate.stages.context import Context
from curate.stages.decontaminate import Decontaminated
from curate.stages.rows import PoolRows
from curate.stages.step import QUARANTINE, Outcome, damaged_shard, step
from curate.store import manifest, schemas, shards, versions
from curate.store.manifest import Count, Record


@dataclass(frozen=True, slots=True)
class Selected:
    """A handle on the ledger."""

    folder: Path
    fingerprint: str

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        return shards.read(shards.part(self.folder, shard), columns)


def parts(columns: PoolColumns, previous: str | None) -> dict[str, Any]:
    """What the ledger is made from; ``previous`` is the export that anchors it."""
    context, decontaminated = columns.context, columns.decontaminated
    return {
        "entries": [entry.fingerprint_parts() for entry in context.config.select],
        "seed": context.config.seed,
        "cluster": columns.clustered.fingerprint,
        "score": {entry.name: entry.fingerprint for entry in columns.scored},
        **({} if decontaminated is None else {DECONTAMINATE: decontaminated.fingerprint}),
        "keep_previous_weight": context.config.refresh.keep_previous_weight,
        "previous": previous,
        **columns.rows.facts(),
    }


def _previous(context: Context, made_from: Callable[[str | None], dict[str, Any]]) -> str | None:
    """The version that anchors the selection: the published one; for a ledger that is still right, that of its own."""
    if not context.config.refresh.keep_previous_weight:
        return None
    folder, root = context.folder / "select", context.folder / versions.FOLDER
    record = manifest.load(folder)
    if record is None:
        return versions.published(root)
    own = record.parts.get("previous")
    right = manifest.compare(record, made_from(own))[0] == "fresh"
    anchor_kept = own is None or versions.ids(root, own).exists()  # without it, a damaged one cannot be made again
    return own if right and (anchor_kept or not damaged_shard(record, folder)) else versions.published(root)


def select(columns: PoolColumns) -> tuple[Selected, Record]:
    """Run the select section."""
    context = columns.context
    folder = context.folder / "select"
    made_from = partial(parts, columns)
    previous = _previous(context, made_from)
    record = step(
        context,
        "select",
        "select",
        folder,
        made_from(previous),
        lambda key: _work(columns, previous, folder, key),
    )
    return Selected(folder, record.fingerprint), record


# ---------------------------------------------------------------- what became of each row


class _Fates:
    """What became of each of the pool's n rows so far."""

    def __init__(self, n: int) -> None:
        self.survivors: Rows = np.arange(n)
        self.order: Rows = np.arange(n)
        """The survivors, best first."""

        self.gain: Vector = np.full(n, np.nan, np.float32)
        self.weight: Vector = np.full(n, np.nan, np.float32)
        self.dropped_by: NDArray[np.int16] = np.full(n, -1, np.int16)
        self.reason: NDArray[np.int32] = np.full(n, -1, np.int32)
        self.reasons: dict[str, int] = {}
        self.representative: Rows = np.full(n, -1, np.intp)
        self.similarity: Vector = np.full(n, np.nan, np.float32)
        self.epochs: tuple[Rows, ...] | None = None
        """The rows of each epoch of a plan, which only the last entry can make."""

    def settle(self, number: int, chosen: Selection, *, ranked: bool) -> None:
        """Write down what entry ``number`` decided; its rows are positions among the survivors.

        ``ranked``: its order and gains replace those of the entries before; a filter leaves them as they are.
        """
        before = self.survivors
        kept = before[chosen.order]
        dropped = np.setdiff1d(np.arange(len(before)), chosen.order)
        codes = np.array([self.reasons.setdefault(text, len(self.reasons)) for text in chosen.reasons], np.int32)
        self.dropped_by[before[dropped]] = number
        self.reason[before[dropped]] = codes[0 if chosen.reason is None else chosen.reason[dropped]]
        if chosen.representative is not None:
            stands = chosen.representative[dropped]
            self.representative[before[dropped]] = np.where(stands < 0, -1, before[stands])
        if chosen.similarity is not None:
            self.similarity[before[dropped]] = chosen.similarity[dropped]
        if chosen.epochs is not None:
            self.epochs = tuple(before[rows] for rows in chosen.epochs)
        self.survivors = np.sort(kept)
        if ranked:
            self.order = kept
            self.gain[kept] = chosen.gain
            self.weight[kept] = 1 if chosen.weight is None else chosen.weight
        else:
            self.order = self.order[np.isin(self.order, kept)]


def _work(columns: PoolColumns, previous: str | None, folder: Path, fingerprint: str) -> Outcome:
    context, fates = columns.context, _Fates(columns.n)
    anchor = None if previous is None else _anchor(columns, previous)
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
        if quadratic.is_quadratic(entry):
            told = quadratic.note(entry, len(before), most_at_once(columns, before, entry))
            if told:
                context.progress.note(told)
        context.progress.begin(f"selecting with {entry.name}", len(before))
        with one_blas_thread():
            chosen = choose(columns, before, entry, seed, None if anchor is None else anchor.take(before))
        fates.settle(number, chosen, ranked=entry.spec.plugin().traits.budgeted)
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


def _decontaminate(columns: PoolColumns, decontaminated: Decontaminated, fates: _Fates) -> dict[str, Any]:
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


def _write(columns: PoolColumns, fates: _Fates, folder: Path, fingerprint: str) -> None:
    """One shard for each input shard, with a line for every one of its rows."""
    n = columns.n
    rank = np.full(n, -1, np.int32)
    rank[fates.order] = np.arange(len(fates.order), dtype=np.int32)
    names = _names(columns)
    reasons = list(fates.reasons)
    every_id = columns.ids
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
        path = shards.part(folder, shard)
        table = _with_quarantined(columns.rows, shard, table)
        shards.write(schemas.check(table, schemas.SELECT, str(path)), path, fingerprint, compression="zstd")
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
            found = shards.read(shards.part(entry.folder / QUARANTINE, shard), ["id", "reason"]).to_pylist()
            aside |= {row["id"]: (entry.name, row["reason"]) for row in found}
    ids = rows.source.read(shard, ("id",))["id"].combine_chunks()
    missing = [name for name in ids.to_pylist() if name in aside]
    lost = [{"id": name, "selected": False, "dropped_by": aside[name][0], "reason": aside[name][1]} for name in missing]
    both = pa.concat_tables([table, pa.Table.from_pylist(lost, schemas.SELECT)])
    return both.take(pc.index_in(ids, both["id"].combine_chunks()))
