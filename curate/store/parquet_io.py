"""Atomic writing and reading of files: written next to their path, synced and renamed; objects are uploaded."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate import no_follow, paths
from curate.errors import DataError

FINGERPRINT = "curate.fingerprint"
"""Footer key of the fingerprint of the inputs and parameters of a shard."""

CHECKSUM = "checksum"
"""Last key of a JSON file: the sha256 of the rest, as canonical JSON."""

_ENDS = 64 << 10
"""Minimum number of bytes that ``seal`` reads at each end of a file."""


_PARTIAL = re.compile(r"\.[0-9].*\.partial\..*", re.DOTALL)


def write_atomically(path: Path, *, keep_name: bool = False) -> AbstractContextManager[Path]:
    """Yield a local path to write to; the written file replaces ``path`` when the block ends without an error.

    Parameters
    ----------
    path : Path
        File, or object in a store.
    named : bool
        Give the yielded path the name of ``path``, because some libraries derive the format from it.
    """
    if paths.is_object(path):
        return _upload(path)
    return _write_and_rename(path, _in_private_folder if keep_name else no_follow.create_file)


@contextmanager
def _upload(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        try:
            yield Path(folder) / path.name
        except OSError as error:
            raise paths.unwritable_error(Path(folder), error) from error
        paths.upload(Path(folder) / path.name, path)


@contextmanager
def _write_and_rename(path: Path, create: Callable[[Path], AbstractContextManager[Path]]) -> Iterator[Path]:
    try:
        with no_follow.open_parent(path, make=True) as target:
            partial = target.with_name(f".{os.getpid()}.partial.{path.name}")
            _delete(partial)
            try:
                with create(partial) as writing:
                    yield writing
                    _sync(writing)
                    (writing if partial.is_dir() else partial).replace(target)
                _sync(target.parent)
            finally:
                with suppress(OSError):  # already deleted, or the cause of the first error
                    _delete(partial)
    except OSError as error:
        raise paths.unwritable_error(path, error) from error


@contextmanager
def _in_private_folder(partial: Path) -> Iterator[Path]:
    with no_follow.create_private_directory(partial) as folder:
        yield folder / partial.name.partition(".partial.")[2]


def _delete(partial: Path) -> None:
    """Delete a partial file, or the private folder of one; links are not followed."""
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial)
    else:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def stage_text(path: Path, text: str) -> Iterator[Callable[[], None]]:
    """Write a text file next to ``path``; the function passed to the block moves it to ``path``.

    Everything that can fail for lack of space is done before the move. Without the call, ``path`` stays unchanged.
    """
    writer = "" if paths.is_object(path) else f".{os.getpid()}"  # in a store, partial files are never removed: one name
    partial = path.with_name(f"{writer}.partial.{path.name}")
    pending = True

    def put() -> None:
        nonlocal pending
        paths.move(partial, path)
        pending = False
        if not paths.is_object(path):
            sync_folder(path.parent)

    try:
        if paths.is_object(path):
            write_text(partial, text)
        else:
            try:
                with no_follow.open_parent(partial, make=True) as target:
                    _delete(target)
                    with no_follow.create_file(target) as writing:
                        writing.write_text(text, encoding="utf-8", newline="\n")
                        _sync(writing)
            except OSError as error:
                raise paths.unwritable_error(path, error) from error
        yield put
    finally:
        with suppress(OSError, DataError):  # the cause of the first error
            if pending:
                paths.unlink(partial, missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove the partial files of killed processes; call it only while no other process writes to ``folder``.

    An object store has no partial files.
    """
    if paths.is_object(folder):
        return
    with suppress(FileNotFoundError), no_follow.open_directory(folder) as target:
        for _, folders, files, handle in os.fwalk(f"{target}/."):
            for name in filter(_PARTIAL.fullmatch, [*folders, *files]):
                try:
                    os.unlink(name, dir_fd=handle)
                except (IsADirectoryError, PermissionError):  # the error for a folder depends on the system
                    shutil.rmtree(name, dir_fd=handle)
            folders[:] = [name for name in folders if not _PARTIAL.fullmatch(name)]


