"""Direct linkage and components agree with brute force, and compare few pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from curate.kernels.neighbors import lsh_linkage
from curate.kernels.neighbors.lsh_linkage import Buckets, connected_linkage, direct_linkage, merge_components


def table(similarity):
    """Return the function that looks up pairs, and the list of looked-up pairs."""
    queries = []

    def look(left, right):
        queries.extend(zip(left.tolist(), right.tolist(), strict=True))
        return similarity[left, right]

    return look, queries


def components(buckets, look, threshold, stands, links):
    first = merge_components(np.arange(len(stands)), links)
    return connected_linkage(first, buckets.select_undecided(stands, first), look, threshold)


def slow_direct(shared, similarity, threshold):
    kept, representatives, nearest = [], [], []
    for row in range(len(similarity)):
        earlier = [other for other in kept if shared[row, other]]
        best = max(earlier, key=lambda other: similarity[row, other], default=-1)
        nearest.append(similarity[row, best] if earlier else 0)
        representatives.append(best if nearest[-1] >= threshold else -1)
        kept += [row] if representatives[-1] == -1 else []
    return representatives, nearest


@given(
    st.integers(1, 40),
    st.integers(0, 2**16),
    st.sampled_from([0.3, 0.6, 0.9]),
    st.sampled_from([1, 3, 512]),
    st.sampled_from([1, 7, 1 << 20]),
    st.sampled_from([1, 4]),
)
def test_same_as_brute_force_for_any_block_sizes(n, seed, threshold, chunk, pairs, width):
    """Similarities in tenths, so that there are ties; every pair is compared at most once for direct linkage."""
    r = np.random.default_rng(seed)
    keys = r.integers(0, max(1, n // 4), (3, n)).astype(np.uint32)
    similarity = np.triu(r.integers(1, 11, (n, n)) / 10, 1)
    similarity += similarity.T
    shared = (keys[:, :, None] == keys[:, None, :]).any(axis=0)
    look, queries = table(similarity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lsh_linkage, "_CHUNK", chunk)
        patch.setattr(lsh_linkage, "_PAIRS", pairs)
        patch.setattr(lsh_linkage, "_WIDTH", width)
        buckets = Buckets.from_keys(keys)
        representatives, nearest, links = direct_linkage(n, buckets, look, threshold)
        once = len(queries)
        firsts = components(buckets, look, threshold, representatives, links)
    assert pairs < n * n or len(set(queries[:once])) == once
    assert (representatives.tolist(), nearest.tolist()) == slow_direct(shared, similarity, threshold)
    component = connected_components(shared & (similarity >= threshold))[1]
    expected = [int(np.flatnonzero(component == c)[0]) for c in component]
    assert firsts.tolist() == expected


def test_direct_linkage_never_drops_through_a_chain_and_components_do():
    near = np.array([[1, 0.9, 0.1], [0.9, 1, 0.9], [0.1, 0.9, 1]])
    buckets = Buckets.from_keys(np.zeros((1, 3), np.uint32))
    look, _ = table(near)
    representatives, _, links = direct_linkage(3, buckets, look, 0.8)
    assert representatives.tolist() == [-1, 0, -1]
    assert components(buckets, look, 0.8, representatives, links).tolist() == [0, 0, 0]


@pytest.mark.parametrize("n", [1_000, 20_000])
def test_a_bucket_of_similar_rows_takes_comparisons_in_proportion(n):
    """Each with the first, and those of the first block with each other; components then need none."""
    counted = []

    def alike(left, right):
        counted.append(len(left))
        return np.full(len(left), 0.9)

    buckets = Buckets.from_keys(np.zeros((4, n), np.uint32))
    representatives, _, links = direct_linkage(n, buckets, alike, 0.8)
    assert representatives.tolist() == [-1] + [0] * (n - 1)
    assert sum(counted) == 512 * 511 // 2 + n - 512
    assert components(buckets, alike, 0.8, representatives, links).tolist() == [0] * n
    assert sum(counted) == 512 * 511 // 2 + n - 512
