"""Exact n-gram identifiers for growing n, each built from the shorter n-gram it begins with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.kernels.types import Indices, Positions


def nested_ngrams(
    symbols: Positions, order: int, positions: Positions, size: int
) -> Iterator[tuple[Positions, Positions]]:
    """Yield the distinct n-grams, and the n-gram that ends at each position, for n = 1, 2, …, ``order``.

    Parameters
    ----------
    symbols : (m,) int64 in 0 … ``size`` − 1
    order : largest n
    positions : (m,) number of symbols of the same sequence before each position
    size : number of symbols

    Yields
    ------
    grams : (g,) int64, ascending: ``size`` times the number of the (n − 1)-gram before, plus the last symbol
    numbers : (m,) int64, the number, 0 … g − 1, of the n-gram that ends at each position; −1 if there is none

    Notes
    -----
    Cost: O(m log m) time for each n, some 50 bytes of memory a symbol.

    Guarantee: exact, without hashing.

    Examples
    --------
    >>> parts = nested_ngrams(np.array([0, 1, 0, 1]), 2, np.array([0, 1, 2, 3]), 10)
    >>> [(grams.tolist(), numbers.tolist()) for grams, numbers in parts]
    [([0, 1], [0, 1, 0, 1]), ([1, 10], [-1, 0, 1, 0])]
    """
    context = np.zeros(len(symbols), np.int64)
    for n in range(1, order + 1):
        valid = np.flatnonzero(positions >= n - 1)
        grams, ids = np.unique(context[valid] * size + symbols[valid], return_inverse=True)
        numbers = np.full(len(symbols), -1)
        numbers[valid] = ids
        yield grams, numbers
        context = shift_right(numbers)


def shift_right(numbers: Positions) -> Positions:
    """Shift values right by one position; the first becomes 0."""
    return np.concatenate([np.zeros(min(1, len(numbers)), numbers.dtype), numbers[:-1]])


def find_ngrams(grams: Indices, context: Positions | None, symbols: Indices, size: int) -> Positions:
    """Find the numbers of n-grams; −1 for unknown ones.

    Parameters
    ----------
    grams : (g,) ascending, as ``nested_ngrams`` yields them
    context : (m,) number of the (n − 1)-gram before each symbol, −1 for none; None for n = 1
    symbols : (m,) last symbols
    size : number of symbols

    Returns
    -------
    (m,) int64

    Examples
    --------
    >>> find_ngrams(np.array([1, 10]), np.array([0, 1, -1]), np.array([1, 1, 1]), 10).tolist()
    [0, -1, -1]
    """
    keys = symbols if context is None else np.where(context < 0, -1, context * size + symbols)
    if not len(grams):
        return np.full(len(keys), -1)
    positions = np.searchsorted(grams, keys).clip(max=len(grams) - 1)
    return np.where(grams[positions] == keys, positions, -1)
