"""Work of one ingest task: read the records of some files, write input shards and a list of bad rows."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import paths
from curate.errors import DataError
from curate.kernels.arrow_lists import is_list
from curate.kernels.images.codec import inspect_image, map_images
from curate.kernels.text.json_values import is_binary, to_identifier, to_text
from curate.kernels.text.text_identity import is_blank
from curate.stages.ingest import declared_types, image_catalog, source_names, text_template, token_counts
from curate.stages.ingest.text_template import PathCounts
from curate.store import image_files, inputs, json_records, npy, parquet_io, readers, schemas, small_files
from curate.store.arrow_values import convert_column
from curate.store.column_types import Column, describe_array, describe_cells
from curate.store.image_files import ImageFileError
from curate.store.inputs import DEFAULT_SOURCE, NO_SOURCE
from curate.store.records import MAX_COLUMNS, AllowedKinds, Batch, KindCounts, Piece, ReadOptions, check_width, preview

if TYPE_CHECKING:
    from curate.config.model import InputConfig

CountMethod = Literal["column", "tokenizer", "estimate"]

SHARD_BYTES = 1 << 29
"""Largest size of a shard in bytes, except for a single batch; a shard of long rows has fewer rows than configured."""

_QUARANTINE_ROWS = 1 << 16
_QUARANTINE_BYTES = 1 << 25
"""Largest number of quarantined records, and of their bytes, that are buffered before they are written."""

_NULL_BYTES = 16  # bytes per null of a missing column: 8 in a shard, and 8 while it is read


@dataclass(frozen=True, slots=True)
class ReadTask:
    """Task of reading consecutive pieces into one or more shards."""

    number: int
    pieces: tuple[Piece, ...]
    weight: int
    """Approximate number of rows."""

    config: InputConfig
    count_method: CountMethod
    out: Path
    quarantine: Path
    fingerprint: str
    kinds: Mapping[int, AllowedKinds] = field(default_factory=dict)
    """Allowed kinds of values by file number, for columns with several kinds; other values make a record bad."""

    as_json: frozenset[str] = frozenset()
    """Columns to read as JSON texts, because their lists and objects have no common type."""

    catalog: Path | None = None
    """Part of the image catalog for the pieces; None for a pool without images."""

    is_second_pass: bool = False
    """Whether the kinds of values are known, because all tasks have run once."""

    def options(self, file: int) -> ReadOptions:
        """Return the options for reading the file with this number."""
        return replace(read_options(self.config), kinds=self.kinds.get(file, {}), as_json=self.as_json)


def read_options(config: InputConfig) -> ReadOptions:
    """Return the options for reading files before anything is known about their columns."""
    return ReadOptions(
        as_text=tuple(config.types or ()),
        header=config.header,
        delimiter=config.delimiter,
        template_columns=text_template.template_columns(config.text) or (),
        scalar_columns=scalar_columns(config),
    )


def scalar_columns(config: InputConfig) -> tuple[str, ...]:
    """Return the columns whose role requires text or numbers; columns of a template may have any type."""
    text = config.text if config.text and text_template.template_columns(config.text) is None else None
    source = source_names.source_column(config)
    return tuple(name for name in (text, config.id, config.label, source, config.tokens) if name is not None)


@dataclass(slots=True)
class FileCount:
    """Counts of one input file."""

    lines: int = 0
    """Last line (or Parquet row) that was read."""

    rows: int = 0
    """Number of rows of the pool."""

    quarantined: int = 0
    non_finite: int = 0
    """Number of NaN and Infinity literals in JSON that became null."""

    expansion: int = 0
    """Expansion as a multiple of the file size; 0 if it is too small to report."""

    extent: int = 0
    """Number of records, including bad and blank ones."""

    tokens: bool = False
    """Whether the file has a column of token counts."""

    def add(self, other: FileCount) -> None:
        """Add the counts of another piece of the file."""
        self.lines, self.extent = max(self.lines, other.lines), max(self.extent, other.extent)
        self.rows += other.rows
        self.quarantined += other.quarantined
        self.non_finite += other.non_finite
        self.expansion = max(self.expansion, other.expansion)
        self.tokens |= other.tokens

    def as_dict(self) -> dict[str, int]:
        """Return the counts as stored in the manifest."""
        counts = {"lines": self.lines, "rows": self.rows, "quarantined": self.quarantined}
        rare = {"non_finite": self.non_finite, "expansion": self.expansion}
        return {**counts, **{name: value for name, value in rare.items() if value}}


@dataclass(slots=True)
class NestedColumn:
    """Values of one column in JSON files."""

    column: Column = field(default_factory=Column)
    """Types of the lists and objects."""

    has_scalars: bool = False
    """Whether the column has values that are neither lists nor objects."""

    def add(self, other: NestedColumn) -> None:
        """Add the values of later records."""
        self.column.add(other.column)
        self.has_scalars |= other.has_scalars


@dataclass(slots=True)
class ReadResult:
    """Result of a task."""

    paths: list[Path] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    columns: dict[str, Column] = field(default_factory=dict)
    """Types and value ranges of each column."""

    nested: dict[str, NestedColumn] = field(default_factory=dict)
    """Values of each non-scalar column in JSON files, including bad records."""

    path_counts: PathCounts = field(default_factory=PathCounts)
    """Use of the paths of the text template by the rows."""

    incomplete: bool = False
    """Whether shards are missing because records have different kinds of values."""

    features: dict[str, tuple[object, str]] = field(default_factory=dict)
    """Feature of each column as described by Hugging Face's ``datasets``, and the first file with it."""

    files: dict[int, FileCount] = field(default_factory=dict)
    """Counts by the number of the file."""

    kind_counts: dict[int, KindCounts] = field(default_factory=dict)
    """Counts of kinds of values, for files with several kinds and for files that the task reads only in part."""


