"""Linkage of sketched rows on the workers, exactly as in one process.

1. Each shard has sketches and an index of their keys, which ``write_sketches`` writes in the pass over the shards.
2. In the first round, each task finds the rows of different shards that share a key, in a range of keys.
3. The driver merges these edges to components. Rows of different components have no influence on each other.
4. Components are packed into partitions, each shard's sketches are divided by partition on disk, and in the second
   round each task links the rows of one partition.

Memory: a task of the first round holds about 4 million keys, one of the second the sketches of a partition: about as
many rows as a shard has, or one larger component. Lists of a partition that needs more than the task's share of
``memory_limit`` are in memory-mapped files. The driver holds 24 bytes for each row that reaches the entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curate.kernels.neighbors.components import connect_equal_keys, find_roots, merge_edges, sort_keys
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.types import Codes, Flags, Positions, Rows, Vector
from curate.plugins.batches import PublishedRows
from curate.plugins.interfaces import LinkingSelector
from curate.plugins.results import Selection
from curate.pool.view import PoolView
from curate.stages import partitions
from curate.stages.base import Context, plugin_call, raise_if_failed
from curate.stages.select import row_partitions, selection_files
from curate.store import parquet_io

if TYPE_CHECKING:
    from curate.config.model import SelectEntry

_QUALITY = "curate: quality"
"""Column with the quality of each sketched row."""

_KEYS_PER_TASK = 1 << 22
_RANGES = 16  # of keys, at least, if they are many
_KEYS_PER_ROW_GROUP = 1 << 16
_LARGEST_KEY = (1 << 64) - 1

_EDGES = pa.schema([("a", pa.int64()), ("b", pa.int64())])
_KEYS = pa.schema([("key", pa.uint64()), ("row", pa.int32())])
_TARGETS = pa.schema([("row", pa.int32()), ("partition", pa.int32())])


@dataclass(frozen=True, slots=True)
class SketchFiles:
    """Files of the sketches of one entry: those of published rows, and then one for each shard."""

    folder: Path
    fingerprint: str
    shards: tuple[int, ...]
    published: int = 0
    """Number of parts of published rows."""

    @property
    def names(self) -> list[str]:
        """Names of all files, in order."""
        parts = [f"published-{number:05d}" for number in range(self.published)]
        return parts + [self.name(number) for number in self.shards]

    @staticmethod
    def name(shard: int) -> str:
        """Return the name of the file of a shard."""
        return f"part-{shard:05d}"

    def path(self, kind: str, name: str) -> Path:
        """Return the path of a file of ``sketches``, ``keys``, ``edges``, ``matches``, ``parts`` or ``linked``."""
        return self.folder / kind / f"{name}.parquet"

    def is_current(self, kind: str, name: str) -> bool:
        """Return whether a file exists that was made from the same inputs."""
        return parquet_io.is_current(self.path(kind, name), self.fingerprint)


def write_sketches(files: SketchFiles, name: str, entry: SelectEntry, sketches: pa.Table, quality: Vector) -> None:
    """Write the sketches of some rows, and an index of their keys.

    The index has each key once, with the first row of its component in the file, so a key of many rows has one line.
    ``edges`` connects that row with all others of the component.
    """
    selector: LinkingSelector = entry.spec.build()
    with plugin_call(entry.spec, entry.name):
        rows, keys = selector.keys(sketches)
    mixed = mix_bits(keys)  # uniform, so that ranges of equal width have as many keys
    order, is_first = sort_keys(mixed)
    first, other = connect_equal_keys(order, is_first)
    root = np.arange(len(sketches))
    merge_edges(root, rows[first], rows[other])
    root = find_roots(root, root)
    connected = np.flatnonzero(root != np.arange(len(root)))
    first_of_key = order[is_first]
    index = pa.table([mixed[first_of_key], root[rows[first_of_key]].astype(np.int32)], schema=_KEYS)
    edges = pa.table([root[connected], connected], schema=_EDGES)
    with_quality = sketches.append_column(_QUALITY, pa.array(quality, pa.float32()))
    rows_per_group = {"keys": _KEYS_PER_ROW_GROUP}
    for kind, table in (("keys", index), ("edges", edges), ("sketches", with_quality)):
        path = files.path(kind, name)
        parquet_io.write(table, path, files.fingerprint, dictionary=False, row_group=rows_per_group.get(kind))


# ---------------------------------------------------------------- the driver


def link_rows(
    context: Context,
    pool: PoolView,
    entry: SelectEntry,
    before: Rows,
    published: PublishedRows | None,
    files: SketchFiles,
) -> tuple[Selection, int]:
    """Link the rows ``before`` of all shards, whose sketches are in ``files``.

    Returns
    -------
    selection : Selection
        Selection among ``before``.
    peak_memory : int
        Highest peak memory of a worker, in bytes.
    """
    published = PublishedRows.empty(len(before)) if published is None else published
    files = _write_published(entry, files, published)
    rows_by_shard = np.diff(np.searchsorted(before, np.cumsum((0, *pool.shard_sizes))))
    starts = np.cumsum((0, *published.sizes, *rows_by_shard.tolist()))
    sizes = np.diff(starts).tolist()
    root, peak = _find_components(context, entry, files, starts)
    left_out = np.concatenate((np.zeros(published.rows, np.bool_), published.is_published))
    partition = _pack_components(root, left_out, published.rows, pool)
    _write_targets(files, partition, starts)
    count = int(partition.max(initial=-1)) + 1
    label = f"linking rows with {entry.name}"
    tasks = [_DivideTask(files, name) for name in files.names] if count else []
    _, failed, peak_of_division = context.map(f"dividing the sketches of {entry.name}", _divide, tasks, sizes)
    raise_if_failed(failed)
    order = np.argsort(partition, kind="stable")
    order = order[np.searchsorted(partition[order], 0) :]
    members = np.split(order, np.searchsorted(partition[order], np.arange(1, count))) if count else []
    limit = pool.memory_limit // context.executor.workers
    links = [
        _LinkTask(entry, files, number, int(np.count_nonzero(rows < published.rows)), limit, pool.scratch)
        for number, rows in enumerate(members)
    ]
    _, failed, peak_of_links = context.map(label, _link, links, list(map(len, members)))
    raise_if_failed(failed)
    return _collect(_select_alone(entry, files), links, members, published), max(peak, peak_of_division, peak_of_links)


def _write_published(entry: SelectEntry, files: SketchFiles, published: PublishedRows) -> SketchFiles:
    """Write the sketches of the published rows, and return all files."""
    every = SketchFiles(files.folder, files.fingerprint, files.shards, len(published.sizes))
    schema = parquet_io.read_schema(files.path("sketches", files.name(files.shards[0])))
    columns = [name for name in schema.names if name != _QUALITY]
    for name, sketches in zip(every.names, published.sketches(*columns), strict=False):
        write_sketches(every, name, entry, sketches, np.zeros(len(sketches), np.float32))
    return every


def _find_components(context: Context, entry: SelectEntry, files: SketchFiles, starts: Positions) -> tuple[Rows, int]:
    """Return the lowest row of the component of each row, and the peak memory of a worker."""
    root = np.arange(starts[-1])
    keys = 0
    for name, start in zip(files.names, starts[:-1].tolist(), strict=True):
        edges = parquet_io.read(files.path("edges", name), _EDGES)
        merge_edges(root, edges["a"].to_numpy() + start, edges["b"].to_numpy() + start)
        keys += parquet_io.count_rows(files.path("keys", name))
    count = max(1, -(-keys // _KEYS_PER_TASK), min(_RANGES, keys // _KEYS_PER_ROW_GROUP))
    bounds = [number * (_LARGEST_KEY + 1) // count for number in range(count + 1)]
    tasks = [
        _MatchTask(files, number, low, high - 1, tuple(starts.tolist()))
        for number, (low, high) in enumerate(pairwise(bounds))
    ]
    label = f"comparing keys for {entry.name}"
    _, failed, peak = context.map(label, _match_keys, tasks, [1] * count, "parts")
    raise_if_failed(failed)
    for task in tasks:
        edges = parquet_io.read(task.path, _EDGES)
        merge_edges(root, edges["a"].to_numpy(), edges["b"].to_numpy())
    return find_roots(root, root), peak


def _pack_components(root: Rows, left_out: Flags, n_published: int, pool: PoolView) -> Codes:
    """Return the partition of each row: -1 for a row alone, and for components without a row to decide on."""
    partition = np.full(len(root), -1, np.int32)
    rows = np.flatnonzero(~left_out)
    sizes = np.bincount(root[rows], minlength=len(root))
    undecided = np.bincount(root[rows[rows >= n_published]], minlength=len(root))
    components = np.flatnonzero((sizes > 1) & (undecided > 0))
    of_component = np.full(len(root), -1, np.int32)
    rows_per_partition = row_partitions.rows_per_partition(int(sizes[components].sum()), pool)
    of_component[components] = row_partitions.pack(sizes[components], rows_per_partition)
    partition[rows] = of_component[root[rows]]
    return partition


def _write_targets(files: SketchFiles, partition: Codes, starts: Positions) -> None:
    """Write the rows of each file that a task links, with their partition."""
    for name, start, stop in zip(files.names, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        rows = np.flatnonzero(partition[start:stop] >= 0)
        table = pa.table([rows.astype(np.int32), partition[start:stop][rows]], schema=_TARGETS)
        parquet_io.write(table, files.path("targets", name), files.fingerprint)


def _collect(
    alone: Sequence[Selection], links: Sequence[_LinkTask], members: Sequence[Rows], published: PublishedRows
) -> Selection:
    """Return the selection among the n rows of the pool.

    Parameters
    ----------
    alone : Sequence[Selection]
        Selection from one row alone, and from one published row alone.
    links : Sequence[_LinkTask]
        Completed tasks.
    members : Sequence[Rows]
        Rows of each task, counted from the first of the m published rows.
    """
    m, n = published.rows, len(published.is_published)
    representative, similarity = np.full(m + n, -1, np.intp), np.full(m + n, np.nan, np.float32)
    kinds = np.concatenate((np.ones(m, np.intp), published.is_published))
    gain = np.array([_first(one.gain) for one in alone], np.float32)[kinds]
    nearest = np.array([_first(one.retention.nearest) if one.retention else 0 for one in alone], np.float32)[kinds]
    for task, rows in zip(links, members, strict=True):
        ((_, one),) = selection_files.load(task.path, task.files.fingerprint)
        if one.representative is not None:
            representative[rows] = np.where(one.representative < 0, -1, rows[one.representative])
        if one.similarity is not None:
            similarity[rows] = one.similarity
        gain[rows[one.indices]] = one.gain
        if one.retention is not None:
            nearest[rows] = one.retention.nearest
    retention = None if alone[0].retention is None else replace(alone[0].retention, nearest=nearest[m:])
    of_row = representative[m:]
    of_row = np.where(of_row >= m, of_row - m, np.where(of_row >= 0, of_row + n, -1))
    selection = Selection.from_representatives(of_row, similarity[m:], gain[m:], alone[0].reasons[0], retention)
    return selection.check(n, None)


def _first(values: Vector) -> float:
    return float(values[0]) if len(values) else 0.0


def _select_alone(entry: SelectEntry, files: SketchFiles) -> list[Selection]:
    """Return the selection from one row alone, and from one published row alone."""
    names = map(files.name, files.shards)
    tables = (parquet_io.read(files.path("sketches", name)).drop_columns(_QUALITY) for name in names)
    row = next((table.slice(0, 1) for table in tables if len(table)), None)
    if row is None:
        row = parquet_io.read(files.path("sketches", files.name(files.shards[0]))).drop_columns(_QUALITY)
    selector: LinkingSelector = entry.spec.build()
    with plugin_call(entry.spec, entry.name):
        return [selector.link(row, np.zeros(len(row), np.float32), count) for count in (0, len(row))]


# ---------------------------------------------------------------- the tasks


@dataclass(frozen=True, slots=True)
class _MatchTask:
    files: SketchFiles
    number: int
    low: int
    high: int
    starts: tuple[int, ...]

    @property
    def path(self) -> Path:
        return self.files.path("matches", self.files.name(self.number))


def _match_keys(task: _MatchTask) -> None:
    """Write edges between the rows of different files that share a key in the range of the task."""
    if parquet_io.is_current(task.path, task.files.fingerprint):
        return
    keys, rows = [np.zeros(0, np.uint64)], [np.zeros(0, np.intp)]
    for name, start in zip(task.files.names, task.starts[:-1], strict=True):
        table = parquet_io.read_sorted_range(task.files.path("keys", name), task.low, task.high)
        keys.append(table["key"].to_numpy())
        rows.append(table["row"].to_numpy() + np.intp(start))
    row = np.concatenate(rows)
    first, other = connect_equal_keys(*sort_keys(np.concatenate(keys)))
    nodes, position = np.unique(np.concatenate((row[first], row[other])), return_inverse=True)
    root = np.arange(len(nodes))
    merge_edges(root, position[: len(first)], position[len(first) :])
    root = find_roots(root, root)
    connected = np.flatnonzero(root != np.arange(len(root)))
    edges = pa.table([nodes[root[connected]], nodes[connected]], schema=_EDGES)
    parquet_io.write(edges, task.path, task.files.fingerprint)


@dataclass(frozen=True, slots=True)
class _DivideTask:
    files: SketchFiles
    name: str


def _divide(task: _DivideTask) -> None:
    """Divide the sketches of one file by partition."""
    files, path = task.files, task.files.path("parts", task.name)
    if parquet_io.is_current(path, files.fingerprint):
        return
    targets = parquet_io.read(files.path("targets", task.name), _TARGETS)
    sketches = parquet_io.read(files.path("sketches", task.name)).take(targets["row"])
    partitions.write(path, files.fingerprint, sketches, targets["partition"].to_numpy())


@dataclass(frozen=True, slots=True)
class _LinkTask:
    entry: SelectEntry
    files: SketchFiles
    number: int
    n_published: int
    memory_limit: int
    scratch: Path

    @property
    def path(self) -> Path:
        return self.files.path("linked", self.files.name(self.number)).with_suffix(".npz")


def _link(task: _LinkTask) -> None:
    """Link the rows of one partition."""
    if selection_files.is_current(task.path, task.files.fingerprint):
        return
    paths = [task.files.path("parts", name) for name in task.files.names]
    table = partitions.read_all(paths, task.number, task.memory_limit, task.scratch)
    quality, sketches = table[_QUALITY].to_numpy(), table.drop_columns(_QUALITY)
    selector: LinkingSelector = task.entry.spec.build()
    with plugin_call(task.entry.spec, task.entry.name):
        selection = selector.link(sketches, quality, task.n_published).check(len(sketches), None)
    selection_files.save(task.path, task.files.fingerprint, [len(sketches)], [selection])
