"""Selection within groups on the workers, exactly as in one process.

The rows that reach the entry are divided by group on disk once, with the inputs that the selector reads. Groups are
packed into partitions in order of size, the largest first, and each task selects within the groups of one partition.

Memory: a task holds a partition: about as many rows as a shard has, or one larger group. Embeddings of more than its
share of ``memory_limit`` are in a memory-mapped file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from curate.kernels.types import Codes, Flags, Matrix, Positions, Rows, Texts, Vectors
from curate.plugins.batches import Pool
from curate.plugins.interfaces import get_scope
from curate.plugins.results import Selection
from curate.pool import embedding_matrix
from curate.pool.view import PoolView, to_hash_halves
from curate.stages.base import Context, plugin_call, raise_if_failed
from curate.stages.select import partitions, run_selector, selection_files, split_budget
from curate.stages.select.incumbents import Incumbents
from curate.stages.select.shard_pass import needs_all_rows
from curate.stages.select.split_budget import Groups
from curate.store import parquet_io

if TYPE_CHECKING:
    from curate.config.model import SelectEntry

_TARGETS = pa.schema(
    [("row", pa.int32()), ("partition", pa.int32()), ("group", pa.int32()), ("is_incumbent", pa.bool_())]
)
_SCORE, _FRAME = "score: ", "frame: "


@dataclass(frozen=True, slots=True)
class GroupFiles:
    """Files of one entry."""

    folder: Path
    fingerprint: str

    def path(self, kind: str, number: int) -> Path:
        """Return the path of a file of ``targets``, ``parts`` or ``selected``."""
        return parquet_io.shard_path(self.folder / kind, number)


def can_divide(entry: SelectEntry, pool: PoolView) -> bool:
    """Return whether the groups of an entry are independent tasks.

    They are not with a budget in tokens, because the tokens that a group leaves are passed to the next. With published
    rows, each group would read all of them. Scores and clusters alone are not worth dividing.
    """
    counts_tokens = entry.budget is not None and entry.budget.keep_tokens is not None
    if entry.within is None or entry.against is not None or counts_tokens or len(pool.numbers) == 1:
        return False
    traits = entry.spec.plugin().traits
    is_worth_it = get_scope(entry.spec.build()) in ("sketch", "group", "pool") or "embedding" in traits.reads
    return is_worth_it and not needs_all_rows(entry, pool)


def select_within_groups(
    context: Context, pool: PoolView, before: Rows, entry: SelectEntry, incumbents: Incumbents | None, files: GroupFiles
) -> tuple[Selection, int]:
    """Select among the rows ``before`` within the groups of an entry.

    Returns
    -------
    selection : Selection
        Selection among ``before``.
    peak_memory : int
        Highest peak memory of a worker, in bytes.
    """
    groups = run_selector.find_groups(pool, before, entry)
    sizes = np.array([len(rows) for rows in groups.rows], np.int64)
    shares = run_selector.split_shares(entry, sizes, groups)
    of_group = _pack_groups(sizes, max(pool.shard_sizes))
    group = np.empty(len(before), np.int32)
    for number, rows in enumerate(groups.rows):
        group[rows] = number
    _write_targets(files, pool, before, group, of_group, incumbents)
    limits = pa.table({"group": np.arange(len(sizes)), "share": pa.array(shares, pa.int64())})
    partitions.write(files.path("groups", 0), files.fingerprint, limits, of_group)
    weight = None if incumbents is None else incumbents.weight
    limit = pool.memory_limit // context.executor.workers
    divisions = [_DivideTask(pool, number, entry, files) for number in pool.numbers]
    rows_by_shard = np.diff(np.searchsorted(before, np.cumsum((0, *pool.shard_sizes)))).tolist()
    label = f"dividing rows by {entry.within} for {entry.name}"
    _, failed, peak = context.map(label, _divide, divisions, rows_by_shard)
    raise_if_failed(failed)
    count = int(of_group.max(initial=-1)) + 1
    tasks = [_SelectTask(pool, number, entry, files, context.config.seed, weight, limit) for number in range(count)]
    task_rows = np.bincount(of_group, sizes, count).astype(np.int64).tolist()
    _, failed, peak_of_tasks = context.map(f"selecting with {entry.name}", _select, tasks, task_rows)
    raise_if_failed(failed)
    selection = _collect(tasks, groups, of_group, len(before))
    budget = None if entry.budget is None else sum(share or 0 for share in shares)
    return selection.check(len(before), budget), max(peak, peak_of_tasks)


def _pack_groups(sizes: Positions, rows_per_partition: int) -> Codes:
    """Return the partition of each group, shape (g,); the largest groups have the lowest numbers."""
    order = np.argsort(-sizes, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    partition = np.empty(len(sizes), np.int32)
    partition[order] = np.unique(before // rows_per_partition, return_inverse=True)[1]
    return partition


def _write_targets(
    files: GroupFiles, pool: PoolView, before: Rows, group: Codes, of_group: Codes, incumbents: Incumbents | None
) -> None:
    """Write the rows of each shard that reach the entry, with their group and partition."""
    is_incumbent: Flags = np.zeros(len(before), np.bool_) if incumbents is None else incumbents.published
    ends = np.cumsum((0, *pool.shard_sizes))
    cuts = np.searchsorted(before, ends)
    for number, start, low, high in zip(pool.numbers, ends, cuts[:-1], cuts[1:], strict=False):
        part = slice(low, high)
        columns = [(before[part] - start).astype(np.int32), of_group[group[part]], group[part], is_incumbent[part]]
        table = pa.table([pa.array(column) for column in columns], schema=_TARGETS)
        parquet_io.write(table, files.path("targets", number), files.fingerprint)


def _collect(tasks: list[_SelectTask], groups: Groups, of_group: Codes, n: int) -> Selection:
    """Merge the selections of all groups, in the order of the groups."""
    by_partition = np.argsort(of_group, kind="stable")
    selections = [
        selection for task in tasks for _, selection in selection_files.load(task.path, task.files.fingerprint)
    ]
    in_order = [selections[position] for position in np.argsort(by_partition)]
    return split_budget.merge_selections(n, groups.rows, in_order)


# ---------------------------------------------------------------- the tasks


@dataclass(frozen=True, slots=True)
class _DivideTask:
    pool: PoolView
    number: int
    entry: SelectEntry
    files: GroupFiles


def _divide(task: _DivideTask) -> None:
    """Divide the inputs of one shard by partition."""
    files, entry, path = task.files, task.entry, task.files.path("parts", task.number)
    if parquet_io.is_current(path, files.fingerprint):
        return
    targets = parquet_io.read(files.path("targets", task.number), _TARGETS)
    rows = targets["row"].to_numpy()
    view = task.pool.restrict(task.number)
    shard = view.shard(task.number)
    reads = entry.spec.plugin().traits.reads
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "group": targets["group"],
        "is_incumbent": targets["is_incumbent"],
        "quality": pa.array(view.quality(entry.quality if "quality" in reads else None)[rows]),
    }
    if "embedding" in reads:
        columns["embedding"] = shard.stored_vectors(entry.embedding).take(rows)
    if "cluster" in reads:
        columns["cluster"] = pa.array(view.cluster[rows])
    if "scores" in reads:
        columns |= {f"{_SCORE}{name}": pa.array(score[rows]) for name, score in view.scores.items()}
    if "text" in reads:
        stored = shard.read(("text", "hash"))
        columns |= {name: stored[name].take(rows) for name in ("text", "hash")}
    if "frame" in reads:
        with plugin_call(entry.spec, entry.name):
            names = entry.spec.build().columns()
        frame = view.frame(names)[rows].to_arrow() if names else pa.table({})
        columns |= {f"{_FRAME}{name}": frame[name] for name in frame.column_names}
    partitions.write(path, files.fingerprint, pa.table(columns), targets["partition"].to_numpy())


@dataclass(frozen=True, slots=True)
class _SelectTask:
    pool: PoolView
    number: int
    entry: SelectEntry
    files: GroupFiles
    seed: int
    weight: float | None
    """Weight of incumbents; None without them."""

    memory_limit: int

    @property
    def path(self) -> Path:
        return self.files.path("selected", self.number).with_suffix(".npz")


def _select(task: _SelectTask) -> None:
    """Select within each group of one partition."""
    if selection_files.is_current(task.path, task.files.fingerprint):
        return
    table, pool = _read_partition(task)
    group = table["group"].to_numpy()
    is_incumbent = table["is_incumbent"].to_numpy()
    order = np.argsort(group, kind="stable")
    limits = partitions.read(task.files.path("groups", 0), task.number)
    sizes, selections = [], []
    ends = np.searchsorted(group[order], limits["group"].to_numpy(), "right")
    for number, share, rows in zip(
        limits["group"].to_pylist(), limits["share"].to_pylist(), np.split(order, ends[:-1]), strict=True
    ):
        incumbents = None if task.weight is None else Incumbents(is_incumbent[rows], task.weight)
        some = pool if len(rows) == len(pool) else pool.take(rows)
        sizes.append(len(rows))
        selections.append(run_selector.select_group(task.entry, some, task.seed, share, incumbents, number))
    selection_files.save(task.path, task.files.fingerprint, sizes, selections)


def _read_partition(task: _SelectTask) -> tuple[pa.Table, Pool]:
    """Read the rows of a partition, and build the inputs of the selector."""
    reads = task.entry.spec.plugin().traits.reads
    paths = [task.files.path("parts", number) for number in task.pool.numbers]
    schema = parquet_io.read_schema(paths[0])
    columns = [name for name in schema.names if name != "embedding"]
    parts = [partitions.read(path, task.number, columns) for path in paths]
    table = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    n = len(table)

    def blocks() -> Iterator[Matrix]:
        for path, part in zip(paths, parts, strict=True):
            if len(part):
                yield embedding_matrix.to_matrix(partitions.read(path, task.number, ["embedding"])["embedding"])

    embeddings = np.zeros((n, 0), np.float32)
    if "embedding" in reads:
        vectors = Vectors(n, schema.field("embedding").type.list_size, blocks)
        embeddings = embedding_matrix.gather_vectors(vectors, task.memory_limit, task.pool.scratch)
    scores = [name for name in table.column_names if name.startswith(_SCORE)]
    frame = [name for name in table.column_names if name.startswith(_FRAME)]
    pool = Pool(
        embeddings,
        table["quality"].to_numpy(),
        table["cluster"].to_numpy() if "cluster" in reads else np.zeros(n, np.int32),
        {name.removeprefix(_SCORE): table[name].to_numpy() for name in scores},
        task.pool.higher_is_better,
        _to_frame(table.select(frame)) if frame else None,
        _to_texts(table) if "text" in reads else None,
    )
    return table, pool


def _to_frame(table: pa.Table) -> pl.DataFrame:
    names = [name.removeprefix(_FRAME) for name in table.column_names]
    frame = pl.from_arrow(table.rename_columns(names))
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _to_texts(table: pa.Table) -> Texts:
    texts, halves = table["text"].to_pylist(), to_hash_halves(table["hash"])
    return Texts((len(texts),), lambda _: texts, lambda _: halves)
