"""Spans and leverage scores agree with linear algebra on the full matrix."""

from __future__ import annotations

import numpy as np

from curate.kernels.linalg.leverage import row_space, squared_lengths


def test_leverage_scores_are_the_diagonal_of_the_projection():
    rng = np.random.default_rng(0)
    x, scale = rng.standard_normal((5_000, 6)).astype(np.float32), rng.random(5_000)
    rows = x * scale[:, None]
    complete = np.einsum("ij,ji->i", rows, np.linalg.pinv(rows))
    np.testing.assert_allclose(squared_lengths(x, scale, row_space(x, scale).whitening()), complete, rtol=1e-9)


def test_directions_whiten_and_eigenvalues_fall():
    x = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    space = row_space(x, np.ones(50))
    columns = x @ space.whitening()
    np.testing.assert_allclose(columns.T @ columns, np.eye(4), atol=1e-12)
    assert (np.diff(space.eigenvalues) < 0).all()


def test_rank_counts_rows_distinct_in_float32():
    """Three directions rotated into ten dimensions: float32 rounding adds no direction."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((400, 3)) @ rng.standard_normal((3, 10))).astype(np.float32)
    assert len(row_space(x, np.ones(400)).eigenvalues) == 3
    assert len(row_space(x[[0] * 9], np.ones(9)).eigenvalues) == 1


def test_zero_rows_and_no_rows_span_nothing():
    assert row_space(np.zeros((3, 2), np.float32), np.ones(3)).eigenvectors.shape == (2, 0)
    assert row_space(np.ones((3, 2), np.float32), np.zeros(3)).eigenvectors.shape == (2, 0)
    assert row_space(np.ones((0, 2), np.float32), np.ones(0)).eigenvectors.shape == (2, 0)
