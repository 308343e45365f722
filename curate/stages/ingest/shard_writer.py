"""The work of one ingest task: records of some files in, input shards and a list of bad rows out."""

from __future__ import annotations

import hashlib
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
from curate.kernels.text.json_values import is_binary, to_identifier, to_text
from curate.kernels.text.text_identity import is_blank
from curate.stages.ingest import declared_types, source_names, text_template, token_counts
from curate.store import inputs, json_records, npy, parquet_io, readers, schemas, small_files
from curate.store.arrow_values import convert_column
from curate.store.column_types import Column, describe_array, describe_cells
from curate.store.inputs import DEFAULT_SOURCE, NO_SOURCE
from curate.store.records import MAX_COLUMNS, AllowedKinds, Batch, KindCounts, Piece, ReadOptions, check_width, preview

if TYPE_CHECKING:
    from curate.config.model import InputConfig

CountMethod = Literal["column", "tokenizer", "estimate"]

SHARD_BYTES = 1 << 29
"""The most bytes of a shard, but for those of one batch; it has fewer rows than asked for where they are long."""

_QUARANTINE_ROWS = 1 << 16
_QUARANTINE_BYTES = 1 << 25
"""Most rows and bytes of quarantined records that wait to be written, so that a file may hold any number of them."""

_NULL_BYTES = 16  # of a column that a batch lacks: 8 in a shard, and as many again while it is read


@dataclass(frozen=True, slots=True)
class ReadTask:
    """One task: consecutive pieces that become one or more shards."""

    number: int
    pieces: tuple[Piece, ...]
    weight: int
    """About how many rows."""

    config: InputConfig
    count_method: CountMethod
    out: Path
    quarantine: Path
    fingerprint: str
    kinds: Mapping[int, AllowedKinds] = field(default_factory=dict)
    """Of files by number, the kinds of values of those columns that have several; others make a record bad."""

    as_json: frozenset[str] = frozenset()
    """Columns whose lists and objects have no common type."""

    is_second_pass: bool = False
    """Whether the kinds and columns are known, as all tasks have run once."""

    def options(self, file: int) -> ReadOptions:
        """Return how to read the file of that number."""
        return replace(read_options(self.config), kinds=self.kinds.get(file, {}), as_json=self.as_json)


def read_options(config: InputConfig) -> ReadOptions:
    """Return how to read the files of an input of whose columns nothing is known yet."""
    return ReadOptions(
        as_text=tuple(config.types or ()),
        header=config.header,
        delimiter=config.delimiter,
        template_columns=text_template.template_columns(config.text) or (),
        scalar_columns=scalar_columns(config),
    )


def scalar_columns(config: InputConfig) -> tuple[str, ...]:
    """Return the columns that hold text or numbers, as their part in the pool demands; a template's may hold more."""
    text = config.text if text_template.template_columns(config.text) is None else None
    source = source_names.source_column(config)
    return tuple(name for name in (text, config.id, config.label, source, config.tokens) if name is not None)


@dataclass(slots=True)
class FileCount:
    """Accounting of one input file."""

    lines: int = 0
    """The last line (or Parquet row) that was read."""

    rows: int = 0
    """Rows of the pool."""

    quarantined: int = 0
    non_finite: int = 0
    """NaN and Infinity literals of JSON that became null."""

    expansion: int = 0
    """Bytes that the file expanded to as a multiple of its size; 0 if that is not reported."""

    extent: int = 0
    """Records, counting bad and blank ones, up to the last."""

    tokens: bool = False
    """Whether the file has a column of token counts."""

    def add(self, other: FileCount) -> None:
        """Add what another piece of the file gave."""
        self.lines, self.extent = max(self.lines, other.lines), max(self.extent, other.extent)
        self.rows += other.rows
        self.quarantined += other.quarantined
        self.non_finite += other.non_finite
        self.expansion = max(self.expansion, other.expansion)
        self.tokens |= other.tokens

    def as_dict(self) -> dict[str, int]:
        """Return what a manifest says of the file."""
        counts = {"lines": self.lines, "rows": self.rows, "quarantined": self.quarantined}
        rare = {"non_finite": self.non_finite, "expansion": self.expansion}
        return {**counts, **{name: value for name, value in rare.items() if value}}


