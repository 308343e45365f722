"""Narrows down which of many sets can be similar, when most of them share a template."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curate.kernels.neighbors.jaccard import HashSets
from curate.kernels.neighbors.lsh_linkage import Buckets
from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.stats.rounding import ceil_counts
from curate.kernels.types import Flags, Numbers, Positions, Rows

_SMALL = 16  # members of a group that is not split
_ENTRIES = 1 << 21  # tokens that are worked on at once
_SALT = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of rows in which similar pairs remain to be found."""

    rows: Rows
    """(i,) members of all groups, one group after the other; ascending in each."""

    starts: Positions
    """(g,) the first member of each group."""

    shared: Positions
    """(i,) elements that each member is known to share with all others of its group."""

    pointers: Positions
    """(i,) each member's first token that may be shared besides."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """Sets as weighted tokens: elements that occur in exactly the same sets are one token.

    The words of a template become one token and each of its fills another, whatever the number of shingles. Elements of
    one set only have none.
    """

    sizes: Positions
    """(n,) number of elements of each set."""

    tokens: Positions
    """Tokens of set i are ``tokens[offsets[i]:offsets[i + 1]]``, ascending, which is rarest first."""

    offsets: Positions
    """(n + 1,)"""

    weights: Positions
    """(k,) number of elements of each token."""

    @classmethod
    def from_sets(cls, sets: HashSets, rows: Rows) -> Profiles:
        """Build the profiles of some sets.

        Notes
        -----
        Cost: O(m log m) time for m elements, some 60 bytes each. Two elements in different sets are taken for one token
        with a probability of 2⁻¹²⁸ if nobody means them to.

        Examples
        --------
        >>> sets = HashSets.from_lists(np.array([1, 2, 3, 1, 2, 4, 1, 2], np.uint64) << np.uint64(12), np.array([0, 3, 6, 8]))
        >>> profiles = Profiles.from_sets(sets, np.arange(3))
        >>> profiles.weights.tolist(), profiles.tokens.tolist(), profiles.offsets.tolist()
        ([2], [0, 0, 0], [0, 1, 2, 3])
        """
        starts = sets.offsets[rows]
        sizes = sets.offsets[rows + 1] - starts
        elements, owners = sets.elements[concatenate_ranges(starts, sizes)], np.repeat(np.arange(len(rows)), sizes)
        order = np.argsort(elements, kind="stable")
        elements, owners = elements[order], owners[order]
        begins = np.flatnonzero(np.diff(elements, prepend=elements[:1] ^ np.uint64(1)))
        often = np.diff(begins, append=len(elements))
        begins, often = begins[often > 1], often[often > 1]
        numbers = owners[concatenate_ranges(begins, often)].astype(np.uint64) + np.uint64(1)
        firsts = np.cumsum(often) - often
        digests = [np.add.reduceat(mix_bits(some), firsts) for some in (numbers, numbers + _SALT)] if len(often) else []
        keys = np.stack([*digests, often.astype(np.uint64)]) if digests else np.zeros((3, 0), np.uint64)
        order = np.lexsort(keys)
        new = np.ones(len(order), np.bool_)
        new[1:] = (keys[:, order[1:]] != keys[:, order[:-1]]).any(axis=0)
        weights = np.diff(np.flatnonzero(new), append=len(order))
        one = order[new]  # element of each token
        owners = owners[concatenate_ranges(begins[one], often[one])]
        by_owner = np.argsort(owners, kind="stable")
        tokens = np.repeat(np.arange(len(one)), often[one])[by_owner]
        return cls(sizes, tokens, np.searchsorted(owners[by_owner], np.arange(len(rows) + 1)), weights)

    def jaccard(self, left: Rows, right: Rows) -> Numbers:
        """Compute |A ∩ B| / |A ∪ B| of pairs of different sets: (p,) float64, equal to that of ``Sets.jaccard``.

        Notes
        -----
        Cost: O(tokens of the pairs).

        Examples
        --------
        >>> sets = HashSets.from_lists(np.array([1, 2, 3, 1, 2, 4, 1, 4], np.uint64) << np.uint64(12), np.array([0, 3, 6, 8]))
        >>> Profiles.from_sets(sets, np.arange(3)).jaccard(np.array([0, 1]), np.array([1, 2])).round(3).tolist()
        [0.5, 0.667]
        """
        lengths = np.diff(self.offsets)
        ends = np.cumsum(lengths[left] + lengths[right])
        bounds = [0, *(np.flatnonzero(np.diff(ends // _ENTRIES)) + 1).tolist(), len(left)] if len(left) else [0]

        def block(pairs: slice) -> Numbers:
            numbers = np.arange(pairs.stop - pairs.start) * len(self.weights)
            both = np.concatenate([self._numbered(rows[pairs], numbers) for rows in (left, right)])
            both.sort(kind="stable")
            equal = both[1:][both[1:] == both[:-1]]
            width = max(1, len(self.weights))
            shared = np.bincount(equal // width, self.weights[equal % width], len(numbers))
            return shared / (self.sizes[left[pairs]] + self.sizes[right[pairs]] - shared)

        return np.concatenate([np.zeros(0), *map_blocks(block, map(slice, bounds[:-1], bounds[1:]))])

    def _numbered(self, rows: Rows, numbers: Positions) -> Positions:
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        numbered: Positions = self.tokens[concatenate_ranges(starts, lengths)] + np.repeat(numbers, lengths)
        return numbered

    def narrowed(self, threshold: float, component: Rows | None = None) -> Buckets:
        """Group the sets so that any two of Jaccard similarity ``threshold`` share a group.

        A group is split by the rarest token that a pair has in common. A token counts only in sets that can reach the
        overlap that the threshold requires with it and the tokens after it. Tokens of all members are shared in any
        case. Each part is split in turn, while that at least halves the pairs.

        Parameters
        ----------
        threshold : in (0, 1]
        component : (n,) number of each set's component; pairs within one need no group

        Notes
        -----
        Cost: that of the groups' pairs at most. For texts of a template it grows about as the number of texts and of
        similar pairs: members that share all they need are similar, and others part early. Groups stay, and cost their
        pairs, where most pairs share just too few elements for the threshold and sizes differ, so that the bound cannot
        tell.

        Guarantee: exact; the overlap required is never above that of two similar sets.

        References
        ----------
        Prefixes: Chaudhuri, Ganti & Kaushik (2006), doi:10.1109/ICDE.2006.9. Overlap from both sizes: Xiao et al.
        (2011), "Efficient similarity joins for near-duplicate detection", doi:10.1145/2000824.2000825.

        Examples
        --------
        >>> sets = HashSets.from_lists(np.array([1, 2, 3, 1, 2, 4, 1, 2], np.uint64) << np.uint64(12), np.array([0, 3, 6, 8]))
        >>> profiles = Profiles.from_sets(sets, np.arange(3))
        >>> profiles.narrowed(0.5).members.tolist(), profiles.narrowed(0.9).members.tolist()
        ([0, 1, 2], [])
        """
        n = len(self.sizes)
        component = np.arange(n) if component is None else component
        found = [Buckets(np.zeros(0, np.intp), np.zeros(1, np.int64))]
        stack = [_Groups(np.arange(n), np.zeros(1, np.int64), np.zeros(n, np.int64), self.offsets[:-1])] if n else []
        forced = True
        while stack:
            groups = stack.pop()
            staying, parts = self._split(groups, threshold, component, forced)
            found.append(staying)
            stack += self._chunks(parts)
            forced = False
        sizes = np.concatenate([np.diff(one.starts) for one in found])
        return Buckets(np.concatenate([one.members for one in found]), np.concatenate(([0], np.cumsum(sizes))))

    def _split(self, groups: _Groups, threshold: float, component: Rows, forced: bool) -> tuple[Buckets, _Groups]:
        """Split each group by token; return groups that stay, and the parts of the others."""
        rows, count = groups.rows, np.diff(groups.starts, append=len(groups.rows))
        group = np.repeat(np.arange(len(count)), count)
        lengths = self.offsets[rows + 1] - groups.pointers
        member = np.repeat(np.arange(len(rows)), lengths)
        token = self.tokens[concatenate_ranges(groups.pointers, lengths)]
        weight = self.weights[token]
        _, key, often = np.unique(group[member] * len(self.weights) + token, return_inverse=True, return_counts=True)
        every = often[key] == count[group[member]]
        some = (often[key] > 1) & ~every
        base = groups.shared + np.bincount(member, weight * every, len(rows)).astype(np.int64)
        reach = base + np.bincount(member, weight * some, len(rows)).astype(np.int64)
        size = self.sizes[rows]
        smallest = np.minimum.reduceat(size, groups.starts)[group]
        fewest = np.minimum.reduceat(size - reach, groups.starts)[group]  # elements that no other member can share
        needed = np.maximum(
            ceil_counts(threshold / (1 + threshold) * (size + np.maximum(smallest, threshold * size))),
            ceil_counts(threshold * (size + fewest)),
        )
        alive, free = reach >= needed, base >= needed
        before = _before(member, weight * some)
        chosen = np.flatnonzero(some & (reach[member] - before >= needed[member]))
        chosen = chosen[np.argsort(key[chosen], kind="stable")]
        at = member[chosen]
        parts = _Groups(
            rows[at],
            _starts(key[chosen]),
            (groups.shared[member] + _before(member, weight * every) + weight)[chosen],
            (groups.pointers[member] + _places(member) + 1)[chosen],
        )
        useful = _several(parts, component) & np.logical_or.reduceat(~free[at], parts.starts)
        sizes, parent = np.diff(parts.starts, append=len(at)), group[at[parts.starts]]
        stay = np.bincount(group[free], minlength=len(count))  # they may share no other token
        pairs = np.bincount(parent[useful], (sizes * (sizes - 1))[useful], len(count)) + stay * (stay - 1)
        worth = (count > _SMALL) & (forced | (pairs <= count * (count - 1) / 2))
        staying = np.where(worth[group], free, alive)
        return _bucket(rows[staying], group[staying], component), _chosen(parts, useful & worth[parent])

    def _chunks(self, groups: _Groups) -> list[_Groups]:
        """Cut groups into chunks of some ``_ENTRIES`` tokens."""
        if not len(groups.starts):
            return []
        tokens = np.add.reduceat(self.offsets[groups.rows + 1] - groups.pointers, groups.starts)
        cuts = [0, *(np.flatnonzero(np.diff(np.cumsum(tokens) // _ENTRIES)) + 1).tolist(), len(groups.starts)]
        bounds = np.append(groups.starts, len(groups.rows))
        return [
            _Groups(
                groups.rows[bounds[first] : bounds[last]],
                groups.starts[first:last] - bounds[first],
                groups.shared[bounds[first] : bounds[last]],
                groups.pointers[bounds[first] : bounds[last]],
            )
            for first, last in pairwise(cuts)
        ]


def _starts(groups: Positions) -> Positions:
    """Return where each group begins; equal numbers are adjacent."""
    return np.flatnonzero(np.diff(groups, prepend=-1))


def _places(groups: Positions) -> Positions:
    """Return the place of each item in its group."""
    return np.arange(len(groups)) - np.repeat(_starts(groups), np.diff(_starts(groups), append=len(groups)))


def _before(groups: Positions, values: Positions) -> Positions:
    """Sum the values that precede each one in its group."""
    sums = np.cumsum(values) - values
    return sums - np.repeat(sums[_starts(groups)], np.diff(_starts(groups), append=len(groups)))


def _several(groups: _Groups, component: Rows) -> Flags:
    """Find groups with members of more than one component."""
    own = component[groups.rows]
    several: Flags = np.minimum.reduceat(own, groups.starts) != np.maximum.reduceat(own, groups.starts)
    return several


def _bucket(rows: Rows, group: Positions, component: Rows) -> Buckets:
    """Build buckets of the groups with members of more than one component."""
    unused = np.zeros(len(rows), np.int64)
    groups = _Groups(rows, _starts(group), unused, unused)
    kept = _chosen(groups, _several(groups, component))
    return Buckets(kept.rows, np.append(kept.starts, len(kept.rows)))


def _chosen(groups: _Groups, kept: Flags) -> _Groups:
    sizes = np.diff(groups.starts, append=len(groups.rows))
    members = np.repeat(kept, sizes)
    starts = np.cumsum(sizes[kept]) - sizes[kept]
    return _Groups(groups.rows[members], starts, groups.shared[members], groups.pointers[members])
