"""Rounding of float32 cosines: equal rows have cosine 1, and near rows keep their distance."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.linalg import cosines
from curate.kernels.linalg.cosines import (
    cosine_distances,
    distance_to_nearest,
    euclidean_distances,
    normalize_rows,
    similarity_threshold,
)


def unit_rows(n, d, seed=0):
    return normalize_rows(np.random.default_rng(seed).standard_normal((n, d)))


@pytest.mark.parametrize("d", [2, 8, 100, 384, 1024, 4096])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_threshold_of_1_finds_all_equal_pairs_and_no_other(d, dtype):
    x = normalize_rows(unit_rows(100, d).astype(dtype))
    products = x @ x.T
    assert (products.diagonal() >= similarity_threshold(1)).all()
    np.fill_diagonal(products, 0)
    assert not (products >= similarity_threshold(1)).any()


@pytest.mark.parametrize("d", [3, 64, 1000])
def test_rows_stored_in_float16_have_unit_length_again(d):
    stored = unit_rows(200, d).astype(np.float16)
    assert np.abs(np.linalg.norm(stored.astype(np.float64), axis=1) - 1).max() > 1e-5
    read = normalize_rows(stored)
    assert read.dtype == np.float32
    assert np.abs(np.linalg.norm(read.astype(np.float64), axis=1) - 1).max() < 2e-7
    assert stored.dtype == np.float16


@pytest.mark.parametrize("distance", [0, 1e-7, 1e-5, 1.5e-4, 7.7e-4, 1e-2, 0.0141, 0.0143, 0.1, 1.0])
def test_distances_are_those_of_differences(distance):
    """A cosine in float32 alone gives 0.0005 to 0.0008 for 0.00015, and for equal rows."""
    x = unit_rows(50, 64)
    step = unit_rows(50, 64, seed=1)
    step = normalize_rows(step - (step * x).sum(axis=1, keepdims=True) * x)
    y = normalize_rows(x * np.float64(1 - distance**2 / 2) + step * np.sqrt(distance**2 - distance**4 / 4))
    true = np.linalg.norm(x.astype(np.float64) - y, axis=1)
    each = np.arange(50)
    products = np.array([(x[i : i + 1] @ y[i : i + 1].T)[0, 0] for i in each])
    result = euclidean_distances(cosine_distances(products, x, y, each, each))
    np.testing.assert_allclose(result, true, rtol=1e-3)
    assert (result[(x == y).all(axis=1)] == 0).all()


@pytest.mark.parametrize("blocks", [(3, 5), (256, 4096)])
def test_the_nearest_row_is_as_far_as_it_is_among_copies_and_near_copies(monkeypatch, blocks):
    monkeypatch.setattr(cosines, "_ROWS", blocks[0])
    monkeypatch.setattr(cosines, "_PAIRS", blocks[1])
    x = unit_rows(40, 32)
    near = normalize_rows(x + 3e-5 * unit_rows(40, 32, seed=2))
    among = np.concatenate([near, x[::2], x[::2], unit_rows(10, 32, seed=3)])
    result = distance_to_nearest(np.concatenate([x, unit_rows(5, 32, seed=4)]), among)
    true = np.linalg.norm(np.concatenate([x, unit_rows(5, 32, seed=4)])[:, None].astype(np.float64) - among, axis=2)
    assert (result[:40:2] == 0).all()
    np.testing.assert_allclose(result, true.min(axis=1), rtol=1e-3)
