"""Jaccard similarities agree with the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.neighbors import jaccard
from curate.kernels.neighbors.jaccard import HashSets
from curate.kernels.stats.hash_sampling import mix_bits


def of_lists(lists):
    offsets = np.cumsum([0, *map(len, lists)])
    return HashSets.from_lists(mix_bits(np.array([x for some in lists for x in some], np.uint64)), offsets)


@given(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=12), min_size=2, max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=30),
    st.sampled_from([1, 20, 1 << 19]),
)
def test_similarity_is_the_definitions_in_blocks_of_any_size(lists, pairs, elements):
    left, right = (np.array([pair[i] % len(lists) for pair in pairs], np.intp) for i in range(2))
    half = len(lists) // 2
    sets = HashSets.concatenate([of_lists(lists[:half]), of_lists(lists[half:])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaccard, "_ELEMENTS", elements)
        result = sets.jaccard(left, right)
    expected = [
        len(set(lists[a]) & set(lists[b])) / len(set(lists[a]) | set(lists[b]))
        for a, b in zip(left.tolist(), right.tolist(), strict=True)
    ]
    assert result.tolist() == expected


def test_more_pairs_than_a_block_can_number():
    sets = of_lists([[1, 2], [2, 3], [7]])
    left = np.tile([0, 0, 1], 5000)
    result = sets.jaccard(left, np.tile([1, 2, 1], 5000))
    assert np.array_equal(result, np.tile([1 / 3, 0, 1], 5000))
