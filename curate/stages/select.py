"""The select stage: the entries of the select section in order, each on the survivors of the last.

Every input row gets a line in the ledger: chosen or not, by which entry, why, and what stands for it. Memory: the
pool's embeddings (in memory within ``memory_limit``, mapped from a file beyond), what each selector states, and some 60
bytes a row.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.executors.base import peak_memory, reset_peak_memory
from curate.kernels.parallel import one_blas_thread
from curate.plugins.pool import Pool, Rows, Selection, Vector, frozen
from curate.seeds import rng_for
from curate.stages import budgets
from curate.stages.anchor import anchored
from curate.stages.cluster import Clustered
from curate.stages.columns import PoolColumns
from curate.stages.context import Context
from curate.stages.rows import PoolRows
from curate.stages.score import Scored
from curate.stages.step import QUARANTINE, Outcome, running, step
from curate.store import manifest, schemas, shards, versions
from curate.store.manifest import Count, Record

if TYPE_CHECKING:
    from curate.settings.model import SelectEntry


@dataclass(frozen=True, slots=True)
class Selected:
    """A handle on the ledger."""

    folder: Path
    fingerprint: str

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        return shards.read(shards.part(self.folder, shard), columns)


def parts(
    context: Context, rows: PoolRows, clustered: Clustered, scored: Sequence[Scored], previous: str | None
) -> dict[str, Any]:
    """What the ledger is made from; ``previous`` is the export that anchors it."""
    return {
        "entries": [entry.fingerprint_parts() for entry in context.config.select],
        "seed": context.config.seed,
        "cluster": clustered.fingerprint,
        "score": {entry.name: entry.fingerprint for entry in scored},
        "keep_previous_weight": context.config.refresh.keep_previous_weight,
        "previous": previous,
        **rows.facts(),
    }


def _previous(context: Context, made_from: Callable[[str | None], dict[str, Any]]) -> str | None:
    """The version that anchors the selection: the published one; for a ledger that is still right, that of its own."""
    if not context.config.refresh.keep_previous_weight:
        return None
    record = manifest.load(context.folder / "select")
    if record is not None and manifest.compare(record, made_from(own := record.parts.get("previous")))[0] == "fresh":
        return own
    return versions.published(context.folder / versions.FOLDER)


def select(context: Context, rows: PoolRows, clustered: Clustered, scored: Sequence[Scored]) -> tuple[Selected, Record]:
    """Run the select section."""
    folder = context.folder / "select"
    made_from = partial(parts, context, rows, clustered, scored)
    previous = _previous(context, made_from)
    record = step(
        context,
        "select",
        "select",
        folder,
        made_from(previous),
        lambda key: _work(PoolColumns(context, rows, clustered, scored), previous, folder, key),
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
        self.survivors = np.sort(kept)
        if ranked:
            self.order = kept
            self.gain[kept] = chosen.gain
            self.weight[kept] = 1 if chosen.weight is None else chosen.weight
        else:
            self.order = self.order[np.isin(self.order, kept)]


def _work(columns: PoolColumns, previous: str | None, folder: Path, fingerprint: str) -> Outcome:
    context, fates = columns.context, _Fates(columns.n)
    published = None if previous is None else _published(columns, previous)
    entries: list[dict[str, Any]] = []
    peaks: list[int] = []
    for number, entry in enumerate(context.config.select):
        begun = time.perf_counter()
        reset_peak_memory()
        before = fates.survivors
        context.progress.begin(f"selecting with {entry.name}", len(before))
        with one_blas_thread():
            chosen = _choose(columns, before, entry, None if published is None else published[before])
        fates.settle(number, chosen, ranked=entry.spec.plugin().traits.budgeted)
        sources = _counts(columns, before, fates.survivors)
        peaks.append(peak_memory())
        entries.append(
            {
                "name": entry.name,
                "sources": {name: asdict(count) for name, count in sources.items()},
                "seconds": time.perf_counter() - begun,
                "peak_memory": peaks[-1],
            }
        )
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
        },
    )


def _published(columns: PoolColumns, version: str) -> NDArray[np.bool_]:
    """(n,) which rows of the pool are in a version of the export."""
    ids = versions.read_ids(columns.context.folder / versions.FOLDER, version)["id"]
    return np.asarray(pc.is_in(columns.ids, ids.to_arrow()).to_numpy())


def _counts(columns: PoolColumns, before: Rows, after: Rows) -> dict[str, Count]:
    came = Counter(columns.source[before].to_list())
    stayed = Counter(columns.source[after].to_list())
    return {
        name: Count(rows_in=rows, kept=stayed[name], dropped=rows - stayed[name]) for name, rows in sorted(came.items())
    }


# ---------------------------------------------------------------- one entry


def _choose(
    columns: PoolColumns, survivors: Rows, entry: SelectEntry, published: NDArray[np.bool_] | None
) -> Selection:
    """What the entry keeps of the survivors, some of which may be ``published``."""
    pool = _pool(columns, survivors, entry)
    groups = _groups(columns, survivors, entry)
    choose = partial(_in_groups, columns.context, entry, pool, groups, published)
    if entry.budget is None:
        return choose(None).check(len(pool), None)
    rows = entry.budget.rows(len(pool), entry.name)
    if rows is not None:
        return choose(rows).check(len(pool), rows)
    tokens = columns.tokens[survivors]
    limit = entry.budget.tokens(int(tokens.sum(dtype=np.int64)), entry.name) or 0
    prefix = entry.spec.plugin().traits.prefix and groups is None and published is None
    return budgets.within_tokens(choose, tokens, limit, prefix=prefix).check(len(pool), None)


def _pool(columns: PoolColumns, survivors: Rows, entry: SelectEntry) -> Pool:
    """The survivors, with what the selector reads."""
    reads = entry.spec.plugin().traits.reads
    n, whole = len(survivors), len(survivors) == columns.n

    def taken(array: Any) -> Any:
        return frozen(array if whole else array[survivors])

    selector: Any = entry.spec.build()
    quality = columns.quality(entry.quality if "quality" in reads else None)
    with running(entry.spec, entry.name):
        wanted = selector.columns() if "frame" in reads else ()
    try:
        return Pool(
            taken(columns.embeddings(entry.embedding)) if "embedding" in reads else np.zeros((n, 0), np.float32),
            taken(quality),
            taken(columns.cluster) if "cluster" in reads else np.zeros(n, np.int32),
            {name: taken(score) for name, score in columns.scores.items()} if "scores" in reads else {},
            columns.higher_is_better,
            columns.frame(wanted)[survivors] if "frame" in reads else None,
        )
    except PluginError as error:
        raise PluginError(f"select {entry.name}: {error.message}", hint=error.hint) from error


def _groups(columns: PoolColumns, survivors: Rows, entry: SelectEntry) -> list[Rows] | None:
    """The survivors' positions in each group, groups in order of their value; None without ``within``."""
    if entry.within is None:
        return None
    codes = columns.groups(entry.within)[survivors].rank("dense").fill_null(0).to_numpy()
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _in_groups(
    context: Context,
    entry: SelectEntry,
    pool: Pool,
    groups: list[Rows] | None,
    published: NDArray[np.bool_] | None,
    budget: int | None,
) -> Selection:
    """Run the selector on each group with its part of the budget and put the answers together."""
    if groups is None:
        return _once(context, entry, pool, published, budget)
    sizes = np.array([len(group) for group in groups])
    shares = [None] * len(groups) if budget is None else budgets.split(entry.quota, sizes, budget)
    answers = [
        _once(context, entry, pool.take(group), None if published is None else published[group], share, number)
        for number, (group, share) in enumerate(zip(groups, shares, strict=True))
    ]
    return budgets.merged(len(pool), groups, answers)


