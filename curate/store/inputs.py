"""Input shards of a run: the pool's rows, each with an id, a text and its own columns, in Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from curate.errors import DataError
from curate.kernels.text.json_values import to_identifier, to_text
from curate.kernels.types import Images
from curate.paths import FileInfo
from curate.store import image_files, manifest, parquet_io
from curate.store.arrow_values import convert_column
from curate.store.json_shape import has_shape
from curate.store.manifest import StageResult

PREFIX = "_curate_"
"""Prefix of the columns that curate adds to input shards; reserved, so no column of the pool may begin with it."""

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
IMAGE = f"{PREFIX}image"


IMAGE_DATA = "image_data"
"""Role of the user's column of images."""

_RESTORE_HINT = "delete the file and run again; the next run rewrites it"

DEFAULT_SOURCE = "all"
"""Source of every row of a pool without a source column."""

NO_SOURCE = "(none)"
"""Source of a row whose source column is null, and of a record that does not parse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedLabels:
    """Counts of the labels in a file of corrections."""

    rows: int
    """Number of rows whose label was changed."""

    confirmed: int = 0
    """Number of rows that already had the label."""

    unknown: int = 0
    """Number of ids that are not in the pool."""

    examples: tuple[str, ...] = ()
    """First ids that are not in the pool."""

    new_labels: tuple[str, ...] = ()
    """Labels that no row had before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputResult(StageResult):
    """Result of the input stage, as stored in its manifest."""

    files: tuple[FileInfo, ...]
    """Path, stamp, sha256, cut points, bytes, lines, rows and quarantined lines of each file."""

    rows: tuple[int, ...]
    """Number of rows in each shard."""

    columns: str
    """Arrow schema of the user's columns, serialized, in hexadecimal digits."""

    roles: Mapping[str, str]
    """Names of the columns with the id, text, label and source, by role."""

    tokens: str
    """Method by which tokens were counted, as a phrase."""

    digests: tuple[str, ...]
    """Digest of the ids and texts of each shard; it depends on nothing else."""

    corrections: CorrectedLabels | None = None
    """Counts of the corrected labels; None without a file of corrections."""

    def __post_init__(self) -> None:
        if not all(has_shape(file, _FILE) for file in self.files):
            raise ValueError("a file lacks a path, size, sha256 or cuts")


_FILE = {"path": str, "size": int, "sha256": str, "cuts": (None, [[int]])}