def write_shards(task: ReadTask) -> ReadResult:
    """Write the shards of ``task`` and return their description.

    If records of a JSON file have different kinds of values, nothing is written, and the result has their counts.
    """
    result = ReadResult()
    buffer = _TableBuffer()
    with _Quarantine(task) as bad:
        for files, batches in _units(task, buffer):
            number, path = files.pieces[0].number, files.pieces[0].path
            kind_counts: KindCounts = {}
            result.files |= {piece.number: FileCount() for piece in files.pieces}
            for batch in batches:
                for column, counts in batch.kind_counts.items():
                    kind_counts.setdefault(column, Counter()).update(counts)
                _add_nested(result, batch, files)
                if number not in task.kinds and not result.incomplete:
                    result.incomplete = bool(json_records.find_majority_kinds(kind_counts))
                if result.incomplete:
                    continue
                buffer.add(_usable_rows(task, files, batch, bad, result), path)
                while not result.incomplete and buffer.rows and _fills_shard(task, buffer):
                    _write_if_known(task, buffer, path, result)
            if number not in task.kinds and (
                not files.pieces[0].complete or json_records.find_majority_kinds(kind_counts)
            ):
                result.kind_counts[number] = kind_counts
        if result.incomplete:
            return result
        if buffer.rows:
            _write_if_known(task, buffer, task.pieces[-1].path, result)
        if not result.incomplete:
            bad.close()
    return result


def _fills_shard(task: ReadTask, buffer: _TableBuffer) -> bool:
    return buffer.rows >= task.config.rows_per_shard or buffer.bytes > SHARD_BYTES


def _write_if_known(task: ReadTask, buffer: _TableBuffer, path: str, result: ReadResult) -> None:
    """Write a shard, or mark the result as incomplete until the records to quarantine are known.

    Raises
    ------
    DataError
        The records to quarantine are known, and no type can represent the values of a column.
    """
    try:
        _write(task, buffer, path, result)
    except DataError:
        if task.is_second_pass:
            raise
        result.incomplete = True


