"""Duplicates are counted among the chosen rows only."""

from __future__ import annotations

import numpy as np

from curate.plugins.metrics.duplicates import Duplicates
from curate.plugins.pool import Trial

X = np.array([[1, 0], [1, 0], [1, 0], [0.8, 0.6], [0.78, 0.6258], [0, -1]], np.float32)
CONTENT = np.array([4, 4, 4, 1, 2, 3], np.int32)


def counted(chosen, **fields):
    trial = Trial(n=6, chosen=np.array(chosen), embeddings=X, content=CONTENT)
    return tuple(Duplicates(**fields).measure(trial, np.random.default_rng(0)).values.values())


def test_all_but_the_first_of_a_text_are_exact_and_all_of_a_near_group_are_near():
    assert counted(range(6)) == (2, 5)
    assert counted([0, 3, 5]) == (0, 0)
    assert counted([3, 4, 5]) == (0, 2)
    assert counted([0]) == (0, 0)


def test_threshold_is_a_similarity():
    assert counted([0, 3, 5], min_similarity=0.79) == (0, 2)
