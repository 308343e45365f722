"""Rows divided over partitions on disk, with the inputs that a selector reads; each partition is read by one task.

Memory: a task that divides holds a shard, one that reads holds its partition. Embeddings of more than the task's share
of ``memory_limit`` are in a memory-mapped file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from curate.kernels.text.json_values import is_json
from curate.kernels.types import Codes, Flags, Matrix, Positions, Rows, Texts, Vectors
from curate.plugins.batches import Pool
from curate.pool import embedding_matrix
from curate.pool.view import PoolView, to_hash_halves
from curate.stages import partitions
from curate.stages.base import Context, plugin_call, raise_if_failed
from curate.store import parquet_io
from curate.store.image_files import to_images
from curate.store.inputs import IMAGE_DATA

if TYPE_CHECKING:
    from curate.config.model import SelectEntry

_TARGETS = pa.schema([("row", pa.int32()), ("partition", pa.int32()), ("group", pa.int32()), ("flag", pa.bool_())])
_SCORE, _FRAME = "score: ", "frame: "


def needs_all_rows(entry: SelectEntry, pool: PoolView) -> bool:
    """Return whether a column of the entry is JSON, whose type depends on the values of all rows."""
    types = pool.inputs.columns
    columns = entry.spec.build().columns() if "frame" in entry.spec.plugin().traits.reads else ()
    return any(name in types and is_json(types[name]) for name in columns)


@dataclass(frozen=True, slots=True)
class PartitionInput:
    """Rows of one partition, in pool order."""

    pool: Pool
    group: Codes
    """Group of each row, shape (n,), as given to ``divide``."""

    flag: Flags
    """Flag of each row, shape (n,), as given to ``divide``."""


@dataclass(frozen=True, slots=True)
class RowPartitions:
    """Partitions of the rows that reach an entry; small, and cheap to send to a worker."""

    pool: PoolView
    entry: SelectEntry
    folder: Path
    fingerprint: str
    memory_limit: int
    """Size in bytes above which the embeddings of a partition are memory-mapped."""

    @classmethod
    def for_entry(
        cls, context: Context, pool: PoolView, entry: SelectEntry, folder: Path, fingerprint: str
    ) -> RowPartitions:
        """Return the partitions of an entry, of which each worker reads one at a time."""
        return cls(pool, entry, folder, fingerprint, pool.memory_limit // context.executor.workers)

    def path(self, kind: str, number: int) -> Path:
        """Return the path of a Parquet file of ``targets`` or ``parts``, or of another kind that a caller writes."""
        return parquet_io.shard_path(self.folder / kind, number)

    def divide(
        self, context: Context, before: Rows, partition: Codes, group: Codes, flag: Flags | None, label: str
    ) -> int:
        """Divide the rows ``before`` on the workers, and return the highest peak memory of a worker, in bytes.

        Parameters
        ----------
        partition, group : ndarray of int32
            Partition, and group in it, of each of the rows, shape (n,).
        flag : ndarray of bool, optional
            Flag of each of the rows, shape (n,).
        """
        ends = np.cumsum((0, *self.pool.shard_sizes))
        cuts = np.searchsorted(before, ends).tolist()
        marks = np.zeros(len(before), np.bool_) if flag is None else flag
        for number, start, low, high in zip(self.pool.numbers, ends.tolist(), cuts[:-1], cuts[1:], strict=False):
            part = slice(low, high)
            columns = [(before[part] - start).astype(np.int32), partition[part], group[part], marks[part]]
            table = pa.table([pa.array(column) for column in columns], schema=_TARGETS)
            parquet_io.write(table, self.path("targets", number), self.fingerprint)
        tasks = [_DivideTask(self, number) for number in self.pool.numbers]
        _, failed, peak = context.map(label, _divide, tasks, np.diff(cuts).tolist())
        raise_if_failed(failed)
        return peak

    def read(self, number: int) -> PartitionInput:
        """Read the rows of one partition."""
        reads = self.entry.spec.plugin().traits.reads
        paths = [self.path("parts", shard) for shard in self.pool.numbers]
        schema = partitions.read_schema(paths[0])
        columns = [name for name in schema.names if name != "embedding"]
        parts = [partitions.read(path, number, columns) for path in paths]
        table = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
        n = len(table)

        def blocks() -> Iterator[Matrix]:
            for path, part in zip(paths, parts, strict=True):
                if len(part):
                    yield embedding_matrix.to_matrix(partitions.read(path, number, ["embedding"])["embedding"])

        embeddings = np.zeros((n, 0), np.float32)
        if "embedding" in reads:
            vectors = Vectors(n, schema.field("embedding").type.list_size, blocks)
            embeddings = embedding_matrix.gather_vectors(vectors, self.memory_limit, self.pool.scratch)
        scores = [name for name in table.column_names if name.startswith(_SCORE)]
        frame = [name for name in table.column_names if name.startswith(_FRAME)]
        pool = Pool(
            embeddings,
            table["quality"].to_numpy(),
            table["cluster"].to_numpy() if "cluster" in reads else np.zeros(n, np.int32),
            {name.removeprefix(_SCORE): table[name].to_numpy() for name in scores},
            self.pool.higher_is_better,
            _to_frame(table.select(frame)) if frame else None,
            _to_texts(table) if "text" in reads else None,
            images=to_images(table["image"], table[IMAGE_DATA]) if "image" in table.column_names else None,
            target=self.pool.target_rows(self.entry.embedding, texts="text" in reads) if "target" in reads else None,
        )
        return PartitionInput(pool, table["group"].to_numpy(), table["flag"].to_numpy())


_PARTITIONS = 16
"""Number of partitions of a pool whose shards would give fewer, so that many workers share the work of a small pool."""

_MIN_ROWS = 1_000


def rows_per_partition(rows: int, pool: PoolView) -> int:
    """Return the number of rows of a partition: at most that of a shard. It does not depend on the workers."""
    return max(_MIN_ROWS, min(max(pool.shard_sizes), rows // _PARTITIONS))


def pack(sizes: Positions, rows_per_partition: int) -> Codes:
    """Return the partition of each group of rows, shape (g,).

    Groups are packed in order of size; the largest have the lowest numbers, so that the longest tasks start first. A
    group of more than ``rows_per_partition`` rows has a partition alone.

    >>> pack(np.array([1, 5, 2, 2]), 4).tolist()
    [2, 0, 1, 1]
    """
    order = np.argsort(-sizes, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    partition = np.empty(len(sizes), np.int32)
    partition[order] = np.unique(before // rows_per_partition, return_inverse=True)[1]
    return partition


@dataclass(frozen=True, slots=True)
class _DivideTask:
    rows: RowPartitions
    number: int


def _divide(task: _DivideTask) -> None:
    """Divide the inputs of one shard by partition."""
    rows_of, entry, path = task.rows, task.rows.entry, task.rows.path("parts", task.number)
    if parquet_io.is_current(path, rows_of.fingerprint):
        return
    targets = parquet_io.read(rows_of.path("targets", task.number), _TARGETS)
    rows = targets["row"].to_numpy()
    view = rows_of.pool.restrict(task.number)
    shard = view.shard(task.number)
    reads = entry.spec.plugin().traits.reads
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "group": targets["group"],
        "flag": targets["flag"],
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
    if "image" in reads and rows_of.pool.inputs.has_images:
        stored = shard.read(("image", IMAGE_DATA))
        columns |= {name: stored[name].take(rows) for name in ("image", IMAGE_DATA)}
    if "frame" in reads:
        with plugin_call(entry.spec, entry.name):
            names = entry.spec.build().columns()
        frame = view.frame(names)[rows].to_arrow() if names else pa.table({})
        columns |= {f"{_FRAME}{name}": frame[name] for name in frame.column_names}
    partitions.write(path, rows_of.fingerprint, pa.table(columns), targets["partition"].to_numpy())


def _to_frame(table: pa.Table) -> pl.DataFrame:
    names = [name.removeprefix(_FRAME) for name in table.column_names]
    frame = pl.from_arrow(table.rename_columns(names))
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _to_texts(table: pa.Table) -> Texts:
    texts, halves = table["text"].to_pylist(), to_hash_halves(table["hash"])
    return Texts((len(texts),), lambda _: texts, lambda _: halves)
