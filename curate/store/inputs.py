"""The input shards of a run: the pool's rows, each with an id, a text and its own columns, in Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from curate.errors import DataError
from curate.kernels.text.json_values import to_identifier, to_text
from curate.paths import FileInfo
from curate.store import manifest, parquet_io
from curate.store.arrow_values import convert_column
from curate.store.json_shape import has_shape
from curate.store.manifest import StageResult

PREFIX = "_curate_"
"""Begins the name of every column that we add to an input shard; no column of the user's may."""

HASH = f"{PREFIX}hash"
FILE = f"{PREFIX}file"
ROW = f"{PREFIX}row"
LINE = f"{PREFIX}line"
ID = f"{PREFIX}id"
TEXT = f"{PREFIX}text"
SOURCE = f"{PREFIX}source"
TOKENS = f"{PREFIX}tokens"
VECTOR = f"{PREFIX}vector"
NULLS = f"{PREFIX}nulls"


_AGAIN = "delete it, and the next run makes it again"

DEFAULT_SOURCE = "all"
"""The source of every row of a pool that has no source column."""

NO_SOURCE = "(none)"
"""The source of a row whose source column is null, and of a record that does not parse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputResult(StageResult):
    """What reading the input leaves in its manifest."""

    files: tuple[FileInfo, ...]
    """For each file: its path, stamp, sha256, where it may be cut, and its bytes, lines, rows and quarantined lines."""

    rows: tuple[int, ...]
    """Number of rows in each shard."""

    columns: str
    """Arrow schema of the user's columns, serialized, in hexadecimal digits."""

    roles: Mapping[str, str]
    """Columns that hold the id, text, label and source, by role."""

    tokens: str
    """How tokens were counted, as a phrase."""

    digests: tuple[str, ...]
    """One a shard, which changes when an id or a text of it does, and with nothing else."""

    def __post_init__(self) -> None:
        if not all(has_shape(file, _FILE) for file in self.files):
            raise ValueError("a file lacks a path, size, sha256 or cuts")


_FILE = {"path": str, "size": int, "sha256": str, "cuts": (None, [[int]])}


@dataclass(frozen=True, slots=True)
class Inputs:
    """A handle on the input shards in ``folder``; small, and cheap to send to a worker."""

    folder: Path
    fingerprint: str

    def _result(self) -> InputResult:
        return _result(self.folder, self.fingerprint)

    @property
    def shards(self) -> list[int]:
        """The number of rows in each shard."""
        return list(self._result().rows)

    @property
    def rows(self) -> int:
        """The number of rows in all shards."""
        return sum(self.shards)

    @property
    def files(self) -> list[str]:
        """The input files in name order."""
        return [file["path"] for file in self._result().files]

    @property
    def schema(self) -> pa.Schema:
        """The user's columns, with the types that hold the values of all files, and the metadata that they carry."""
        return pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(self._result().columns)))

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """The user's columns, with the types that hold the values of all files."""
        schema = self.schema
        return dict(zip(schema.names, schema.types, strict=True))

    @property
    def roles(self) -> dict[str, str]:
        """Which column is the id, text, label, source, …"""
        return dict(self._result().roles)

    @property
    def tokens(self) -> str:
        """How tokens were counted, in words."""
        return self._result().tokens

    @property
    def digests(self) -> list[str]:
        """One a shard, which changes when an id or a text of it does, and with nothing else."""
        return list(self._result().digests)

    @property
    def text_fingerprint(self) -> str:
        """Changes when any of them does."""
        return manifest.fingerprint({"digests": self.digests})

    def path(self, shard: int) -> Path:
        return parquet_io.shard_path(self.folder, shard)

    def read(self, shard: int, roles: Sequence[str] = (), columns: Sequence[str] = ()) -> pa.Table:
        """One shard: a string column for each of ``roles`` (named as the role), then the user's ``columns``, typed.

        ``roles`` may hold id, text, label, source (strings; only label may be null), tokens (int32), hash (16 bytes),
        file (int32), row and line (int64), vector (list), nulls (the keys that a
        record of a JSON file has a null in, a list of strings; null for a row of another format).
        """
        mine = {role: self.roles.get(role, f"{PREFIX}{role}") for role in roles}
        stored = parquet_io.read(self.path(shard), list(dict.fromkeys([*mine.values(), *columns])), missing_ok=True)
        if len(stored) != self.shards[shard]:
            told = f"the shard has {len(stored):,} rows, and the manifest says {self.shards[shard]:,}"
            raise DataError(told, where=str(self.path(shard)), hint=_AGAIN)
        arrays: dict[str, pa.ChunkedArray | pa.Array] = {}
        for role, name in mine.items():
            if role == "source":
                arrays[role] = self._sources(stored, name)
            elif name not in stored.column_names:
                arrays[role] = pa.nulls(len(stored), pa.string() if role != "nulls" else pa.list_(pa.string()))
            elif role == "id":
                arrays[role] = as_identifiers(stored[name])
            elif role in ("text", "label"):
                arrays[role] = as_text(stored[name])
            else:
                arrays[role] = stored[name]
        types, there = self.columns, set(stored.column_names)
        for name in columns:
            if name not in types:
                raise DataError(f"the input has no column {name!r}", hint=f"there are: {', '.join(types)}")
            held = name in there
            arrays[name] = convert_column(stored[name], types[name]) if held else pa.nulls(len(stored), types[name])
        if bad := [role for role in ("id", "text") if role in mine and arrays[role].null_count]:
            raise DataError(f"a row has no {bad[0]}", where=str(self.path(shard)), hint=_AGAIN)
        return pa.table(list(arrays.values()), names=list(arrays))

    def _sources(self, stored: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
        if name in stored.column_names:
            return as_text(stored[name]).fill_null(NO_SOURCE)
        return pa.array([NO_SOURCE if "source" in self.roles else DEFAULT_SOURCE] * len(stored), pa.string())

    def iterate_shards(self, roles: Sequence[str] = (), columns: Sequence[str] = ()) -> Iterator[pa.Table]:
        """Every shard in order, read as ``read`` does."""
        for shard in range(len(self.shards)):
            yield self.read(shard, roles, columns)


@lru_cache(maxsize=4)
def _result(folder: Path, fingerprint: str) -> InputResult:
    record = manifest.load(folder, InputResult)
    if record is None or record.stage != "input" or record.fingerprint != fingerprint:
        raise DataError("the input shards changed during the run", where=str(folder), hint="start the run again")
    return record.result


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Render a column as text, (n,) strings; see ``to_text``."""
    return pa.chunked_array([to_text(chunk) for chunk in column.chunks], pa.string())


def as_identifiers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Render a column as ids, (n,) strings; see ``to_identifier``."""
    return pa.chunked_array([to_identifier(chunk) for chunk in column.chunks], pa.string())
