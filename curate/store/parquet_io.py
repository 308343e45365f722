"""Files that are either whole or not there: written beside their place, synced, then renamed; objects are uploaded."""

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

import pyarrow as pa
import pyarrow.parquet as pq

from curate import no_follow, paths
from curate.errors import DataError

FINGERPRINT = "curate.fingerprint"
"""The footer key that says which inputs and parameters a shard was made from."""

CHECKSUM = "checksum"
"""Last key of a JSON file: the sha256 of the rest, as canonical JSON."""

_ENDS = 64 << 10
"""Bytes at both ends of a file that ``seal`` reads at least."""


_PARTIAL = re.compile(r"\.[0-9].*\.partial\..*", re.DOTALL)


def write_atomically(path: Path, *, keep_name: bool = False) -> AbstractContextManager[Path]:
    """Yield a local path to write to; what was written there replaces ``path`` when the block ends without an error.

    Parameters
    ----------
    path : Path
        The file, or the object in a store.
    named : bool
        The path that is yielded has the name of ``path``, as some libraries tell the format from that.
    """
    if paths.is_object(path):
        return _uploaded(path)
    return _renamed(path, _in_private_folder if keep_name else no_follow.create_file)


@contextmanager
def _uploaded(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        try:
            yield Path(folder) / path.name
        except OSError as error:
            raise paths.unwritable_error(Path(folder), error) from error
        paths.upload(Path(folder) / path.name, path)


@contextmanager
def _renamed(path: Path, begun: Callable[[Path], AbstractContextManager[Path]]) -> Iterator[Path]:
    try:
        with no_follow.open_parent(path, make=True) as there:
            partial = there.with_name(f".{os.getpid()}.partial.{path.name}")
            _delete(partial)
            try:
                with begun(partial) as writing:
                    yield writing
                    _sync(writing)
                    (writing if partial.is_dir() else partial).replace(there)
                _sync(there.parent)
            finally:
                with suppress(OSError):  # it is gone, or it is why there is an error already
                    _delete(partial)
    except OSError as error:
        raise paths.unwritable_error(path, error) from error


@contextmanager
def _in_private_folder(partial: Path) -> Iterator[Path]:
    with no_follow.create_private_directory(partial) as folder:
        yield folder / partial.name.partition(".partial.")[2]


def _delete(partial: Path) -> None:
    """Delete a half-written file, or the folder that one was written in; no link is followed."""
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
    """Write a text file next to its place; the function that the block is given puts it there.

    All that can fail for want of room has then been done. Without the call, ``path`` stays as it was.
    """
    writer = "" if paths.is_object(path) else f".{os.getpid()}"  # nobody sweeps in a store: there it is one name
    partial = path.with_name(f"{writer}.partial.{path.name}")
    left = True

    def put() -> None:
        nonlocal left
        paths.move(partial, path)
        left = False
        if not paths.is_object(path):
            sync_folder(path.parent)

    try:
        if paths.is_object(path):
            write_text(partial, text)
        else:
            try:
                with no_follow.open_parent(partial, make=True) as there:
                    _delete(there)
                    with no_follow.create_file(there) as writing:
                        writing.write_text(text, encoding="utf-8", newline="\n")
                        _sync(writing)
            except OSError as error:
                raise paths.unwritable_error(path, error) from error
        yield put
    finally:
        with suppress(OSError, DataError):  # what is left now is why there is an error already
            if left:
                paths.unlink(partial, missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what processes that were killed had half written; only for who alone writes to ``folder``.

    There is no such thing in an object store.
    """
    if paths.is_object(folder):
        return
    with suppress(FileNotFoundError), no_follow.open_directory(folder) as there:
        for _, folders, files, handle in os.fwalk(f"{there}/."):
            for name in filter(_PARTIAL.fullmatch, [*folders, *files]):
                try:
                    os.unlink(name, dir_fd=handle)
                except (IsADirectoryError, PermissionError):  # systems differ in what they say of a folder
                    shutil.rmtree(name, dir_fd=handle)
            folders[:] = [name for name in folders if not _PARTIAL.fullmatch(name)]


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    with no_follow.open_directory(folder) as there:
        _sync(there)


def write(table: pa.Table, path: Path, fingerprint: str, *, compression: str = "none") -> None:
    """Write a Parquet shard whose footer says what it was made from."""
    footer = {**(table.schema.metadata or {}), FINGERPRINT.encode(): fingerprint.encode()}
    with write_atomically(path) as partial:
        pq.write_table(
            table.replace_schema_metadata(footer), partial, compression=compression, write_page_checksum=True
        )


def write_row_groups(tables: Iterable[pa.Table], schema: pa.Schema, path: Path, fingerprint: str) -> None:
    """Write the same, a row group for each of ``tables``, so that they need not be in memory together."""
    footer = {**(schema.metadata or {}), FINGERPRINT.encode(): fingerprint.encode()}
    stamped = schema.with_metadata(footer)
    with (
        write_atomically(path) as partial,
        pq.ParquetWriter(partial, stamped, compression="none", use_dictionary=False, write_page_checksum=True) as file,
    ):
        for table in tables:
            file.write_table(table.replace_schema_metadata(footer), max(1, len(table)))


class IncrementalWriter:
    """A Parquet shard that is written in parts; it is in its place once it is closed.

    Parameters
    ----------
    path : of the shard; nothing is written there before the first part
    schema : of every part
    fingerprint : what the shard is made from
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
        """Put the shard in its place, if there is one."""
        self._stack.close()

    def discard(self) -> None:
        """Remove what was written, unless the shard is in its place."""
        with suppress(_DiscardedError), self._stack:
            if self._file is not None:
                raise _DiscardedError


class _DiscardedError(Exception):
    """Signal to delete what was written."""


@contextmanager
def _reading(path: Path) -> Iterator[pq.ParquetFile]:
    with paths.convert_store_errors(path):
        try:
            with paths.open_parquet(path) as file:
                yield file
        except FileNotFoundError as error:
            hint = "the next run makes it again"
            raise DataError("the shard is missing", where=str(path), hint=hint) from error
        except (OSError, ValueError, pa.ArrowException) as error:  # a ValueError: names that are not UTF-8
            hint = "delete it, and the next run makes it again"
            raise DataError(f"cannot read the shard: {error}", where=str(path), hint=hint) from error


def read(path: Path, columns: Sequence[str] | pa.Schema | None = None, *, missing_ok: bool = False) -> pa.Table:
    """The shard at ``path``; of its columns, those asked for, by name or with the types that they must have.

    Raises
    ------
    DataError : if there is no whole shard with these columns; with ``missing_ok`` some of them may be missing
    """
    names = columns.names if isinstance(columns, pa.Schema) else columns
    with _reading(path) as file:
        table = file.read(None if names is None else list(names))
        there = Counter(table.column_names)
        wanted = [name for name in (there if names is None else names) if name in there or not missing_ok]
        if wrong := [name for name in wanted if there[name] != 1]:
            raise ValueError(f"it has {'no' if not there[wrong[0]] else 'more than one'} column {wrong[0]!r}")
        table = table.select(wanted)
        for field in columns if isinstance(columns, pa.Schema) else ():
            column = table[field.name]
            if column.type != field.type or (column.null_count and not field.nullable):
                raise ValueError(f"its column {field.name!r} is {column.type} with {column.null_count} nulls")
    return table


def read_fingerprint(path: Path) -> str | None:
    """What the shard at ``path`` was made from; None if there is no whole one."""
    try:
        metadata = read_schema(path).metadata or {}
    except DataError:
        return None
    return str(metadata.get(FINGERPRINT.encode(), b"").decode(errors="replace"))


def is_current(path: Path, made_from: str | None) -> bool:
    """Whether ``path`` is a whole shard made from what ``made_from`` stands for."""
    return made_from is not None and read_fingerprint(path) == made_from


def count_rows(path: Path) -> int:
    """The number of rows in the shard at ``path``, from its footer."""
    with _reading(path) as file:
        return int(file.metadata.num_rows)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with write_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def seal(path: Path) -> str:
    """Return a hash of a file's size, its beginning, and its end, with all of the footer of a Parquet file.

    The pages of a Parquet file and the members of an .npz file carry checksums of their own, which are compared when
    they are read; their footers and directories do not.

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
    """Return a JSON object as a person can read it, with a checksum over all that it holds.

    Dataclasses in it become objects with their fields.
    """
    as_read = json.loads(json.dumps(data, default=_fields))  # keys are text then, and in the order of text
    text = json.dumps({**data, CHECKSUM: _checksum(as_read)}, indent=indent, ensure_ascii=False, default=_fields)
    return text + "\n"


def _fields(value: object) -> dict[str, object]:
    if not is_dataclass(value):
        raise TypeError(f"a {type(value).__name__} is nothing that JSON has")
    return {field.name: getattr(value, field.name) for field in fields(value)}


def write_json(path: Path, data: Mapping[str, object], *, indent: int | None = 2) -> None:
    """Write a JSON file that a person can read, with a checksum, whole or not at all."""
    write_text(path, format_json(data, indent=indent))


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object at ``path`` without its checksum; None if there is none as it was written.

    One without a checksum is taken as it is: earlier releases wrote none.
    """
    return parse_json(read_bytes(path))


def read_bytes(path: Path) -> bytes | None:
    """Return the bytes of a small file; None if it is missing.

    Raises
    ------
    DataError
        If it is there and cannot be read, as for want of a permission: what it holds is not known to be corrupt.
    """
    try:
        with paths.convert_store_errors(path):
            return paths.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise paths.unreadable_error(path, error) from error


def parse_json(text: bytes | None) -> dict[str, Any] | None:
    """Return what ``read_json`` does of a file that has these bytes."""
    try:
        data = None if text is None else json.loads(text.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    checksum = data.pop(CHECKSUM, None)
    return data if checksum is None or checksum == _checksum(data) else None


def read_required_json(path: Path, hint: str) -> dict[str, Any] | None:
    """Return the JSON object at ``path``, which cannot be made again from anything else; None if nothing is there.

    Raises
    ------
    DataError
        If it is not as it was written; with the remedy ``hint``.
    """
    data = read_json(path)
    if data is None and exists(path):
        raise DataError("this is corrupt", where=str(path), hint=hint)
    return data


def exists(path: Path) -> bool:
    """Return whether anything has that name, even a link that leads nowhere."""
    if paths.is_object(path):
        with paths.convert_store_errors(path):
            return path.exists()
    try:
        with no_follow.open_parent(path) as place:
            return os.path.lexists(place)
    except (FileNotFoundError, NotADirectoryError):  # of a folder above
        return False


def _checksum(as_read: Mapping[str, object]) -> str:
    """Return the checksum of data as ``json.loads`` returns it."""
    text = json.dumps(as_read, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def shard_path(folder: Path, number: int) -> Path:
    """The path of shard ``number`` in ``folder``."""
    return folder / f"part-{number:05d}.parquet"


def read_schema(path: Path) -> pa.Schema:
    """The schema of the shard at ``path``, from its footer."""
    with _reading(path) as file:
        return file.schema_arrow