@dataclass(frozen=True, slots=True)
class AddedColumns:
    """Columns that were added to the rows of the input: one shard for each input shard, in the same order."""

    folder: Path
    fingerprint: str
    schema: pa.Schema
    """Names and types of the columns."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Handle on the input shards in ``folder``; small, and cheap to send to a worker."""

    folder: Path
    stored_fingerprint: str
    """Fingerprint of the input shards."""

    added: tuple[AddedColumns, ...] = ()
    """Columns that were added to those of the user."""

    def _result(self) -> InputResult:
        return _result(self.folder, self.stored_fingerprint)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the rows with all their columns."""
        if not self.added:
            return self.stored_fingerprint
        return manifest.fingerprint(
            {"input": self.stored_fingerprint, "added": [one.fingerprint for one in self.added]}
        )

    @property
    def shards(self) -> list[int]:
        """Number of rows in each shard."""
        return list(self._result().rows)

    @property
    def rows(self) -> int:
        """Number of rows in all shards."""
        return sum(self.shards)

    @property
    def files(self) -> list[str]:
        """Input files in name order."""
        return [file["path"] for file in self._result().files]

    @property
    def schema(self) -> pa.Schema:
        """Schema of the user's columns: types that can represent the values of all files, and their metadata.

        The added columns follow.
        """
        stored = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(self._result().columns)))
        if not self.added:
            return stored
        new = [field for one in self.added for field in one.schema]
        return pa.schema([*stored, *new], metadata=stored.metadata)

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """Types of the user's and the added columns, which can represent the values of all files, by name."""
        schema = self.schema
        return dict(zip(schema.names, schema.types, strict=True))

    @property
    def roles(self) -> dict[str, str]:
        """Column names by role: id, text, label, source, …"""
        return dict(self._result().roles)

    @property
    def has_images(self) -> bool:
        """Whether every row has an image."""
        return IMAGE_DATA in self._result().roles

    @property
    def tokens(self) -> str:
        """Method by which tokens were counted, as a phrase."""
        return self._result().tokens

    @property
    def digests(self) -> list[str]:
        """Digest of the ids and texts of each shard; it depends on nothing else."""
        return list(self._result().digests)

    @property
    def text_fingerprint(self) -> str:
        """Fingerprint of the ids and texts of all shards."""
        return manifest.fingerprint({"digests": self.digests})

    def path(self, shard: int) -> Path:
        """Return the path of a shard."""
        return parquet_io.shard_path(self.folder, shard)

    def read(self, shard: int, roles: Sequence[str] = (), columns: Sequence[str] = ()) -> pa.Table:
        """Read one shard: a column for each of ``roles``, named as the role, then the user's ``columns``.

        ``roles`` may contain id, text, label, source (strings; only label may be null), tokens (int32), hash (16
        bytes), file (int32), row and line (int64), vector (list), image (see ``image_files.FACTS``), image_data (the
        encoded image, null if it is in a file), and nulls (the keys with an explicit null in a JSON
        record, a list of strings; null for a row of another format).

        Raises
        ------
        DataError
            The shard is missing or corrupt, or a column does not exist.
        """
        names_by_role = {role: self.roles.get(role, f"{PREFIX}{role}") for role in roles}
        stored = parquet_io.read(
            self.path(shard), list(dict.fromkeys([*names_by_role.values(), *columns])), missing_ok=True
        )
        if len(stored) != self.shards[shard]:
            message = (
                f"the input shard is corrupt: it has {len(stored):,} rows, its manifest lists {self.shards[shard]:,}"
            )
            raise DataError(message, where=str(self.path(shard)), hint=_RESTORE_HINT)
        arrays: dict[str, pa.ChunkedArray | pa.Array] = {}
        for role, name in names_by_role.items():
            if role == "source":
                arrays[role] = self._sources(stored, name)
            elif name not in stored.column_names:
                arrays[role] = pa.nulls(len(stored), pa.string() if role != "nulls" else pa.list_(pa.string()))
            elif role == "id":
                arrays[role] = as_identifiers(stored[name])
            elif role == IMAGE_DATA:
                arrays[role] = _as_image_data(stored[name], name)
            elif role in ("text", "label"):
                arrays[role] = as_text(stored[name])
            else:
                arrays[role] = stored[name]
        types, stored_names = self.columns, set(stored.column_names)
        added = self._read_added(shard, columns)
        for name in columns:
            if name not in types:
                raise DataError(f"the input has no column {name!r}", hint=f"use one of: {', '.join(types)}")
            if name in added:
                arrays[name] = added[name]
                continue
            kind = types[name]
            arrays[name] = convert_column(stored[name], kind) if name in stored_names else pa.nulls(len(stored), kind)
        if bad := [role for role in ("id", "text") if role in names_by_role and arrays[role].null_count]:
            message = f"the input shard is corrupt: a row has no {bad[0]}"
            raise DataError(message, where=str(self.path(shard)), hint=_RESTORE_HINT)
        return pa.table(list(arrays.values()), names=list(arrays))

    def _read_added(self, shard: int, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Read those of the columns that were added."""
        arrays: dict[str, pa.ChunkedArray] = {}
        for one in self.added:
            if names := [name for name in one.schema.names if name in columns]:
                table = parquet_io.read(parquet_io.shard_path(one.folder, shard), names)
                arrays |= {name: table[name] for name in names}
        return arrays

    def read_images(self, shard: int) -> Images:
        """Return the images of one shard, which are read one by one."""
        table = self.read(shard, ("image", IMAGE_DATA))
        return image_files.to_images(table["image"], table[IMAGE_DATA])

    def _sources(self, stored: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
        if name in stored.column_names:
            return as_text(stored[name]).fill_null(NO_SOURCE)
        return pa.array([NO_SOURCE if "source" in self.roles else DEFAULT_SOURCE] * len(stored), pa.string())

    def iterate_shards(self, roles: Sequence[str] = (), columns: Sequence[str] = ()) -> Iterator[pa.Table]:
        """Read all shards in order, as ``read`` does."""
        for shard in range(len(self.shards)):
            yield self.read(shard, roles, columns)


@lru_cache(maxsize=4)
def _result(folder: Path, fingerprint: str) -> InputResult:
    record = manifest.load(folder, InputResult)
    if record is None or record.stage != "input" or record.fingerprint != fingerprint:
        message = "the input shards changed while they were read"
        raise DataError(
            message, where=str(folder), hint="let only one run write to this run directory, and start again"
        )
    return record.result


def _as_image_data(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    chunks = [image_files.split_column(chunk, name, "")[1] for chunk in column.chunks]
    nulls = (pa.nulls(len(chunk), pa.binary()) for chunk in column.chunks)
    parts = [empty if one is None else one.cast(pa.binary()) for one, empty in zip(chunks, nulls, strict=True)]
    return pa.chunked_array(parts, pa.binary())


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Render a column as text, (n,) strings; see ``to_text``."""
    return pa.chunked_array([to_text(chunk) for chunk in column.chunks], pa.string())


def as_identifiers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Render a column as ids, (n,) strings; see ``to_identifier``."""
    return pa.chunked_array([to_identifier(chunk) for chunk in column.chunks], pa.string())
