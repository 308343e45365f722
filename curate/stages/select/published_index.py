"""What a run has published so far, as its de-duplicating entries remember it, so that they need no old text again.

``published/<entry>/<version>.parquet`` has a line for every row that was first published in that version: its id, the
hash of its text, and its sketch, in columns that the selector names. Memory: an id and a hash for each of them, and
what the selector holds.
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
from curate.stages.base import Context, plugin_errors
from curate.stages.select.run_selector import build_pool
from curate.store import manifest, parquet_io, schemas, versions
from curate.store.versions import Publication

if TYPE_CHECKING:
    from curate.config.model import RunConfig, SelectEntry

FOLDER = "published"


def comparing_entries(config: RunConfig) -> list[SelectEntry]:
    """Those that compare with what was published."""
    return [entry for entry in config.select if entry.against is not None]


def active_versions(lines: Iterable[Publication]) -> list[str]:
    """Return the versions that were published and not taken back since, in order."""
    found: list[str] = []
    for line in lines:
        if line["version"] not in found:
            found.append(line["version"])
        elif line["by"] == "rollback":
            del found[found.index(line["version"]) + 1 :]
    return found


@dataclass(frozen=True, slots=True)
class PublishedLookup:
    """What an entry remembers, beside tonight's pool of n rows."""

    published: PublishedRows
    ids: pa.ChunkedArray
    """(m,) of the rows that there are sketches of."""

    unknown: NDArray[np.bool_]
    """(n,) rows that are published, and that the folder knows nothing of yet."""

    forgotten: int = 0
    """Number of rows that cannot be compared with any more: their sketches rest on embeddings that were fitted again
    since, and their texts are no longer in the pool."""


def load_published_rows(context: Context, pool: PoolView, entry: SelectEntry, known: Sequence[str]) -> PublishedLookup:
    """What was published in the versions ``known``.

    A row whose text has changed since is new. Rows of the last version that are in the pool are published even where
    the folder has nothing of them, as when it is younger than the version.

    Raises
    ------
    ConfigError : if the sketches were made with other fields
    DataError : if sketches are missing or corrupt
    """
    recipe = _recipe(pool, entry)
    held, named, again = (np.zeros(len(pool), np.bool_) for _ in range(3))
    files: list[Path] = []
    ids: list[pa.ChunkedArray] = []
    valid: list[Rows] = []
    forgotten = 0
    for path in _remembered(context, entry, known):
        outdated = _is_outdated(context, path, recipe, entry)
        if not outdated:
            _refuse_other(path, recipe, entry)
        table = parquet_io.read(path, schemas.published())
        place = pc.index_in(table["id"], pool.ids)
        same = pc.equal(table["content_hash"], pool.hashes.take(place)).fill_null(False).to_numpy()
        rows, found = place.fill_null(-1).to_numpy(), pc.is_valid(place).to_numpy()
        named[rows[found]] = True
        if outdated:  # sketched again where the pool has the text
            again[rows[same]] = True
            forgotten += int((~found).sum())
            continue
        held[rows[same]] = True
        files.append(path)
        valid.append(np.flatnonzero(same | ~found))
        ids.append(table["id"].take(pa.array(valid[-1])))
    unknown = ((_of_last(context, pool, known) & ~named) | again) & ~held
    fresh = np.flatnonzero(unknown)
    sketches = _sketch(pool, fresh, entry)
    ids.append(pool.ids.take(pa.array(fresh)))

    def read(part: int, names: Sequence[str]) -> pa.Table:
        if part == len(files):
            return sketches.select(list(names))
        return parquet_io.read(files[part], list(names)).take(pa.array(valid[part]))

    sizes = tuple(map(len, ids))
    everything = pa.chunked_array([chunk for each in ids for chunk in each.chunks], pa.string())
    return PublishedLookup(PublishedRows(held | unknown, sizes, read), everything, unknown, forgotten)


def _remembered(context: Context, entry: SelectEntry, known: Sequence[str]) -> list[Path]:
    """Return the file of each version that an entry has sketches of.

    A version from before the entry compared with any has none, and where the whole folder is missing, everything is
    forgotten; see ``deleted``.

    Raises
    ------
    DataError
        If a file is missing, or does not hold what was written.
    """
    folder, rows = context.folder / FOLDER / entry.name, _written_down(context, entry, known)
    files = {version: folder / f"{version}.parquet" for version in known} if paths.list_names(folder) else {}
    found = {version: path for version, path in files.items() if rows[version] is not None or parquet_io.exists(path)}
    for version, path in found.items():
        if wrong := _wrong(path, rows[version]):
            message = f"select {entry.name}: the file of what {version} published {wrong}"
            raise DataError(message, where=str(path), hint=_forgetting(folder))
    return list(found.values())


