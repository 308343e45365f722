"""Index of the rows that a run has published, with the sketches that deduplicating entries compare with.

``published/<entry>/<version>.parquet`` has a line for every row that was first published in that version: its id, the
hash of its text, and its sketch, in columns that the selector defines. Memory: an id and a hash for each of them, and
the memory of the selector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import paths
from curate.errors import ConfigError, DataError
from curate.kernels.types import Rows
from curate.plugins.batches import PublishedRows
from curate.plugins.interfaces import SketchingSelector
from curate.pool.view import PoolView
from curate.stages.base import Context, plugin_call
from curate.stages.select.run_selector import build_pool
from curate.store import manifest, parquet_io, schemas, versions
from curate.store.versions import Publication

if TYPE_CHECKING:
    from curate.config.model import RunConfig, SelectEntry

FOLDER = "published"


def comparing_entries(config: RunConfig) -> list[SelectEntry]:
    """Return the entries that compare with published rows."""
    return [entry for entry in config.select if entry.against is not None]


def active_versions(lines: Iterable[Publication]) -> list[str]:
    """Return the versions that were published and not rolled back, in order."""
    active: list[str] = []
    for line in lines:
        if line["version"] not in active:
            active.append(line["version"])
        elif line["by"] == "rollback":
            del active[active.index(line["version"]) + 1 :]
    return active


@dataclass(frozen=True, slots=True)
class PublishedLookup:
    """Published rows that an entry compares with, and their overlap with the current pool of n rows."""

    published: PublishedRows
    ids: pa.ChunkedArray
    """Ids of the rows with sketches, shape (m,)."""

    unknown: NDArray[np.bool_]
    """Whether each row of the pool is published but has no sketch yet, shape (n,)."""

    forgotten: int = 0
    """Number of published rows without a usable sketch: their embeddings were fitted again since,
    and their texts are no longer in the pool."""


def load_published_rows(
    context: Context, pool: PoolView, entry: SelectEntry, compared: Sequence[str]
) -> PublishedLookup:
    """Load the rows that were published in the versions ``compared``.

    A row whose text has changed since is new. Rows of the last version that are in the pool count as published even
    without a sketch, for example if the folder is newer than the version.

    Raises
    ------
    ConfigError
        The sketches were made with other settings.
    DataError
        Sketches are missing or corrupt.
    """
    recipe = _recipe(pool, entry)
    has_sketch, is_listed, to_sketch = (np.zeros(len(pool), np.bool_) for _ in range(3))
    files: list[Path] = []
    ids: list[pa.ChunkedArray] = []
    valid: list[Rows] = []
    forgotten = 0
    for path in _sketch_files(context, entry, compared):
        outdated = _is_outdated(context, path, recipe, entry)
        if not outdated:
            _refuse_other(path, recipe, entry)
        table = parquet_io.read(path, schemas.published())
        positions = pc.index_in(table["id"], pool.ids)
        same = pc.equal(table["content_hash"], pool.hashes.take(positions)).fill_null(False).to_numpy()
        rows, in_pool = positions.fill_null(-1).to_numpy(), pc.is_valid(positions).to_numpy()
        is_listed[rows[in_pool]] = True
        if outdated:  # sketched again if the text is in the pool
            to_sketch[rows[same]] = True
            forgotten += int((~in_pool).sum())
            continue
        has_sketch[rows[same]] = True
        files.append(path)
        valid.append(np.flatnonzero(same | ~in_pool))
        ids.append(table["id"].take(pa.array(valid[-1])))
    unknown = ((_in_last_version(context, pool, compared) & ~is_listed) | to_sketch) & ~has_sketch
    fresh = np.flatnonzero(unknown)
    sketches = _sketch(pool, fresh, entry)
    ids.append(pool.ids.take(pa.array(fresh)))

    def read(part: int, names: Sequence[str]) -> pa.Table:
        if part == len(files):
            return sketches.select(list(names))
        return parquet_io.read(files[part], list(names)).take(pa.array(valid[part]))

    sizes = tuple(map(len, ids))
    all_ids = pa.chunked_array([chunk for each in ids for chunk in each.chunks], pa.string())
    return PublishedLookup(PublishedRows(has_sketch | unknown, sizes, read), all_ids, unknown, forgotten)


def _sketch_files(context: Context, entry: SelectEntry, compared: Sequence[str]) -> list[Path]:
    """Return the sketch file of each version of an entry.

    A version from before the entry compared with versions has no file. If the complete folder is missing, all sketches
    are lost; see ``warn_deleted``.

    Raises
    ------
    DataError
        A file is missing or corrupt.
    """
    folder, rows = context.folder / FOLDER / entry.name, _recorded_counts(context, entry, compared)
    files = {version: folder / f"{version}.parquet" for version in compared} if paths.list_names(folder) else {}
    existing = {
        version: path for version, path in files.items() if rows[version] is not None or parquet_io.exists(path)
    }
    for version, path in existing.items():
        if problem := _find_problem(path, rows[version]):
            message = f"select {entry.name}: the file with the sketches of {version} {problem}"
            raise DataError(message, where=str(path), hint=_recovery_hint(folder))
    return list(existing.values())


def _recorded_counts(context: Context, entry: SelectEntry, compared: Sequence[str]) -> dict[str, int | None]:
    """Return the number of sketches of each version when it was published; None if the entry had none."""
    lines = versions.read_history(context.folder / versions.FOLDER)
    return {version: (versions.sketch_counts(lines, version) or {}).get(entry.name) for version in compared}


def _find_problem(path: Path, rows: int | None) -> str:
    """Return the problem of a sketch file as a phrase; "" if there is none."""
    if not parquet_io.exists(path):
        return "is missing"
    try:
        stored = parquet_io.count_rows(path)
    except DataError:
        return "is corrupt"
    return "" if rows in (None, stored) else f"is corrupt: it has {stored:,} of {rows:,} rows"


def warn_deleted(context: Context) -> list[str]:
    """Return a warning for each entry whose folder of sketches was deleted."""
    warnings, compared = [], active_versions(versions.read_history(context.folder / versions.FOLDER))
    for entry in comparing_entries(context.config):
        lost = [version for version, rows in _recorded_counts(context, entry, compared).items() if rows is not None]
        if lost and not paths.list_names(folder := context.folder / FOLDER / entry.name):
            warnings.append(
                f"select {entry.name}: {folder} is missing, so the sketches of {', '.join(lost)} are lost: only "
                "published rows that are still in the pool can be compared"
            )
    return warnings


def count_remembered(context: Context, version: str) -> dict[str, int]:
    """Return the number of sketches of a version, for each entry that compares with earlier versions."""
    files = {
        entry.name: context.folder / FOLDER / entry.name / f"{version}.parquet"
        for entry in comparing_entries(context.config)
    }
    return {name: parquet_io.count_rows(path) for name, path in files.items()}


def _recovery_hint(folder: Path) -> str:
    return (
        f"restore the file from a backup, or delete {folder}: published rows that are still in the pool are then "
        "sketched again, and those that are no longer in the pool are ignored"
    )


def write(
    context: Context, pool: PoolView, chosen: Callable[[], NDArray[np.bool_]], compared: Sequence[str], version: str
) -> None:
    """Write sketches of the rows that a version is the first to publish, before it is published, unless they exist.

    Parameters
    ----------
    chosen : Callable[[], ndarray of bool_]
        Function that returns whether each row of the pool is in the version, shape (n,).
    compared : Sequence[str]
        Versions that the selection was compared with.
    """
    for entry in comparing_entries(context.config):
        path = context.folder / FOLDER / entry.name / f"{version}.parquet"
        recipe = _recipe(pool, entry)
        if not parquet_io.is_current(path, recipe):
            before = load_published_rows(context, pool, entry, compared)
            rows = np.flatnonzero((chosen() & ~before.published.is_published) | before.unknown)
            none = _lines(pool, rows[:0], entry)
            parquet_io.write_row_groups(_lines_by_shard(pool, rows, entry, none), none.schema, path, recipe)


def _lines_by_shard(pool: PoolView, rows: Rows, entry: SelectEntry, none: pa.Table) -> Iterator[pa.Table]:
    ends = np.cumsum([0, *pool.shard_sizes])
    for start, stop in np.searchsorted(rows, np.stack([ends[:-1], ends[1:]], axis=1)).tolist():
        if start < stop:
            yield _lines(pool, rows[start:stop], entry).cast(none.schema)


def _lines(pool: PoolView, rows: Rows, entry: SelectEntry) -> pa.Table:
    sketches, taken = _sketch(pool, rows, entry), pa.array(rows)
    table = pa.table([pool.ids.take(taken), pool.hashes.take(taken)], schemas.published())
    for name in sketches.column_names:
        table = table.append_column(name, sketches[name])
    return table


def _sketch(pool: PoolView, rows: Rows, entry: SelectEntry) -> pa.Table:
    selector: SketchingSelector = entry.spec.build()
    some = build_pool(pool, rows, entry)
    with plugin_call(entry.spec, entry.name):
        sketches: pa.Table = selector.sketch(some)
    return sketches


def _in_last_version(context: Context, pool: PoolView, compared: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each row of the pool is in the last of the versions, shape (n,)."""
    root = context.folder / versions.FOLDER
    if not compared:
        return np.zeros(len(pool), np.bool_)
    mask: NDArray[np.bool_] = pc.is_in(pool.ids, versions.read_ids(root, compared[-1])["id"].to_arrow()).to_numpy()
    return mask