def sync_folder(folder: Path) -> None:
    """Flush the file names in ``folder`` to disk, so that they survive a power failure."""
    with no_follow.open_directory(folder) as target:
        _sync(target)


def write(
    table: pa.Table,
    path: Path,
    fingerprint: str,
    *,
    compression: str = "none",
    dictionary: bool = True,
    row_group: int | None = None,
) -> None:
    """Write a Parquet shard with the fingerprint of its inputs in the footer.

    Parameters
    ----------
    compression : str
        Compression of the pages.
    dictionary : bool
        Whether to try a dictionary of the values of each column; it costs time if values do not repeat.
    row_group : int, optional
        Maximum number of rows in a row group.
    """
    footer = {**(table.schema.metadata or {}), FINGERPRINT.encode(): fingerprint.encode()}
    with write_atomically(path) as partial:
        pq.write_table(
            table.replace_schema_metadata(footer),
            partial,
            row_group,
            compression=compression,
            use_dictionary=dictionary,
            write_page_checksum=True,
        )


def write_row_groups(tables: Iterable[pa.Table], schema: pa.Schema, path: Path, fingerprint: str) -> None:
    """Write a Parquet shard with a row group for each of ``tables``, which need not be in memory together."""
    footer = {**(schema.metadata or {}), FINGERPRINT.encode(): fingerprint.encode()}
    stamped = schema.with_metadata(footer)
    with (
        write_atomically(path) as partial,
        pq.ParquetWriter(partial, stamped, compression="none", use_dictionary=False, write_page_checksum=True) as file,
    ):
        for table in tables:
            file.write_table(table.replace_schema_metadata(footer), max(1, len(table)))


