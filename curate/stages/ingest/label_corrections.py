"""Correction of labels: rows of the input shards get the labels of the file that ``input.corrections`` names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.errors import DataError
from curate.stages.base import Context
from curate.store import corrections, inputs, parquet_io, schemas
from curate.store.arrow_values import convert_column
from curate.store.inputs import CorrectedLabels

if TYPE_CHECKING:
    from curate.config.model import InputConfig

_MOST_NAMED = 5  # ids and labels in a message


def hash_file(config: InputConfig) -> str | None:
    """Return the sha256 of the file of corrections; None if there is none, or not yet."""
    if config.corrections is None or not paths.parse_path(config.corrections).exists():
        return None
    return paths.hash_content(paths.parse_path(config.corrections))


def apply(
    context: Context, folder: Path, shards: Sequence[Path], schema: pa.Schema, fingerprint: str
) -> CorrectedLabels | None:
    """Correct the labels in the input shards, and write a list of the changed rows next to them.

    Parameters
    ----------
    context : Context
        Context of the run.
    folder : Path
        Folder of the input shards.
    shards : sequence of Path
        Input shards; those with corrected rows are written again.
    schema : pa.Schema
        Schema of the user's columns.
    fingerprint : str
        Fingerprint of the input shards.

    Returns
    -------
    CorrectedLabels or None
        Counts; None without a file of corrections.

    Raises
    ------
    DataError
        The file cannot be read, or a label does not have the type of the column.
    """
    config, listed = context.config.input, folder / schemas.CORRECTIONS_FILE
    paths.unlink(listed, missing_ok=True)
    if config.corrections is None or config.label is None:
        return None
    path = paths.parse_path(config.corrections)
    if not path.exists():
        return CorrectedLabels(rows=0)
    table = corrections.read(path)
    kind = schema.field(config.label).type
    if pa.types.is_null(kind):
        hint = f"set input.types: {{{config.label}: string}}"
        raise DataError(f"column {config.label!r} has no labels, so its type is unknown", where=str(path), hint=hint)
    labels = corrections.to_labels(table, kind)
    _check_feature(table, schema, config.label)
    ids = pa.array(table.by_id, pa.string())
    known: set[str] = set()
    found: set[str] = set()
    changed: list[pa.Table] = []
    for shard in shards:
        stored = parquet_io.read(shard, [config.id or inputs.ID, config.label], missing_ok=True)
        row_ids = inputs.as_identifiers(stored[config.id or inputs.ID]).combine_chunks()
        before = _read_labels(stored, config.label)
        known |= set(pc.unique(before).to_pylist())
        position = pc.index_in(row_ids, ids)
        corrected = inputs.as_text(pa.chunked_array([labels.take(position)])).combine_chunks()
        found |= set(row_ids.filter(pc.is_valid(position)).to_pylist())
        mask = pc.and_(pc.is_valid(position), pc.fill_null(pc.not_equal(before, corrected), fill_value=True))
        if mask.true_count:
            _write(shard, config.label, kind, position, labels, fingerprint)
            columns = [column.filter(mask) for column in (row_ids, before, corrected)]
            changed.append(pa.table(columns, schema=schemas.CORRECTIONS))
    every = pa.concat_tables([schemas.CORRECTIONS.empty_table(), *changed])
    parquet_io.write(every, listed, fingerprint)
    new = sorted(set(every["label"].to_pylist()) - known)
    unknown = [name for name in table.by_id if name not in found]
    return CorrectedLabels(
        rows=len(every),
        confirmed=len(found) - len(every),
        unknown=len(unknown),
        examples=tuple(unknown[:_MOST_NAMED]),
        new_labels=tuple(new),
    )


def _check_feature(table: corrections.Corrections, schema: pa.Schema, column: str) -> None:
    """Raise a DataError for a label that is no class of a ClassLabel of the ``datasets`` library, which is a number."""
    metadata = schema.metadata or {}
    described = json.loads(metadata.get(b"huggingface", "{}")).get("info", {}).get("features", {}).get(column)
    names = described.get("names") if isinstance(described, dict) else None
    if not isinstance(names, list) or described.get("_type") != "ClassLabel":
        return
    allowed = {str(number) for number in range(-1, len(names))}
    for one in table.by_id.values():
        if one.label not in allowed:
            message = (
                f"the label {one.label!r} is not the number of a class: column {column!r} has {len(names)} classes"
            )
            hint = f"use a number from 0 to {len(names) - 1}"
            raise DataError(message, where=f"{table.path}:{one.line}", hint=hint)


def _read_labels(stored: pa.Table, name: str) -> pa.Array:
    if name not in stored.column_names:
        return pa.nulls(len(stored), pa.string())
    return inputs.as_text(stored[name]).combine_chunks()


def _write(shard: Path, name: str, kind: pa.DataType, position: pa.Array, labels: pa.Array, fingerprint: str) -> None:
    """Write a shard again, with the labels at ``position`` where it is not null."""
    table = parquet_io.read(shard)
    if name not in table.column_names:
        table = table.append_column(name, pa.nulls(len(table), kind))
    old = convert_column(table[name], kind).combine_chunks()
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    new = pc.if_else(pc.is_valid(position), labels.take(position).cast(plain), old.cast(plain)).cast(kind)
    table = table.set_column(table.column_names.index(name), name, new)
    parquet_io.write(table, shard, fingerprint, compression="zstd")


def describe(config: InputConfig, result: CorrectedLabels) -> list[str]:
    """Return warnings about a file of corrections that is missing, and about ids that are not in the pool."""
    if not paths.parse_path(str(config.corrections)).exists():
        return [f"input.corrections: there is no file {config.corrections!r} yet, so no label is corrected"]
    if not result.unknown:
        return []
    names = ", ".join(map(repr, result.examples)) + ", …" * (result.unknown > len(result.examples))
    verb = "is" if result.unknown == 1 else "are"
    return [f"{config.corrections}: {result.unknown:,} corrected ids {verb} not in the pool: {names}"]
