"""Candidate reduction loses no similar pair, and splits templates into few pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.neighbors import rare_shingles
from curate.kernels.neighbors.jaccard import HashSets
from curate.kernels.neighbors.lsh_linkage import connected_linkage
from curate.kernels.neighbors.rare_shingles import Profiles
from curate.kernels.stats.hash_sampling import mix_bits


def of_lists(lists):
    offsets = np.cumsum([0, *map(len, lists)])
    parts = [
        HashSets.from_lists(
            mix_bits(np.array([x for some in lists[at : at + 4000] for x in some], np.uint64)), bounds - bounds[0]
        )
        for at in range(0, len(lists), 4000)
        for bounds in [offsets[at : at + 4001]]
    ]
    return HashSets.concatenate(parts)


def template(n, length, fills, values, seed=0, width=3, sizes=None):
    """Return the shingle sets of n texts: a template, ``width`` elements per fill, and some unique ones."""
    r = np.random.default_rng(seed)
    chosen = r.integers(0, values, (n, fills))
    alone = r.integers(0, 1 + (sizes or 0), n)
    return [
        [
            *range(length),
            *(1000 + (fill * values + value) * width + i for fill, value in enumerate(row) for i in range(width)),
            *(10**6 + 100 * text + i for i in range(alone[text])),
        ]
        for text, row in enumerate(chosen.tolist())
    ]


def similar_pairs(sets, n, threshold):
    left, right = np.triu_indices(n, 1)
    near = sets.jaccard(left, right) >= threshold
    return left[near], right[near]


def union_find(n, pairs):
    parent = list(range(n))

    def root(one):
        while parent[one] != one:
            one = parent[one]
        return one

    for a, b in zip(*(side.tolist() for side in pairs), strict=True):
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    return [root(one) for one in range(n)]


def together(buckets):
    groups = np.split(buckets.members, buckets.starts[1:-1])
    return {(a, b) for group in groups for a in group.tolist() for b in group.tolist() if a < b}


POOLS = st.one_of(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=12), min_size=1, max_size=30),
    st.builds(
        template,
        st.integers(1, 60),
        st.integers(1, 30),
        st.integers(0, 4),
        st.integers(1, 6),
        st.integers(0, 99),
        st.integers(1, 4),
        st.integers(0, 12),
    ),
    st.builds(
        lambda one, other, step: one + [[*(x + step for x in some[:3]), *some[3:]] for some in other],
        *[st.builds(template, st.integers(1, 25), st.just(12), st.just(2), st.integers(1, 4), st.integers(0, 9))] * 2,
        st.sampled_from([0, 500]),
    ),
)
"""Random sets, a template with fills and parts of other sizes, and two templates that share most."""


@given(
    POOLS, st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0]), st.sampled_from([1, 2, 16]), st.sampled_from([1, 50])
)
def test_components_are_those_of_union_find_over_all_pairs(lists, threshold, small, entries):
    n, sets = len(lists), of_lists(lists)
    pairs = similar_pairs(sets, n, threshold)
    profiles = Profiles.from_sets(sets, np.arange(n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rare_shingles, "_SMALL", small)
        patch.setattr(rare_shingles, "_ENTRIES", entries)
        buckets = profiles.narrow(threshold)
        assert {*zip(*(side.tolist() for side in pairs), strict=True)} <= together(buckets)
        firsts = connected_linkage(np.arange(n), buckets, profiles.jaccard, threshold)
        known = np.array(union_find(n, [side[::2] for side in pairs]))  # half of the pairs
        rest = connected_linkage(known, profiles.narrow(threshold, known), profiles.jaccard, threshold)
    expected = union_find(n, pairs)
    assert firsts.tolist() == expected
    assert rest.tolist() == expected


@given(POOLS)
def test_similarity_is_that_of_the_sets(lists):
    sets = of_lists(lists)
    left, right = np.triu_indices(len(lists), 1)
    assert (
        Profiles.from_sets(sets, np.arange(len(lists))).jaccard(left, right).tolist()
        == sets.jaccard(left, right).tolist()
    )


def test_elements_of_the_same_sets_are_one_token():
    profiles = Profiles.from_sets(of_lists(template(100, 30, 2, 5)), np.arange(100))
    assert sorted(profiles.weights.tolist()) == [3] * 10 + [30]
    assert np.diff(profiles.offsets).tolist() == [3] * 100


def number_of_pairs(buckets):
    sizes = np.diff(buckets.starts)
    return int((sizes * (sizes - 1) // 2).sum())


@pytest.mark.parametrize("n", [2_000, 8_000])
def test_pairs_left_of_a_template_grow_with_the_texts_and_not_with_their_square(n):
    """Rows that share three of five fills are similar: one in 800 pairs, and few others are left to compare."""
    sets = of_lists(template(n, 60, 5, 20))
    threshold = (60 + 9) / (60 + 9 + 12)
    buckets = Profiles.from_sets(sets, np.arange(n)).narrow(threshold)
    r = np.random.default_rng(0)
    left, right = r.integers(0, n, (2, 100_000))
    near = (sets.jaccard(left, right) >= threshold)[left != right].mean()
    assert number_of_pairs(buckets) < 3 * near * n * n / 2 + 16 * n


def test_two_large_components_of_one_template_leave_no_pair_to_compare():
    """Half of the texts has another ending: .62 similar to the others, and .8 among themselves."""
    n = 3_000
    lists = [
        [*range(40), *range(50 + 10 * (i % 2), 60 + 10 * (i % 2)), *range(100 + 7 * i, 106 + 7 * i)] for i in range(n)
    ]
    profiles = Profiles.from_sets(of_lists(lists), np.arange(n))
    assert number_of_pairs(profiles.narrow(0.7, np.arange(n) % 2)) == 0
    assert number_of_pairs(profiles.narrow(0.7)) == 2 * (n // 2 * (n // 2 - 1) // 2)  # all similar


def test_sets_that_share_too_little_are_in_no_group_and_others_next_to_them_are():
    """Of ten elements six or nine are those of a template, and the rest is no other's; at .7."""
    far = [[*range(6), *range(100 * i, 100 * i + 4)] for i in range(1, 30)]
    near = [[*range(50, 59), 100 * i] for i in range(30, 60)]
    members = Profiles.from_sets(of_lists(far + near), np.arange(59)).narrow(0.7).members
    assert np.unique(members).tolist() == list(range(len(far), len(far + near)))


def test_no_sets_at_all():
    empty = HashSets(np.zeros(0, np.uint64), np.zeros(1, np.int64))
    profiles = Profiles.from_sets(empty, np.zeros(0, np.intp))
    assert profiles.narrow(0.5).members.tolist() == []
    assert profiles.jaccard(np.zeros(0, np.intp), np.zeros(0, np.intp)).tolist() == []
