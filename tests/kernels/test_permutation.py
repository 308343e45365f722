from collections import Counter

import numpy as np
import pytest

from curate.kernels.permutation import permute


@pytest.mark.parametrize("n", [1, 2, 3, 255, 256, 257, 1_024, 1_025, 70_000])
def test_every_position_occurs_once(n):
    assert sorted(permute(np.arange(n), n, "key").tolist()) == list(range(n))


def test_parts_agree_with_the_complete_permutation():
    complete = permute(np.arange(5_000), 5_000, "key")
    assert permute(np.arange(1_234, 2_345), 5_000, "key").tolist() == complete[1_234:2_345].tolist()


def test_all_orders_are_about_equally_frequent():
    counts = Counter(tuple(permute(np.arange(4), 4, f"key {number}").tolist()) for number in range(480))
    assert len(counts) == 24
    assert sum((count - 20) ** 2 / 20 for count in counts.values()) < 50  # chi-squared with 23 degrees: p < .001


def test_neighbors_are_not_neighbors_afterwards():
    positions = permute(np.arange(100_000), 100_000, "key")
    assert abs(np.corrcoef(np.arange(100_000), positions)[0, 1]) < 0.02
    assert abs(np.corrcoef(positions[1:], positions[:-1])[0, 1]) < 0.02
    assert not (permute(np.arange(100_000), 100_000, "other") == positions).sum() > 20