@dataclass(frozen=True, slots=True)
class _Files:
    """Files of the rows of a batch: one file, or several small ones."""

    pieces: Sequence[Piece]
    counts: Sequence[int] = ()
    """Number of records of each file, if there are several."""

    first_files: Mapping[str, str] = field(default_factory=dict)
    first_files_with_value: Mapping[str, str] = field(default_factory=dict)
    """First file with each column, and first file with a value in it; by default the first file."""

    first_names: Sequence[str] = ()
    """Columns of the first file, if there are several files."""

    def owners(self, rows: int) -> NDArray[np.intp]:
        """Return the index in ``pieces`` of the file of each row, shape (n,)."""
        return np.repeat(np.arange(len(self.pieces)), self.counts if self.counts else [rows])

    def order(self, names: Sequence[str]) -> list[str]:
        """Return the columns in the order of reading the files one by one: columns of later files come last."""
        early = {*self.first_names, *(name for name in names if name.startswith(inputs.PREFIX))}
        return [name for name in names if name in early] + [name for name in names if name not in early]


def _units(task: ReadTask, buffer: _TableBuffer) -> Iterator[tuple[_Files, Iterable[Batch]]]:
    """Yield the batches to read, one file after the other, with small files combined."""
    several = task.count_method != "column" and task.config.vectors is None
    groups = (
        small_files.group_files(task.pieces, task.kinds.keys(), tuple(task.config.types or ()))
        if several
        else (small_files.Group([piece], is_combined=False) for piece in task.pieces)
    )
    for group in groups:
        batch = group.batch(task.options(group.pieces[0].number))
        if batch is not None and _is_usual(task.config, batch.table, buffer):
            files = _Files(
                group.pieces,
                list(map(len, group.lines)),
                group.first_files,
                group.first_files_with_value,
                group.first_names,
            )
            yield files, [batch] if batch.rows else []
            continue
        for piece in group.pieces:
            yield _Files([piece]), readers.read(piece, task.options(piece.number))


def _is_usual(config: InputConfig, table: pa.Table, buffer: _TableBuffer) -> bool:
    """Return whether the columns of a table are valid, so that no error has to name one of several files."""
    if text_template.template_columns(config.text) is None:
        text = _array(table, config.text or "").type
        if not (pa.types.is_null(text) or text_template.is_text(text)):
            return False
    return config.image is None and buffer.has_room(table.schema)


_FILES_SO_FAR = "the pool up to this file"


class _TableBuffer:
    """Buffer of tables until they fill a shard."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove all tables."""
        self.tables: list[pa.Table] = []
        self.rows = 0
        self._bytes = self._cells = 0
        self._columns: dict[str, frozenset[str]] = {}

    def add(self, table: pa.Table, path: str) -> None:
        """Add a table with rows of the file ``path``.

        Raises
        ------
        DataError
            The tables together have too many columns.
        """
        self._columns = self._with(table.schema)
        check_width(_width(self._columns), path, _FILES_SO_FAR)
        self.tables.append(table)
        self.rows += len(table)
        self._bytes += table.nbytes
        self._cells += len(table) * _width(_leaves_by_column(table.schema))

    def has_room(self, schema: pa.Schema) -> bool:
        """Return whether the columns of another table fit the limit."""
        return _width(self._with(schema)) <= MAX_COLUMNS

    def _with(self, schema: pa.Schema) -> dict[str, frozenset[str]]:
        """Return the columns including those of another table; differing objects of JSON files become one JSON text."""
        columns = dict(self._columns)
        for name, leaves in _leaves_by_column(schema).items():
            first_leaves = columns.setdefault(name, leaves)
            if first_leaves != leaves:
                columns[name] = frozenset({name}) if inputs.NULLS in schema.names else first_leaves | leaves
        return columns

    @property
    def bytes(self) -> int:
        """Size in bytes of the shard of all tables, including nulls for columns that some of them lack."""
        return self._bytes + _NULL_BYTES * max(0, self.rows * _width(self._columns) - self._cells)


def _leaves_by_column(schema: pa.Schema) -> dict[str, frozenset[str]]:
    return {one.name: frozenset(_leaves([one])) for one in schema if not one.name.startswith(inputs.PREFIX)}