@dataclass(slots=True)
class NestedColumn:
    """What JSON files hold in one column."""

    column: Column = field(default_factory=Column)
    """Types of the lists and objects."""

    has_scalars: bool = False
    """Whether there are other values."""

    def add(self, other: NestedColumn) -> None:
        """Add what is known of later records."""
        self.column.add(other.column)
        self.has_scalars |= other.has_scalars


@dataclass(slots=True)
class ReadResult:
    """What came of it."""

    paths: list[Path] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    columns: dict[str, Column] = field(default_factory=dict)
    """What each column holds."""

    nested: dict[str, NestedColumn] = field(default_factory=dict)
    """Of JSON files, what each column but the scalar ones holds, also in bad records."""

    incomplete: bool = False
    """Whether shards are missing, as records disagree on a kind."""

    features: dict[str, tuple[object, str]] = field(default_factory=dict)
    """Each column's feature as Hugging Face's datasets describes it, and the first file that says so."""

    files: dict[int, FileCount] = field(default_factory=dict)
    """By the file's number."""

    kind_counts: dict[int, KindCounts] = field(default_factory=dict)
    """The kinds of values in those files that have several at one path, or that this task has only a piece of."""


def write_shards(task: ReadTask) -> ReadResult:
    """Write the shards of ``task`` and say what is in them.

    Where records of a JSON file disagree on a kind, nothing is written, and the votes say so.
    """
    done = ReadResult()
    waiting = _Waiting()
    with _Quarantine(task) as bad:
        for files, batches in _units(task, waiting):
            number, path = files.pieces[0].number, files.pieces[0].path
            votes: KindCounts = {}
            done.files |= {piece.number: FileCount() for piece in files.pieces}
            for batch in batches:
                for place, counts in batch.kind_counts.items():
                    votes.setdefault(place, Counter()).update(counts)
                _note_nested(done, batch, files)
                if number not in task.kinds and not done.incomplete:
                    done.incomplete = bool(json_records.find_majority_kinds(votes))
                if done.incomplete:
                    continue
                waiting.add(_admit(task, files, batch, bad, done), path)
                while not done.incomplete and waiting.rows and _is_shard(task, waiting):
                    _write_once_known(task, waiting, path, done)
            if number not in task.kinds and (not files.pieces[0].complete or json_records.find_majority_kinds(votes)):
                done.kind_counts[number] = votes
        if done.incomplete:
            return done
        if waiting.rows:
            _write_once_known(task, waiting, task.pieces[-1].path, done)
        if not done.incomplete:
            bad.close()
    return done


def _is_shard(task: ReadTask, waiting: _Waiting) -> bool:
    return waiting.rows >= task.config.rows_per_shard or waiting.bytes > SHARD_BYTES


def _write_once_known(task: ReadTask, waiting: _Waiting, path: str, done: ReadResult) -> None:
    """Write a shard, or note that it must wait until it is known which records are to be quarantined.

    Raises
    ------
    DataError : that is known, and no type holds the values of a column
    """
    try:
        _write(task, waiting, path, done)
    except DataError:
        if task.is_second_pass:
            raise
        done.incomplete = True


@dataclass(frozen=True, slots=True)
class _Files:
    """Files that the rows of a batch come from: one, or several small ones."""

    pieces: Sequence[Piece]
    counts: Sequence[int] = ()
    """Number of records of each, if they are several."""

    first_files: Mapping[str, str] = field(default_factory=dict)
    first_files_with_value: Mapping[str, str] = field(default_factory=dict)
    """First file that has each column, and first that has a value in it; by default the first file."""

    first_names: Sequence[str] = ()
    """Columns of the first file, if they are several."""

    def owners(self, rows: int) -> NDArray[np.intp]:
        """Return the place in ``pieces`` of each of the rows, (n,)."""
        return np.repeat(np.arange(len(self.pieces)), self.counts if self.counts else [rows])

    def order(self, names: Sequence[str]) -> list[str]:
        """Return the columns in the order that they have if the files are read one by one: those of later ones last."""
        early = {*self.first_names, *(name for name in names if name.startswith(inputs.PREFIX))}
        return [name for name in names if name in early] + [name for name in names if name not in early]


