"""Catalog of the images that input files name by path: their stamps, hashes and sizes, or why they are unusable.

Images are read and decoded once, when the catalog is made. Later runs compare the stamps of the files, and read only
images whose stamp changed. Memory: the paths of one task per worker, some 200 bytes each.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.errors import ConfigError, DataError
from curate.kernels.images.codec import inspect_image, map_images
from curate.kernels.text.json_values import is_binary
from curate.paths import FileInfo
from curate.stages.base import Context
from curate.store import image_files, manifest, parquet_io, readers
from curate.store.image_files import ImageFileError
from curate.store.records import Piece, ReadOptions

if TYPE_CHECKING:
    from curate.config.model import InputConfig

FOLDER = "images"
_INCOMING = ".incoming"
_DONE = "catalog.json"
UNKNOWN = "not read yet"
"""Digest of a catalog that a plan does not bring up to date."""

_STAMP = ("size", "modified", "changed", "inode")
_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        *(pa.field(name, pa.int64()) for name in _STAMP),
        ("hash", pa.binary(16)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("reason", pa.string()),
    ]
)

Facts = Mapping[str, object]
"""Row of the catalog: ``hash``, ``width`` and ``height`` of an image, or the ``reason`` why it is unusable."""


def survey(context: Context, files: Sequence[FileInfo], groups: Sequence[Sequence[Piece]], options: ReadOptions) -> str:
    """Bring the catalog up to date, and return a digest of the images and their paths.

    Parameters
    ----------
    context : Context
        Context of the run; a plan changes nothing.
    files : sequence of dict
        Input files with their hashes.
    groups : sequence of sequences of Piece
        Pieces of each read task.
    options : ReadOptions
        Options of the readers.

    Raises
    ------
    ConfigError
        The folder of the images does not exist.
    """
    config, folder = context.config.input, context.folder / "input" / FOLDER
    if config.image_folder is not None and not Path(config.image_folder).is_dir():
        message = "input.image_folder: there is no such folder"
        raise ConfigError(message, where=config.image_folder, hint="use a local folder, relative to the current one")
    listing = manifest.fingerprint(
        {
            "version": 1,
            "files": {file["path"]: file["sha256"] for file in files},
            "image": [config.image, config.image_folder, config.rows_per_shard],
            "format": [list(config.header) if isinstance(config.header, tuple) else config.header, config.delimiter],
        }
    )
    done = parquet_io.read_json(folder / _DONE) or {}
    outdated = set(range(len(groups)))
    if done.get("listing") == listing:
        outdated = {number for number in outdated if not _is_current(part_path(folder, number), context.verify)}
        if not outdated and _digest(folder, len(groups)) == done.get("digest"):
            return str(done["digest"])
    if context.plan is not None:
        return UNKNOWN
    old = [*paths.list_shards(folder), *paths.list_shards(folder / _INCOMING)]
    common = (config, options, folder / _INCOMING, tuple(old), context.verify)
    tasks = [_Task(number, tuple(groups[number]), *common) for number in sorted(outdated or range(len(groups)))]
    begun = time.perf_counter()
    counts, _, _ = context.map("reading images", _survey, tasks, [len(task.pieces) for task in tasks], "parts")
    if sum(counts):
        seconds = time.perf_counter() - begun
        context.progress.note(f"input: {sum(counts):,} image files read and checked in {seconds:.1f} s")
    for task in tasks:
        paths.move(task.path, part_path(folder, task.number))
    for surplus in paths.list_shards(folder)[len(groups) :]:
        paths.unlink(surplus)
    paths.remove_directory(folder / _INCOMING)
    digest = _digest(folder, len(groups))
    parquet_io.write_json(folder / _DONE, {"listing": listing, "digest": digest})
    return str(digest)


def part_path(folder: Path, number: int) -> Path:
    """Return the path of the part of the catalog for the read task with that number."""
    return parquet_io.shard_path(folder, number)


@lru_cache(maxsize=1)
def load_facts(path: Path, fingerprint: str) -> Mapping[str, Facts]:  # noqa: ARG001 - the content is part of the cache key
    """Return the images of one read task by their paths; ``fingerprint`` is that of the input."""
    table = parquet_io.read(path, ["path", "hash", "width", "height", "reason"])
    return {row["path"]: row for row in table.to_pylist()}


def _is_current(path: Path, verify: bool) -> bool:
    """Return whether the stamps of all images of a part are unchanged."""
    try:
        table = parquet_io.read(path, _SCHEMA)
    except DataError:
        return False
    if verify and len(table):
        return False
    stamps = zip(*(table[name].to_pylist() for name in _STAMP), strict=True)
    return all(map(_has_stamp, table["path"].to_pylist(), stamps))


def _has_stamp(name: str, old: Sequence[int | None]) -> bool:
    try:
        status = os.stat(name)  # noqa: PTH116 - for speed
    except (OSError, ValueError):
        return old[0] is None
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino) == tuple(old)


def _digest(folder: Path, parts: int) -> str | None:
    """Return a digest of the paths and contents of all images; None if a part is missing or corrupt."""
    digest = hashlib.sha256()
    for number in range(parts):
        try:
            table = parquet_io.read(part_path(folder, number), ["path", "hash", "reason"])
        except DataError:
            return None
        for name, content, reason in zip(*(column.to_pylist() for column in table.columns), strict=True):
            digest.update(f"{name}\0{reason or ''}\0".encode(errors="surrogatepass") + (content or b"") + b"\0")
    return digest.hexdigest()


# ---------------------------------------------------------------- one task


@dataclass(frozen=True, slots=True)
class _Task:
    number: int
    pieces: tuple[Piece, ...]
    config: InputConfig
    options: ReadOptions
    folder: Path
    old: tuple[Path, ...]
    verify: bool

    @property
    def path(self) -> Path:
        return part_path(self.folder, self.number)


def _survey(task: _Task) -> int:
    """Write the part of the catalog for the images that some pieces name; return the number of images read."""
    names = sorted(set(_named_images(task)))
    known = {} if task.verify else _load_known(task.old, names)
    rows: list[Facts | None] = [
        known[name] if name in known and _has_row_stamp(name, known[name]) else None for name in names
    ]
    unread = [number for number, row in enumerate(rows) if row is None]
    for number, row in zip(unread, map_images(_read_facts, [names[number] for number in unread]), strict=True):
        rows[number] = row
    table = pa.Table.from_pylist([dict(row) for row in rows if row is not None], _SCHEMA)
    parquet_io.write(table, task.path, "", compression="zstd")
    return len(unread)


def _has_row_stamp(name: str, row: Mapping[str, Any]) -> bool:
    return _has_stamp(name, [row[part] for part in _STAMP])


def _load_known(old: Iterable[Path], names: Sequence[str]) -> dict[str, Facts]:
    """Return what an earlier catalog has about some images, by their paths."""
    wanted, known = pa.array(names, pa.string()), dict[str, Facts]()
    for path in old:
        try:
            table = parquet_io.read(path, _SCHEMA)
        except DataError:  # corrupt: the images are read again
            continue
        known |= {row["path"]: row for row in table.filter(pc.is_in(table["path"], wanted)).to_pylist()}
    return known


def _named_images(task: _Task) -> Iterator[str]:
    """Yield the path of every image that the pieces name and that is in its folder."""
    column = task.config.image or ""
    for piece in task.pieces:
        if _has_only_bytes(piece, column):
            continue
        folder: str | None = None
        for batch in readers.read(piece, task.options):
            if column not in batch.table.column_names:
                continue
            names, _ = image_files.split_column(batch.table[column].combine_chunks(), column, piece.path)
            for name in filter(None, names):
                folder = folder or image_files.folder_of(piece.path, task.config.image_folder)
                try:
                    yield image_files.locate_image(name, folder)
                except ImageFileError:
                    continue  # the row is quarantined when it is read


def _has_only_bytes(piece: Piece, column: str) -> bool:
    """Return whether the column of a Parquet file contains bytes, so that the file need not be read twice."""
    path = paths.parse_path(piece.path)
    if readers.detect_format(path)[0] != "parquet":
        return False
    with paths.convert_store_errors(path), paths.open_parquet(path) as file:
        schema = file.schema_arrow
    position = schema.get_field_index(column)
    return position >= 0 and is_binary(schema.field(position).type)


def _read_facts(name: str) -> dict[str, object]:
    """Read, hash and decode one image."""
    row: dict[str, object] = dict.fromkeys(_SCHEMA.names) | {"path": name}
    try:
        before = image_files.stamp(os.stat(name))  # noqa: PTH116 - for speed
    except (OSError, ValueError):
        before = {}
    paths.wait_for_clock_tick([before])  # a later change in the same tick would not change the stamp
    try:
        data, stamp = image_files.read_image(name)
    except ImageFileError as error:
        return row | before | {"reason": str(error)}
    facts = inspect_image(data)
    if isinstance(facts, str):
        return row | stamp | {"reason": facts}
    return row | stamp | {"hash": image_files.hash_image(data), "width": facts.width, "height": facts.height}
