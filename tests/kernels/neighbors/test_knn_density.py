import math

import numpy as np
import pytest

from curate.kernels.neighbors.knn import knn
from curate.kernels.neighbors.knn_density import intrinsic_dimensions, knn_density, log_density, neighbor_distances


@pytest.mark.parametrize(("m", "n"), [(1, 150), (2, 1_600), (5, 4_000)])
def test_dimensions_are_those_of_the_set_not_those_of_the_space(m, n):
    """m-dimensional patches, turned at random into 64 dimensions."""
    rng = np.random.default_rng(m)
    turned = np.linalg.qr(rng.standard_normal((64, 64)))[0]
    flat = np.zeros((n, 64))
    flat[:, 0], flat[:, 1 : m + 1] = 1, rng.uniform(-0.3, 0.3, (n, m))
    x = (flat / np.linalg.norm(flat, axis=1, keepdims=True) @ turned).astype(np.float32)
    distances = neighbor_distances(x, *knn(x, 20))
    assert intrinsic_dimensions(distances, 63) == pytest.approx(m, rel=0.15)


def test_two_of_eight_rows_within_a_quarter():
    assert math.exp(log_density(np.array([[0.1, 0.25]], np.float32), 9, 1)[0]) == pytest.approx(0.5)


def test_automatic_dimensions_are_those_estimated_from_the_neighbors():
    angles = np.random.default_rng(0).uniform(0, 1, 300)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    neighbors = knn(x, 10)
    m = intrinsic_dimensions(neighbor_distances(x, *neighbors), 1)
    assert m == 1
    assert (knn_density(x, *neighbors, "auto") == knn_density(x, *neighbors, 1)).all()
    assert (knn_density(x, *neighbors, 2) != knn_density(x, *neighbors, 1)).all()
