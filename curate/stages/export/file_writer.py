"""Tasks that write the files of an export, in the order of the pool or shuffled.

For a shuffled export, workers first deal the rows of each shard to files on disk, and then gather each file. The order
is a permutation of the numbers of the rows (``kernels.permutation``), which depends on the seed and on their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.errors import DataError
from curate.kernels.arrow_sizes import value_sizes
from curate.kernels.permutation import permute
from curate.kernels.types import Counts
from curate.plugins.registry import PluginSpec
from curate.stages import partitions
from curate.stages.base import Context, plugin_call, raise_if_failed
from curate.stages.export.file_layout import DataFile, Part
from curate.stages.export.row_reader import ID, NULLS, Changes, RowReader, Rows
from curate.store import parquet_io
from curate.store.inputs import PREFIX

FileEntry: TypeAlias = dict[str, Any]
"""Data file as listed in the manifest of a version: its path, rows, bytes and sha256."""

_POSITION = f"{PREFIX}position"
_FACTS = (f"{PREFIX}{ID}", f"{PREFIX}{NULLS}")
_BLOCK = 1 << 28
"""Number of bytes that are put in order at a time."""


@dataclass(frozen=True, slots=True)
class Written:
    """Files of an export."""

    files: list[FileEntry]
    changes: Changes
    schema: pa.Schema
    peak_memory: int


# ---------------------------------------------------------------- measuring


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of the rows of an export, for the layout of its files."""

    sizes: dict[Part, list[Counts]]
    """Sizes of the rows of each shard in bytes, in the order of the pool; empty without a limit of bytes."""

    nullable: frozenset[str] | None
    """Columns with nulls; None if they are not needed."""


@dataclass(frozen=True, slots=True)
class _MeasureTask:
    reader: RowReader
    part: Part
    shard: int
    sizes: bool
    nulls: bool


def measure(context: Context, reader: RowReader, parts: Sequence[Part], *, sizes: bool, nulls: bool) -> Measures:
    """Measure the sizes of rows, and find the columns with nulls; reads the rows only if one of them is needed."""
    plain = replace(reader, config=replace(reader.config, mask_pii=()), cuts=None)
    tasks = [
        _MeasureTask(plain, part, shard, sizes, nulls)
        for part in parts
        for shard, rows in enumerate(part.rows)
        if rows and (sizes or nulls)
    ]
    values, failed, _ = context.map(
        "measuring the export", _measure, tasks, [task.part.rows[task.shard] for task in tasks]
    )
    raise_if_failed(failed)
    by_part: dict[Part, list[Counts]] = {part: [] for part in parts} if sizes else {}
    for task, (row_sizes, _) in zip(tasks, values, strict=True):
        if row_sizes is not None:
            by_part[task.part].append(row_sizes)
    return Measures(by_part, frozenset().union(*(found for _, found in values)) if nulls else None)


def _measure(task: _MeasureTask) -> tuple[Counts | None, frozenset[str]]:
    table = task.reader.read(task.part, task.shard, 0, task.part.rows[task.shard]).table
    nullable = frozenset(name for name in table.column_names if table[name].null_count) if task.nulls else frozenset()
    if not task.sizes:
        return None, nullable
    sizes = np.zeros(len(table), np.int64)
    for column in table.columns:
        sizes += np.concatenate([value_sizes(chunk) for chunk in column.chunks])
    return sizes, nullable


# ---------------------------------------------------------------- files


@dataclass(frozen=True, slots=True)
class _WriteTask:
    spec: PluginSpec
    reader: RowReader
    file: DataFile
    folder: Path
    """Folder of the version, or of files that are not in it yet."""

    nullable: frozenset[str] | None
    deals: tuple[Path, ...] | None
    """Dealt rows of a shuffled export; None for the order of the pool."""


@dataclass(frozen=True, slots=True)
class _DealTask:
    reader: RowReader
    part: Part
    shard: int
    starts: tuple[int, ...]
    key: str
    path: Path


def write_files(
    context: Context, reader: RowReader, files: Sequence[DataFile], folder: Path, work: Path, measures: Measures
) -> Written:
    """Write the files of an export.

    Parameters
    ----------
    folder : Path
        Folder for the files.
    work : Path
        Folder for the dealt rows of a shuffled export.
    """
    config, deals, dealt, peak = context.config.export, dict[Part, tuple[Path, ...]](), list[Changes](), 0
    if config.shuffle:
        deal_tasks = list(_deal_tasks(context, reader, files, work))
        dealt, failed, peak = context.map(
            "shuffling", _deal, deal_tasks, [task.part.rows[task.shard] for task in deal_tasks]
        )
        raise_if_failed(failed)
        for task in deal_tasks:
            deals[task.part] = (*deals.get(task.part, ()), task.path)
    tasks = [_WriteTask(config.spec, reader, file, folder, measures.nullable, deals.get(file.part)) for file in files]
    values, failed, written_peak = context.map("exporting", _write, tasks, [file.stop - file.start for file in files])
    raise_if_failed(failed)
    changes = Changes.total([*dealt, *(changes for _, changes in values)], config)
    schema = _exact_schema(reader.schema, measures.nullable)
    return Written([entry for entry, _ in values], changes, schema, max(peak, written_peak))


