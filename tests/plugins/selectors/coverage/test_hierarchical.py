"""Hierarchical sampling splits the budget evenly down a tree, and balances better than plain clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.batches import Pool
from curate.plugins.selectors.coverage.hierarchical import Hierarchical, balanced_shares, hierarchical


def generator(seed=0):
    return np.random.default_rng(seed)


def test_sizes_1_5_10_2_with_budget_10_get_at_most_3_and_a_larger_group_one_more():
    given_out = {tuple(balanced_shares(np.array([1, 5, 10, 2]), 10, generator(seed)).tolist()) for seed in range(30)}
    assert given_out == {(1, 4, 3, 2), (1, 3, 4, 2)}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.floats(0, 1), st.integers(0, 99))
def test_water_filling_spends_the_target_and_differs_by_one_where_clusters_are_not_full(sizes, rate, seed):
    sizes = np.array(sizes)
    target = int(rate * sizes.sum())
    share = balanced_shares(sizes, target, generator(seed))
    assert share.sum() == target
    assert ((share >= 0) & (share <= sizes)).all()
    not_full = share[share < sizes]
    if len(not_full):
        assert share.max() <= not_full.min() + 1


@given(st.integers(1, 60), st.integers(0, 999), st.data())
def test_every_level_shares_evenly(n, seed, data):
    """In a random tree: the share of a cluster, among its clusters, by the rule of water-filling."""
    rng = generator(seed)
    parents = [rng.integers(0, 8, n).astype(np.int32), rng.integers(0, 3, 8).astype(np.int32)]
    budget = data.draw(st.integers(0, n))
    rows = hierarchical(np.zeros(n, np.float32), parents, budget, rng, draw="random")
    assert len(np.unique(rows)) == len(rows) == budget
    low, high = parents[0], parents[1][parents[0]]

    def even(of, among):
        share = np.bincount(of[rows], minlength=8)[among]
        size = np.bincount(of, minlength=8)[among]
        not_full = share[share < size]
        assert not len(not_full) or share.max() <= not_full.min() + 1

    even(high, np.arange(3))
    for cluster in range(3):
        if (parents[1] == cluster).any():
            even(low, np.flatnonzero(parents[1] == cluster))


def test_the_closest_are_drawn_or_any():
    similarity = np.array([0.1, 0.9, 0.5, 0.9, 0.2, 0.3], np.float32)
    parents = [np.array([0, 0, 0, 0, 1, 1], np.int32)]
    closest = hierarchical(similarity, parents, 3, generator(), draw="closest")
    assert set(closest.tolist()) in ({1, 3, 5}, {1, 5, 4})
    draws = {row for seed in range(40) for row in hierarchical(similarity, parents, 2, generator(seed), draw="random")}
    assert draws == set(range(6))


def unevenness(angles):
    """Return the Kolmogorov distance of a sample on [0, 1] from the uniform distribution."""
    ordered, n = np.sort(angles), len(angles)
    return max((np.arange(1, n + 1) / n - ordered).max(), (ordered - np.arange(n) / n).max())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_tree_is_more_even_over_the_support_than_balanced_plain_clusters(seed):
    """Points on an arc, nineteen of twenty of them on its first tenth."""
    rng = generator(seed)
    angles = np.where(rng.random(8000) < 0.95, rng.uniform(0, 0.1, 8000), rng.uniform(0, 1, 8000))
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    pool = Pool(x, np.zeros(8000, np.float32), np.zeros(8000, np.int32))
    result = {}
    for name, fields in (("tree", {"n_levels": 3, "branching": 4}), ("plain", {"n_levels": 1, "resamplings": 0})):
        selection = Hierarchical(n_clusters=160, **fields).select(pool, 200, generator(seed)).check(8000, 200)
        result[name] = unevenness(angles[selection.indices])
    assert result["tree"] < 0.7 * result["plain"]
