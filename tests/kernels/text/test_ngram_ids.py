"""N-gram ids by prefix agree with a dictionary, and lookups find them."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.text.ngram_ids import find_ngrams, nested_ngrams, shift_right


@pytest.mark.parametrize("seed", range(5))
def test_same_n_grams_as_a_dictionary_and_none_across_texts(seed):
    r = np.random.default_rng(seed)
    sequences = [r.integers(0, 3, r.integers(1, 9)) for _ in range(6)]
    symbols, back = np.concatenate(sequences), np.concatenate([np.arange(len(one)) for one in sequences])
    positions = [tuple(one[max(0, end - 3) : end + 1]) for one in sequences for end in range(len(one))]
    context = None
    for n, (grams, numbers) in enumerate(nested_ngrams(symbols, 4, back, 3), start=1):
        message = [position[-n:] if len(position) >= n else None for position in positions]
        assert (numbers >= 0).tolist() == [gram is not None for gram in message]
        names = {}
        for gram, number in zip(message, numbers.tolist(), strict=True):
            assert gram is None or names.setdefault(gram, number) == number
        assert sorted(names.values()) == list(range(len(grams)))
        again = find_ngrams(grams, None if context is None else shift_right(context), symbols, 3)
        there = numbers >= 0
        assert again[there].tolist() == numbers[there].tolist()
        context = numbers


def test_what_is_not_there_is_not_found():
    assert find_ngrams(np.array([], np.int64), None, np.array([1]), 3).tolist() == [-1]
    assert find_ngrams(np.array([0, 2]), None, np.array([1, 2]), 3).tolist() == [-1, 1]
    assert shift_right(np.array([], np.int64)).tolist() == []
