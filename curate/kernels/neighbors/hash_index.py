"""Finds many 64-bit keys in a fixed set of them, several times as fast as a binary search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Hashes, Positions

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: a product with it, modulo 2**64, keeps different keys different
_SPARE_BITS = 2  # four to eight buckets a key: most hold one or none


@dataclass(frozen=True, slots=True)
class HashIndex:
    """The place of each key of a set.

    Keys are multiplied by a constant that spreads their bits, sorted, and looked up by their leading bits.

    Cost: O(f log f) to build for f keys; O(1) a key to find; memory about 16 bytes × f and 32 to 64 bytes × f.

    >>> HashIndex.from_keys(np.array([7, 9], np.uint64)).find(np.array([9, 8, 7], np.uint64)).tolist()
    [1, -1, 0]
    """

    spread: Hashes
    """(f + 1,) the spread keys, sorted; then 0."""

    places: Positions
    """(f + 1,) the place of each in the set; then -1."""

    buckets: Positions
    """(b + 1,) where the spread keys begin whose leading bits are 0, 1, …"""

    shift: np.uint64
    """How far to shift a spread key to the right to get those bits."""

    probes: int
    """The number of keys in the fullest bucket."""

    @classmethod
    def from_keys(cls, keys: Hashes) -> HashIndex:
        """The lookup of (f,) different keys."""
        bits = len(keys).bit_length() + _SPARE_BITS
        shift = np.uint64(64 - bits)
        spread = keys * _SPREAD
        order = np.argsort(spread)
        buckets = np.searchsorted(spread[order] >> shift, np.arange((1 << bits) + 1, dtype=np.uint64))
        sentinel = np.zeros(1, np.uint64)
        fullest = int(np.diff(buckets).max())
        return cls(np.concatenate([spread[order], sentinel]), np.append(order, -1), buckets, shift, fullest)

    def __len__(self) -> int:
        return len(self.places) - 1

    def find(self, keys: Hashes) -> Positions:
        """(m,) the place in the set of each of (m,) keys, -1 for those that are not in it."""
        spread = keys * _SPREAD
        slot = self.buckets[spread >> self.shift]
        places = np.where(self.spread[slot] == spread, self.places[slot], -1)
        for probe in range(1, self.probes):
            missing = np.flatnonzero(places < 0)
            near = np.minimum(slot[missing] + probe, len(self))
            places[missing] = np.where(self.spread[near] == spread[missing], self.places[near], -1)
        return places
