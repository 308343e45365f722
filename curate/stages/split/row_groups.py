"""Groups of rows that belong together: equal texts, near-duplicates, and equal values in a column."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curate.config.loader import selector_entry_from_dict
from curate.kernels.neighbors.components import connect_equal_keys, find_roots, merge_edges, sort_keys
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.types import Hashes, Rows
from curate.pool.view import PoolView, to_hash_halves
from curate.seeds import rng_for
from curate.stages.base import Context
from curate.stages.select.entry_runner import EntryRunner

if TYPE_CHECKING:
    from curate.config.model import InputConfig, SelectEntry, SplitConfig


def near_duplicates(config: SplitConfig, pool: InputConfig) -> list[SelectEntry]:
    """Return the filters that find near-duplicates; none if only equal texts and images belong together."""
    if config.min_similarity is None:
        return []
    filters: list[dict[str, object]] = []
    if pool.text is not None:
        filters.append({"use": "minhash", "min_similarity": config.min_similarity})
    if pool.image is not None:
        filters.append({"use": "perceptual_hash"})
    return [selector_entry_from_dict({**one, "linkage": "connected"}) for one in filters]


def find(
    context: Context, pool: PoolView, config: SplitConfig, rows: Rows, folder: Path, fingerprint: str
) -> tuple[Rows, int]:
    """Find the groups among some rows of the pool.

    Returns
    -------
    group : ndarray of shape (n,)
        Number of the group of each row, from 0, in the order of their first rows.
    peak_memory : int
        Highest peak memory of a worker, in bytes.
    """
    root, peak = np.arange(len(rows)), 0
    hashes = to_hash_halves(pool.hashes)[rows]
    _merge_equal(root, np.arange(len(rows)), mix_bits(hashes[:, 0]) ^ hashes[:, 1])
    for entry in near_duplicates(config, context.config.input):
        result = EntryRunner(context, pool, folder, fingerprint).run([entry], rows, None, None)
        peak, representative = max(peak, result.peak_memory), result.selection.representative
        if representative is not None:
            linked = np.flatnonzero(representative >= 0)
            merge_edges(root, linked, representative[linked])
    for name in config.groups:
        values = pool.groups(name).gather(rows)
        if name == "cluster":
            values = values.replace(-1, None)
        codes = values.rank("dense")
        members = np.flatnonzero(codes.is_not_null().to_numpy())
        _merge_equal(root, members, codes.drop_nulls().cast(pl.UInt64).to_numpy())
    return np.unique(find_roots(root, root), return_inverse=True)[1], peak


def _merge_equal(root: Rows, members: Rows, keys: Hashes) -> None:
    """Merge the members with equal keys."""
    first, other = connect_equal_keys(*sort_keys(keys))
    merge_edges(root, members[first], members[other])


def keys(pool: PoolView, rows: Rows, group: Rows, seed: int) -> Hashes:
    """Return a hash of each group, (g,) uint64, which depends on the seed and on the texts of its rows only."""
    salt = rng_for(seed, "split").integers(0, 1 << 64, dtype=np.uint64)
    hashes = to_hash_halves(pool.hashes)[rows]
    of_row = mix_bits(mix_bits(hashes[:, 0]) ^ hashes[:, 1] ^ salt)
    result = np.full(int(group.max(initial=-1)) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(result, group, of_row)
    return result
