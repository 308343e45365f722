"""Rows of an export as they are written: chosen, with spans removed, masked, and with their final columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.config.model import ExportConfig
from curate.config.template_syntax import TextPath
from curate.pool.view import PoolView
from curate.stages.column_names import PREFIX
from curate.stages.export import image_column, mask_pii, remove_spans
from curate.stages.export.exported_columns import exported_schema, kept_columns, new_names
from curate.stages.export.file_layout import Part
from curate.stages.export.map_strings import root_columns
from curate.store import parquet_io
from curate.store.ledger import to_polars

ID = "id"
NULLS = "nulls"


@dataclass(frozen=True, slots=True)
class Changes:
    """Counts of masked text and of removed spans."""

    masked: mask_pii.Counts
    cut: Mapping[str, int]

    @classmethod
    def total(cls, changes: Iterable[Changes], config: ExportConfig) -> Changes:
        """Return the sum of the counts of several tables."""
        changes = list(changes)
        masked = mask_pii.total((each.masked for each in changes), config.mask_pii)
        return cls(masked, remove_spans.total(each.cut for each in changes))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an export."""

    table: pa.Table
    """Final columns."""

    facts: pa.Table
    """For each row, its ``id``, and ``nulls``: the columns that are written as explicit nulls of a JSON record; null
    for a row that is written with every column."""

    changes: Changes


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reader of the rows of an export; small, and cheap to send to a worker."""

    config: ExportConfig
    pool: PoolView
    text_paths: tuple[TextPath, ...]
    """Paths to the strings that are masked."""

    cut_paths: tuple[TextPath, ...]
    """Paths to the strings from which spans are removed."""

    cuts: Path | None
    """Folder of the spans to remove; None without removal."""

    @property
    def schema(self) -> pa.Schema:
        """Schema of the exported rows."""
        inputs = self.pool.inputs
        stored = image_column.replace_type(inputs) if self.config.image else inputs.schema
        return exported_schema(self.config, stored, score_columns(self.pool))

    def read_ranges(self, part: Part, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows of a part, numbered over all shards, from ``start`` to ``stop`` (exclusive), shard by shard."""
        seen = 0
        for shard, count in enumerate(part.rows):
            first, last = max(start - seen, 0), min(stop - seen, count)
            if first < last:
                yield self.read(part, shard, first, last)
            seen += count

    def read(self, part: Part, shard: int, first: int, last: int) -> Rows:
        """Return the rows of a part in a shard from ``first`` to ``last`` (exclusive)."""
        source, pool, config = self.pool.inputs, self.pool, self.config
        ledger = pool.select_output.read(shard)
        mask = is_in_part(pool, ledger, part, shard)
        kept = kept_columns(config, list(source.columns))
        table = source.read(shard, (), tuple(dict.fromkeys([*kept, *root_columns(self.cut_paths)])))
        cut = remove_spans.total(())
        if self.cuts is not None:
            rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))[first:last]
            table, cut = remove_spans.cut(table, self.cut_paths, parquet_io.shard_path(self.cuts, shard), rows.tolist())
        facts = source.read(shard, (ID, NULLS))
        table, ledger, facts = (each.filter(mask).slice(first, last - first) for each in (table, ledger, facts))
        masked = mask_pii.total((), config.mask_pii)
        if config.image and (name := image_column.column_name(source)) in kept:
            rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))[first:last]
            table = table.set_column(
                table.column_names.index(name), name, image_column.read_images(source, shard, rows)
            )
        table = table.select(kept)
        if config.mask_pii:
            table, masked = mask_pii.mask(table, self.text_paths, config.mask_pii)
        table = self._add_columns(table, ledger, shard)
        nulls = self._explicit_nulls(facts[NULLS], frozenset(kept), table.column_names[len(kept) :])
        final = pa.table(table.columns, schema=self.schema)
        return Rows(final, facts.set_column(1, NULLS, nulls), Changes(masked, cut))

    def _add_columns(self, table: pa.Table, ledger: pa.Table, shard: int) -> pa.Table:
        config, pool = self.config, self.pool
        for name in ("id", "rank", "gain", "weight"):
            if name in config.add:
                table = table.append_column(PREFIX + name, ledger[name])
        if "cluster" in config.add or "scores" in config.add:
            take = pc.index_in(ledger["id"], pool.shard(shard).ids)
            if "cluster" in config.add:
                table = table.append_column(f"{PREFIX}cluster", pool.cluster_output.read(shard)["cluster"].take(take))
            for entry in pool.score_outputs if "scores" in config.add else ():
                scores = entry.read(shard).take(take)
                for column in entry.columns:
                    table = table.append_column(PREFIX + column, scores[column])
        return table

    def _explicit_nulls(self, nulls: pa.ChunkedArray, kept: Collection[str], added: Sequence[str]) -> pa.Array:
        """Return the columns that are written as explicit nulls, under their new names and with the added ones."""
        lists = [None if one is None else [name for name in one if name in kept] for one in nulls.to_pylist()]
        renamed = [None if one is None else new_names(self.config, [*one, *added]) for one in lists]
        return pa.array(renamed, pa.list_(pa.string()))


def score_columns(pool: PoolView) -> list[str]:
    """Return the columns of all scores."""
    return [column for entry in pool.score_outputs for column in entry.columns]


def is_in_part(pool: PoolView, ledger: pa.Table, part: Part, shard: int) -> pa.Array | pa.ChunkedArray:
    """Return which rows of the ledger of a shard belong to a part."""
    if part.split is not None and pool.split_output is not None:
        return pc.fill_null(pc.equal(pool.split_output.read(shard), part.split), False)
    if part.epoch is None:
        return ledger["selected"]
    epochs = to_polars(ledger.select(["epochs"]))["epochs"]
    return epochs.list.contains(part.epoch).fill_null(value=False).to_arrow()