def _once(
    context: Context,
    entry: SelectEntry,
    pool: Pool,
    published: NDArray[np.bool_] | None,
    budget: int | None,
    task: int = 0,
) -> Selection:
    """Run the selector, and hold a budgeted one to the published rows as far as the configuration asks."""
    selector: Any = entry.spec.build()

    def chosen_from(some: Pool, rows: int | None) -> Selection:
        rng = rng_for(context.config.seed, f"select/{entry.name}", task)
        with running(entry.spec, entry.name):
            answer: Selection = selector.select(some, rows, rng)
        return answer.check(len(some), rows)

    fresh = chosen_from(pool, budget)
    if published is None or budget is None:
        return fresh
    weight = context.config.refresh.keep_previous_weight
    return anchored(fresh, published, weight, lambda rows, held: chosen_from(pool.take(rows), held))


# ---------------------------------------------------------------- the ledger


def _write(columns: PoolColumns, fates: _Fates, folder: Path, fingerprint: str) -> None:
    """One shard for each input shard, with a line for every one of its rows."""
    n = columns.n
    rank = np.full(n, -1, np.int32)
    rank[fates.order] = np.arange(len(fates.order), dtype=np.int32)
    names = [entry.name for entry in columns.context.config.select]
    reasons = list(fates.reasons)
    every_id = columns.ids
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
                pa.nulls(rows, pa.list_(pa.int32())),
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
        path = shards.part(entry.folder / QUARANTINE, shard)
        if path.exists():
            found = shards.read(path, ["id", "reason"]).to_pylist()
            aside |= {row["id"]: (entry.name, row["reason"]) for row in found}
    ids = rows.source.read(shard, ("id",))["id"].combine_chunks()
    missing = [name for name in ids.to_pylist() if name in aside]
    lost = [{"id": name, "selected": False, "dropped_by": aside[name][0], "reason": aside[name][1]} for name in missing]
    both = pa.concat_tables([table, pa.Table.from_pylist(lost, schemas.SELECT)])
    return both.take(pc.index_in(ids, both["id"].combine_chunks()))
