"""Linkage of rows that share LSH buckets: by direct comparison with kept rows, or along chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.types import Hashes, Numbers, Positions, Rows, Signatures

Similarity = Callable[[Rows, Rows], Numbers]

_CHUNK = 512  # rows compared with the kept ones at once, and then with each other
_PAIRS = 1 << 20  # pairs at a time
_WIDTH = 4  # initial number of comparisons per row of a bucket, for connected linkage
_ROW, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)  # a pair of rows is packed into one integer that sorts like the pair
_NONE = np.zeros(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Groups of rows that are compared with each other."""

    members: Rows
    """Members of bucket g are ``members[starts[g]:starts[g + 1]]``, ascending, at least two."""

    starts: Positions

    @classmethod
    def from_keys(cls, keys: Signatures) -> Buckets:
        """Group rows with equal keys in each band.

        Parameters
        ----------
        keys : (bands, n) uint32

        Examples
        --------
        >>> Buckets.from_keys(np.array([[1, 2, 1], [3, 3, 3]], np.uint32)).members.tolist()
        [0, 2, 0, 1, 2]
        """
        rows = np.arange(keys.shape[1], dtype=np.uint64)
        return cls._from_groups(
            list(map_blocks(lambda band: _shared_keys(np.sort(band.astype(np.uint64) << _ROW | rows)), keys))
        )

    @classmethod
    def _from_groups(cls, groups: list[tuple[Rows, Positions]]) -> Buckets:
        sizes = np.concatenate([np.zeros(1, np.int64), *(sizes for _, sizes in groups)])
        return cls(np.concatenate([np.zeros(0, np.intp), *(members for members, _ in groups)]), np.cumsum(sizes))

    def split_by_size(self, size: int) -> tuple[Buckets, Rows]:
        """Return the buckets of at most ``size`` members, and the ascending rows that are in any larger bucket.

        Examples
        --------
        >>> small, rows = Buckets(np.array([0, 1, 2, 3, 4]), np.array([0, 2, 5])).split_by_size(2)
        >>> small.members.tolist(), rows.tolist()
        ([0, 1], [2, 3, 4])
        """
        sizes = np.diff(self.starts)
        in_large = np.repeat(sizes > size, sizes)
        return self._from_groups([(self.members[~in_large], sizes[sizes <= size])]), np.unique(self.members[in_large])

    def reaching_row(self, row: int) -> Buckets:
        """Return the buckets that contain ``row`` or a later row.

        Examples
        --------
        >>> Buckets(np.array([0, 1, 0, 4]), np.array([0, 2, 4])).reaching_row(2).members.tolist()
        [0, 4]
        """
        sizes, last = np.diff(self.starts), self.members[self.starts[1:] - 1]
        return self._from_groups([(self.members[np.repeat(last >= row, sizes)], sizes[last >= row])])

    def concatenate(self, other: Buckets) -> Buckets:
        """Return the buckets of both objects."""
        return self._from_groups([(each.members, np.diff(each.starts)) for each in (self, other)])

    def select_undecided(self, representative: Rows, component: Rows) -> Buckets:
        """Select the buckets that contain pairs of different components not compared by ``direct_linkage``.

        Direct linkage compares a kept row with every later one, so the rows before the first dropped row of a bucket
        are omitted.

        Parameters
        ----------
        representative : (n,) as ``direct_linkage`` returns it
        component : (n,) component of each row

        Examples
        --------
        >>> buckets = Buckets(np.array([0, 1, 2, 3, 1, 2]), np.array([0, 4, 6]))
        >>> buckets.select_undecided(np.array([-1, 0, -1, 2]), np.array([0, 0, 2, 2])).members.tolist()
        [1, 2, 3, 1, 2]
        """
        groups = self.member_buckets()
        dropped = np.flatnonzero(representative[self.members] >= 0)
        first = np.full(len(self.starts) - 1, len(groups))
        np.minimum.at(first, groups[dropped], dropped)
        after = np.arange(len(groups)) >= first[groups]
        members, groups = self.members[after], groups[after]
        if not len(members):
            return Buckets(members, np.zeros(1, np.int64))
        components, starts = component[members], np.flatnonzero(np.diff(groups, prepend=-1))
        sizes = np.diff(starts, append=len(members))
        mixed = np.minimum.reduceat(components, starts) != np.maximum.reduceat(components, starts)
        return self._from_groups([(members[np.repeat(mixed, sizes)], sizes[mixed])])

    def member_buckets(self) -> Positions:
        """Return the bucket of each of ``members``."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def direct_linkage(
    n: int, buckets: Buckets, similarity: Similarity, threshold: float, n_fixed: int = 0
) -> tuple[Rows, Numbers, Hashes]:
    """Drop each row that is at least ``threshold`` similar to an earlier kept row in one of its buckets.

    Parameters
    ----------
    n : number of rows, in the order in which they are processed
    buckets : rows that share no bucket are not compared
    similarity : function of two arrays of p rows that returns (p,) float64
    threshold : similarity from which a row is dropped
    n_fixed : number of leading rows that are always kept and not compared with each other

    Returns
    -------
    representative : (n,) the most similar earlier kept row that shares a bucket, ties to the first; -1 for kept rows
    nearest : (n,) float64, similarity to that row, for kept rows to the most similar kept row; 0 if there is none
    links : (l,) uint64, all similar pairs met in the process, for ``connected_linkage``

    Notes
    -----
    Cost: each row is compared once with every earlier kept row that shares a bucket, and with up to 511 other rows.

    Guarantee: no row is dropped because of a row that is itself dropped.

    Examples
    --------
    >>> near = lambda a, b: 1 - abs(a - b) / 10
    >>> representative, nearest, _ = direct_linkage(3, Buckets(np.array([0, 1, 2]), np.array([0, 3])), near, 0.9)
    >>> representative.tolist(), nearest.tolist()
    ([-1, 0, -1], [0.0, 0.9, 0.8])
    """
    representative, nearest, is_dropped, links = np.full(n, -1, np.intp), np.zeros(n), np.zeros(n, np.bool_), [_NONE]
    by_row = np.argsort(buckets.members, kind="stable")
    rows, groups = buckets.members[by_row], buckets.member_buckets()[by_row]
    kept_members = buckets.members.copy()  # kept rows of each bucket; fixed rows come first
    kept_count = np.bincount(buckets.member_buckets()[kept_members < n_fixed], minlength=len(buckets.starts) - 1)
    rows, groups = rows[rows >= n_fixed], groups[rows >= n_fixed]

    def update_nearest(left: Rows, right: Rows, similarities: Numbers) -> None:
        """Update the most similar kept row of each of ``left``; pairs ascend."""
        best = np.lexsort((-similarities, left))
        best = best[np.diff(left[best], prepend=-1) > 0]
        old, new_kept = nearest[left[best]], similarities[best]
        best = best[(new_kept > old) | ((new_kept == old) & (right[best] < representative[left[best]]))]
        nearest[left[best]], representative[left[best]] = similarities[best], right[best]

    def compare(pairs: Hashes) -> tuple[Rows, Rows, Numbers]:
        left, right = _unpack(pairs)
        similarities = similarity(left, right)
        links.append(pairs[similarities >= threshold])
        return left, right, similarities

    row_starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for start, stop in pairwise([*row_starts[::_CHUNK].tolist(), len(rows)]):
        row, group = rows[start:stop], groups[start:stop]
        previous_count = kept_count[group]
        for pairs in _iter_pairs(row, buckets.starts[group], previous_count, kept_members):
            update_nearest(*compare(pairs))
        is_found = nearest[row] >= threshold
        found_rows, remaining = np.flatnonzero(is_found), np.flatnonzero(~is_found)
        remaining = remaining[np.lexsort((row[remaining], group[remaining]))]
        candidate_pairs = _iter_pairs(row[remaining], *_positions_in_group(group[remaining]), row[remaining])
        left, right, similarities = compare(np.unique(np.concatenate([_NONE, *candidate_pairs])))
        is_near = similarities >= threshold
        for earlier, later in zip(left[is_near].tolist(), right[is_near].tolist(), strict=True):
            is_dropped[earlier] |= not is_dropped[later]
        among_kept = ~is_dropped[right]
        update_nearest(left[among_kept], right[among_kept], similarities[among_kept])
        new_kept = remaining[~is_dropped[row[remaining]]]
        _, position = _positions_in_group(group[new_kept])
        kept_members[buckets.starts[group[new_kept]] + previous_count[new_kept] + position] = row[new_kept]
        last = np.diff(group[new_kept], append=-1) != 0
        kept_count[group[new_kept][last]] += position[last] + 1
        n_added = kept_count[group] - previous_count  # newly kept rows may be more similar to rows dropped before
        for pairs in _iter_pairs(
            row[found_rows], (buckets.starts[group] + previous_count)[found_rows], n_added[found_rows], kept_members
        ):
            left, right = _unpack(pairs)
            update_nearest(*compare(pairs[right < left]))
    return np.where(nearest >= threshold, representative, -1), nearest, np.concatenate(links)


def connected_linkage(first: Rows, buckets: Buckets, similarity: Similarity, threshold: float) -> Rows:
    """Merge components that a similar pair of rows within a bucket connects.

    Parameters
    ----------
    first : (n,) the first row of the component of each row, as far as known; see ``merge_components``
    buckets, similarity, threshold : as for ``direct_linkage``

    Returns
    -------
    (n,) the first row of the component of each row

    Notes
    -----
    Cost: members of one component are not compared. Others are compared with a few rows, then with eight times as many,
    and so on until every pair in different components has been compared. Two components in one bucket cost the product
    of their sizes, so narrow buckets down first.

    Examples
    --------
    >>> near, one = lambda a, b: 1 - abs(a - b) / 10, Buckets(np.array([0, 1, 2]), np.array([0, 3]))
    >>> connected_linkage(np.arange(3), one, near, 0.9).tolist()
    [0, 0, 0]
    """

    def similar(pairs: Hashes) -> Hashes:
        return pairs[similarity(*_unpack(pairs)) >= threshold]

    groups, width = buckets.member_buckets(), _WIDTH
    while True:
        component = first[buckets.members]
        order = np.lexsort((component, groups))
        members, component = buckets.members[order], component[order]
        starts_component = np.diff(component, prepend=-1) != 0
        starts_component[buckets.starts[:-1]] = True
        component_starts = np.maximum.accumulate(np.where(starts_component, np.arange(len(members)), 0))
        n_earlier = component_starts - buckets.starts[groups]  # number of members in earlier components of the bucket
        pairs = _iter_pairs(members, buckets.starts[groups], np.minimum(n_earlier, width), members)
        links = np.concatenate([_NONE, *map(similar, pairs)])
        first = merge_components(first, links)
        if not (n_earlier > width).any():
            return first
        width *= 8


def _shared_keys(packed: Hashes) -> tuple[Rows, Positions]:
    """Return the rows of each key that several rows have, and their numbers; ``packed``: keys and rows, ascending."""
    ascending = packed >> _ROW
    begins = np.flatnonzero(np.diff(ascending, prepend=ascending[:1] ^ np.uint64(1)))
    sizes = np.diff(begins, append=len(packed))
    shared = sizes > 1
    return (packed[np.repeat(shared, sizes)] & _LOW).astype(np.intp), sizes[shared]


def merge_components(first: Rows, links: Hashes) -> Rows:
    """Return the first row of each row's component after ``links`` merge components.

    Parameters
    ----------
    first : (n,) the first row of each row's component
    links : (l,) uint64, pairs as ``direct_linkage`` returns them

    Examples
    --------
    >>> merge_components(np.arange(3), np.array([(2 << 32) + 1], np.uint64)).tolist()
    [0, 1, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, (a, b) = len(first), _unpack(links)
    edges = np.concatenate((np.arange(n), a)), np.concatenate((first, b))
    graph = coo_array((np.ones(n + len(a), np.int8), edges), (n, n))
    _, component = connected_components(graph, directed=False)
    return np.unique(component, return_index=True)[1][component]


def _positions_in_group(groups: Positions) -> tuple[Positions, Positions]:
    """Return the start of each item's group, and the number of items of the group before it; groups are contiguous."""
    positions = np.arange(len(groups))
    starts = np.maximum.accumulate(np.where(np.diff(groups, prepend=-1) != 0, positions, 0))
    return starts, positions - starts


def _iter_pairs(rows: Rows, starts: Positions, lengths: Positions, others: Rows) -> Iterator[Hashes]:
    """Yield blocks of distinct, ascending packed pairs: each row with ``lengths`` of ``others`` from its start."""
    cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // _PAIRS)) + 1
    for part in np.split(np.arange(len(rows)), cuts):
        left = np.repeat(rows[part], lengths[part]).astype(np.uint64)
        right = others[concatenate_ranges(starts[part], lengths[part])].astype(np.uint64)
        if len(left):
            yield np.unique(left << _ROW | right)


def _unpack(pairs: Hashes) -> tuple[Rows, Rows]:
    return (pairs >> _ROW).astype(np.intp), (pairs & _LOW).astype(np.intp)
