"""Files that are either whole or not there: written beside their place, synced, then renamed; objects are uploaded."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate import paths
from curate.errors import DataError

FINGERPRINT = "curate.fingerprint"
"""The footer key that says which inputs and parameters a shard was made from."""


def atomic(path: Path) -> AbstractContextManager[Path]:
    """A local path to write to; what was written there replaces ``path`` when the block ends without an error.

    It ends as ``path`` does, as some libraries tell the format from that.
    """
    return _uploaded(path) if paths.is_object(path) else _renamed(path)


@contextmanager
def _uploaded(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        try:
            yield Path(folder) / path.name
        except OSError as error:
            raise paths.unwritten(Path(folder), error) from error
        paths.put(Path(folder) / path.name, path)


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # what is not there cannot be a link that leads elsewhere
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise paths.unwritten(path, error) from error
    finally:
        with suppress(OSError):  # it is gone, or it is why there is an error already
            partial.unlink()


@contextmanager
def staged(path: Path, text: str) -> Iterator[Callable[[], None]]:
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
                path.parent.mkdir(parents=True, exist_ok=True)
                partial.unlink(missing_ok=True)  # what is not there cannot be a link that leads elsewhere
                partial.write_text(text, encoding="utf-8", newline="\n")
                with partial.open("rb") as written:
                    os.fsync(written.fileno())
            except OSError as error:
                raise paths.unwritten(path, error) from error
        yield put
    finally:
        with suppress(OSError, DataError):  # what is left now is why there is an error already
            if left:
                partial.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed had half written; only for who alone writes to ``folder``.

    There is no such thing in an object store.
    """
    for left_over in [] if paths.is_object(folder) else folder.rglob(".[0-9]*.partial.*"):
        if left_over.is_symlink() or left_over.is_file():
            left_over.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(table: pa.Table, path: Path, fingerprint: str, *, compression: str = "none") -> None:
    """Write a Parquet shard whose footer says what it was made from."""
    footer = {**(table.schema.metadata or {}), FINGERPRINT.encode(): fingerprint.encode()}
    with atomic(path) as partial:
        pq.write_table(
            table.replace_schema_metadata(footer), partial, compression=compression, write_page_checksum=True
        )


def write_in_groups(tables: Iterable[pa.Table], schema: pa.Schema, path: Path, fingerprint: str) -> None:
    """Write the same, a row group for each of ``tables``, so that they need not be in memory together."""
    footer = {**(schema.metadata or {}), FINGERPRINT.encode(): fingerprint.encode()}
    stamped = schema.with_metadata(footer)
    with (
        atomic(path) as partial,
        pq.ParquetWriter(partial, stamped, compression="none", use_dictionary=False, write_page_checksum=True) as file,
    ):
        for table in tables:
            file.write_table(table.replace_schema_metadata(footer), max(1, len(table)))


@contextmanager
def _reading(path: Path) -> Iterator[pq.ParquetFile]:
    with paths.reached(path):
        try:
            with paths.parquet(path) as file:
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


def fingerprint(path: Path) -> str | None:
    """What the shard at ``path`` was made from; None if there is no whole one."""
    try:
        metadata = schema(path).metadata or {}
    except DataError:
        return None
    return str(metadata.get(FINGERPRINT.encode(), b"").decode(errors="replace"))


def damage(path: Path) -> str:
    """What is wrong with the shard at ``path``, as far as its footer tells, in words; empty if nothing is."""
    if not path.exists():
        return f"{path.name} is gone"
    return "" if fingerprint(path) is not None else f"{path.name} is not whole"


def is_current(path: Path, made_from: str | None) -> bool:
    """Whether ``path`` is a whole shard made from what ``made_from`` stands for."""
    return made_from is not None and fingerprint(path) == made_from


def rows(path: Path) -> int:
    """The number of rows in the shard at ``path``, from its footer."""
    with _reading(path) as file:
        return int(file.metadata.num_rows)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, data: Mapping[str, object]) -> None:
    """Write a JSON file that a person can read, whole or not at all."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object at ``path``; None if there is no whole one."""
    try:
        with paths.reached(path):
            data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def part(folder: Path, number: int) -> Path:
    """The path of shard ``number`` in ``folder``."""
    return folder / f"part-{number:05d}.parquet"


def schema(path: Path) -> pa.Schema:
    """The schema of the shard at ``path``, from its footer."""
    with _reading(path) as file:
        return file.schema_arrow
