"""Jaccard similarity of pairs of hash sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.types import Hashes, Numbers, Positions, Rows

_BITS = 52  # bits of a hash that are kept; the others hold the number of a set or pair in its block
_MAX_BLOCK = 1 << 64 - _BITS
_ELEMENTS = 1 << 19  # elements in a block of pairs: 4 MiB


@dataclass(frozen=True, slots=True)
class HashSets:
    """Sets of 52-bit hashes; two sets of 10,000 elements share one by chance with probability 2·10⁻⁸."""

    elements: Hashes
    """Elements of set i are ``elements[offsets[i]:offsets[i + 1]]``, ascending and distinct."""

    offsets: Positions

    @classmethod
    def from_lists(cls, hashes: Hashes, offsets: Positions) -> HashSets:
        """Build the sets of n lists of 64-bit hashes, at most 4,096 lists, which may contain duplicates.

        Parameters
        ----------
        hashes : (m,) uint64, the lists one after the other
        offsets : (n + 1,) int64, list i is ``hashes[offsets[i]:offsets[i + 1]]``

        Examples
        --------
        >>> hashes = np.array([9, 8, 9, 8], np.uint64) << np.uint64(12)
        >>> HashSets.from_lists(hashes, np.array([0, 3, 4])).elements.tolist()
        [8, 9, 8]
        """
        list_numbers = np.repeat(np.arange(len(offsets) - 1, dtype=np.uint64), np.diff(offsets))
        keys = np.sort(list_numbers << np.uint64(_BITS) | hashes >> np.uint64(64 - _BITS))
        is_first = np.ones(len(keys), np.bool_)
        is_first[1:] = keys[1:] != keys[:-1]
        keys = keys[is_first]
        bounds = np.searchsorted(keys, np.arange(len(offsets) - 1, dtype=np.uint64) << np.uint64(_BITS))
        return cls(keys & np.uint64((1 << _BITS) - 1), np.append(bounds, len(keys)))

    @classmethod
    def concatenate(cls, parts: list[HashSets]) -> HashSets:
        """Concatenate the sets of all parts."""
        sizes = np.concatenate([np.zeros(1, np.int64), *(np.diff(part.offsets) for part in parts)])
        elements = np.concatenate([np.zeros(0, np.uint64), *(part.elements for part in parts)])
        return cls(elements, np.cumsum(sizes))

    def jaccard(self, left: Rows, right: Rows) -> Numbers:
        """Compute |A ∩ B| / |A ∪ B| of pairs of non-empty sets.

        Parameters
        ----------
        left, right : (p,) indices of sets

        Returns
        -------
        (p,) float64

        Notes
        -----
        Cost: O(elements of the pairs): each pair merges two sorted sets.

        Examples
        --------
        >>> sets = HashSets.from_lists(np.array([1, 2, 3, 2, 3, 4], np.uint64) << np.uint64(12), np.array([0, 3, 6]))
        >>> sets.jaccard(np.array([0, 0]), np.array([1, 0])).tolist()
        [0.5, 1.0]
        """
        sizes = np.diff(self.offsets)
        ends = np.cumsum(sizes[left] + sizes[right])
        cuts = np.flatnonzero(np.diff(ends // _ELEMENTS) | np.diff(np.arange(len(ends)) // _MAX_BLOCK)) + 1
        bounds = [0, *cuts.tolist(), len(left)] if len(left) else [0]

        def block(pairs: slice) -> Numbers:
            numbers = np.arange(pairs.stop - pairs.start, dtype=np.uint64) << np.uint64(_BITS)
            merged = np.concatenate([self._elements_with_numbers(rows[pairs], numbers) for rows in (left, right)])
            merged.sort(kind="stable")  # merges the two sorted sequences
            shared = np.bincount(
                (merged[1:][merged[1:] == merged[:-1]] >> np.uint64(_BITS)).astype(np.intp), None, len(numbers)
            )
            return shared / (sizes[left[pairs]] + sizes[right[pairs]] - shared)

        parts = map_blocks(block, map(slice, bounds[:-1], bounds[1:]))
        return np.concatenate([np.zeros(0), *parts])

    def _elements_with_numbers(self, rows: Rows, numbers: Hashes) -> Hashes:
        starts = self.offsets[rows]
        sizes = self.offsets[rows + 1] - starts
        return self.elements[concatenate_ranges(starts, sizes)] | np.repeat(numbers, sizes)
