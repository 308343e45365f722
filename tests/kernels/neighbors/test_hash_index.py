"""Lookup of keys in a set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.neighbors.hash_index import _MULTIPLIER, HashIndex

keys = st.integers(0, 2**64 - 1)


@given(st.lists(keys, unique=True, max_size=60), st.lists(keys, max_size=60))
def test_places_are_those_of_a_dictionary(known, others):
    position = {key: i for i, key in enumerate(known)}
    wanted = [*known, *others, 0, 2**64 - 1]
    lookup = HashIndex.from_keys(np.array(known, np.uint64))
    assert len(lookup) == len(known)
    assert lookup.find(np.array(wanted, np.uint64)).tolist() == [position.get(key, -1) for key in wanted]


@pytest.mark.parametrize("count", [2, 9, 100])
def test_keys_that_all_fall_into_one_bucket_are_found(count):
    inverse = pow(int(_MULTIPLIER), -1, 1 << 64)
    crowded = np.array([(inverse * ((0xFF << 56) + i)) % (1 << 64) for i in range(count)], np.uint64)
    lookup = HashIndex.from_keys(crowded)
    assert lookup.max_probes == count
    assert lookup.find(crowded).tolist() == list(range(count))
    assert lookup.find(np.array([inverse * ((0xFF << 56) + count) % (1 << 64)], np.uint64)).tolist() == [-1]
