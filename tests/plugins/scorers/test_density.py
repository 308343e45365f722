import math

import numpy as np
import pytest
from scipy.special import gammaln

from curate.kernels.clustering.lloyd import assign
from curate.kernels.neighbors import knn
from curate.plugins.batches import ScoreBatch
from curate.plugins.interfaces import get_traits
from curate.plugins.scorers.density import Density


def unit(rng, n, d):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def density(x, centroids=None, cluster=None, **fields):
    centroids = x[:1] if centroids is None else centroids
    cluster = np.zeros(len(x), np.int32) if cluster is None else cluster
    batch = ScoreBatch(embeddings=x, centroids=centroids, cluster=cluster)
    return Density(**fields).score(batch, np.random.default_rng(0))


def slow(x, k, m):
    """Return ρ = k / ((n - 1) V r_kᵐ) row by row, in float64."""
    result = []
    for i, row in enumerate(x.astype(np.float64)):
        r = np.sort(np.delete(np.linalg.norm(x - row, axis=1), i))[k - 1]
        result.append(math.log(k / (len(x) - 1)) - (m / 2 * math.log(math.pi) - gammaln(m / 2 + 1)) - m * math.log(r))
    return result


@pytest.mark.parametrize(("n", "k", "m"), [(2, 1, 1), (12, 3, 2), (200, 10, 7)])
def test_equals_the_slow_version(n, k, m):
    x = unit(np.random.default_rng(n), n, 8)
    np.testing.assert_allclose(density(x, n_neighbors=k, dimensions=m), slow(x, k, m), rtol=1e-4, atol=1e-4)


def test_on_an_even_circle_it_is_the_log_of_one_over_its_length():
    """A density per unit of length: 1 / 2π everywhere."""
    x = circle(np.arange(1_000) * 2 * np.pi / 1_000)
    np.testing.assert_allclose(density(x, n_neighbors=10, dimensions=1), -math.log(2 * math.pi), atol=2e-3)


def test_on_a_sphere_it_is_the_log_of_one_over_its_surface():
    x = unit(np.random.default_rng(0), 5_000, 3)
    mean = np.exp(density(x, n_neighbors=50, dimensions=2).astype(float)).mean()
    assert mean == pytest.approx(1 / (4 * math.pi), rel=0.05)


def test_nine_times_as_many_rows_are_ln_9_higher():
    rng = np.random.default_rng(1)
    x = circle(np.concatenate([rng.uniform(0, 1, 9_000), rng.uniform(2, 3, 1_000)]))
    scores = density(x, n_neighbors=30, dimensions=1)
    assert np.median(scores[:9_000]) - np.median(scores[9_000:]) == pytest.approx(math.log(9), abs=0.1)


def test_dimensions_do_not_change_the_order():
    x = unit(np.random.default_rng(2), 300, 6)
    orders = {tuple(np.argsort(density(x, dimensions=m), kind="stable").tolist()) for m in ("auto", 1, 2)}
    assert len(orders) == 1


def test_hundreds_of_dimensions_neither_overflow_nor_underflow():
    x = unit(np.random.default_rng(3), 200, 1_024)
    scores = density(x, dimensions=1_024)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 100


def test_duplicates_are_the_most_crowded_and_finite():
    rng = np.random.default_rng(4)
    x = np.concatenate([np.tile(unit(rng, 1, 5), (12, 1)), unit(rng, 50, 5)])
    scores = density(x, n_neighbors=10)
    assert np.isfinite(scores).all()
    assert scores[:12].min() > scores[12:].max()


def test_a_pool_of_duplicates_and_a_pool_of_one():
    row = unit(np.random.default_rng(5), 1, 5)
    scores = density(np.tile(row, (20, 1)))
    assert np.isfinite(scores).all()
    assert len(set(scores.tolist())) == 1
    assert density(row).tolist() == [0]


def test_k_is_the_number_of_other_rows_in_a_small_pool():
    x = unit(np.random.default_rng(6), 5, 4)
    np.testing.assert_array_equal(density(x, n_neighbors=100), density(x, n_neighbors=4))


def test_probing_clusters_hardly_changes_the_scores(monkeypatch):
    rng = np.random.default_rng(7)
    centroids = unit(rng, 30, 12)
    x = centroids[rng.integers(0, 30, 3_000)] + 0.1 * rng.standard_normal((3_000, 12)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    exact = density(x, dimensions=5)
    monkeypatch.setattr(knn, "EXACT_ROWS", 100)
    probed = density(x, centroids, assign(x, centroids)[0], dimensions=5)
    assert (probed <= exact + 1e-3).all()  # a missed neighbor makes a row look rarer
    assert np.mean(np.abs(probed - exact) < 1e-3) > 0.95


def test_rare_rows_count_as_better():
    (column,) = get_traits(Density).columns
    assert not column.higher_is_better
