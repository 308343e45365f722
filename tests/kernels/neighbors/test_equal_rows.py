"""Bitwise equal rows are recognized, whatever block they are in."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.neighbors import equal_rows
from curate.kernels.neighbors.equal_rows import first_equal_rows


@pytest.mark.parametrize("block", [1, 3, 4096])
def test_each_row_has_the_one_of_lowest_key_among_its_copies(monkeypatch, block):
    monkeypatch.setattr(equal_rows, "_ROWS", block)
    r = np.random.default_rng(0)
    x = r.integers(0, 2, (60, 3)).astype(np.float32)
    rows, key = np.sort(r.choice(60, 40, replace=False)), r.integers(0, 4, 40).astype(np.float64)
    expected = [
        int(min((k, position) for position, k in enumerate(key) if (x[rows[position]] == x[row]).all())[1])
        for row in rows
    ]
    assert first_equal_rows(x, rows, key).tolist() == rows[expected].tolist()


def test_the_last_bit_counts():
    x = np.array([[1, 0], [np.nextafter(np.float32(1), np.float32(2)), 0], [1, 0]], np.float32)
    assert first_equal_rows(x, np.arange(3), np.zeros(3)).tolist() == [0, 1, 0]
