"""Ragged ranges of positions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.ragged import concatenate_ranges


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=8))
def test_runs_are_ranges_one_after_the_other(pairs):
    starts, lengths = (np.array([pair[i] for pair in pairs], np.int64) for i in range(2))
    assert concatenate_ranges(starts, lengths).tolist() == [
        position for start, length in pairs for position in range(start, start + length)
    ]
