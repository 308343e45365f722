"""Connected components from batches of edges."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.neighbors.components import connect_equal_keys, find_roots, merge_edges, sort_keys


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 25))
    node = st.integers(0, n - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=40))
    return n, edges, draw(st.lists(st.integers(0, len(edges)), max_size=4))


def lowest_reachable(n, edges):
    root = list(range(n))
    for _ in range(n):
        for a, b in edges:
            root[a] = root[b] = min(root[a], root[b])
    return root


@given(graphs())
def test_any_division_of_the_edges_gives_the_lowest_node_of_each_component(graph):
    n, edges, cuts = graph
    root = np.arange(n)
    bounds = [0, *sorted(cuts), len(edges)]
    for start, stop in pairwise(bounds):
        a, b = np.array(edges[start:stop], np.intp).reshape(-1, 2).T
        merge_edges(root, a, b)
    assert find_roots(root, np.arange(n)).tolist() == lowest_reachable(n, edges)


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=30))
def test_equal_keys_are_connected_with_the_first(keys):
    first, other = connect_equal_keys(*sort_keys(np.array(keys, np.uint64)))
    edges = dict(zip(other.tolist(), first.tolist(), strict=True))
    assert edges == {row: keys.index(key) for row, key in enumerate(keys) if keys.index(key) != row}


def test_a_long_chain_that_arrives_backwards():
    root = np.arange(5000)
    for node in reversed(range(0, 4999, 7)):
        merge_edges(root, np.arange(node, min(node + 7, 4999)), np.arange(node, min(node + 7, 4999)) + 1)
    assert not find_roots(root, np.arange(5000)).any()