def _width(columns: Mapping[str, Collection[str]]) -> int:
    return sum(map(len, columns.values()))


def _leaves(fields: Iterable[pa.Field], path: str = "") -> Iterator[str]:
    """Yield the paths of all columns that are not objects, and of the fields of objects, without curate's columns."""
    for one in fields:
        if not path and one.name.startswith(inputs.PREFIX):
            continue
        kind, field_path = one.type, f"{path}.{one.name}"
        while is_list(kind):
            kind = kind.value_type
        if pa.types.is_struct(kind):
            yield from _leaves(kind, field_path)
        else:
            yield field_path


class _Quarantine:
    """Writer of the quarantined rows of a task, to a separate file that appears when the task completes."""

    def __init__(self, task: ReadTask) -> None:
        path = parquet_io.shard_path(task.quarantine, task.number + 1)  # part 0 is for duplicate ids
        self._file = parquet_io.IncrementalWriter(path, schemas.QUARANTINE, task.fingerprint)
        self._rows: list[dict[str, object]] = []
        self._bytes = 0

    def add(self, identity: object, source: str, path: str, line: int, reason: str, record: str | None) -> None:
        """Add a row; only the beginning of its text is stored."""
        name = None if identity is None else preview(str(identity))
        text = None if record is None else preview(record)
        row: dict[str, object] = {
            "id": name,
            "source": source,
            "file": path,
            "line": line,
            "reason": preview(reason),
            "record": text,
        }
        self._rows.append(row)
        self._bytes += len(text or "") + len(name or "") + len(source)
        if len(self._rows) >= _QUARANTINE_ROWS or self._bytes > _QUARANTINE_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._file.write(pa.Table.from_pylist(self._rows, schemas.QUARANTINE))
        self._rows, self._bytes = [], 0

    def close(self) -> None:
        """Write the file, if there are any rows."""
        self._flush()
        self._file.close()

    def __enter__(self) -> _Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.discard()


def _add_nested(result: ReadResult, batch: Batch, files: _Files) -> None:
    for name, array in batch.nested.items():
        path = files.first_files_with_value.get(name, files.pieces[0].path)
        nested = (
            NestedColumn(has_scalars=True)
            if array is None
            else NestedColumn(describe_array(array, path, from_json=True))
        )
        result.nested.setdefault(name, NestedColumn()).add(nested)


def _describe(result: ReadResult, batch: Batch, path: str, first: Mapping[str, str], scalar: Sequence[str]) -> None:
    """Add the types and value ranges of the columns of a batch to the result.

    ``first`` maps columns that the file ``path`` lacks to the first file with them.
    """
    for name, column in zip(batch.table.column_names, batch.table.columns, strict=True):
        if name.startswith(inputs.PREFIX):
            message = f"column {name!r}: names that begin with {inputs.PREFIX!r} are reserved"
            raise DataError(message, where=path, hint="rename the column")
        array = _array(batch.table, name) if column.num_chunks != 1 else column.chunk(0)
        where = first.get(name, path)
        from_json = batch.nulls is not None and name not in scalar
        description = (
            describe_cells(array, where) if name in batch.cells else describe_array(array, where, from_json=from_json)
        )
        result.columns.setdefault(name, Column()).add(description)
    add_features(result.features, {name: (feature, path) for name, feature in batch.features.items()})


def add_features(features: dict[str, tuple[object, str]], more: Mapping[str, tuple[object, str]]) -> None:
    """Merge features of columns with those of earlier files.

    Raises
    ------
    DataError
        Two files have different names for the classes of a column, so that its numbers are ambiguous.
    """
    for name, (feature, path) in more.items():
        old = features.setdefault(name, (feature, path))
        if old[0] == feature:
            continue
        if any(isinstance(one, dict) and one.get("_type") == "ClassLabel" for one in (feature, old[0])):
            raise DataError(
                f"column {name!r} has class labels with different names in {old[1]} and {path}",
                hint="give the labels the same numbers in both files, or store their names as text",
            )


