"""Connected components of a graph whose edges arrive in batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels.types import Flags, Rows


def merge_edges(root: Rows, a: Rows, b: Rows) -> None:
    """Merge the components that edges connect, in place.

    Parameters
    ----------
    root : (n,) a node of the component of each node, from which ``find_roots`` reaches the lowest one; initially
        ``np.arange(n)``
    a, b : (e,) the ends of each edge

    Notes
    -----
    Cost: O(e log e); no pass over the n nodes. Guarantee: exact, for any order and division of the edges.

    References
    ----------
    Tarjan (1975), "Efficiency of a good but not linear set union algorithm", doi:10.1145/321879.321884, in batches.

    Examples
    --------
    >>> root = np.arange(5)
    >>> merge_edges(root, np.array([3, 1]), np.array([4, 3]))
    >>> merge_edges(root, np.array([0]), np.array([2]))
    >>> find_roots(root, np.arange(5)).tolist()
    [0, 1, 0, 1, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = find_roots(root, np.concatenate((a, b)))
    nodes, position = np.unique(ends, return_inverse=True)
    edges = position[: len(a)], position[len(a) :]
    graph = coo_array((np.ones(len(a), np.int8), edges), (len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    lowest = np.unique(component, return_index=True)[1]
    root[nodes] = nodes[lowest[component]]


def find_roots(root: Rows, nodes: Rows) -> Rows:
    """Return the lowest node of the component of each of ``nodes``."""
    found = root[nodes]
    while not np.array_equal(found, further := root[found]):
        found = further
    return found


def sort_keys(keys: NDArray[np.integer]) -> tuple[Rows, Flags]:
    """Sort keys, and mark the first item with each key.

    Parameters
    ----------
    keys : (n,) keys, of any integer type

    Returns
    -------
    order : (n,) positions by key, ties to the lowest
    is_first : (n,) bool, whether the item at each place of ``order`` is the first with its key
    """
    order = np.argsort(keys, kind="stable")
    ascending = keys[order]
    is_first = np.ones(len(keys), np.bool_)
    is_first[1:] = ascending[1:] != ascending[:-1]
    return order, is_first


def connect_equal_keys(order: Rows, is_first: Flags) -> tuple[Rows, Rows]:
    """Return an edge from the first item with each key to every other item with it.

    Parameters
    ----------
    order, is_first : as ``sort_keys`` returns them

    Returns
    -------
    first, other : (e,) positions

    Examples
    --------
    >>> [part.tolist() for part in connect_equal_keys(*sort_keys(np.array([7, 9, 7, 7])))]
    [[0, 0], [2, 3]]
    """
    first = order[is_first][np.cumsum(is_first) - 1]
    return first[~is_first], order[~is_first]
