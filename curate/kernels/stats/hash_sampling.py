"""Sampling by row content, so that the same rows are drawn in any pool and order."""

from __future__ import annotations

import numpy as np

from curate.kernels.parallel import block_slices
from curate.kernels.types import Codes, Hashes, Matrix, Rows

_ROWS = 4096
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def content_order(x: Matrix, salt: int, labels: Codes | None = None) -> Rows:
    """Return the rows of ``x`` in a pseudo-random order that depends on their content, not on their position.

    Rows are sorted by a keyed hash of their bytes and of the number of equal rows before them, so that copies are
    spread out. The first m rows are a uniform sample. The same salt gives the same order: samples of two sets of rows
    have in common what the sets have in common (up to size), and equal sets have equal samples. Differences between
    such samples are smaller than between independent samples, and zero for equal sets.

    Parameters
    ----------
    x : (n, d) float32
    salt : at least 0; each value gives another order
    labels : (n,) int32, which count as content

    Returns
    -------
    (n,) row indices

    Notes
    -----
    Cost: O(n d + n log n) time, O(n) memory.

    References
    ----------
    Cohen & Kaplan (2007), "Summarizing data using bottom-k sketches", PODC, doi:10.1145/1281100.1281133. The hash:
    Dietzfelbinger, Hagerup, Katajainen & Penttonen (1997), doi:10.1006/jagm.1997.0873.

    Examples
    --------
    >>> x = np.array([[0, 1], [1, 0], [1, 1]], np.float32)
    >>> bool((x[content_order(x, 3)] == x[::-1][content_order(x[::-1], 3)]).all())
    True
    """
    hashes = _sum_words(x, np.random.Generator(np.random.PCG64(salt)), labels)
    by_hash = np.argsort(hashes, kind="stable")
    ascending = hashes[by_hash]
    copy_number = np.empty(len(x), np.uint64)
    copy_number[by_hash] = np.arange(len(x)) - np.searchsorted(ascending, ascending)
    return np.argsort(mix_bits(mix_bits(hashes) + copy_number * _GOLDEN), kind="stable")


def hash_vectors(x: Matrix, rng: np.random.Generator, labels: Codes | None = None) -> Hashes:
    """Hash rows to 64 bits by the bytes of their vectors, and by their labels; equal rows have equal hashes.

    Parameters
    ----------
    x : (n, d) float32
    rng : random generator
    labels : (n,) int32

    Returns
    -------
    (n,) uint64

    Examples
    --------
    >>> a, b, c = hash_vectors(np.array([[0, 1], [1, 0], [0, 1]], np.float32), np.random.default_rng(0))
    >>> bool(a == c), bool(a == b)
    (True, False)
    """
    return mix_bits(_sum_words(x, rng, labels))


def _sum_words(x: Matrix, rng: np.random.Generator, labels: Codes | None = None) -> Hashes:
    words = np.ascontiguousarray(x).view(np.uint32)
    weights = rng.integers(0, 2**64, words.shape[1], np.uint64) | np.uint64(1)
    hashes = np.empty(len(x), np.uint64)
    for rows in block_slices(len(x), _ROWS):
        hashes[rows] = (words[rows] * weights).sum(axis=1, dtype=np.uint64)
    if labels is not None:
        hashes += labels.astype(np.uint64) * (rng.integers(0, 2**64, dtype=np.uint64) | np.uint64(1))
    return hashes


def sample_by_content(x: Matrix, selected: Rows, size: int, salt: int) -> tuple[Rows, Rows]:
    """Return the first ``size`` of the ``selected`` rows, and of all rows of ``x``, by ``content_order``.

    Parameters
    ----------
    x : (n, d) float32
    selected : (k,) row indices
    size : maximum number of rows in a sample
    salt : see ``content_order``

    Returns
    -------
    selected_sample, pool_sample : row indices
    """
    return selected[content_order(x[selected], salt)[:size]], content_order(x, salt)[:size]


def mix_bits(keys: Hashes) -> Hashes:
    """Mix bits so that each depends on all others: the finalizer of SplitMix64.

    Parameters
    ----------
    keys : uint64 of any shape

    References
    ----------
    Steele, Lea & Flood (2014), doi:10.1145/2660193.2660195.
    """
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
