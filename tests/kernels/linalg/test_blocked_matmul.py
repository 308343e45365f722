"""Blocked matrix products equal the plain products."""

from __future__ import annotations

import numpy as np

from curate.kernels.linalg.blocked_matmul import for_each_product, similarity_to_nearest


def rows(n, d=3, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_every_pair_comes_once():
    x, y = rows(2_500), rows(5_000, seed=1)
    total, times = np.zeros(2_500), np.zeros(2_500, int)

    def use(similarities, part, columns):
        total[part] += similarities.sum(axis=1, dtype=float)
        times[part] += columns.stop - columns.start

    for_each_product(x, y, use)
    assert (times == 5_000).all()
    np.testing.assert_allclose(total, x.astype(float) @ y.sum(axis=0, dtype=float), atol=1e-2)


def test_nearest_of_another_set():
    x, y = rows(1_500), rows(4_200, seed=1)
    np.testing.assert_allclose(similarity_to_nearest(x, y), (x @ y.T).max(axis=1), atol=1e-6)
