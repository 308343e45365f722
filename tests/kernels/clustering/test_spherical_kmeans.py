import numpy as np
import pytest

from curate.kernels.clustering.lloyd import assign
from curate.kernels.clustering.spherical_kmeans import default_n_clusters, sample_rows, spherical_kmeans
from curate.kernels.types import Vectors


def unit(rng, n, d):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def in_blocks(x, *cuts):
    return Vectors(len(x), x.shape[1], lambda: iter(np.split(x, cuts)))


@pytest.mark.parametrize(("rows", "clusters"), [(1, 1), (3, 1), (4, 2), (2_000, 44), (10**6, 1_000), (10**9, 10_000)])
def test_auto_is_the_square_root_of_the_rows_at_most_ten_thousand(rows, clusters):
    assert default_n_clusters(rows) == clusters


def test_the_sample_has_the_requested_rows_for_any_blocks():
    x = unit(np.random.default_rng(1), 50, 3)
    rows = np.array([0, 9, 10, 11, 49])
    np.testing.assert_array_equal(sample_rows(in_blocks(x, 10, 11, 11, 30), rows), x[rows])


def test_iterations_end_at_the_most_allowed_and_more_bring_rows_nearer():
    x = unit(np.random.default_rng(2), 600, 5)
    fits = [spherical_kmeans(Vectors.from_array(x), 12, np.random.default_rng(0), max_iterations=n) for n in (1, 25)]
    assert (fits[0].iterations, fits[0].converged) == (1, False)
    near = [assign(x, fit.centroids)[1].mean() for fit in fits]
    assert near[0] < near[1]


def test_the_start_depends_on_the_rows_and_not_on_how_they_are_cut_into_blocks():
    x = unit(np.random.default_rng(3), 64, 4)
    fits = [
        spherical_kmeans(vectors, 64, np.random.default_rng(0), max_iterations=1)
        for vectors in (Vectors.from_array(x), in_blocks(x, 10, 33))
    ]
    np.testing.assert_allclose(fits[0].centroids, fits[1].centroids, atol=1e-6)
    assert len(fits[0].centroids) == 64
