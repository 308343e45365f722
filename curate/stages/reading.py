"""The work of one ingest task: records of some files in, input shards and a list of bad rows out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import places
from curate.errors import DataError
from curate.stages import texts, tokens
from curate.store import arrays, formats, inputs, schemas, shards
from curate.store.formats import Batch, Piece
from curate.store.inputs import ALL, NO_SOURCE

if TYPE_CHECKING:
    from curate.settings.model import InputConfig

Counting = Literal["column", "tokenizer", "estimate"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One task: consecutive pieces that become one or more shards."""

    number: int
    pieces: tuple[Piece, ...]
    weight: int
    """About how many rows."""

    config: InputConfig
    counting: Counting
    out: Path
    quarantine: Path
    fingerprint: str


@dataclass(slots=True)
class Read:
    """What came of it."""

    paths: list[Path] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    types: dict[str, tuple[pa.DataType, str]] = field(default_factory=dict)
    """Each column's type, and the first file that has it."""

    rows: Counter[int] = field(default_factory=Counter)
    """Lines or rows seen of each file, by its number."""


def read(task: Reading) -> Read:
    """Write the shards of ``task`` and say what is in them."""
    done = Read()
    bad: list[dict[str, object]] = []
    waiting: list[pa.Table] = []
    held = 0
    for piece in task.pieces:
        for batch in formats.read(piece):
            _note_types(done, batch.table, piece.path)
            table = _admit(task, piece, batch, bad, done)
            waiting.append(table)
            held += len(table)
            while held >= task.config.rows_per_shard:
                whole = _joined(waiting, done.types)
                _write(task, whole.slice(0, task.config.rows_per_shard), done)
                waiting = [whole.slice(task.config.rows_per_shard)]
                held = len(waiting[0])
    if held:
        _write(task, _joined(waiting, done.types), done)
    if bad:
        aside = shards.part(task.quarantine, task.number + 1)  # part 0 is for ids that stand twice
        shards.write(pa.Table.from_pylist(bad, schemas.QUARANTINE), aside, task.fingerprint, compression="zstd")
    return done


def _note_types(done: Read, table: pa.Table, path: str) -> None:
    text_format = formats.format_of(Path(path))[0] in ("csv", "tsv")
    for name in table.column_names:
        if name.startswith(inputs.PREFIX):
            raise DataError(f"column {name!r}: names that begin with {inputs.PREFIX!r} are reserved", where=path)
        kind = formats.narrowest(table[name]) if text_format else table[name].type
        done.types[name] = widen(name, done.types.get(name), (kind, path), text_format=text_format)


def widen(
    name: str, old: tuple[pa.DataType, str] | None, new: tuple[pa.DataType, str], *, text_format: bool = False
) -> tuple[pa.DataType, str]:
    """The type that holds both, and the file it was first seen in.

    Raises
    ------
    DataError : naming both files, if no type holds both; the cells of a CSV file then simply stay text
    """
    if old is None or (pa.types.is_null(old[0]) and not pa.types.is_null(new[0])):
        return new
    try:
        return formats.merge(old[0], new[0]), old[1]
    except pa.ArrowException as error:
        if text_format:
            return pa.string(), old[1]
        raise DataError(
            f"column {name!r} is {old[0]} in {old[1]} and {new[0]} in {new[1]}",
            hint="make it one type in both files, or take one of them out of input.files",
        ) from error


def _admit(task: Reading, piece: Piece, batch: Batch, bad: list[dict[str, object]], done: Read) -> pa.Table:
    """The rows of ``batch`` that have an id and a text, with our columns; the others go to ``bad``."""
    config, table = task.config, batch.table
    n = len(table)
    text = _text(config, table, piece.path)
    source = _source(config, table)
    identity = _column(table, config.id) if config.id else pa.nulls(n, pa.string())
    blank = pc.equal(pc.utf8_trim_whitespace(text.fill_null("")), "").to_numpy(zero_copy_only=False)
    nameless = identity.is_null().to_numpy(zero_copy_only=False) if config.id else np.zeros(n, bool)
    for row in np.flatnonzero(blank | nameless).tolist():
        reason = "has no text" if blank[row] else f"has no id (column {config.id!r} is null)"
        bad.append(_entry(identity[row].as_py(), source[row], piece.path, batch.lines[row], reason, text[row].as_py()))
    for record in batch.bad:
        bad.append(_entry(None, _unread(config), piece.path, record.line, record.reason, record.record))
    done.sources.update(source)
    done.quarantined.update(source[row] for row in np.flatnonzero(blank | nameless))
    done.sources[_unread(config)] += len(batch.bad)
    done.quarantined[_unread(config)] += len(batch.bad)
    last = max([*batch.rows[-1:], *(record.row for record in batch.bad[-1:])], default=-1)
    done.rows[piece.number] = max(done.rows[piece.number], last + 1)

    keep = np.flatnonzero(~(blank | nameless))
    kept, text = table.take(keep), text.take(keep)
    hashes = [hashlib.blake2b(value.encode(), digest_size=16).digest() for value in text.to_pylist()]
    ours = {
        inputs.FILE: pa.array(np.full(len(keep), piece.number, np.int32)),
        inputs.ROW: pa.array(np.asarray(batch.rows, np.int64)[keep]),
        inputs.LINE: pa.array(np.asarray(batch.lines, np.int64)[keep]),
        inputs.HASH: pa.array(hashes, pa.binary(16)),
        inputs.TOKENS: _tokens(task, kept, text),
    }
    if not config.id:
        ours[inputs.ID] = pa.array([f"{value.hex()}-0" for value in hashes], pa.string())
    if texts.columns_of(config.text) is not None:
        ours[inputs.TEXT] = text
    if config.vectors:
        ours[inputs.VECTOR] = _vectors(config.vectors, piece.path, ours[inputs.ROW].to_numpy())
    for name, column in ours.items():
        kept = kept.append_column(name, column)
    return kept