def _usable_rows(task: ReadTask, files: _Files, batch: Batch, bad: _Quarantine, result: ReadResult) -> pa.Table:
    """Return the usable rows of ``batch`` with curate's columns; add the other rows to ``bad``."""
    config = task.config
    table, undeclared = declared_types.convert_columns(batch.table, config.types or {})
    n = len(table)
    path = files.pieces[0].path
    owners = files.owners(n)
    rejected = _RejectedRows(n)
    for reason, rows in undeclared:
        rejected.add(rows, reason)
    text = _text(config, table, batch.texts, path, rejected, result.path_counts)
    images = None if config.image is None else _Images.read(task, table, files, owners, rejected)
    source = _source(config, table, files, owners, rejected)
    identity = to_identifier(_array(table, config.id)) if config.id else pa.nulls(n, pa.string())
    if config.id:
        rejected.add(_nulls(identity), f"has no id (column {config.id!r} is null)")
    _text_role(config.label, table, "label", rejected)
    counts = _read_token_counts(task, table, rejected, result.files[files.pieces[0].number])
    rejected.add(is_blank(text) & (config.text is not None), "has no text")
    shown = text if images is None else images.describe(text)
    for row, reason in sorted(rejected.reasons.items()):
        row_path = files.pieces[owners[row]].path
        bad.add(identity[row].as_py(), source[row], row_path, batch.lines[row], reason, shown[row].as_py())
    for record in batch.bad_records:
        bad.add(None, _unread(config, path), path, record.line, record.reason, record.record)
    result.sources.update(source)
    result.quarantined.update(source[row] for row in rejected.reasons)
    result.sources[_unread(config, path)] += len(batch.bad_records)
    result.quarantined[_unread(config, path)] += len(batch.bad_records)
    keep = np.flatnonzero(rejected.none)
    _count(result, files, batch, owners, keep)
    kept, text = table.take(keep), text.take(keep)
    declared = config.types or {}
    first = {
        **files.first_files_with_value,
        **{name: files.first_files[name] for name in declared if name in files.first_files},
    }
    if len(keep):
        first |= dict.fromkeys(batch.cells - declared.keys(), files.pieces[owners[keep[0]]].path)
    if images is not None and images.has_data:
        batch = replace(batch, features={str(config.image): {"_type": "Image"}, **batch.features})
    _describe(
        result, replace(batch, table=kept, cells=batch.cells - declared.keys()), path, first, scalar_columns(config)
    )
    image_facts = None if images is None else images.facts.take(keep)
    hashes = _hash_contents(text if config.text is not None else None, image_facts)
    ours = {
        inputs.FILE: pa.array(np.array([piece.number for piece in files.pieces], np.int32)[owners[keep]]),
        inputs.ROW: pa.array(np.asarray(batch.rows, np.int64)[keep]),
        inputs.LINE: pa.array(np.asarray(batch.lines, np.int64)[keep]),
        inputs.HASH: pa.array(hashes, pa.binary(16)),
        inputs.TOKENS: _tokens(task, text) if counts is None else counts.take(keep),
        **({} if image_facts is None else {inputs.IMAGE: image_facts}),
    }
    if not config.id:
        ours[inputs.ID] = pa.array([f"{value.hex()}-0" for value in hashes], pa.string())
    if text_template.template_columns(config.text) is not None:
        ours[inputs.TEXT] = text
    if source_names.source_column(config) is None and config.source is not None:
        ours[inputs.SOURCE] = pa.array(source, pa.string()).take(keep)
    if batch.nulls is not None:
        ours[inputs.NULLS] = batch.nulls.take(keep)
    if config.vectors and not config.vectors_file:
        ours[inputs.VECTOR] = _vectors(config.vectors, path, ours[inputs.ROW].to_numpy())
    for name, column in ours.items():
        kept = kept.append_column(name, column)
    return kept.select(files.order(kept.column_names)) if files.first_names else kept


