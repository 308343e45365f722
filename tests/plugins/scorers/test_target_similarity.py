"""Similarity to target rows: mean, largest, and mean of the largest, against all similarities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.linalg.cosines import normalize_rows
from curate.plugins.scorers.target_similarity import target_similarity


@given(n=st.integers(0, 20), m=st.integers(1, 12), k=st.integers(1, 15), seed=st.integers(0, 999))
def test_the_three_numbers_are_those_of_all_similarities(n, m, k, seed):
    rng = np.random.default_rng(seed)
    x, targets = (normalize_rows(rng.standard_normal((size, 4))) for size in (n, m))
    similarities = np.sort(x @ targets.T, axis=1)[:, ::-1]
    expected = np.stack([similarities.mean(1), similarities[:, 0], similarities[:, :k].mean(1)], axis=1)
    np.testing.assert_allclose(target_similarity(x, targets, k), expected, atol=1e-6)


@pytest.mark.parametrize("k", [1, 7])
def test_more_target_rows_than_a_block(k):
    rng = np.random.default_rng(0)
    x, targets = (normalize_rows(rng.standard_normal((size, 3))) for size in (5, 4_100))
    expected = np.sort(x @ targets.T, axis=1)[:, -k:].mean(1)
    np.testing.assert_allclose(target_similarity(x, targets, k)[:, 2], expected, atol=1e-6)