def _recipe(pool: PoolView, entry: SelectEntry) -> str:
    """Return the fingerprint of the settings of an entry's sketches."""
    plugin = entry.spec.plugin()
    parts = entry.fingerprint_parts()
    params = {name: parts["params"][name] for name in plugin.traits.sketch or ()}
    settings = {"plugin": parts["plugin"], "version": parts["version"], "sha256": parts["sha256"], "params": params}
    if "contents" in parts:
        settings["contents"] = parts["contents"]
    if "embedding" in plugin.traits.reads:
        settings["embed"] = pool.embedding(entry.embedding).recipe
    return manifest.fingerprint(settings)


def _is_outdated(context: Context, path: Path, recipe: str, entry: SelectEntry) -> bool:
    """Return whether sketches use embeddings of an earlier fit, and ``refresh.refit`` allows a new fit."""
    stored = parquet_io.read_fingerprint(path)
    refits = context.config.refresh.refit != "never" and "embedding" in entry.spec.plugin().traits.reads
    return refits and stored is not None and stored != recipe


def _refuse_other(path: Path, recipe: str, entry: SelectEntry) -> None:
    stored = parquet_io.read_fingerprint(path)
    if stored == recipe:
        return
    fields = ", ".join(entry.spec.plugin().traits.sketch or ()) or "its embeddings"
    message = f"select {entry.name}: the stored sketches were made with other settings, or the file is corrupt"
    hint = f"restore the earlier settings ({fields}); or {_recovery_hint(path.parent)}"
    raise ConfigError(message, where=str(path), hint=hint)
