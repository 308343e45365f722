from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from curate.kernels.linalg.whitening import fit_whitening
from curate.kernels.parallel import THREADS_VARIABLE


def features(n, d, seed):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 3).astype(np.float32)


def test_the_covariance_of_both_parts_together_is_the_identity():
    x, y = features(300, 6, 0), features(40, 6, 1)
    z = fit_whitening([x, y], 1e-14).transform(np.concatenate([x, y]))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.T @ z / 340, np.eye(6), atol=1e-12)


def test_cosines_are_those_of_the_symmetric_root():
    x = features(200, 5, 2)
    centered = x - x.mean(axis=0, dtype=np.float64)
    inverse_root = np.linalg.inv(sqrtm(centered.T @ centered / 200 + 1e-5 * np.eye(5)).real)
    z = centered @ inverse_root
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    ours = fit_whitening([x], 1e-5).apply(x)
    np.testing.assert_allclose(ours @ ours.T, z @ z.T, atol=1e-5)


@pytest.mark.parametrize("x", [np.ones((5, 3)), np.eye(3)[:1], np.repeat(np.eye(4)[:2], 3, axis=0)])
def test_directions_without_variance_stay_finite(x):
    z = fit_whitening([x.astype(np.float32)], 1e-5).apply(x.astype(np.float32))
    assert np.isfinite(z).all()
    assert (np.linalg.norm(z, axis=1) < 1 + 1e-5).all()


def test_the_number_of_threads_and_parts_does_not_matter(monkeypatch):
    x, results = features(10_000, 4, 3), set()
    for count in ("1", "3"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        results.add(fit_whitening([x], 1e-5).matrix.tobytes())
    assert len(results) == 1
    np.testing.assert_allclose(fit_whitening([x[:3], x[3:]], 1e-5).matrix, fit_whitening([x], 1e-5).matrix, rtol=1e-9)
