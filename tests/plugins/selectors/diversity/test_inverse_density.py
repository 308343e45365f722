"""Inverse-density sampling makes the density of a pool more uniform."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from curate.plugins.batches import Pool
from curate.plugins.selectors.diversity.inverse_density import InverseDensity, inverse_density, pool_density


def generator(seed=0):
    return np.random.default_rng(seed)


def two_steps(n, seed=0):
    """Return n rows: nine tenths on one arc of a circle, one tenth on another arc of equal length."""
    rng = generator(seed)
    dense = np.arange(n) < 0.9 * n
    angles = np.where(dense, rng.uniform(0, 1, n), rng.uniform(2, 3, n))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), dense


@pytest.mark.slow
@pytest.mark.parametrize(("exponent", "share"), [(1.0, 0.5), (0.0, 0.9), (0.5, 0.75)])
def test_densities_of_9_to_1_give_shares_of_9_to_the_power_of_1_less_the_exponent(exponent, share):
    """In ten draws of 100 rows, so few that those drawn hardly thin out the sparse arc; 3 sigma of a share."""
    x, dense = two_steps(20_000)
    density = pool_density(x, np.zeros(len(x), np.int32), 50, "auto")
    draws = [inverse_density(density, 100, generator(s), exponent=exponent, clip_rate=0)[0] for s in range(10)]
    assert abs(dense[np.concatenate(draws)].mean() - share) < 3 * np.sqrt(share * (1 - share) / 1000)


def test_the_plugin_draws_by_the_density_of_the_pool():
    x, _ = two_steps(500)
    pool = Pool(x, np.zeros(500, np.float32), np.zeros(500, np.int32))
    selection = InverseDensity(exponent=0.7, n_neighbors=5, clip_rate=0.1).select(pool, 50, generator(1)).check(500, 50)
    density = pool_density(x, pool.cluster, 5, "auto")
    indices, weight = inverse_density(density, 50, generator(1), exponent=0.7, clip_rate=0.1)
    assert selection.indices.tolist() == indices.tolist()
    assert (selection.gain == weight[indices].astype(np.float32)).all()


def test_sequences_are_drawn_in_proportion_to_the_weights_of_what_is_left():
    """Against all 24 sequences' probabilities, 20,000 draws; chi-squared with 23 degrees of freedom, p = 1e-4."""
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    rng, draws = generator(2), {}
    for _ in range(20_000):
        indices, _ = inverse_density(-np.log(weights).astype(np.float32), 4, rng, exponent=1, clip_rate=0)
        draws[tuple(indices.tolist())] = draws.get(tuple(indices.tolist()), 0) + 1
    chi = 0.0
    for sequence in permutations(range(4)):
        left, probability = weights.sum(), 1.0
        for row in sequence:
            probability *= weights[row] / left
            left -= weights[row]
        chi += (draws.get(sequence, 0) - 20_000 * probability) ** 2 / (20_000 * probability)
    assert chi < 57.7


def test_clipping_lowers_the_largest_weights_to_the_largest_of_the_others():
    density = np.log(np.arange(1, 11)).astype(np.float32)
    weight = inverse_density(density, 3, generator(), exponent=1, clip_rate=0.29)[1]
    np.testing.assert_allclose(weight, np.minimum(np.log(3 / np.arange(1, 11)), 0), atol=1e-6)
    assert inverse_density(density, 3, generator(), exponent=1, clip_rate=0.99)[1].tolist() == [0] * 10


def test_weights_of_hundreds_of_dimensions_do_not_overflow():
    indices, weight = inverse_density(np.array([-3e3, 3e3, 0], np.float32), 3, generator(), exponent=1, clip_rate=0)
    assert indices.tolist() == [0, 2, 1]
    assert np.isfinite(weight).all()


def test_equal_rows_have_equal_weights():
    x = np.tile(np.array([[0.6, 0.8]], np.float32), (6, 1))
    assert len(set(pool_density(x, np.zeros(6, np.int32), 3, "auto").tolist())) == 1


@pytest.mark.parametrize("strays", [0, 40])
def test_large_pools_are_searched_by_cluster(monkeypatch, strays):
    """In more than enough clusters the neighbors are the exact ones, however the clusters are numbered."""
    x = generator(3).standard_normal((600, 6)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cluster = (x[:, 0] > 0).astype(np.int32) * 7 + (x[:, 1] > 0) * np.int32(2)
    cluster[:strays] = -1
    exact = pool_density(x, cluster, 5, 3)
    monkeypatch.setattr("curate.kernels.neighbors.knn.EXACT_ROWS", 100)
    np.testing.assert_allclose(pool_density(x, cluster, 5, 3), exact, atol=1e-5)