def _written_down(context: Context, entry: SelectEntry, known: Sequence[str]) -> dict[str, int | None]:
    """Return how many rows of each version an entry had sketches of when it was published; None where it had none."""
    lines = versions.read_history(context.folder / versions.FOLDER)
    return {version: (versions.sketch_counts(lines, version) or {}).get(entry.name) for version in known}


def _wrong(path: Path, rows: int | None) -> str:
    """Return what is wrong with a file of sketches, in words; empty if nothing is."""
    if not parquet_io.exists(path):
        return "is missing"
    try:
        held = parquet_io.count_rows(path)
    except DataError:
        return "is corrupt"
    return "" if rows in (None, held) else f"holds {held:,} of {rows:,} rows"


def warn_deleted(context: Context) -> list[str]:
    """Return a warning for each entry whose folder was deleted, and with it what it knew of published rows."""
    warnings, known = [], active_versions(versions.read_history(context.folder / versions.FOLDER))
    for entry in comparing_entries(context.config):
        lost = [version for version, rows in _written_down(context, entry, known).items() if rows is not None]
        if lost and not paths.list_names(folder := context.folder / FOLDER / entry.name):
            warnings.append(
                f"select {entry.name}: {folder} is missing, and what {', '.join(lost)} published is forgotten: only "
                "rows that are still in the pool are known to be published"
            )
    return warnings


def count_remembered(context: Context, version: str) -> dict[str, int]:
    """Return how many rows each entry that compares with earlier versions remembers of a version."""
    files = {
        entry.name: context.folder / FOLDER / entry.name / f"{version}.parquet"
        for entry in comparing_entries(context.config)
    }
    return {name: parquet_io.count_rows(path) for name, path in files.items()}


def _forgetting(folder: Path) -> str:
    return (
        f"restore it from a copy, or delete {folder}: rows that are published and in the pool are then remembered "
        "again, and those that are no longer in the pool are forgotten"
    )


def write(
    context: Context, pool: PoolView, chosen: Callable[[], NDArray[np.bool_]], known: Sequence[str], version: str
) -> None:
    """Remember the rows that a version publishes first, before it is published; nothing is read if that was done.

    Parameters
    ----------
    chosen : gives (n,) the rows of the pool that are in it
    known : the versions that the selection was made against
    """
    for entry in comparing_entries(context.config):
        path = context.folder / FOLDER / entry.name / f"{version}.parquet"
        recipe = _recipe(pool, entry)
        if not parquet_io.is_current(path, recipe):
            before = load_published_rows(context, pool, entry, known)
            rows = np.flatnonzero((chosen() & ~before.published.is_published) | before.unknown)
            none = _lines(pool, rows[:0], entry)
            parquet_io.write_row_groups(_by_shard(pool, rows, entry, none), none.schema, path, recipe)


def _by_shard(pool: PoolView, rows: Rows, entry: SelectEntry, none: pa.Table) -> Iterator[pa.Table]:
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
    with plugin_errors(entry.spec, entry.name):
        sketches: pa.Table = selector.sketch(some)
    return sketches


def _of_last(context: Context, pool: PoolView, known: Sequence[str]) -> NDArray[np.bool_]:
    """(n,) the rows of the pool that are in the last of the versions, as far as that is still known."""
    root = context.folder / versions.FOLDER
    if not known:
        return np.zeros(len(pool), np.bool_)
    mask: NDArray[np.bool_] = pc.is_in(pool.ids, versions.read_ids(root, known[-1])["id"].to_arrow()).to_numpy()
    return mask


def _recipe(pool: PoolView, entry: SelectEntry) -> str:
    """What the sketches of an entry are made with."""
    plugin = entry.spec.plugin()
    told = entry.fingerprint_parts()
    params = {name: told["params"][name] for name in plugin.traits.sketch or ()}
    made_with = {"plugin": told["plugin"], "version": told["version"], "sha256": told["sha256"], "params": params}
    if "contents" in told:
        made_with["contents"] = told["contents"]
    if "embedding" in plugin.traits.reads:
        made_with["embed"] = pool.embedding(entry.embedding).recipe
    return manifest.fingerprint(made_with)


def _is_outdated(context: Context, path: Path, recipe: str, entry: SelectEntry) -> bool:
    """Return whether sketches rest on embeddings of an earlier fit, and ``refresh.refit`` asked for a new one."""
    found = parquet_io.read_fingerprint(path)
    refits = context.config.refresh.refit != "never" and "embedding" in entry.spec.plugin().traits.reads
    return refits and found is not None and found != recipe


def _refuse_other(path: Path, recipe: str, entry: SelectEntry) -> None:
    found = parquet_io.read_fingerprint(path)
    if found == recipe:
        return
    fields = ", ".join(entry.spec.plugin().traits.sketch or ()) or "its embeddings"
    told = f"select {entry.name}: what was published is remembered in another way, or the file is damaged"
    hint = f"set back what sketches depend on ({fields}); or {_forgetting(path.parent)}"
    raise ConfigError(told, where=str(path), hint=hint)
