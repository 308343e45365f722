"""Coverage is the area under the curve of radius and covered share, and its radius is that of k-center."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.linalg.cosines import distance_to_nearest
from curate.plugins.batches import MetricInput
from curate.plugins.metrics.coverage import Coverage, clusters_covered
from curate.plugins.selectors.coverage.k_center import k_center


def measure(x, chosen, cluster):
    return Coverage().measure(
        MetricInput(n=len(x), selected=chosen, embeddings=x, cluster=cluster), np.random.default_rng(0)
    )


def test_mean_distance_is_the_area_under_the_smallest_radius_of_each_share(rows):
    """p-partial r-covers, by their definition: the smallest r within which a share p of the rows has a chosen one."""
    x, chosen = rows(500, 4), np.arange(0, 500, 25)
    distances = np.linalg.norm(x[:, None] - x[chosen], axis=2).min(axis=1)
    radius = [np.quantile(distances, p, method="inverted_cdf") for p in (np.arange(500) + 0.5) / 500]
    result = measure(x, chosen, np.zeros(500, np.int32)).values
    assert result["mean_distance"] == pytest.approx(np.mean(radius), abs=1e-5)
    assert result["radius"] == pytest.approx(distances.max(), abs=1e-5)


def test_k_center_has_a_smaller_radius_than_a_uniform_sample_and_at_most_twice_the_optimum(rows):
    x = rows(12, 3)
    centers = k_center(x, 2)[0]
    between = np.linalg.norm(x[:, None] - x, axis=2)
    optimum = min(np.minimum(between[i], between[j]).max() for i in range(12) for j in range(i))
    assert distance_to_nearest(x, x[centers]).max() <= 2 * optimum + 1e-5


def test_distances_are_exact_over_many_blocks(rows):
    x, chosen = rows(9_000, 5), np.random.default_rng(1).choice(9_000, 5_000, replace=False)
    result = distance_to_nearest(x, x[chosen])
    check = np.random.default_rng(2).choice(9_000, 50)
    expected = np.linalg.norm(x[check, None] - x[chosen], axis=2).min(axis=1)
    np.testing.assert_allclose(result[check], expected, rtol=1e-3)


def test_clusters_without_rows_and_rows_without_a_cluster():
    cluster = np.array([0, 0, 2, 2, 5, -1], np.int32)
    assert clusters_covered(cluster, np.array([0, 2, 5])) == (
        pytest.approx(2 / 3),
        pytest.approx(np.log(2) / np.log(3)),
    )
    rate, entropy = clusters_covered(cluster, np.array([5]))
    assert rate == 0
    assert np.isnan(entropy)
