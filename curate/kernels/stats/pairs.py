"""Pairs of items to compare, so that every item is in about the same number of comparisons."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Rows


def sample_pairs(n: int, comparisons: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Sample pairs of different items.

    Parameters
    ----------
    n : number of items
    comparisons : number of comparisons of each item; the number of other items if that is smaller
    rng : random generator

    Returns
    -------
    (m,) and (m,), the items of each pair; no pair occurs twice

    Notes
    -----
    Item i of a random order on a circle is compared with the items at some distances from it, so that all items are
    connected, and every item is in as many pairs as the others. Cost: O(m).

    Examples
    --------
    >>> first, second = sample_pairs(6, 2, np.random.default_rng(0))
    >>> np.bincount(np.concatenate([first, second])).tolist()
    [2, 2, 2, 2, 2, 2]
    """
    if n < 2:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    order = rng.permutation(n)
    longest = n // 2
    wanted = min(-(-comparisons // 2), longest)
    distances = np.concatenate([[1], 2 + rng.permutation(longest - 1)])[:wanted]
    first, second = [], []
    for distance in distances.tolist():
        starts = np.arange(n // 2 if 2 * distance == n else n)  # the opposite item is met from both sides
        first.append(order[starts])
        second.append(order[(starts + distance) % n])
    return np.concatenate(first), np.concatenate(second)
