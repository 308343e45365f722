"""D4 drops the rows most similar to others, clusters the rest, and keeps the rows far from centroids."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.neighbors.cells import Cells
from curate.plugins.batches import Pool
from curate.plugins.selectors.difficulty.d4 import D4, d4
from curate.plugins.selectors.duplicates.semdedup import semdedup


def generator():
    return np.random.default_rng(0)


def blob_and_rest(n_blob=300, n_rest=100, d=8, spread=0.01):
    """Return rows around one direction, followed by uniformly distributed rows."""
    rng = np.random.default_rng(1)
    x = np.concatenate(
        (np.eye(1, d) + spread * rng.standard_normal((n_blob, d)), rng.standard_normal((n_rest, d)))
    ).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_first_step_is_semdedup_at_the_threshold_that_leaves_the_share():
    x, cluster = blob_and_rest(), (np.arange(400) % 3).astype(np.int32)
    distinct = d4(x, cluster, 50, generator(), dedup_rate=0.4, n_clusters=5)[2]
    assert distinct.sum() == 160
    cells = Cells.from_clusters(x, cluster, np.zeros(400, np.float32), first="farthest")
    _, _, nearest = semdedup(x, cells, min_similarity=1)
    threshold = float(nearest[~distinct].min()) + 1e-6  # semdedup allows for rounding
    kept = semdedup(x, cells, min_similarity=threshold)[0]
    assert (kept == distinct).all()


def test_without_the_dense_region_clusters_cover_the_rest():
    """As many clusters lie nearer to the other rows when the dense blob takes none of them."""
    x, cluster = blob_and_rest(2000, 100, spread=0.15), np.zeros(2100, np.int32)
    to_centroid = {}
    for dedup_rate in (0.1, 1.0):
        budget = int(2100 * dedup_rate)
        indices, distance, distinct = d4(x, cluster, budget, generator(), dedup_rate=dedup_rate, n_clusters=20)
        assert distinct[2000:].sum() > 90
        to_centroid[dedup_rate] = distance[indices >= 2000].mean()
    assert to_centroid[0.1] < 0.8 * to_centroid[1.0]


def test_second_step_keeps_the_farthest_from_the_centroid():
    """One cluster: its centroid is the mean direction of the rows that the first step left."""
    x, cluster = blob_and_rest(40, 40), np.zeros(80, np.int32)
    indices, distance, distinct = d4(x, cluster, 20, generator(), dedup_rate=0.5, n_clusters=1)
    mean = x[distinct].mean(axis=0, dtype=np.float64)
    expected = 1 - x @ (mean / np.linalg.norm(mean))
    expected[~distinct] = -1
    assert indices.tolist() == np.argsort(-expected, kind="stable")[:20].tolist()
    np.testing.assert_allclose(distance, expected[indices], atol=1e-6)


def test_rates_of_1_and_1_keep_everything():
    x = blob_and_rest(20, 20)
    indices, _, distinct = d4(x, np.zeros(40, np.int32), 40, generator(), dedup_rate=1.0, n_clusters="auto")
    assert distinct.all()
    assert sorted(indices.tolist()) == list(range(40))


def test_a_budget_above_the_rate_is_met_from_the_least_similar_of_the_rest():
    x = blob_and_rest()
    indices, _, distinct = d4(x, np.zeros(400, np.int32), 200, generator(), dedup_rate=0.1, n_clusters="auto")
    assert distinct.sum() == 200
    assert sorted(indices.tolist()) == np.flatnonzero(distinct).tolist()


@pytest.mark.parametrize("dedup_rate", [0.3, 1.0])
def test_dropped_rows_name_their_step(dedup_rate):
    x = blob_and_rest()
    pool = Pool(x, np.zeros(400, np.float32), np.zeros(400, np.int32))
    selection = D4(dedup_rate=dedup_rate).select(pool, 60, generator()).check(400, 60)
    distinct = d4(x, pool.cluster, 60, generator(), dedup_rate=dedup_rate, n_clusters="auto")[2]
    assert (selection.reason == distinct).all()
    assert [reason.split()[0] for reason in selection.reasons] == ["near-duplicate", "closer"]
