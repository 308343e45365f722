"""Samples of rows by what the rows hold, so that the same rows are drawn wherever they stand and whoever draws."""

from __future__ import annotations

import numpy as np

from curate.kernels.parallel import block_slices
from curate.kernels.types import Hashes, Matrix, Rows

_ROWS = 4096
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def content_order(x: Matrix, salt: int) -> Rows:
    """The rows of ``x`` in a random order that depends on what they hold, and not on where they stand.

    Rows are sorted by a keyed hash of their bytes, and of how many rows before them hold the same, so that copies do
    not come together. The first m rows are an even sample. The same salt draws the same: of two sets of rows, samples
    have in common what the sets have (up to size), and equal sets have equal samples. That makes differences between
    samples smaller than between samples drawn apart, and none where there is none.

    Parameters
    ----------
    x : (n, d) float32
    salt : at least 0; another one, another order

    Returns
    -------
    (n,) rows

    Cost: O(n d + n log n) time, O(n) memory.

    References
    ----------
    Cohen & Kaplan (2007), "Summarizing data using bottom-k sketches", PODC, doi:10.1145/1281100.1281133. The hash:
    Dietzfelbinger, Hagerup, Katajainen & Penttonen (1997), doi:10.1006/jagm.1997.0873.

    >>> x = np.array([[0, 1], [1, 0], [1, 1]], np.float32)
    >>> bool((x[content_order(x, 3)] == x[::-1][content_order(x[::-1], 3)]).all())
    True
    """
    words = np.ascontiguousarray(x).view(np.uint32)
    weights = np.random.Generator(np.random.PCG64(salt)).integers(0, 2**64, words.shape[1], np.uint64) | np.uint64(1)
    hashes = np.empty(len(x), np.uint64)
    for rows in block_slices(len(x), _ROWS):
        hashes[rows] = (words[rows] * weights).sum(axis=1, dtype=np.uint64)
    by_hash = np.argsort(hashes, kind="stable")
    ascending = hashes[by_hash]
    copies = np.empty(len(x), np.uint64)
    copies[by_hash] = np.arange(len(x)) - np.searchsorted(ascending, ascending)
    return np.argsort(mix_bits(mix_bits(hashes) + copies * _GOLDEN), kind="stable")


def sample_by_content(x: Matrix, chosen: Rows, size: int, salt: int) -> tuple[Rows, Rows]:
    """At most ``size`` of the rows ``chosen``, and at most as many of all rows of ``x``, by ``content_order``."""
    return chosen[content_order(x[chosen], salt)[:size]], content_order(x, salt)[:size]


def mix_bits(keys: Hashes) -> Hashes:
    """Every bit depends on every bit: the finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