class IncrementalWriter:
    """Parquet shard that is written in parts and moved to its path when it is closed.

    Parameters
    ----------
    path : Path
        Path of the shard; nothing is written before the first part.
    schema : pa.Schema
        Schema of every part.
    fingerprint : str
        Fingerprint of the inputs of the shard.
    """

    def __init__(self, path: Path, schema: pa.Schema, fingerprint: str) -> None:
        footer = {**(schema.metadata or {}), FINGERPRINT.encode(): fingerprint.encode()}
        self._path, self._schema = path, schema.with_metadata(footer)
        self._stack = ExitStack()
        self._file: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Write a row group."""
        try:
            if self._file is None:
                partial = self._stack.enter_context(write_atomically(self._path))
                writer = pq.ParquetWriter(partial, self._schema, compression="zstd", write_page_checksum=True)
                self._file = self._stack.enter_context(writer)
            self._file.write_table(table.replace_schema_metadata(self._schema.metadata))
        except OSError as error:
            raise paths.unwritable_error(self._path, error) from error

    def close(self) -> None:
        """Move the shard to its path, if any part was written."""
        self._stack.close()

    def discard(self) -> None:
        """Delete the written parts, unless the shard was closed."""
        with suppress(_DiscardedError), self._stack:
            if self._file is not None:
                raise _DiscardedError


class _DiscardedError(Exception):
    """Signal to delete the written parts."""


@contextmanager
def _reading(path: Path) -> Iterator[pq.ParquetFile]:
    with paths.convert_store_errors(path):
        try:
            with paths.open_parquet(path) as file:
                yield file
        except FileNotFoundError as error:
            hint = "run again; the next run rewrites it"
            raise DataError("the shard is missing", where=str(path), hint=hint) from error
        except (OSError, ValueError, pa.ArrowException) as error:  # a ValueError: names that are not UTF-8
            hint = "delete the file and run again; the next run rewrites it"
            raise DataError(f"cannot read the shard: {error}", where=str(path), hint=hint) from error


def read(path: Path, columns: Sequence[str] | pa.Schema | None = None, *, missing_ok: bool = False) -> pa.Table:
    """Read the shard at ``path``, optionally only some columns, given by name or with their required types.

    Raises
    ------
    DataError
        The shard is missing or corrupt, or lacks a column; with ``missing_ok``, columns may be missing.
    """
    names = columns.names if isinstance(columns, pa.Schema) else columns
    with _reading(path) as file:
        table = file.read(None if names is None else list(names))
        counts = Counter(table.column_names)
        selected = [name for name in (counts if names is None else names) if name in counts or not missing_ok]
        if wrong := [name for name in selected if counts[name] != 1]:
            raise ValueError(f"it has {'no' if not counts[wrong[0]] else 'more than one'} column {wrong[0]!r}")
        table = table.select(selected)
        for field in columns if isinstance(columns, pa.Schema) else ():
            column = table[field.name]
            if column.type != field.type or (column.null_count and not field.nullable):
                raise ValueError(f"its column {field.name!r} is {column.type} with {column.null_count} nulls")
    return table


def read_row_group(
    path: Path, find: Callable[[pa.Schema], int | None], columns: Sequence[str] | None = None
) -> pa.Table:
    """Read one row group of the shard at ``path``, optionally only some columns.

    Parameters
    ----------
    find : Callable[[pa.Schema], int | None]
        Function that returns the number of the row group, from the schema of the shard; None for no rows.
    """
    with _reading(path) as file:
        number = find(file.schema_arrow)
        names = None if columns is None else list(columns)
        if number is not None:
            return file.read_row_group(number, names)
        empty: pa.Table = file.schema_arrow.empty_table()
        return empty if names is None else empty.select(names)


def row_group_bytes(path: Path, find: Callable[[pa.Schema], int | None]) -> int:
    """Return the size of one row group of the shard at ``path``, from its footer; see ``read_row_group``."""
    with _reading(path) as file:
        number = find(file.schema_arrow)
        return 0 if number is None else int(file.metadata.row_group(number).total_byte_size)


def read_sorted_range(path: Path, low: int, high: int) -> pa.Table:
    """Read the rows with ``low`` <= first column <= ``high`` of a shard that is sorted by its first column."""
    with _reading(path) as file:
        bounds = [file.metadata.row_group(number).column(0).statistics for number in range(file.num_row_groups)]
        numbers = [
            number
            for number, one in enumerate(bounds)
            if one is not None and one.max >= low and one.min <= high  # None: no rows
        ]
        table = file.read_row_groups(numbers) if numbers else file.schema_arrow.empty_table()
    values = table[0].to_numpy()
    start = int(np.searchsorted(values, values.dtype.type(low)))
    return table.slice(start, int(np.searchsorted(values, values.dtype.type(high), "right")) - start)


def may_contain(path: Path, values: Mapping[str, int]) -> bool:
    """Return whether a row group of the shard can have a row with these integers, by the statistics in its footer."""
    with _reading(path) as file:
        leaves = {file.metadata.schema.column(leaf).path: leaf for leaf in range(file.metadata.num_columns)}
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        return any(
            all(_covers(group.column(leaves[name]).statistics, value) for name, value in values.items())
            for group in groups
        )


def _covers(bounds: pq.Statistics | None, value: int) -> bool:
    return bounds is None or not bounds.has_min_max or bounds.min <= value <= bounds.max


def read_fingerprint(path: Path) -> str | None:
    """Return the fingerprint in the footer of the shard at ``path``; None if the shard is missing or corrupt."""
    try:
        metadata = read_schema(path).metadata or {}
    except DataError:
        return None
    return str(metadata.get(FINGERPRINT.encode(), b"").decode(errors="replace"))


def is_current(path: Path, fingerprint: str | None) -> bool:
    """Return whether ``path`` is a complete shard with this fingerprint."""
    return fingerprint is not None and read_fingerprint(path) == fingerprint


def count_rows(path: Path) -> int:
    """Return the number of rows in the shard at ``path``, from its footer."""
    with _reading(path) as file:
        return int(file.metadata.num_rows)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with write_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def seal(path: Path) -> str:
    """Return a hash of a file's size, beginning and end, including the footer of a Parquet file.

    The pages of a Parquet file and the members of an .npz file have checksums, which are compared when they are read;
    their footers and directories have none.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with open(path, "rb", buffering=0, opener=no_follow.opener) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.blake2b(b"%d" % size, digest_size=16)
        digest.update(file.read(_ENDS))
        file.seek(max(0, size - 8))
        footer = int.from_bytes(file.read(4), "little") + 8 if path.suffix == ".parquet" else 0
        file.seek(max(0, size - max(_ENDS, footer)))
        digest.update(file.read())
    return digest.hexdigest()