def _units(task: ReadTask, waiting: _Waiting) -> Iterator[tuple[_Files, Iterable[Batch]]]:
    """Yield what to read, one file after the other, small ones together."""
    several = task.count_method != "column" and task.config.vectors is None
    groups = (
        small_files.group_files(task.pieces, task.kinds.keys(), tuple(task.config.types or ()))
        if several
        else (small_files.Group([piece], is_combined=False) for piece in task.pieces)
    )
    for group in groups:
        batch = group.batch(task.options(group.pieces[0].number))
        if batch is not None and _is_usual(task.config, batch.table, waiting):
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


def _is_usual(config: InputConfig, table: pa.Table, waiting: _Waiting) -> bool:
    """Return whether no error about the columns of a table is to come, which would have to name the right file."""
    text = _array(table, config.text).type
    readable = pa.types.is_null(text) or text_template.is_text(text)
    return (readable or text_template.template_columns(config.text) is not None) and waiting.has_room(table.schema)


_FILES_SO_FAR = "the pool, up to this file,"


class _Waiting:
    """Tables that wait until they are enough for a shard."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the tables."""
        self.tables: list[pa.Table] = []
        self.rows = 0
        self._bytes = self._cells = 0
        self._columns: dict[str, frozenset[str]] = {}

    def add(self, table: pa.Table, path: str) -> None:
        """Add a table with rows of the file ``path``.

        Raises
        ------
        DataError : together the tables have too many columns
        """
        self._columns = self._with(table.schema)
        check_width(_width(self._columns), path, _FILES_SO_FAR)
        self.tables.append(table)
        self.rows += len(table)
        self._bytes += table.nbytes
        self._cells += len(table) * _width(_leaves_by_column(table.schema))

    def has_room(self, schema: pa.Schema) -> bool:
        """Return whether there are not too many columns with those of one more table."""
        return _width(self._with(schema)) <= MAX_COLUMNS

    def _with(self, schema: pa.Schema) -> dict[str, frozenset[str]]:
        """Return the columns with those of one more table; objects of JSON files that differ are one JSON text."""
        columns = dict(self._columns)
        for name, leaves in _leaves_by_column(schema).items():
            known = columns.setdefault(name, leaves)
            if known != leaves:
                columns[name] = frozenset({name}) if inputs.NULLS in schema.names else known | leaves
        return columns

    @property
    def bytes(self) -> int:
        """Bytes of the shard that the tables would become, with the nulls of columns that some of them lack."""
        return self._bytes + _NULL_BYTES * max(0, self.rows * _width(self._columns) - self._cells)


def _leaves_by_column(schema: pa.Schema) -> dict[str, frozenset[str]]:
    return {one.name: frozenset(_leaves([one])) for one in schema if not one.name.startswith(inputs.PREFIX)}


def _width(columns: Mapping[str, Collection[str]]) -> int:
    return sum(map(len, columns.values()))


def _leaves(fields: Iterable[pa.Field], path: str = "") -> Iterator[str]:
    """Yield the path of every column that is not an object, and of every field of those that are; not of ours."""
    for one in fields:
        if not path and one.name.startswith(inputs.PREFIX):
            continue
        kind, place = one.type, f"{path}.{one.name}"
        while is_list(kind):
            kind = kind.value_type
        if pa.types.is_struct(kind):
            yield from _leaves(kind, place)
        else:
            yield place


class _Quarantine:
    """Rows that cannot be used, in a file of the task's own, which is there when the task is done."""

    def __init__(self, task: ReadTask) -> None:
        path = parquet_io.shard_path(task.quarantine, task.number + 1)  # part 0 is for ids that occur twice
        self._file = parquet_io.IncrementalWriter(path, schemas.QUARANTINE, task.fingerprint)
        self._rows: list[dict[str, object]] = []
        self._bytes = 0

    def add(self, identity: object, source: str, path: str, line: int, reason: str, record: str | None) -> None:
        """Add a row; only the beginning of its text is kept."""
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
        """Put the file in place, if there are any rows."""
        self._flush()
        self._file.close()

    def __enter__(self) -> _Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.discard()