def _hash_contents(text: pa.Array | None, images: pa.StructArray | None) -> list[bytes]:
    """Return the content hash of each row: that of its text, of its image, or of both."""
    image_hashes = [b""] if images is None else images.field("hash").to_pylist()
    if text is None:
        return list(image_hashes)
    keys = image_hashes if images is not None else itertools.repeat(b"")
    pairs = zip(text.to_pylist(), keys, strict=False)
    return [hashlib.blake2b(value.encode(), digest_size=16, key=key).digest() for value, key in pairs]


@dataclass(frozen=True, slots=True)
class _Images:
    """Images of a batch of rows."""

    facts: pa.StructArray
    """Facts of type ``image_files.FACTS``, (n,); null for rejected rows."""

    has_data: bool
    """Whether the column contains bytes."""

    @classmethod
    def read(
        cls, task: ReadTask, table: pa.Table, files: _Files, owners: NDArray[np.intp], rejected: _RejectedRows
    ) -> _Images:
        """Return the facts about the images, and reject rows without a usable image."""
        config, column = task.config, task.config.image or ""
        array = _array(table, column)
        names, data = image_files.split_column(array, column, files.pieces[0].path)
        rows: list[dict[str, object]] = []
        reasons: list[str | None] = []
        encoded = [] if data is None else [row for row, is_there in enumerate(data.is_valid().to_pylist()) if is_there]
        inspected = iter(map_images(lambda row: _inspect(data[row].as_py()), encoded)) if data is not None else iter(())
        present = set(encoded)
        for row, name in enumerate(names):
            facts: Mapping[str, object] = {"reason": f"has no image (column {column!r} is null)"}
            if row in present:
                facts = next(inspected)
            elif name is not None:
                facts = _find_facts(
                    task, name, image_files.folder_of(files.pieces[owners[row]].path, config.image_folder)
                )
            reasons.append(str(facts["reason"]) if facts.get("reason") else None)
            rows.append({part: facts.get(part) for part in image_files.FACTS.names})
        for reason in dict.fromkeys(filter(None, reasons)):
            rejected.add(np.array([one == reason for one in reasons]), reason)
        return cls(pa.array(rows, image_files.FACTS), data is not None)

    def describe(self, text: pa.Array) -> pa.Array:
        """Return what the quarantine shows of each row: the path of its image and its text."""
        names = self.facts.field("path").to_pylist()
        shown = ["\n".join(filter(None, pair)) or None for pair in zip(names, text.to_pylist(), strict=True)]
        return pa.array(shown, pa.string())


def _inspect(data: bytes) -> dict[str, object]:
    facts = inspect_image(data)
    if isinstance(facts, str):
        return {"reason": facts}
    return {"hash": image_files.hash_image(data), "width": facts.width, "height": facts.height}


def _find_facts(task: ReadTask, name: str, folder: str) -> Mapping[str, object]:
    """Return the facts about the image of a row from the catalog."""
    try:
        path = image_files.locate_image(name, folder)
    except ImageFileError as error:
        return {"path": name, "reason": str(error)}
    catalog = {} if task.catalog is None else image_catalog.load_facts(task.catalog, task.fingerprint)
    return catalog.get(path) or {"path": path, "reason": "its image is not in the folder any more"}


class _RejectedRows:
    """Rejected rows of a batch, each with the first reason."""

    def __init__(self, rows: int) -> None:
        self.none = np.ones(rows, np.bool_)
        self.reasons: dict[int, str] = {}

    def add(self, rows: NDArray[np.bool_], reason: str) -> None:
        """Reject the rows where ``rows`` is true."""
        for row in np.flatnonzero(rows).tolist():
            self.reasons.setdefault(row, reason)
        self.none &= ~rows


def _nulls(array: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False))


def _count(result: ReadResult, files: _Files, batch: Batch, owners: NDArray[np.intp], keep: NDArray[np.intp]) -> None:
    number = len(files.pieces)
    tabled, kept = (np.bincount(each, minlength=number).tolist() for each in (owners, owners[keep]))
    stop = 0
    for index, piece in enumerate(files.pieces):
        start, stop = stop, stop + (files.counts[index] if files.counts else len(batch.rows))
        last = max([*batch.rows[start:stop][-1:], *(record.row for record in batch.bad_records)], default=-1)
        line = max([*batch.lines[start:stop][-1:], *(record.line for record in batch.bad_records)], default=0)
        rejected = tabled[index] - kept[index] + len(batch.bad_records)
        result.files[piece.number].add(
            FileCount(line, kept[index], rejected, batch.non_finite, expansion=batch.expansion, extent=last + 1)
        )