def _entry(identity: object, source: str, path: str, line: int, reason: str, record: str | None) -> dict[str, object]:
    name = None if identity is None else str(identity)
    return {"id": name, "source": source, "file": path, "line": line, "reason": reason, "record": record}


def _unread(config: InputConfig) -> str:
    return NO_SOURCE if config.source else ALL


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(len(table), pa.string())
    return table[name].combine_chunks()


def _text(config: InputConfig, table: pa.Table, path: str) -> pa.Array:
    if texts.columns_of(config.text) is not None:
        return texts.render(config.text, table)
    column = _column(table, config.text)
    if pa.types.is_null(column.type):
        return pa.nulls(len(table), pa.string())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(
            f"input.text: column {config.text!r} is {column.type}, not text",
            where=path,
            hint=f'to take it as text all the same, write it as a template: text: "{{{config.text}}}"',
        )
    return column.cast(pa.string())


def _source(config: InputConfig, table: pa.Table) -> list[str]:
    if not config.source:
        return [ALL] * len(table)
    column = _column(table, config.source)
    if pa.types.is_nested(column.type):
        raise DataError(f"input.source: column {config.source!r} is {column.type}, not a name")
    return [NO_SOURCE if value is None else value for value in column.cast(pa.string()).to_pylist()]


def _tokens(task: Reading, table: pa.Table, text: pa.Array) -> pa.Array:
    name = task.config.tokens
    if task.counting == "estimate" or name is None:
        return tokens.estimate(text)
    if task.counting == "tokenizer":
        return tokens.counter(name)(text)
    try:
        return _column(table, name).cast(pa.int32()).fill_null(0)
    except pa.ArrowException as error:
        raise DataError(f"input.tokens: column {name!r} does not hold whole numbers: {error}") from error


def _vectors(suffix: str, path: str, rows: np.ndarray) -> pa.Array:
    beside = vectors_of(places.place(path), suffix)
    first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, -1)
    with places.reached(beside):
        try:
            shape = arrays.shape(beside)
            array = arrays.rows(beside, first, last + 1)
        except (OSError, ValueError, OverflowError) as error:
            raise DataError(f"cannot read the vectors: {error}", where=str(beside)) from error
    if last >= shape[0]:
        raise DataError(f"holds {shape[0]:,} vectors, but {path} has more rows", where=str(beside))
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is set aside when it is embedded
        taken = np.ascontiguousarray(array[rows - first], np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(taken.ravel()), shape[1])


def vectors_of(path: Path, suffix: str) -> Path:
    """The array beside an input file: ``a.jsonl.gz`` has ``a.npy`` for the suffix ``.npy``."""
    endings = 2 if formats.format_of(path)[1] else 1
    return path.with_name(path.name.removesuffix("".join(path.suffixes[-endings:])) + suffix)


def _joined(tables: list[pa.Table], types: Mapping[str, tuple[pa.DataType, str]]) -> pa.Table:
    """The tables under one schema; the columns of CSV files stay text here and are cast when they are read."""
    if len(tables) == 1:
        return tables[0].combine_chunks()
    try:
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pa.ArrowException as error:
        raise DataError(f"files read together do not agree on their columns ({', '.join(types)}): {error}") from error


def _write(task: Reading, table: pa.Table, done: Read) -> None:
    path = task.out / f"{task.number:05d}-{len(done.paths):05d}.parquet"
    shards.write(_storable(table), path, task.fingerprint, compression="zstd")
    done.paths.append(path)


def _storable(table: pa.Table) -> pa.Table:
    fields = [column.with_type(formats.storable(column.type)) for column in table.schema]
    return table.cast(pa.schema(fields))
