"""SSL prototypes ranks rows by the distance to the center of their cluster."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.clustering.lloyd import assign, lloyd
from curate.plugins.batches import Pool
from curate.plugins.selectors.difficulty.ssl_prototypes import SSLPrototypes, distance_to_mean_direction


def unit_rows(seed, n, d=3):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(("prefer", "sign", "reason"), [("hard", -1, "closer to"), ("easy", 1, "farther from")])
def test_hard_rows_are_the_farthest_from_their_centre_and_easy_rows_the_nearest(prefer, sign, reason):
    x, cluster = unit_rows(1, 60), (np.arange(60) % 4).astype(np.int32)
    pool = Pool(x, np.zeros(60, np.float32), cluster)
    selection = SSLPrototypes(prefer=prefer).select(pool, 20, np.random.default_rng(0)).check(60, 20)
    means = np.stack([x[cluster == c].mean(axis=0, dtype=np.float64) for c in range(4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    distance = 1 - (x * means[cluster]).sum(axis=1)
    assert selection.indices.tolist() == np.argsort(sign * distance, kind="stable")[:20].tolist()
    np.testing.assert_allclose(selection.gain, distance[selection.indices], atol=1e-6)
    assert selection.reasons[0].startswith(reason)


@given(st.integers(0, 1000))
def test_on_clusters_of_converged_kmeans_it_is_the_distance_to_the_nearest_centroid(seed):
    """The published score; one more move of converged centroids changes nothing."""
    x = unit_rows(seed, 80)
    centroids = lloyd(lambda: iter([x]), x[:5], max_iterations=100, tolerance=0.0).centroids
    cluster, similarity = assign(x, centroids)
    np.testing.assert_allclose(distance_to_mean_direction(x, cluster), 1 - similarity, atol=1e-5)


def test_rows_in_no_cluster_are_measured_to_the_most_similar_centre():
    x = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    np.testing.assert_allclose(distance_to_mean_direction(x, np.array([0, 1, -1], np.int32)), [0, 0, 0.2], atol=1e-6)


def test_without_clusters_all_rows_are_equal():
    assert distance_to_mean_direction(unit_rows(0, 4), np.full(4, -1, np.int32)).tolist() == [1, 1, 1, 1]