def _unread(config: InputConfig, path: str) -> str:
    """Return the source of a record that does not parse."""
    return (
        NO_SOURCE
        if source_names.source_column(config)
        else source_names.source_from_path(config, path) or DEFAULT_SOURCE
    )


def _array(table: pa.Table, name: str) -> pa.Array:
    """Return a column of a batch, or nulls if the batch lacks it."""
    if name not in table.column_names:
        return pa.nulls(len(table), pa.string())
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _text(
    config: InputConfig,
    table: pa.Table,
    texts: Mapping[str, pa.Array],
    path: str,
    rejected: _RejectedRows,
    counts: PathCounts,
) -> pa.Array:
    if config.text is None:
        return pa.array([""] * len(table), pa.string())
    if (names := text_template.template_columns(config.text)) is not None:
        for name in texts.keys() & set(table.column_names):
            table = table.set_column(table.column_names.index(name), name, texts[name])
        for name in names:
            _text_role(name, table, "text", rejected)
        return text_template.render(config.text, table, counts)
    column = _array(table, config.text)
    if not (pa.types.is_null(column.type) or text_template.is_text(column.type)):
        raise DataError(
            f"input.text: column {config.text!r} is {column.type}, not text",
            where=path,
            hint=f'to use it as text anyway, write it as a template: text: "{{{config.text}}}"',
        )
    return _text_role(config.text, table, "text", rejected)


def _text_role(name: str | None, table: pa.Table, role: str, rejected: _RejectedRows) -> pa.Array:
    """Return a column as text, and reject rows whose bytes are not UTF-8."""
    column = _array(table, name) if name else pa.nulls(len(table), pa.string())
    text = to_text(column)
    if is_binary(column.type):
        rejected.add(_nulls(text) & ~_nulls(column), f"{role} column {name!r} is not UTF-8")
    return text


def _source(
    config: InputConfig, table: pa.Table, files: _Files, owners: NDArray[np.intp], rejected: _RejectedRows
) -> list[str]:
    name = source_names.source_column(config)
    if name is None:
        names = [source_names.source_from_path(config, piece.path) or DEFAULT_SOURCE for piece in files.pieces]
        return [names[owner] for owner in owners.tolist()]
    column = _array(table, name)
    if pa.types.is_nested(column.type):
        message = f"input.source: column {name!r} is {column.type}, not text or a number"
        raise DataError(message, where=files.pieces[0].path, hint="choose another column")
    names = _text_role(name, table, "source", rejected).to_pylist()
    return [NO_SOURCE if name is None else name for name in names]


_MOST_TOKENS = np.iinfo(np.int32).max


def _tokens(task: ReadTask, text: pa.Array) -> pa.Array:
    if task.count_method == "estimate" or task.config.tokens is None:
        return token_counts.estimate(text)
    return token_counts.make_counter(task.config.tokens)(text)


def _read_token_counts(task: ReadTask, table: pa.Table, rejected: _RejectedRows, count: FileCount) -> pa.Array | None:
    """Return the token counts if they come from a column, and reject rows without a count."""
    name = task.config.tokens
    if task.count_method != "column" or name is None:
        return None
    count.tokens |= name in table.column_names
    numbers = token_counts.read_counts(_array(table, name), name)
    rejected.add(_nulls(numbers), f"has no token count (column {name!r} is null)")
    outside = pc.or_(pc.less(numbers, 0), pc.greater(numbers, _MOST_TOKENS)).fill_null(False)
    rejected.add(
        np.asarray(outside.to_numpy(zero_copy_only=False)), f"has a token count out of range (column {name!r})"
    )
    return pc.if_else(outside, None, numbers).cast(pa.int32())


