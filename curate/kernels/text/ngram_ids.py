"""The n-grams of sequences for growing n, each told by the shorter one it begins with; nothing is hashed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.kernels.types import Indices, Positions


def nested_ngrams(symbols: Positions, order: int, back: Positions, size: int) -> Iterator[tuple[Positions, Positions]]:
    """For n = 1, 2, …, ``order``: the different n-grams, and which one ends at each place.

    Parameters
    ----------
    symbols : (m,) int64 in 0 … ``size`` − 1
    back : (m,) how many symbols before each place belong to it

    Yields
    ------
    grams : (g,) int64, ascending: ``size`` times the number of the (n − 1)-gram before, plus the last symbol
    numbers : (m,) int64, the number, 0 … g − 1, of the n-gram that ends at each place; −1 where none does

    Cost: O(m log m) time for each n, some 50 bytes of memory a symbol. Guarantee: exact.

    >>> parts = nested_ngrams(np.array([0, 1, 0, 1]), 2, np.array([0, 1, 2, 3]), 10)
    >>> [(grams.tolist(), numbers.tolist()) for grams, numbers in parts]
    [([0, 1], [0, 1, 0, 1]), ([1, 10], [-1, 0, 1, 0])]
    """
    context = np.zeros(len(symbols), np.int64)
    for n in range(1, order + 1):
        there = np.flatnonzero(back >= n - 1)
        grams, own = np.unique(context[there] * size + symbols[there], return_inverse=True)
        numbers = np.full(len(symbols), -1)
        numbers[there] = own
        yield grams, numbers
        context = shift_right(numbers)


def shift_right(numbers: Positions) -> Positions:
    """What each place has before it; 0 for the first."""
    return np.concatenate([np.zeros(min(1, len(numbers)), numbers.dtype), numbers[:-1]])


def find_ngrams(grams: Indices, context: Positions | None, symbols: Indices, size: int) -> Positions:
    """The number among ``grams`` of each symbol after a context (None: of each symbol alone); −1 if there is none.

    >>> find_ngrams(np.array([1, 10]), np.array([0, 1, -1]), np.array([1, 1, 1]), 10).tolist()
    [0, -1, -1]
    """
    keys = symbols if context is None else np.where(context < 0, -1, context * size + symbols)
    if not len(grams):
        return np.full(len(keys), -1)
    place = np.searchsorted(grams, keys).clip(max=len(grams) - 1)
    return np.where(grams[place] == keys, place, -1)
