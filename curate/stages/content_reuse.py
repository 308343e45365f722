"""Reuse of results from earlier runs: rows are matched by content hash and moved to their new shards.

Before the first old shard is overwritten, each of them is read once, and the results that new shards need are written
to a separate folder, ordered by new shard. A pool whose files were all rewritten, even in another order, therefore
costs one extra read and write of the reused results, and no more memory than a shard. The driver needs 12 bytes for
each row of the changed shards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate import paths
from curate.errors import DataError
from curate.stages.base import Context
from curate.store import parquet_io

RECIPE = b"curate.recipe"
"""Footer key of the fingerprint of the settings of a shard, independent of its rows."""

FOLDER = "reused"
_DONE = "done.json"
_WANTED = "wanted.npz"
_ROWS_PER_GROUP = 4096


def collect(
    context: Context,
    folder: Path,
    recipe: str,
    fingerprint: str,
    changed: Sequence[int],
    n_shards: int,
    read_hashes: Callable[[int], pa.ChunkedArray],
) -> Path | None:
    """Copy the results for the rows in the ``changed`` shards from the old shards to a separate folder.

    Up-to-date shards are not old: an interrupted run computes the remaining shards like an uninterrupted one.
    If the copy was interrupted, the next call starts again; if it was completed, the next call reuses it.

    Parameters
    ----------
    context : Context
        Context of the run.
    folder : Path
        Folder of the shards, which have a column ``content_hash``.
    recipe : str
        Fingerprint of the settings of the shards.
    fingerprint : str
        Fingerprint of the step.
    changed : sequence of int
        Numbers of the shards to write.
    n_shards : int
        Number of shards.
    read_hashes : callable
        Function that returns the content hashes of the rows of a new shard, given its number.

    Returns
    -------
    Path or None
        Folder for ``find``; None if there is nothing to reuse.
    """
    reuse_folder = folder / FOLDER
    if (parquet_io.read_json(reuse_folder / _DONE) or {}).get("fingerprint") == fingerprint:
        return reuse_folder
    paths.remove_directory(reuse_folder)
    unchanged = {parquet_io.shard_path(folder, number) for number in set(range(n_shards)).difference(changed)}
    shards = [path for path in paths.list_shards(folder) if path not in unchanged]
    old = [path for path in shards if _has_recipe(path, recipe)]
    if not old or not changed:
        return None
    with parquet_io.write_atomically(reuse_folder / _WANTED) as partial, partial.open("wb") as file:
        keys, owners = _needed_keys(read_hashes, changed)
        np.savez(file, keys=keys, shards=owners)
    tasks = [_Task(path, reuse_folder, parquet_io.shard_path(reuse_folder, number)) for number, path in enumerate(old)]
    context.map("collecting results to reuse", _copy_needed, tasks, [parquet_io.count_rows(path) for path in old])
    parquet_io.write_json(reuse_folder / _DONE, {"fingerprint": fingerprint})
    return reuse_folder


def find(reuse_folder: Path, shard: int) -> pa.Table | None:
    """Return the reusable rows of one shard, as stored, without their ids; None if there are none."""
    tables: list[pa.Table] = []
    for path in paths.list_shards(reuse_folder):
        with paths.open_parquet(path) as file:
            column = file.schema_arrow.get_field_index("shard")
            groups = []
            for group in range(file.metadata.num_row_groups):
                statistics = file.metadata.row_group(group).column(column).statistics
                if statistics.min <= shard <= statistics.max:
                    groups.append(group)
            table = file.read_row_groups(groups)
        tables.append(table.filter(pc.equal(table["shard"], shard)).drop_columns("shard"))
    return pa.concat_tables(tables) if tables else None


def forget(folder: Path) -> None:
    """Delete the copied results, after every shard is complete."""
    paths.remove_directory(folder / FOLDER)


def _has_recipe(path: Path, recipe: str) -> bool:
    try:
        return bool((parquet_io.read_schema(path).metadata or {}).get(RECIPE) == recipe.encode())
    except (OSError, pa.ArrowException):  # incomplete
        return False


def _needed_keys(
    read_hashes: Callable[[int], pa.ChunkedArray], changed: Sequence[int]
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return the first 8 bytes of every content hash in the changed shards, sorted, and their shards."""
    each = [np.unique(text_keys(read_hashes(shard))) for shard in changed]
    keys = np.concatenate(each)
    owners = np.repeat(np.asarray(changed, np.int32), [len(keys_of_shard) for keys_of_shard in each])
    order = np.argsort(keys, kind="stable")
    return keys[order], owners[order]


def text_keys(hashes: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Return the first 8 bytes of every content hash."""
    array = hashes.combine_chunks()
    raw = np.frombuffer(array.buffers()[1], np.uint64, count=2 * len(array), offset=16 * array.offset)
    return raw[::2]


# ---------------------------------------------------------------- one shard


@dataclass(frozen=True, slots=True)
class _Task:
    old: Path
    reuse_folder: Path
    path: Path


def _copy_needed(task: _Task) -> None:
    """Write the needed results of one old shard, sorted by new shard."""
    with paths.open_binary(task.reuse_folder / _WANTED) as file, np.load(file, allow_pickle=False) as wanted:
        keys, owners = wanted["keys"], wanted["shards"]
    try:
        columns = [name for name in parquet_io.read_schema(task.old).names if name != "id"]
        table: pa.Table = parquet_io.read(task.old, columns)
    except DataError:  # corrupt: its rows are computed again
        return
    keys_here, first_rows = np.unique(text_keys(table["content_hash"]), return_index=True)
    first = np.searchsorted(keys, keys_here, "left")
    last = np.searchsorted(keys, keys_here, "right")
    times = last - first
    rows = np.repeat(first_rows, times)
    if not len(rows):
        return
    positions = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times) + np.repeat(first, times)
    target = owners[positions]
    order = np.argsort(target, kind="stable")
    table = table.take(rows[order]).append_column("shard", pa.array(target[order]))
    with parquet_io.write_atomically(task.path) as partial:
        pq.write_table(table, partial, compression="none", row_group_size=_ROWS_PER_GROUP)
