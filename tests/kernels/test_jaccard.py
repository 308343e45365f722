"""Jaccard similarities are those of the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels import jaccard
from curate.kernels.jaccard import Sets
from curate.kernels.sampling import mixed


def of_lists(lists):
    offsets = np.cumsum([0, *map(len, lists)])
    return Sets.of(mixed(np.array([x for some in lists for x in some], np.uint64)), offsets)


@given(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=12), min_size=2, max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=30),
    st.sampled_from([1, 20, 1 << 19]),
)
def test_similarity_is_the_definitions_in_blocks_of_any_size(lists, pairs, elements):
    left, right = (np.array([pair[i] % len(lists) for pair in pairs], np.intp) for i in range(2))
    half = len(lists) // 2
    sets = Sets.joined([of_lists(lists[:half]), of_lists(lists[half:])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaccard, "_ELEMENTS", elements)
        found = sets.jaccard(left, right)
    expected = [
        len(set(lists[a]) & set(lists[b])) / len(set(lists[a]) | set(lists[b]))
        for a, b in zip(left.tolist(), right.tolist(), strict=True)
    ]
    assert found.tolist() == expected


def test_more_pairs_than_a_block_can_number():
    sets = of_lists([[1, 2], [2, 3], [7]])
    left = np.tile([0, 0, 1], 5000)
    found = sets.jaccard(left, np.tile([1, 2, 1], 5000))
    assert np.array_equal(found, np.tile([1 / 3, 0, 1], 5000))


@given(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=12), min_size=2, max_size=8),
    st.sampled_from([0.3, 0.5, 0.7, 1.0]),
)
def test_similar_sets_share_one_of_their_rarest_elements(lists, threshold):
    sets, rows = of_lists(lists), np.arange(len(lists))
    places, elements = sets.prefixes(rows, threshold)
    chosen = [set(elements[places == row].tolist()) for row in rows]
    for a in rows:
        for b in rows[:a]:
            if sets.jaccard(np.array([a]), np.array([b]))[0] >= threshold:
                assert chosen[a] & chosen[b]


def test_prefixes_leave_out_what_many_share():
    """At .7, four of ten: those that only two have, and none that all have."""
    sets = of_lists([[*range(6), *range(100 * (i // 2), 100 * (i // 2) + 4)] for i in range(10, 60)])
    places, elements = sets.prefixes(np.arange(10, 40), 0.7)
    assert np.bincount(places).tolist() == [4] * 30
    assert len(np.unique(elements)) == 60


def test_sets_that_share_too_little_with_any_have_no_prefix_beside_others_that_share_enough():
    """Of ten elements six or nine are those of a template, and the rest is no other's; at .7."""
    far = [[*range(6), *range(100 * i, 100 * i + 4)] for i in range(1, 30)]
    near = [[*range(50, 59), 100 * i] for i in range(30, 60)]
    sets = of_lists(far + near)
    places, _ = sets.prefixes(np.arange(len(far + near)), 0.7)
    assert np.unique(places).tolist() == list(range(len(far), len(far + near)))
