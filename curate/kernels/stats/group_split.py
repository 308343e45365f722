"""Division of groups of rows over splits, such as train and test, with exact shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.kernels.types import Codes, Counts, Hashes, Numbers


def split_groups(
    sizes: Counts, key: Hashes, shares: Sequence[float], *, fixed: Codes | None = None, stratum: Codes | None = None
) -> Codes:
    """Assign each group to one of s splits, so that the sizes of the splits are in proportion to their shares.

    Groups are assigned in order of size, the largest first, and groups of equal size together: each split receives the
    number of them that brings it closest to its share of all groups so far. So every split has large and small groups,
    and the smallest groups, which come last, make the sizes exact.

    Parameters
    ----------
    sizes : (g,) number of rows or tokens of each group, at least 0
    key : (g,) hash of each group; groups of equal size are assigned in this order, ties to the lowest index
    shares : s shares, with the sum 1
    fixed : (g,) int32, split of groups that are already assigned, -1 for others; None = no group is assigned
    stratum : (g,) int32, stratum of each group, in which the shares hold as well; None = one stratum

    Returns
    -------
    (g,) int32, split of each group

    Notes
    -----
    Cost: O(g log g + d s log s) time for d distinct sizes in each stratum; O(g) memory.

    Guarantee: in one stratum without fixed groups, if the groups of size 1 can make up for what larger groups leave
    over, the size of each split differs from its share by less than 1. The rounding errors of a stratum are passed on
    to the next one, so they do not add up.

    References
    ----------
    Largest remainders: Balinski & Young (2001), Fair Representation, chapter 3, over groups of decreasing size.

    Examples
    --------
    >>> sizes, key = np.array([1, 1, 1, 1, 1, 5]), np.arange(6, dtype=np.uint64)
    >>> split_groups(sizes, key, [0.8, 0.2]).tolist()
    [0, 0, 0, 1, 1, 0]
    >>> split_groups(sizes, key, [0.8, 0.2], fixed=np.array([1, -1, -1, -1, -1, -1], np.int32)).tolist()
    [1, 0, 0, 0, 1, 0]
    """
    share = np.asarray(shares, np.float64)
    result = np.full(len(sizes), -1, np.int32) if fixed is None else fixed.astype(np.int32)
    strata = np.zeros(len(sizes), np.int32) if stratum is None else stratum
    is_free = result < 0
    assigned = np.zeros((int(strata.max(initial=-1)) + 1, len(share)))
    np.add.at(assigned, (strata[~is_free], result[~is_free]), sizes[~is_free])
    free = np.flatnonzero(is_free)
    free = free[np.lexsort((free, key[free], -sizes[free], strata[free]))]
    is_first = np.ones(len(free), np.bool_)
    is_first[1:] = (np.diff(sizes[free]) != 0) | (np.diff(strata[free]) != 0)
    owed = np.zeros(len(share))
    code = -1
    for groups in np.split(free, np.flatnonzero(is_first)[1:]) if len(free) else ():
        size = int(sizes[groups[0]])
        if strata[groups[0]] != code:  # pass the rounding errors of the last stratum on
            owed += 0 if code < 0 else share * assigned[code].sum() - assigned[code]
            code = int(strata[groups[0]])
        total = assigned[code].sum() + size * len(groups)
        counts = _apportion(len(groups), (share * total - assigned[code] + owed) / max(size, 1))
        result[groups] = np.repeat(np.arange(len(share), dtype=np.int32), counts)
        assigned[code] += counts * size
    return result


def _apportion(n: int, wanted: Numbers) -> Counts:
    """Divide n groups of equal size so that the largest difference from the ``wanted`` numbers is the smallest.

    >>> _apportion(5, np.array([4.0, 1.4, -0.4])).tolist()
    [4, 1, 0]
    """
    descending = np.sort(wanted)[::-1]
    levels = (np.cumsum(descending) - n) / np.arange(1, len(wanted) + 1)
    level = levels[np.flatnonzero(descending > levels)[-1]]  # what is lacking or too much is shared by these splits
    ideal = np.maximum(wanted - level, 0)
    counts: Counts = np.floor(ideal + 1e-9).astype(np.int64)
    remainder = np.argsort(-(ideal - counts), kind="stable")
    counts[remainder[: n - int(counts.sum())]] += 1
    return counts
