"""Lookup of many 64-bit keys in a fixed set, several times as fast as a binary search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Hashes, Positions

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so multiplication modulo 2**64 is injective
_SPARE_BITS = 2  # four to eight buckets per key: most contain at most one key


@dataclass(frozen=True, slots=True)
class HashIndex:
    """Index from the keys of a set to their positions.

    Keys are multiplied by a constant that mixes their bits, sorted, and looked up by their leading bits.

    Notes
    -----
    Cost: O(f log f) to build for f keys; O(1) per lookup; memory about 16 bytes × f and 32 to 64 bytes × f.

    Examples
    --------
    >>> HashIndex.from_keys(np.array([7, 9], np.uint64)).find(np.array([9, 8, 7], np.uint64)).tolist()
    [1, -1, 0]
    """

    mixed_keys: Hashes
    """Multiplied keys (f + 1,), sorted, followed by 0."""

    positions: Positions
    """Position of each mixed key in the set (f + 1,), followed by -1."""

    bucket_starts: Positions
    """Offsets (b + 1,) of the mixed keys whose leading bits are 0, 1, …"""

    shift: np.uint64
    """Number of bits to shift a mixed key to the right to get its leading bits."""

    max_probes: int
    """Number of keys in the fullest bucket."""

    @classmethod
    def from_keys(cls, keys: Hashes) -> HashIndex:
        """Build the index of (f,) distinct keys."""
        bits = len(keys).bit_length() + _SPARE_BITS
        shift = np.uint64(64 - bits)
        mixed = keys * _MULTIPLIER
        order = np.argsort(mixed)
        bucket_starts = np.searchsorted(mixed[order] >> shift, np.arange((1 << bits) + 1, dtype=np.uint64))
        sentinel = np.zeros(1, np.uint64)
        max_probes = int(np.diff(bucket_starts).max())
        return cls(np.concatenate([mixed[order], sentinel]), np.append(order, -1), bucket_starts, shift, max_probes)

    def __len__(self) -> int:
        return len(self.positions) - 1

    def find(self, keys: Hashes) -> Positions:
        """Return the position in the set of each of (m,) keys, -1 for keys that are not in it."""
        mixed = keys * _MULTIPLIER
        slot = self.bucket_starts[mixed >> self.shift]
        positions = np.where(self.mixed_keys[slot] == mixed, self.positions[slot], -1)
        for probe in range(1, self.max_probes):
            missing = np.flatnonzero(positions < 0)
            candidates = np.minimum(slot[missing] + probe, len(self))
            positions[missing] = np.where(self.mixed_keys[candidates] == mixed[missing], self.positions[candidates], -1)
        return positions