def _note_nested(done: ReadResult, batch: Batch, files: _Files) -> None:
    for name, array in batch.nested.items():
        path = files.first_files_with_value.get(name, files.pieces[0].path)
        found = (
            NestedColumn(has_scalars=True)
            if array is None
            else NestedColumn(describe_array(array, path, from_json=True))
        )
        done.nested.setdefault(name, NestedColumn()).add(found)


def _describe(done: ReadResult, batch: Batch, path: str, first: Mapping[str, str], scalar: Sequence[str]) -> None:
    """Add what the columns of a batch hold to what is known of them.

    ``first`` names the first file of those columns that the file ``path`` does not have.
    """
    for name, column in zip(batch.table.column_names, batch.table.columns, strict=True):
        if name.startswith(inputs.PREFIX):
            raise DataError(f"column {name!r}: names that begin with {inputs.PREFIX!r} are reserved", where=path)
        array = _array(batch.table, name) if column.num_chunks != 1 else column.chunk(0)
        where = first.get(name, path)
        from_json = batch.nulls is not None and name not in scalar
        found = (
            describe_cells(array, where) if name in batch.cells else describe_array(array, where, from_json=from_json)
        )
        done.columns.setdefault(name, Column()).add(found)
    add_features(done.features, {name: (feature, path) for name, feature in batch.features.items()})


def add_features(known: dict[str, tuple[object, str]], more: Mapping[str, tuple[object, str]]) -> None:
    """Add features of columns to those of earlier files.

    Raises
    ------
    DataError : two files have different names for the classes of a column, whose numbers then mean different things
    """
    for name, (feature, path) in more.items():
        old = known.setdefault(name, (feature, path))
        if old[0] == feature:
            continue
        if any(isinstance(one, dict) and one.get("_type") == "ClassLabel" for one in (feature, old[0])):
            raise DataError(
                f"column {name!r} has class labels with different names in {old[1]} and {path}",
                hint="give the labels the same numbers in both files, or store their names as text",
            )


def _admit(task: ReadTask, files: _Files, batch: Batch, bad: _Quarantine, done: ReadResult) -> pa.Table:
    """Return the rows of ``batch`` that have an id and a text, with our columns; add the others to ``bad``."""
    config = task.config
    table, undeclared = declared_types.convert_columns(batch.table, config.types or {})
    n = len(table)
    path = files.pieces[0].path
    owners = files.owners(n)
    rejected = _Rejected(n)
    for reason, rows in undeclared:
        rejected.add(rows, reason)
    text = _text(config, table, batch.texts, path, rejected)
    source = _source(config, table, files, owners, rejected)
    identity = to_identifier(_array(table, config.id)) if config.id else pa.nulls(n, pa.string())
    if config.id:
        rejected.add(_nulls(identity), f"has no id (column {config.id!r} is null)")
    _text_role(config.label, table, "label", rejected)
    counts = _counted(task, table, rejected, done.files[files.pieces[0].number])
    rejected.add(is_blank(text), "has no text")
    for row, reason in sorted(rejected.reasons.items()):
        place = files.pieces[owners[row]].path
        bad.add(identity[row].as_py(), source[row], place, batch.lines[row], reason, text[row].as_py())
    for record in batch.bad_records:
        bad.add(None, _unread(config, path), path, record.line, record.reason, record.record)
    done.sources.update(source)
    done.quarantined.update(source[row] for row in rejected.reasons)
    done.sources[_unread(config, path)] += len(batch.bad_records)
    done.quarantined[_unread(config, path)] += len(batch.bad_records)
    keep = np.flatnonzero(rejected.none)
    _count(done, files, batch, owners, keep)
    kept, text = table.take(keep), text.take(keep)
    declared = config.types or {}
    first = {
        **files.first_files_with_value,
        **{name: files.first_files[name] for name in declared if name in files.first_files},
    }
    if len(keep):
        first |= dict.fromkeys(batch.cells - declared.keys(), files.pieces[owners[keep[0]]].path)
    _describe(
        done, replace(batch, table=kept, cells=batch.cells - declared.keys()), path, first, scalar_columns(config)
    )
    hashes = [hashlib.blake2b(value.encode(), digest_size=16).digest() for value in text.to_pylist()]
    ours = {
        inputs.FILE: pa.array(np.array([piece.number for piece in files.pieces], np.int32)[owners[keep]]),
        inputs.ROW: pa.array(np.asarray(batch.rows, np.int64)[keep]),
        inputs.LINE: pa.array(np.asarray(batch.lines, np.int64)[keep]),
        inputs.HASH: pa.array(hashes, pa.binary(16)),
        inputs.TOKENS: _tokens(task, text) if counts is None else counts.take(keep),
    }
    if not config.id:
        ours[inputs.ID] = pa.array([f"{value.hex()}-0" for value in hashes], pa.string())
    if text_template.template_columns(config.text) is not None:
        ours[inputs.TEXT] = text
    if source_names.source_column(config) is None and config.source is not None:
        ours[inputs.SOURCE] = pa.array(source, pa.string()).take(keep)
    if batch.nulls is not None:
        ours[inputs.NULLS] = batch.nulls.take(keep)
    if config.vectors:
        ours[inputs.VECTOR] = _vectors(config.vectors, path, ours[inputs.ROW].to_numpy())
    for name, column in ours.items():
        kept = kept.append_column(name, column)
    return kept.select(files.order(kept.column_names)) if files.first_names else kept


