"""Vectors that were made before, brought to where their texts stand now: rows are recognised by content hash.

Before the first old shard is overwritten, every one of them is read once, and the vectors that new shards want are
written beside, in order of the shard that wants them. So a pool whose files were all rewritten, in another order too,
costs one more reading and writing of the vectors it keeps, and no more memory than a shard. The driver holds 12 bytes
for each row of the shards that changed.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from curate.store.inputs import Inputs

RECIPE = b"curate.recipe"
"""The footer key of an embed shard that says how its vectors were made, whatever rows it holds."""

FOLDER = "reused"
_DONE = "done.json"
_WANTED = "wanted.npz"
_ROWS_PER_GROUP = 4096


def collect(
    context: Context, source: Inputs, folder: Path, recipe: str, fingerprint: str, changed: Sequence[int]
) -> Path | None:
    """Put aside what the old shards hold of the texts in the ``changed`` ones.

    A shard that is as it should be is no old one: a run that was cut short embeds the rest as if it had not been.
    Killed in the middle, the next call begins again; killed later, it finds all done.

    Returns
    -------
    The folder to ``find`` in; None if there is nothing to reuse.
    """
    place = folder / FOLDER
    if (parquet_io.read_json(place / _DONE) or {}).get("fingerprint") == fingerprint:
        return place
    paths.remove_directory(place)
    unchanged = {parquet_io.shard_path(folder, number) for number in set(range(len(source.shards))).difference(changed)}
    there = [path for path in paths.list_shards(folder) if path not in unchanged]
    old = [path for path in there if _made_by(path, recipe)]
    if not old or not changed:
        return None
    with parquet_io.write_atomically(place / _WANTED) as partial, partial.open("wb") as file:
        keys, wanting = _wanted(source, changed)
        np.savez(file, keys=keys, shards=wanting)
    tasks = [_Task(path, place, parquet_io.shard_path(place, number)) for number, path in enumerate(old)]
    context.map("looking for vectors made before", _put_aside, tasks, [parquet_io.count_rows(path) for path in old])
    parquet_io.write_json(place / _DONE, {"fingerprint": fingerprint})
    return place


def find(place: Path, shard: int) -> pa.Table | None:
    """What was put aside for one shard: content_hash and embedding, as they were stored; None if nothing was."""
    found: list[pa.Table] = []
    for path in paths.list_shards(place):
        with paths.open_parquet(path) as file:
            column = file.schema_arrow.get_field_index("shard")
            groups = []
            for group in range(file.metadata.num_row_groups):
                held = file.metadata.row_group(group).column(column).statistics
                if held.min <= shard <= held.max:
                    groups.append(group)
            table = file.read_row_groups(groups)
        found.append(table.filter(pc.equal(table["shard"], shard)).drop_columns("shard"))
    return pa.concat_tables(found) if found else None


def forget(folder: Path) -> None:
    """Remove what was put aside, once every shard is whole."""
    paths.remove_directory(folder / FOLDER)


def _made_by(path: Path, recipe: str) -> bool:
    try:
        return bool((parquet_io.read_schema(path).metadata or {}).get(RECIPE) == recipe.encode())
    except (OSError, pa.ArrowException):  # not whole
        return False


def _wanted(source: Inputs, changed: Sequence[int]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """The first 8 bytes of every content hash in the changed shards, sorted, and which shard it is in."""
    each = [np.unique(text_keys(source.read(shard, ["hash"])["hash"])) for shard in changed]
    keys = np.concatenate(each)
    owners = np.repeat(np.asarray(changed, np.int32), [len(own) for own in each])
    order = np.argsort(keys, kind="stable")
    return keys[order], owners[order]


def text_keys(hashes: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first 8 bytes of every content hash."""
    array = hashes.combine_chunks()
    raw = np.frombuffer(array.buffers()[1], np.uint64, count=2 * len(array), offset=16 * array.offset)
    return raw[::2]


# ---------------------------------------------------------------- one shard


@dataclass(frozen=True, slots=True)
class _Task:
    old: Path
    place: Path
    path: Path


def _put_aside(task: _Task) -> None:
    """Write the vectors of one old shard that are wanted, sorted by the shard that wants them."""
    with paths.open_binary(task.place / _WANTED) as file, np.load(file, allow_pickle=False) as wanted:
        keys, wanting = wanted["keys"], wanted["shards"]
    try:
        table: pa.Table = parquet_io.read(task.old, ["content_hash", "embedding"])
    except DataError:  # damaged: its texts are embedded again
        return
    own, once = np.unique(text_keys(table["content_hash"]), return_index=True)
    first, last = np.searchsorted(keys, own, "left"), np.searchsorted(keys, own, "right")
    times = last - first
    rows = np.repeat(once, times)
    if not len(rows):
        return
    place = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times) + np.repeat(first, times)
    target = wanting[place]
    order = np.argsort(target, kind="stable")
    table = table.take(rows[order]).append_column("shard", pa.array(target[order]))
    with parquet_io.write_atomically(task.path) as partial:
        pq.write_table(table, partial, compression="none", row_group_size=_ROWS_PER_GROUP)