_VECTORS_HINT = "write an array with one vector for every row of the file"


def _vectors(suffix: str, path: str, rows: np.ndarray) -> pa.Array:
    array_path = vectors_path(paths.parse_path(path), suffix)
    return _read_vectors(array_path, rows, f"{path} has more rows")


@dataclass(frozen=True, slots=True)
class VectorTask:
    """Task of adding the vectors of one array for the pool to a shard."""

    shard: Path
    array: Path
    offsets: tuple[int, ...]
    """Number of rows in the files before each file."""

    fingerprint: str


def add_vectors(task: VectorTask) -> None:
    """Add the vectors of the rows of a shard as a column."""
    table = parquet_io.read(task.shard)
    rows = np.asarray(task.offsets, np.int64)[table[inputs.FILE].to_numpy()] + table[inputs.ROW].to_numpy()
    table = table.append_column(inputs.VECTOR, _read_vectors(task.array, rows, "the input files have more rows"))
    parquet_io.write(table, task.shard, task.fingerprint, compression="zstd")


def _read_vectors(array_path: Path, rows: NDArray[np.int64], problem: str) -> pa.Array:
    """Return rows of an array, in ascending order, as lists."""
    first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, -1)
    with paths.convert_store_errors(array_path):
        try:
            shape = npy.read_shape(array_path)
            array = npy.read_rows(array_path, first, last + 1)
        except (OSError, ValueError, OverflowError) as error:
            raise DataError(f"cannot read the vectors: {error}", where=str(array_path), hint=_VECTORS_HINT) from error
    if last >= shape[0]:
        message = f"the array has {shape[0]:,} vectors, but {problem}"
        raise DataError(message, where=str(array_path), hint=_VECTORS_HINT)
    with np.errstate(over="ignore"):  # overflows become infinite, and are quarantined by the embed stage
        taken = np.ascontiguousarray(array[rows - first], np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(taken.ravel()), shape[1])


def vectors_path(path: Path, suffix: str) -> Path:
    """Return the path of the array next to an input file: ``a.npy`` for ``a.jsonl.gz`` and the suffix ``.npy``."""
    return path.with_name(readers.strip_format(path) + suffix)


def _join_tables(tables: list[pa.Table], columns: Mapping[str, Column]) -> pa.Table:
    """Join tables under one schema; cells of CSV and TSV files stay text, and are cast when they are read."""
    if len(tables) == 1:
        return tables[0]
    types_by_column: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for one in table.schema:
            types_by_column.setdefault(one.name, set()).add(one.type)
    kinds = {name: _common_type(name, types, columns) for name, types in types_by_column.items()}
    return pa.concat_tables([_conform(table, kinds) for table in tables])


def _common_type(name: str, types: set[pa.DataType], columns: Mapping[str, Column]) -> pa.DataType:
    types = types - {pa.null()}
    return next(iter(types)) if len(types) == 1 else columns[name].type(name) if types else pa.null()


def _conform(table: pa.Table, kinds: Mapping[str, pa.DataType]) -> pa.Table:
    columns = dict(zip(table.column_names, table.columns, strict=True))
    arrays = [
        convert_column(columns[name], kind) if name in columns else pa.nulls(len(table), kind)
        for name, kind in kinds.items()
    ]
    return pa.table(arrays, names=list(kinds))


def _write(task: ReadTask, buffer: _TableBuffer, path: str, result: ReadResult) -> None:
    """Write a shard and keep the excess rows in the buffer; ``path`` is the file that was read last."""
    joined = _join_tables(buffer.tables, result.columns)
    check_width(sum(1 for _ in _leaves(joined.schema)), path, _FILES_SO_FAR)
    shard = task.out / f"{task.number:05d}-{len(result.paths):05d}.parquet"
    rows = task.config.rows_per_shard
    parquet_io.write(joined.slice(0, rows), shard, task.fingerprint, compression="zstd")
    result.paths.append(shard)
    buffer.clear()
    if len(joined) > rows:
        buffer.add(joined.slice(rows), path)