class _Rejected:
    """Rows that cannot be used, each with the first reason."""

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


def _count(done: ReadResult, files: _Files, batch: Batch, owners: NDArray[np.intp], keep: NDArray[np.intp]) -> None:
    number = len(files.pieces)
    tabled, kept = (np.bincount(each, minlength=number).tolist() for each in (owners, owners[keep]))
    stop = 0
    for place, piece in enumerate(files.pieces):
        start, stop = stop, stop + (files.counts[place] if files.counts else len(batch.rows))
        last = max([*batch.rows[start:stop][-1:], *(record.row for record in batch.bad_records)], default=-1)
        line = max([*batch.lines[start:stop][-1:], *(record.line for record in batch.bad_records)], default=0)
        rejected = tabled[place] - kept[place] + len(batch.bad_records)
        done.files[piece.number].add(
            FileCount(line, kept[place], rejected, batch.non_finite, expansion=batch.expansion, extent=last + 1)
        )


def _unread(config: InputConfig, path: str) -> str:
    """Return the source of a record that does not parse."""
    return (
        NO_SOURCE
        if source_names.source_column(config)
        else source_names.source_from_path(config, path) or DEFAULT_SOURCE
    )


def _array(table: pa.Table, name: str) -> pa.Array:
    """Return a column of a batch, or nulls if the batch has no such column."""
    if name not in table.column_names:
        return pa.nulls(len(table), pa.string())
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _text(
    config: InputConfig, table: pa.Table, texts: Mapping[str, pa.Array], path: str, rejected: _Rejected
) -> pa.Array:
    if (names := text_template.template_columns(config.text)) is not None:
        for name in texts.keys() & set(table.column_names):
            table = table.set_column(table.column_names.index(name), name, texts[name])
        for name in names:
            _text_role(name, table, "text", rejected)
        return text_template.render(config.text, table)
    column = _array(table, config.text)
    if not (pa.types.is_null(column.type) or text_template.is_text(column.type)):
        raise DataError(
            f"input.text: column {config.text!r} is {column.type}, not text",
            where=path,
            hint=f'to use it as text all the same, write it as a template: text: "{{{config.text}}}"',
        )
    return _text_role(config.text, table, "text", rejected)


def _text_role(name: str | None, table: pa.Table, role: str, rejected: _Rejected) -> pa.Array:
    """Return the text of a column, and reject rows whose bytes are not UTF-8."""
    column = _array(table, name) if name else pa.nulls(len(table), pa.string())
    text = to_text(column)
    if is_binary(column.type):
        rejected.add(_nulls(text) & ~_nulls(column), f"{role} column {name!r} is not UTF-8")
    return text


