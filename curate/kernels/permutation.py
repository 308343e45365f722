"""Pseudo-random permutations that are computed for one position at a time, in constant memory."""

from __future__ import annotations

import hashlib

import numpy as np

from curate.kernels.types import Hashes, Positions

_ROUNDS = 8


def permute(positions: Positions, n: int, key: str) -> Positions:
    """Map positions 0 … n − 1 to new ones, such that each new position occurs once.

    Parameters
    ----------
    positions : (m,) int64 in [0, n)
    n : size of the permuted range, at most 2^62
    key : name of the permutation; another key gives an independent permutation

    Returns
    -------
    (m,) int64 in [0, n)

    Notes
    -----
    A Feistel network over the smallest range of 4^b >= 1,024 numbers that contains n; a smaller range would prefer some
    permutations. Positions beyond n are mapped again until they are below it (cycle walking), fewer than four times on
    average if n > 256. Cost: O(m) time and memory.

    References
    ----------
    Black & Rogaway (2002), Ciphers with Arbitrary Finite Domains. doi:10.1007/3-540-45760-7_9

    Examples
    --------
    >>> sorted(permute(np.arange(10), 10, "a").tolist()) == list(range(10))
    True
    """
    half = np.uint64(max(5, -(-max(1, n - 1).bit_length() // 2)))
    mask = np.uint64((1 << int(half)) - 1)
    digest = hashlib.blake2b(key.encode(), digest_size=8 * _ROUNDS).digest()
    round_keys = np.frombuffer(digest, "<u8")
    mapped = _encrypt(np.asarray(positions).astype(np.uint64), half, mask, round_keys)
    while len(outside := np.flatnonzero(mapped >= np.uint64(n))):
        mapped[outside] = _encrypt(mapped[outside], half, mask, round_keys)
    return mapped.astype(np.int64)


def _encrypt(values: Hashes, half: np.uint64, mask: np.uint64, round_keys: Hashes) -> Hashes:
    left, right = values >> half, values & mask
    for round_key in round_keys:
        left, right = right, left ^ (_mix(right ^ round_key) & mask)
    encrypted: Hashes = (left << half) | right
    return encrypted


def _mix(values: Hashes) -> Hashes:
    """Return the finalizer of splitmix64, which spreads each bit over all bits."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = values ^ (values >> np.uint64(31))
    return mixed
