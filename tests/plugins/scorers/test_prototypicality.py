import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.interfaces import get_traits
from curate.plugins.scorers.prototypicality import Prototypicality, distance_to_centroid


def unit(rng, n, d):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@given(n=st.integers(0, 60), k=st.integers(1, 5), seed=st.integers(0, 999))
def test_equals_the_slow_version(n, k, seed):
    rng = np.random.default_rng(seed)
    x, centroids, cluster = unit(rng, n, 5), unit(rng, k, 5), rng.integers(-1, k, n).astype(np.int32)
    slow = []
    for row, c in zip(x, cluster, strict=True):
        cosine = [float(row @ centroid) for centroid in centroids]
        slow.append(1 - (cosine[c] if c >= 0 else max(cosine)))
    result = distance_to_centroid(x, cluster, centroids)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, slow, atol=1e-6)


@pytest.mark.parametrize(("row", "distance"), [([1, 0], 0), ([0, 1], 1), ([-1, 0], 2)])
def test_the_range_runs_from_at_the_centre_to_opposite(row, distance):
    x = np.array([row], np.float32)
    assert distance_to_centroid(x, np.zeros(1, np.int32), np.array([[1, 0]], np.float32)).tolist() == [distance]


def test_rounding_never_leaves_the_range():
    x = unit(np.random.default_rng(0), 3_000, 384)
    cluster = np.arange(3_000, dtype=np.int32)
    assert distance_to_centroid(x, cluster, x).min() == 0
    assert distance_to_centroid(x, cluster, -x).max() == 2


def test_a_row_in_no_cluster_is_measured_to_the_most_similar_centroid():
    x = np.array([[0.6, 0.8]], np.float32)
    result = distance_to_centroid(x, np.array([-1], np.int32), np.eye(2, dtype=np.float32))
    np.testing.assert_allclose(result, [0.2], atol=1e-6)


def test_without_any_centroid_every_distance_is_one():
    x = unit(np.random.default_rng(1), 4, 3)
    assert distance_to_centroid(x, np.full(4, -1, np.int32), x[:0]).tolist() == [1, 1, 1, 1]


def test_unusual_rows_count_as_better():
    (column,) = get_traits(Prototypicality).columns
    assert column.higher_is_better
    assert column.range == (0, 2)
