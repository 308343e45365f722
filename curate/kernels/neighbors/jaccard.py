"""The Jaccard similarity of sets of hashes, pair by pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.types import Hashes, Numbers, Positions, Rows

_BITS = 52  # of a hash that are kept; the others number the sets of a block, or its pairs
_AT_ONCE = 1 << 64 - _BITS
_ELEMENTS = 1 << 19  # of a block of pairs: 4 MiB


@dataclass(frozen=True, slots=True)
class HashSets:
    """Sets of 52-bit hashes; two of 10,000 such elements share one by chance with probability 2·10⁻⁸."""

    elements: Hashes
    """Those of set i are ``elements[offsets[i]:offsets[i + 1]]``, ascending, each once."""

    offsets: Positions

    @classmethod
    def from_lists(cls, hashes: Hashes, offsets: Positions) -> HashSets:
        """The sets of n lists of 64-bit hashes, at most 4,096 lists, in which hashes may repeat.

        >>> HashSets.from_lists(np.array([9, 8, 9, 8], np.uint64) << np.uint64(12), np.array([0, 3, 4])).elements.tolist()
        [8, 9, 8]
        """
        lists = np.repeat(np.arange(len(offsets) - 1, dtype=np.uint64), np.diff(offsets))
        keys = np.sort(lists << np.uint64(_BITS) | hashes >> np.uint64(64 - _BITS))
        first = np.ones(len(keys), np.bool_)
        first[1:] = keys[1:] != keys[:-1]
        keys = keys[first]
        bounds = np.searchsorted(keys, np.arange(len(offsets) - 1, dtype=np.uint64) << np.uint64(_BITS))
        return cls(keys & np.uint64((1 << _BITS) - 1), np.append(bounds, len(keys)))

    @classmethod
    def concatenate(cls, parts: list[HashSets]) -> HashSets:
        """The sets of all parts, one part after the other."""
        sizes = np.concatenate([np.zeros(1, np.int64), *(np.diff(part.offsets) for part in parts)])
        elements = np.concatenate([np.zeros(0, np.uint64), *(part.elements for part in parts)])
        return cls(elements, np.cumsum(sizes))

    def jaccard(self, left: Rows, right: Rows) -> Numbers:
        """|A ∩ B| / |A ∪ B| of each pair of sets, none of them empty; (p,) float64.

        Cost: O(elements of the pairs): two sorted sets are merged.

        >>> sets = HashSets.from_lists(np.array([1, 2, 3, 2, 3, 4], np.uint64) << np.uint64(12), np.array([0, 3, 6]))
        >>> sets.jaccard(np.array([0, 0]), np.array([1, 0])).tolist()
        [0.5, 1.0]
        """
        sizes = np.diff(self.offsets)
        ends = np.cumsum(sizes[left] + sizes[right])
        cuts = np.flatnonzero(np.diff(ends // _ELEMENTS) | np.diff(np.arange(len(ends)) // _AT_ONCE)) + 1
        bounds = [0, *cuts.tolist(), len(left)] if len(left) else [0]

        def block(pairs: slice) -> Numbers:
            numbers = np.arange(pairs.stop - pairs.start, dtype=np.uint64) << np.uint64(_BITS)
            both = np.concatenate([self._numbered(rows[pairs], numbers) for rows in (left, right)])
            both.sort(kind="stable")  # merges the two, which ascend
            shared = np.bincount(
                (both[1:][both[1:] == both[:-1]] >> np.uint64(_BITS)).astype(np.intp), None, len(numbers)
            )
            return shared / (sizes[left[pairs]] + sizes[right[pairs]] - shared)

        parts = map_blocks(block, map(slice, bounds[:-1], bounds[1:]))
        return np.concatenate([np.zeros(0), *parts])

    def _numbered(self, rows: Rows, numbers: Hashes) -> Hashes:
        starts = self.offsets[rows]
        sizes = self.offsets[rows + 1] - starts
        return self.elements[concatenate_ranges(starts, sizes)] | np.repeat(numbers, sizes)