def _source(
    config: InputConfig, table: pa.Table, files: _Files, owners: NDArray[np.intp], rejected: _Rejected
) -> list[str]:
    name = source_names.source_column(config)
    if name is None:
        names = [source_names.source_from_path(config, piece.path) or DEFAULT_SOURCE for piece in files.pieces]
        return [names[owner] for owner in owners.tolist()]
    column = _array(table, name)
    if pa.types.is_nested(column.type):
        raise DataError(f"input.source: column {name!r} is {column.type}, not a name")
    names = _text_role(name, table, "source", rejected).to_pylist()
    return [NO_SOURCE if name is None else name for name in names]


_MOST_TOKENS = np.iinfo(np.int32).max


def _tokens(task: ReadTask, text: pa.Array) -> pa.Array:
    if task.count_method == "estimate" or task.config.tokens is None:
        return token_counts.estimate(text)
    return token_counts.make_counter(task.config.tokens)(text)


def _counted(task: ReadTask, table: pa.Table, rejected: _Rejected, count: FileCount) -> pa.Array | None:
    """Return the token counts of the input, if they come from a column, and reject rows without one."""
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


def _vectors(suffix: str, path: str, rows: np.ndarray) -> pa.Array:
    beside = vectors_path(paths.parse_path(path), suffix)
    first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, -1)
    with paths.convert_store_errors(beside):
        try:
            shape = npy.read_shape(beside)
            array = npy.read_rows(beside, first, last + 1)
        except (OSError, ValueError, OverflowError) as error:
            raise DataError(f"cannot read the vectors: {error}", where=str(beside)) from error
    if last >= shape[0]:
        raise DataError(f"holds {shape[0]:,} vectors, but {path} has more rows", where=str(beside))
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is set aside when it is embedded
        taken = np.ascontiguousarray(array[rows - first], np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(taken.ravel()), shape[1])


def vectors_path(path: Path, suffix: str) -> Path:
    """Return the path of the array next to an input file: ``a.npy`` for ``a.jsonl.gz`` and the suffix ``.npy``."""
    return path.with_name(readers.strip_format(path) + suffix)


def _joined(tables: list[pa.Table], columns: Mapping[str, Column]) -> pa.Table:
    """Join tables under one schema; cells of text files stay text, and are cast when they are read."""
    if len(tables) == 1:
        return tables[0]
    found: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for one in table.schema:
            found.setdefault(one.name, set()).add(one.type)
    kinds = {name: _joined_type(name, types, columns) for name, types in found.items()}
    return pa.concat_tables([_conformed(table, kinds) for table in tables])


def _joined_type(name: str, found: set[pa.DataType], columns: Mapping[str, Column]) -> pa.DataType:
    found = found - {pa.null()}
    return next(iter(found)) if len(found) == 1 else columns[name].type(name) if found else pa.null()


def _conformed(table: pa.Table, kinds: Mapping[str, pa.DataType]) -> pa.Table:
    there = dict(zip(table.column_names, table.columns, strict=True))
    arrays = [
        convert_column(there[name], kind) if name in there else pa.nulls(len(table), kind)
        for name, kind in kinds.items()
    ]
    return pa.table(arrays, names=list(kinds))


def _write(task: ReadTask, waiting: _Waiting, path: str, done: ReadResult) -> None:
    """Write a shard, and leave the rows that are too many for it; ``path`` is the file that was read last."""
    joined = _joined(waiting.tables, done.columns)
    check_width(sum(1 for _ in _leaves(joined.schema)), path, _FILES_SO_FAR)
    place = task.out / f"{task.number:05d}-{len(done.paths):05d}.parquet"
    rows = task.config.rows_per_shard
    parquet_io.write(joined.slice(0, rows), place, task.fingerprint, compression="zstd")
    done.paths.append(place)
    waiting.clear()
    if len(joined) > rows:
        waiting.add(joined.slice(rows), path)
