"""Hierarchical k-means gives about the requested number of clusters, more evenly spread than plain k-means."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.types import Vectors
from curate.plugins.clusterers.hierarchical_kmeans import HierarchicalKMeans
from curate.plugins.clusterers.kmeans import KMeans


def fit(plugin, x):
    return plugin.fit(Vectors.from_array(x), np.random.default_rng(0))


def unit_rows(n, d=4):
    x = np.random.default_rng(1).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"n_clusters": 6}, {"clusters": 6, "levels": 2, "first_clusters": 60}),
        ({"n_clusters": 6, "n_levels": 3, "branching": 3}, {"clusters": 6, "levels": 3, "first_clusters": 54}),
        ({"n_clusters": 6, "n_levels": 1}, {"clusters": 6, "levels": 1, "first_clusters": 6}),
        ({"branching": 4}, {"clusters": 30, "levels": 2, "first_clusters": 120}),
    ],
)
def test_the_last_level_has_the_requested_clusters(fields, facts):
    assert fit(HierarchicalKMeans(resamplings=1, **fields), unit_rows(900)).facts == facts


def test_first_level_has_no_more_clusters_than_rows():
    assert fit(HierarchicalKMeans(n_clusters=5, resamplings=1), unit_rows(30)).facts["first_clusters"] <= 30


def test_centroids_are_spread_more_evenly_than_those_of_plain_kmeans():
    """Nineteen of twenty points lie on the first tenth of an arc."""
    rng = np.random.default_rng(2)
    angles = np.where(rng.random(6000) < 0.95, rng.uniform(0, 0.1, 6000), rng.uniform(0, 1, 6000))
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    crowded = []
    for plugin in (HierarchicalKMeans(n_clusters=20, resamplings=3), KMeans(n_clusters=20)):
        centroids = fit(plugin, x).centroids
        crowded.append((np.arctan2(centroids[:, 1], centroids[:, 0]) < 0.1).mean())
    assert crowded[0] < 0.6 * crowded[1]