def _deal_tasks(context: Context, reader: RowReader, files: Sequence[DataFile], work: Path) -> Iterator[_DealTask]:
    for number, part in enumerate(dict.fromkeys(file.part for file in files)):
        starts = tuple(file.start for file in files if file.part == part)
        key = f"{context.config.seed} {part.name} {part.epoch}"
        for shard, rows in enumerate(part.rows):
            if rows:
                path = parquet_io.shard_path(work / str(number), shard)
                yield _DealTask(reader, part, shard, starts, key, path)


def _deal(task: _DealTask) -> Changes:
    """Write the rows of a shard by file, with their positions in the shuffled order."""
    before, count = sum(task.part.rows[: task.shard]), task.part.rows[task.shard]
    rows = task.reader.read(task.part, task.shard, 0, count)
    positions = permute(np.arange(before, before + count), task.part.total, task.key)
    table = rows.table
    for name, column in zip(_FACTS, rows.facts.columns, strict=True):
        table = table.append_column(name, column)
    table = table.append_column(_POSITION, pa.array(positions))
    partitions.write(task.path, "", table, np.searchsorted(task.starts, positions, "right") - 1)
    return rows.changes


def _gather(task: _WriteTask, deals: Sequence[Path]) -> Rows:
    """Read the dealt rows of a file, and put them in order."""
    tables = [partitions.read(path, task.file.number) for path in deals]
    positions = [table[_POSITION].to_numpy() for table in tables]
    blocks = 1 + sum(table.nbytes for table in tables) // _BLOCK
    ordered = []
    for low, high in pairwise(np.linspace(task.file.start, task.file.stop, blocks + 1).astype(np.int64).tolist()):
        rows = [np.flatnonzero((low <= each) & (each < high)) for each in positions]
        block = pa.concat_tables([table.take(pa.array(some)) for table, some in zip(tables, rows, strict=True)])
        ordered.append(block.take(pc.sort_indices(block[_POSITION])))
    table = pa.concat_tables(ordered)
    names = [name for name in table.column_names if name not in (*_FACTS, _POSITION)]
    final = table.select(names).cast(task.reader.schema)
    facts = pa.table({ID: table[_FACTS[0]], NULLS: table[_FACTS[1]]})
    return Rows(final, facts, Changes.total((), task.reader.config))


def _write(task: _WriteTask) -> tuple[FileEntry, Changes]:
    file, spec = task.file, task.spec
    if task.deals is None:
        every = list(task.reader.read_ranges(file.part, file.start, file.stop))
    else:
        every = [_gather(task, task.deals)]
    schema = _exact_schema(task.reader.schema, task.nullable)
    table = pa.concat_tables([rows.table for rows in every]).cast(schema)
    facts = pa.concat_tables([rows.facts for rows in every])
    traits, path = spec.plugin().traits, task.folder / file.path
    more = {"nulls": facts[NULLS].to_pylist()} if traits.nulls else {}
    more |= {"keys": facts[ID].to_pylist()} if traits.keys else {}
    with parquet_io.write_atomically(path, keep_name=True) as partial:
        with plugin_call(spec, spec.name):
            try:
                spec.build().write(table, partial, **more)
            except OSError as error:
                hint = "check the free space and the permissions of the run directory"
                message = f"cannot write the export: {error.strerror or error}"
                raise DataError(message, where=str(path), hint=hint) from error
        written = {"bytes": partial.stat().st_size, "sha256": paths.hash_file(partial)}
    empty = sum(column.null_count == len(column) for column in table.columns)
    entry = {"file": file.path, "rows": len(table), **written, "empty_columns": empty}
    return entry, Changes.total((rows.changes for rows in every), task.reader.config)


def _exact_schema(schema: pa.Schema, nullable: frozenset[str] | None) -> pa.Schema:
    """Return the schema in which only columns with nulls are nullable."""
    if nullable is None:
        return schema
    return pa.schema([field.with_nullable(field.name in nullable) for field in schema], schema.metadata)
