"""Candidate groups of similar sets by their rarest shingles, for sets that mostly share a template."""

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

_SMALL = 16  # groups of this size or smaller are not split
_ENTRIES = 1 << 21  # tokens processed at a time
_SALT = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of rows that may still contain similar pairs."""

    rows: Rows
    """Members of all groups (i,), one group after the other, ascending within each."""

    starts: Positions
    """Offset of the first member of each group (g,)."""

    shared: Positions
    """Number of elements that each member is known to share with all others of its group (i,)."""

    pointers: Positions
    """First token of each member that may be shared in addition (i,)."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """Sets as weighted tokens: elements that occur in exactly the same sets are one token.

    The words of a template become one token and each of its fills another, whatever the number of shingles. Elements of
    only one set are omitted.
    """

    sizes: Positions
    """Number of elements of each set (n,)."""

    tokens: Positions
    """Tokens of set i are ``tokens[offsets[i]:offsets[i + 1]]``, ascending, rarest first."""

    offsets: Positions
    """Offsets of the sets in ``tokens`` (n + 1,)."""

    weights: Positions
    """Number of elements of each token (k,)."""

    @classmethod
    def from_sets(cls, sets: HashSets, rows: Rows) -> Profiles:
        """Build the profiles of the sets at ``rows``.

        Notes
        -----
        Cost: O(m log m) time for m elements, some 60 bytes each. Two elements of different sets are merged by accident
        with probability 2⁻¹²⁸; an adversary could construct such a collision.

        Examples
        --------
        >>> hashes = np.array([1, 2, 3, 1, 2, 4, 1, 2], np.uint64) << np.uint64(12)
        >>> sets = HashSets.from_lists(hashes, np.array([0, 3, 6, 8]))
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
        frequency = np.diff(begins, append=len(elements))
        begins, frequency = begins[frequency > 1], frequency[frequency > 1]
        numbers = owners[concatenate_ranges(begins, frequency)].astype(np.uint64) + np.uint64(1)
        offsets = np.cumsum(frequency) - frequency
        digests = (
            [np.add.reduceat(mix_bits(values), offsets) for values in (numbers, numbers + _SALT)]
            if len(frequency)
            else []
        )
        keys = np.stack([*digests, frequency.astype(np.uint64)]) if digests else np.zeros((3, 0), np.uint64)
        order = np.lexsort(keys)
        is_new = np.ones(len(order), np.bool_)
        is_new[1:] = (keys[:, order[1:]] != keys[:, order[:-1]]).any(axis=0)
        weights = np.diff(np.flatnonzero(is_new), append=len(order))
        first_element = order[is_new]  # element of each token
        owners = owners[concatenate_ranges(begins[first_element], frequency[first_element])]
        by_owner = np.argsort(owners, kind="stable")
        tokens = np.repeat(np.arange(len(first_element)), frequency[first_element])[by_owner]
        return cls(sizes, tokens, np.searchsorted(owners[by_owner], np.arange(len(rows) + 1)), weights)

    def jaccard(self, left: Rows, right: Rows) -> Numbers:
        """Compute |A ∩ B| / |A ∪ B| of pairs of different sets: (p,) float64, equal to that of ``HashSets.jaccard``.

        Notes
        -----
        Cost: O(tokens of the pairs).

        Examples
        --------
        >>> hashes = np.array([1, 2, 3, 1, 2, 4, 1, 4], np.uint64) << np.uint64(12)
        >>> sets = HashSets.from_lists(hashes, np.array([0, 3, 6, 8]))
        >>> Profiles.from_sets(sets, np.arange(3)).jaccard(np.array([0, 1]), np.array([1, 2])).round(3).tolist()
        [0.5, 0.667]
        """
        lengths = np.diff(self.offsets)
        ends = np.cumsum(lengths[left] + lengths[right])
        bounds = [0, *(np.flatnonzero(np.diff(ends // _ENTRIES)) + 1).tolist(), len(left)] if len(left) else [0]

        def block(pairs: slice) -> Numbers:
            numbers = np.arange(pairs.stop - pairs.start) * len(self.weights)
            merged = np.concatenate([self._tokens_with_numbers(rows[pairs], numbers) for rows in (left, right)])
            merged.sort(kind="stable")
            equal = merged[1:][merged[1:] == merged[:-1]]
            width = max(1, len(self.weights))
            shared = np.bincount(equal // width, self.weights[equal % width], len(numbers))
            return shared / (self.sizes[left[pairs]] + self.sizes[right[pairs]] - shared)

        return np.concatenate([np.zeros(0), *map_blocks(block, map(slice, bounds[:-1], bounds[1:]))])

    def _tokens_with_numbers(self, rows: Rows, numbers: Positions) -> Positions:
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        tokens: Positions = self.tokens[concatenate_ranges(starts, lengths)] + np.repeat(numbers, lengths)
        return tokens

    def narrow(self, threshold: float, component: Rows | None = None) -> Buckets:
        """Group the sets so that any two of Jaccard similarity ``threshold`` share a group.

        A group is split by the rarest token that a pair has in common. A token counts only in sets that can reach the
        overlap that the threshold requires with it and the tokens after it. Tokens of all members are always shared.
        Each part is split in turn, as long as this at least halves the number of pairs.

        Parameters
        ----------
        threshold : in (0, 1]
        component : (n,) component of each set; pairs within one component need no group

        Returns
        -------
        Buckets of set numbers

        Notes
        -----
        Cost: at most that of the pairs of the groups. For texts of a template it grows about as the number of texts and
        of similar pairs: members that share all they need are similar, and others separate early. Groups remain, and
        cost their pairs, if most pairs share just too few elements for the threshold and sizes differ, so that the
        bound cannot separate them.

        Guarantee: exact; the required overlap is never above that of two similar sets.

        References
        ----------
        Prefixes: Chaudhuri, Ganti & Kaushik (2006), doi:10.1109/ICDE.2006.9. Overlap from both sizes: Xiao et al.
        (2011), "Efficient similarity joins for near-duplicate detection", doi:10.1145/2000824.2000825.

        Examples
        --------
        >>> hashes = np.array([1, 2, 3, 1, 2, 4, 1, 2], np.uint64) << np.uint64(12)
        >>> sets = HashSets.from_lists(hashes, np.array([0, 3, 6, 8]))
        >>> profiles = Profiles.from_sets(sets, np.arange(3))
        >>> profiles.narrow(0.5).members.tolist(), profiles.narrow(0.9).members.tolist()
        ([0, 1, 2], [])
        """
        n = len(self.sizes)
        component = np.arange(n) if component is None else component
        buckets = [Buckets(np.zeros(0, np.intp), np.zeros(1, np.int64))]
        stack = [_Groups(np.arange(n), np.zeros(1, np.int64), np.zeros(n, np.int64), self.offsets[:-1])] if n else []
        is_first = True
        while stack:
            groups = stack.pop()
            remaining, parts = self._split(groups, threshold, component, is_first)
            buckets.append(remaining)
            stack += self._chunks(parts)
            is_first = False
        sizes = np.concatenate([np.diff(bucket.starts) for bucket in buckets])
        return Buckets(np.concatenate([bucket.members for bucket in buckets]), np.concatenate(([0], np.cumsum(sizes))))

    def _split(self, groups: _Groups, threshold: float, component: Rows, always_split: bool) -> tuple[Buckets, _Groups]:
        """Split each group by token; return the groups that remain, and the parts of the others."""
        rows, count = groups.rows, np.diff(groups.starts, append=len(groups.rows))
        group = np.repeat(np.arange(len(count)), count)
        lengths = self.offsets[rows + 1] - groups.pointers
        member = np.repeat(np.arange(len(rows)), lengths)
        token = self.tokens[concatenate_ranges(groups.pointers, lengths)]
        weight = self.weights[token]
        _, key, frequency = np.unique(
            group[member] * len(self.weights) + token, return_inverse=True, return_counts=True
        )
        in_all = frequency[key] == count[group[member]]
        in_some = (frequency[key] > 1) & ~in_all
        base = groups.shared + np.bincount(member, weight * in_all, len(rows)).astype(np.int64)
        reach = base + np.bincount(member, weight * in_some, len(rows)).astype(np.int64)
        size = self.sizes[rows]
        smallest = np.minimum.reduceat(size, groups.starts)[group]
        fewest = np.minimum.reduceat(size - reach, groups.starts)[
            group
        ]  # number of elements that no other member can share
        needed = np.maximum(
            ceil_counts(threshold / (1 + threshold) * (size + np.maximum(smallest, threshold * size))),
            ceil_counts(threshold * (size + fewest)),
        )
        is_reachable, is_complete = reach >= needed, base >= needed
        before = _preceding_sums(member, weight * in_some)
        chosen = np.flatnonzero(in_some & (reach[member] - before >= needed[member]))
        chosen = chosen[np.argsort(key[chosen], kind="stable")]
        chosen_members = member[chosen]
        parts = _Groups(
            rows[chosen_members],
            _group_starts(key[chosen]),
            (groups.shared[member] + _preceding_sums(member, weight * in_all) + weight)[chosen],
            (groups.pointers[member] + _positions_in_group(member) + 1)[chosen],
        )
        useful = _mixed_groups(parts, component) & np.logical_or.reduceat(~is_complete[chosen_members], parts.starts)
        sizes, parent = np.diff(parts.starts, append=len(chosen_members)), group[chosen_members[parts.starts]]
        n_complete = np.bincount(group[is_complete], minlength=len(count))  # these may share no further token
        pairs = np.bincount(parent[useful], (sizes * (sizes - 1))[useful], len(count)) + n_complete * (n_complete - 1)
        is_split = (count > _SMALL) & (always_split | (pairs <= count * (count - 1) / 2))
        remaining = np.where(is_split[group], is_complete, is_reachable)
        return _make_buckets(rows[remaining], group[remaining], component), _select_groups(
            parts, useful & is_split[parent]
        )

    def _chunks(self, groups: _Groups) -> list[_Groups]:
        """Split groups into chunks of about ``_ENTRIES`` tokens."""
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


def _group_starts(groups: Positions) -> Positions:
    """Return the start of each group; equal numbers are adjacent."""
    return np.flatnonzero(np.diff(groups, prepend=-1))


def _positions_in_group(groups: Positions) -> Positions:
    """Return the position of each item in its group."""
    return np.arange(len(groups)) - np.repeat(_group_starts(groups), np.diff(_group_starts(groups), append=len(groups)))


def _preceding_sums(groups: Positions, values: Positions) -> Positions:
    """Sum the values that precede each item in its group."""
    sums = np.cumsum(values) - values
    return sums - np.repeat(sums[_group_starts(groups)], np.diff(_group_starts(groups), append=len(groups)))


def _mixed_groups(groups: _Groups, component: Rows) -> Flags:
    """Return which groups have members of more than one component."""
    components = component[groups.rows]
    mixed: Flags = np.minimum.reduceat(components, groups.starts) != np.maximum.reduceat(components, groups.starts)
    return mixed


def _make_buckets(rows: Rows, group: Positions, component: Rows) -> Buckets:
    """Build buckets of the groups with members of more than one component."""
    unused = np.zeros(len(rows), np.int64)
    groups = _Groups(rows, _group_starts(group), unused, unused)
    kept = _select_groups(groups, _mixed_groups(groups, component))
    return Buckets(kept.rows, np.append(kept.starts, len(kept.rows)))


def _select_groups(groups: _Groups, selected: Flags) -> _Groups:
    sizes = np.diff(groups.starts, append=len(groups.rows))
    members = np.repeat(selected, sizes)
    starts = np.cumsum(sizes[selected]) - sizes[selected]
    return _Groups(groups.rows[members], starts, groups.shared[members], groups.pointers[members])
