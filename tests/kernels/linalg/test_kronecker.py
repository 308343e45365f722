"""The Kronecker solve equals the dense solve."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.linalg.kronecker import kronecker_solve


def covariance(rng, size, rank):
    rows = rng.standard_normal((rank, size))
    return rows.T @ rows / rank


@pytest.mark.parametrize(("out", "into", "rank"), [(3, 2, 9), (2, 3, 9), (4, 5, 2), (1, 4, 3)])
@pytest.mark.parametrize("damping", [1e-2, 1.0])
def test_equals_the_dense_solve(out, into, rank, damping):
    """On a 3 × 2 layer among others, to 1e-10; also where both factors lack rank."""
    rng = np.random.default_rng(0)
    a, b, g = covariance(rng, out, rank), covariance(rng, into, rank), rng.standard_normal((out, into))
    dense = np.linalg.solve(np.kron(a, b) + damping * np.eye(out * into), g.ravel()).reshape(out, into)
    np.testing.assert_allclose(kronecker_solve(a, b, g, damping), dense, atol=1e-10)


def test_damping_alone_divides_by_it():
    g = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(kronecker_solve(np.zeros((2, 2)), np.zeros((3, 3)), g, 4.0), g / 4)
