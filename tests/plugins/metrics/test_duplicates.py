"""Duplicates are counted among the selected rows only."""

from __future__ import annotations

import numpy as np

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.duplicates import Duplicates

X = np.array([[1, 0], [1, 0], [1, 0], [0.8, 0.6], [0.78, 0.6258], [0, -1]], np.float32)
CONTENT = np.array([4, 4, 4, 1, 2, 3], np.int32)


def counted(chosen, **fields):
    trial = MetricInput(n=6, selected=np.array(chosen), embeddings=X, content=CONTENT)
    return tuple(Duplicates(**fields).measure(trial, np.random.default_rng(0)).values.values())


def test_all_but_the_first_of_a_text_are_exact_and_all_of_a_near_group_are_near():
    assert counted(range(6)) == (2, 5)
    assert counted([0, 3, 5]) == (0, 0)
    assert counted([3, 4, 5]) == (0, 2)
    assert counted([0]) == (0, 0)


def test_threshold_is_a_similarity():
    assert counted([0, 3, 5], min_similarity=0.79) == (0, 2)


def test_a_threshold_of_1_finds_all_of_100_equal_pairs_and_no_other(rows):
    """Rounding leaves the cosine of a third of them below 1."""
    x = np.concatenate([rows(100, 384), rows(100, 384)])
    assert ((x[:100] * x[100:]).sum(axis=1) < 1).any()
    others = rows(50, 384, seed=1)
    content = np.arange(250, dtype=np.int32)
    trial = MetricInput(n=250, selected=np.arange(250), embeddings=np.concatenate([x, others]), content=content)
    result = Duplicates(min_similarity=1.0).measure(trial, np.random.default_rng(0)).values
    assert result == {"exact": 0, "near": 200}
