"""Hierarchical k-means clusters the centroids of each level, and resampling spreads them out."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.clustering import kmeans_levels
from curate.kernels.clustering.kmeans_levels import hierarchical_kmeans
from curate.kernels.types import Vectors


def arc(n, seed, crowded=0.95):
    """Return points on an arc of length 1, most of them on its first tenth, and their angles."""
    rng = np.random.default_rng(seed)
    angles = np.where(rng.random(n) < crowded, rng.uniform(0, 0.1, n), rng.uniform(0, 1, n))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), angles


def levels_of(x, block=65_536, **fields):
    fields = {"n_clusters": 100, "n_levels": 3, "branching": 5, "resamplings": 2, **fields}
    return hierarchical_kmeans(Vectors.from_array(x, block), np.random.default_rng(0), **fields)


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ({}, [100, 20, 4]),
        ({"n_levels": 1}, [100]),
        ({"branching": 60}, [100]),
        ({"n_clusters": 30, "branching": 4, "n_levels": 9}, [30, 7]),
    ],
)
def test_each_level_has_a_branching_of_the_one_before_and_none_has_one_cluster(fields, sizes):
    assert [len(level) for level in levels_of(arc(3000, 1, crowded=0)[0], **fields)] == sizes


def test_resampling_removes_centroids_from_dense_regions():
    """Of plain centroids about half lie on the crowded tenth of the arc, in single fits 0.42 to 0.65 of them; one in
    ten would be even. So the mean over several fits is compared.
    """

    def on_crowd(seed, resamplings):
        x, _ = arc(5000, seed)
        (centroids,) = levels_of(x, n_clusters=40, n_levels=1, resamplings=resamplings)
        return (np.arctan2(centroids[:, 1], centroids[:, 0]) < 0.1).mean()

    plain, resampled = (np.mean([on_crowd(seed, n) for seed in range(4)]) for n in (0, 5))
    assert resampled < 0.7 * plain


def test_resampled_members_are_the_nearest_of_each_cluster_half_an_average_cluster_at_most():
    x, _ = arc(500, 3)
    centroids = x[[0, 100, 200, 300]]
    kept = kmeans_levels._central_rows(Vectors.from_array(x, 64), centroids)
    similarity = x @ centroids.T
    cluster, own = similarity.argmax(axis=1), similarity.max(axis=1)
    for c in range(4):
        members = np.flatnonzero(cluster == c)
        assert kept[members].sum() == min(len(members), 500 // 8)
        if not kept[members].all():
            assert own[members][kept[members]].min() >= own[members][~kept[members]].max() - 1e-6


def test_a_subset_is_read_in_the_blocks_of_the_pool():
    x, _ = arc(100, 4)
    keep = np.arange(100) % 3 == 0
    subset = kmeans_levels._select_rows(Vectors.from_array(x, 7), keep)
    assert subset.rows == keep.sum()
    for _ in range(2):
        assert (np.concatenate(list(subset.blocks())) == x[keep]).all()
