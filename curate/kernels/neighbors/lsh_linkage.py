"""Which rows stand for which, when rows that share a bucket are compared: directly, or along chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.types import Hashes, Numbers, Positions, Rows, Signatures

Similarity = Callable[[Rows, Rows], Numbers]

_CHUNK = 512  # rows that are compared with the kept ones at once, and then with each other
_PAIRS = 1 << 20  # at once
_WIDTH = 4  # others that each row of a bucket is first compared with, for chains
_ROW, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)  # two rows make a number, which sorts as they do
_NONE = np.zeros(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Rows that are to be compared with each other."""

    members: Rows
    """Those of bucket g are ``members[starts[g]:starts[g + 1]]``, ascending, at least two."""

    starts: Positions

    @classmethod
    def from_keys(cls, keys: Signatures) -> Buckets:
        """In each band the rows of the same key; ``keys`` is (bands, n).

        >>> Buckets.from_keys(np.array([[1, 2, 1], [3, 3, 3]], np.uint32)).members.tolist()
        [0, 2, 0, 1, 2]
        """
        rows = np.arange(keys.shape[1], dtype=np.uint64)
        return cls._joined(
            list(map_blocks(lambda band: _together(np.sort(band.astype(np.uint64) << _ROW | rows)), keys))
        )

    @classmethod
    def _joined(cls, found: list[tuple[Rows, Positions]]) -> Buckets:
        sizes = np.concatenate([np.zeros(1, np.int64), *(sizes for _, sizes in found)])
        return cls(np.concatenate([np.zeros(0, np.intp), *(members for members, _ in found)]), np.cumsum(sizes))

    def apart(self, size: int) -> tuple[Buckets, Rows]:
        """The buckets of no more than ``size`` members, and the rows that are in any of the others, ascending.

        >>> small, rows = Buckets(np.array([0, 1, 2, 3, 4]), np.array([0, 2, 5])).apart(2)
        >>> small.members.tolist(), rows.tolist()
        ([0, 1], [2, 3, 4])
        """
        sizes = np.diff(self.starts)
        large = np.repeat(sizes > size, sizes)
        return self._joined([(self.members[~large], sizes[sizes <= size])]), np.unique(self.members[large])

    def reaching(self, row: int) -> Buckets:
        """The buckets with a member that is ``row`` or a later one.

        >>> Buckets(np.array([0, 1, 0, 4]), np.array([0, 2, 4])).reaching(2).members.tolist()
        [0, 4]
        """
        sizes, last = np.diff(self.starts), self.members[self.starts[1:] - 1]
        return self._joined([(self.members[np.repeat(last >= row, sizes)], sizes[last >= row])])

    def and_those_of(self, other: Buckets) -> Buckets:
        """The buckets of both."""
        return self._joined([(each.members, np.diff(each.starts)) for each in (self, other)])

    def undecided(self, stands: Rows, component: Rows) -> Buckets:
        """Select the buckets in which pairs of different components have not been compared by ``direct_linkage``.

        It compares a kept row with every later one, so that those before the first dropped row of a bucket are left
        out.

        Parameters
        ----------
        stands : (n,) as ``direct_linkage`` returns it
        component : (n,) number of each row's component

        Examples
        --------
        >>> buckets = Buckets(np.array([0, 1, 2, 3, 1, 2]), np.array([0, 4, 6]))
        >>> buckets.undecided(np.array([-1, 0, -1, 2]), np.array([0, 0, 2, 2])).members.tolist()
        [1, 2, 3, 1, 2]
        """
        groups = self.of_members()
        dropped = np.flatnonzero(stands[self.members] >= 0)
        first = np.full(len(self.starts) - 1, len(groups))
        np.minimum.at(first, groups[dropped], dropped)
        after = np.arange(len(groups)) >= first[groups]
        members, groups = self.members[after], groups[after]
        if not len(members):
            return Buckets(members, np.zeros(1, np.int64))
        own, starts = component[members], np.flatnonzero(np.diff(groups, prepend=-1))
        sizes = np.diff(starts, append=len(members))
        several = np.minimum.reduceat(own, starts) != np.maximum.reduceat(own, starts)
        return self._joined([(members[np.repeat(several, sizes)], sizes[several])])

    def of_members(self) -> Positions:
        """The bucket of each of ``members``."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def direct_linkage(
    n: int, buckets: Buckets, similarity: Similarity, threshold: float, held: int = 0
) -> tuple[Rows, Numbers, Hashes]:
    """A row is dropped if an earlier row that is kept is at least ``threshold`` similar to it.

    Parameters
    ----------
    n : rows, in the order in which they are looked at
    buckets : rows that share none are not compared
    similarity : of two arrays of p rows, (p,) float64
    held : the first rows, that many, are kept whatever they are like, and not compared with each other

    Returns
    -------
    stands : (n,) the most similar earlier row that is kept and shares a bucket, ties to the first; -1 for kept rows
    nearest : (n,) float64, the similarity to that row, and of kept rows that to the most similar; 0 where there is none
    links : (l,) uint64, the pairs that were found to be similar on the way, for ``connected_linkage``

    Cost: each row is compared once with every kept row before it that shares a bucket, and with up to 511 others.
    Guarantee: no row is dropped by a row that is not kept itself.

    >>> near = lambda a, b: 1 - abs(a - b) / 10
    >>> stands, nearest, _ = direct_linkage(3, Buckets(np.array([0, 1, 2]), np.array([0, 3])), near, 0.9)
    >>> stands.tolist(), nearest.tolist()
    ([-1, 0, -1], [0.0, 0.9, 0.8])
    """
    closest, nearest, gone, links = np.full(n, -1, np.intp), np.zeros(n), np.zeros(n, np.bool_), [_NONE]
    by_row = np.argsort(buckets.members, kind="stable")
    rows, groups = buckets.members[by_row], buckets.of_members()[by_row]
    kept = buckets.members.copy()  # of each bucket; those that are held stand first
    kept_count = np.bincount(buckets.of_members()[kept < held], minlength=len(buckets.starts) - 1)
    rows, groups = rows[rows >= held], groups[rows >= held]

    def look(left: Rows, right: Rows, likeness: Numbers) -> None:
        """Note the most similar of the kept rows ``right``; pairs ascend."""
        best = np.lexsort((-likeness, left))
        best = best[np.diff(left[best], prepend=-1) > 0]
        old, new = nearest[left[best]], likeness[best]
        best = best[(new > old) | ((new == old) & (right[best] < closest[left[best]]))]
        nearest[left[best]], closest[left[best]] = likeness[best], right[best]

    def compare(pairs: Hashes) -> tuple[Rows, Rows, Numbers]:
        left, right = _unpacked(pairs)
        likeness = similarity(left, right)
        links.append(pairs[likeness >= threshold])
        return left, right, likeness

    firsts = np.flatnonzero(np.diff(rows, prepend=-1))
    for start, stop in pairwise([*firsts[::_CHUNK].tolist(), len(rows)]):
        row, group = rows[start:stop], groups[start:stop]
        before = kept_count[group]
        for pairs in _pairs(row, buckets.starts[group], before, kept):
            look(*compare(pairs))
        found = nearest[row] >= threshold
        others, rest = np.flatnonzero(found), np.flatnonzero(~found)
        rest = rest[np.lexsort((row[rest], group[rest]))]
        among = _pairs(row[rest], *_before(group[rest]), row[rest])
        left, right, likeness = compare(np.unique(np.concatenate([_NONE, *among])))
        near = likeness >= threshold
        for one, other in zip(left[near].tolist(), right[near].tolist(), strict=True):
            gone[one] |= not gone[other]
        of_kept = ~gone[right]
        look(left[of_kept], right[of_kept], likeness[of_kept])
        new = rest[~gone[row[rest]]]
        _, place = _before(group[new])
        kept[buckets.starts[group[new]] + before[new] + place] = row[new]
        last = np.diff(group[new], append=-1) != 0
        kept_count[group[new][last]] += place[last] + 1
        added = kept_count[group] - before  # which those found before may be more similar to
        for pairs in _pairs(row[others], (buckets.starts[group] + before)[others], added[others], kept):
            left, right = _unpacked(pairs)
            look(*compare(pairs[right < left]))
    return np.where(nearest >= threshold, closest, -1), nearest, np.concatenate(links)


def connected_linkage(first: Rows, buckets: Buckets, similarity: Similarity, threshold: float) -> Rows:
    """Join components that a pair of rows of a bucket connects.

    Parameters
    ----------
    first : (n,) the first row of the component of each row, as far as known; see ``merge_components``
    buckets, similarity, threshold : as for ``direct_linkage``

    Returns
    -------
    (n,) the first row of each row's component

    Notes
    -----
    Cost: members of one component are not compared. Others are compared with a few, then with eight times as many, and
    so on until every pair in different components was: two components in one bucket cost the product of their sizes,
    so narrow buckets down first.

    Examples
    --------
    >>> near, one = lambda a, b: 1 - abs(a - b) / 10, Buckets(np.array([0, 1, 2]), np.array([0, 3]))
    >>> connected_linkage(np.arange(3), one, near, 0.9).tolist()
    [0, 0, 0]
    """

    def similar(pairs: Hashes) -> Hashes:
        return pairs[similarity(*_unpacked(pairs)) >= threshold]

    groups, width = buckets.of_members(), _WIDTH
    while True:
        component = first[buckets.members]
        order = np.lexsort((component, groups))
        member, component = buckets.members[order], component[order]
        begins = np.diff(component, prepend=-1) != 0
        begins[buckets.starts[:-1]] = True
        run = np.maximum.accumulate(np.where(begins, np.arange(len(member)), 0))
        others = run - buckets.starts[groups]  # members of the bucket's components before this one
        pairs = _pairs(member, buckets.starts[groups], np.minimum(others, width), member)
        links = np.concatenate([_NONE, *map(similar, pairs)])
        first = merge_components(first, links)
        if not (others > width).any():
            return first
        width *= 8


def _together(packed: Hashes) -> tuple[Rows, Positions]:
    """The rows of each key that more than one has, and how many they are; ``packed``: keys and rows, ascending."""
    ascending = packed >> _ROW
    begins = np.flatnonzero(np.diff(ascending, prepend=ascending[:1] ^ np.uint64(1)))
    sizes = np.diff(begins, append=len(packed))
    shared = sizes > 1
    return (packed[np.repeat(shared, sizes)] & _LOW).astype(np.intp), sizes[shared]


def merge_components(first: Rows, links: Hashes) -> Rows:
    """Return the first row of each row's component, once ``links`` join some of the components of ``first``.

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

    n, (left, right) = len(first), _unpacked(links)
    ends = np.concatenate((np.arange(n), left)), np.concatenate((first, right))
    graph = coo_array((np.ones(n + len(left), np.int8), ends), (n, n))
    _, component = connected_components(graph, directed=False)
    return np.unique(component, return_index=True)[1][component]


def _before(groups: Positions) -> tuple[Positions, Positions]:
    """Where each one's group starts, and how many of it come before it; groups stand together."""
    places = np.arange(len(groups))
    starts = np.maximum.accumulate(np.where(np.diff(groups, prepend=-1) != 0, places, 0))
    return starts, places - starts


def _pairs(rows: Rows, starts: Positions, lengths: Positions, others: Rows) -> Iterator[Hashes]:
    """Each row with ``lengths`` rows of ``others`` from its start on; some at once, of these each once, ascending."""
    cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // _PAIRS)) + 1
    for part in np.split(np.arange(len(rows)), cuts):
        left = np.repeat(rows[part], lengths[part]).astype(np.uint64)
        right = others[concatenate_ranges(starts[part], lengths[part])].astype(np.uint64)
        if len(left):
            yield np.unique(left << _ROW | right)


def _unpacked(pairs: Hashes) -> tuple[Rows, Rows]:
    return (pairs >> _ROW).astype(np.intp), (pairs & _LOW).astype(np.intp)
