"""Top-k keeps the best rows, best first."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import Pool
from curate.plugins.selectors.difficulty.top_k import TopK, top_k


@pytest.mark.parametrize(
    ("quality", "budget", "expected"),
    [
        pytest.param([3, 1, 2], 2, [0, 2], id="highest-first"),
        pytest.param([1, 2, 2, 1, 2], 4, [1, 2, 4, 0], id="ties-to-the-lowest-index"),
        pytest.param([-0.0, 0.0, -1.0], 3, [0, 1, 2], id="minus-zero-is-zero"),
        pytest.param([5, 4], 0, [], id="nothing"),
    ],
)
def test_order(quality, budget, expected):
    assert top_k(np.array(quality, np.float32), budget).tolist() == expected


def test_many_ties_keep_the_order_of_the_pool():
    quality = np.tile(np.float32([1, 2, 3]), 1000)
    expected = [row for level in (2, 1, 0) for row in range(level, 3000, 3)]
    assert top_k(quality, 3000).tolist() == expected


def test_gain_is_the_quality():
    quality = np.array([0.25, 0.75, 0.5], np.float32)
    pool = Pool(np.zeros((3, 0), np.float32), quality, np.zeros(3, np.int32))
    selection = TopK().select(pool, 2, np.random.default_rng(0))
    assert selection.gain.tolist() == [0.75, 0.5]
