"""The moderate coreset keeps the middle ranks of the distances to prototypes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.batches import Pool
from curate.plugins.selectors.difficulty.moderate import Moderate, distance_to_prototype, moderate


def unit_rows(seed, n, d=3):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_distances_1_to_10_at_a_rate_of_0_4_keep_4_to_7():
    distance = np.random.default_rng(0).permutation(np.arange(1, 11)).astype(np.float32)
    indices, far = moderate(distance, 4)
    assert sorted(distance[indices].tolist()) == [4, 5, 6, 7]
    assert sorted(distance[far].tolist()) == [6, 7, 8, 9, 10]


@given(st.integers(0, 30), st.integers(0, 1000), st.data())
def test_ranks_kept_are_the_window_around_the_middle(n, seed, data):
    """[N(1/2 − r/2), N(1/2 + r/2)), from its definition; at r = 1 that is all."""
    budget = data.draw(st.integers(0, n))
    distance = np.random.default_rng(seed).permutation(n).astype(np.float32)
    first = (n - budget) // 2
    assert sorted(distance[moderate(distance, budget)[0]].tolist()) == list(range(first, first + budget))


def test_distance_is_to_the_mean_of_the_own_cluster_or_to_its_coordinatewise_median():
    x = unit_rows(1, 30)
    cluster = (np.arange(30) % 3 * 5).astype(np.int32)
    for prototype, center in (("mean", np.mean), ("median", np.median)):
        expected = [np.linalg.norm(x[i] - center(x[cluster == cluster[i]], axis=0)) for i in range(30)]
        np.testing.assert_allclose(distance_to_prototype(x, cluster, prototype), expected, atol=1e-6)


def test_rows_in_no_cluster_are_measured_to_the_most_similar_one():
    x = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    distance = distance_to_prototype(x, np.array([0, 1, -1], np.int32), "mean")
    np.testing.assert_allclose(distance, [0, 0, np.hypot(0.6, 0.2)], atol=1e-6)


def test_without_clusters_all_rows_have_one_prototype():
    x = unit_rows(2, 12)
    none, one = np.full(12, -1, np.int32), np.zeros(12, np.int32)
    assert (distance_to_prototype(x, none, "mean") == distance_to_prototype(x, one, "mean")).all()


@pytest.mark.parametrize("prototype", ["mean", "median"])
def test_classes_are_ranked_together_and_dropped_rows_give_their_side(prototype):
    """A tight class and a wide one: the middle of all is the far end of the one and the near end of the other."""
    angles = np.r_[np.linspace(-0.1, 0.1, 11), np.linspace(-1, 1, 11)]
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    cluster = np.repeat([0, 1], 11).astype(np.int32)
    pool = Pool(x, np.zeros(22, np.float32), cluster)
    selection = Moderate(prototype=prototype).select(pool, 8, np.random.default_rng(0)).check(22, 8)
    distance = distance_to_prototype(x, cluster, prototype)
    assert (selection.gain == distance[selection.indices]).all()
    dropped = np.setdiff1d(np.arange(22), selection.indices)
    near, far = dropped[selection.reason[dropped] == 0], dropped[selection.reason[dropped] == 1]
    assert len(near) == len(far) == 7
    assert distance[near].max() <= selection.gain.min() <= selection.gain.max() <= distance[far].min()
    assert set(cluster[near]) == {0}
    assert set(cluster[far]) == {1}
