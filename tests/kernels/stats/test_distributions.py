"""Entropy and total variation agree with SciPy and with their limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from curate.kernels.stats.distributions import normalized_entropy, total_variation


def test_entropy_is_scipys_over_its_largest():
    counts = np.array([5, 0, 3, 9])
    assert normalized_entropy(counts) == pytest.approx(entropy(counts) / np.log(4))
    assert normalized_entropy(np.full(7, 3)) == pytest.approx(1)
    assert normalized_entropy(np.array([0, 4])) == 0


def test_nothing_to_share_or_nobody_to_share_with_is_not_defined():
    assert np.isnan([normalized_entropy(np.array(counts)) for counts in ([], [3], [0, 0])]).all()
    assert np.isnan(total_variation(np.array([0, 0]), np.array([1, 1])))


def test_total_variation_is_the_largest_difference_over_all_sets_of_groups():
    a, b = np.array([1, 5, 2]), np.array([4, 1, 3])
    shares = a / 8 - b / 8
    largest = max(abs(sum(shares[list(s)])) for s in ([0], [1], [2], [0, 1], [0, 2], [1, 2]))
    assert total_variation(a, b) == pytest.approx(largest)
    assert total_variation(np.array([1, 0]), np.array([0, 9])) == 1