def format_json(data: Mapping[str, object], *, indent: int | None = 2) -> str:
    """Return a JSON object as indented text with a checksum of its content.

    Dataclasses become objects with their fields.
    """
    as_read = json.loads(json.dumps(data, default=_fields))  # keys are text then, and in the order of text
    text = json.dumps({**data, CHECKSUM: _checksum(as_read)}, indent=indent, ensure_ascii=False, default=_fields)
    return text + "\n"


def _fields(value: object) -> dict[str, object]:
    if not is_dataclass(value):
        raise TypeError(f"cannot write a {type(value).__name__} as JSON")
    return {field.name: getattr(value, field.name) for field in fields(value)}


def write_json(path: Path, data: Mapping[str, object], *, indent: int | None = 2) -> None:
    """Write an indented JSON file with a checksum, atomically."""
    write_text(path, format_json(data, indent=indent))


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object at ``path`` without its checksum; None if it is missing or corrupt.

    A file without a checksum is accepted, because earlier releases wrote none.
    """
    return parse_json(read_bytes(path))


def read_bytes(path: Path) -> bytes | None:
    """Return the bytes of a small file; None if it is missing.

    Raises
    ------
    DataError
        The file exists and cannot be read, for example for lack of permission; it may be intact.
    """
    try:
        with paths.convert_store_errors(path):
            return paths.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise paths.unreadable_error(path, error) from error


def parse_json(text: bytes | None) -> dict[str, Any] | None:
    """Parse the bytes of a JSON file as ``read_json`` does."""
    try:
        data = None if text is None else json.loads(text.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    checksum = data.pop(CHECKSUM, None)
    return data if checksum is None or checksum == _checksum(data) else None


def read_required_json(path: Path, hint: str) -> dict[str, Any] | None:
    """Return the JSON object at ``path``, which cannot be rebuilt from other files; None if it is missing.

    Raises
    ------
    DataError
        The file is corrupt; the error has the remedy ``hint``.
    """
    data = read_json(path)
    if data is None and exists(path):
        raise DataError("the file is corrupt", where=str(path), hint=hint)
    return data


def exists(path: Path) -> bool:
    """Return whether a file, folder or link has this path, even a broken link."""
    if paths.is_object(path):
        with paths.convert_store_errors(path):
            return path.exists()
    try:
        with no_follow.open_parent(path) as resolved:
            return os.path.lexists(resolved)
    except (FileNotFoundError, NotADirectoryError):  # a parent folder is missing
        return False


def _checksum(as_read: Mapping[str, object]) -> str:
    """Return the checksum of data in the form that ``json.loads`` returns."""
    text = json.dumps(as_read, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of shard ``number`` in ``folder``."""
    return folder / f"part-{number:05d}.parquet"


def read_schema(path: Path) -> pa.Schema:
    """Return the schema of the shard at ``path``, from its footer."""
    with _reading(path) as file:
        return file.schema_arrow
