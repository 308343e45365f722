"""Share of each text in repeated word n-grams, found by extending only n-grams that already repeat."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from curate.kernels.types import Numbers, Positions


def repeated_ngrams(numbers: Positions, longest: int) -> Iterator[tuple[int, Positions, Positions]]:
    """Yield the positions of the n-grams that occur more than once in a text, for n = 2, 3, …, ``longest``.

    An n-gram can repeat only if the two shorter n-grams it begins and ends with repeat, so each length examines only
    what remains from the one before: little, in ordinary texts. N-grams across two texts never repeat, because texts
    have no word numbers in common.

    Parameters
    ----------
    numbers : (m,) int64, the words of texts, as ``number_words`` returns them
    longest : largest n

    Yields
    ------
    n : number of words
    positions : ascending positions in ``numbers`` where such n-grams begin; they may overlap
    grams : identifier of the n-gram at each position, below m; equal for equal n-grams only

    Notes
    -----
    Cost: O(m log m) time for each length at worst, some 60 bytes of memory a word.

    Guarantee: exact.

    Examples
    --------
    >>> [(n, *map(np.ndarray.tolist, arrays)) for n, *arrays in repeated_ngrams(np.array([0, 1, 2, 0, 1, 2, 1]), 3)]
    [(2, [0, 1, 3, 4], [0, 1, 0, 1]), (3, [0, 3], [0, 0])]
    """
    m = len(numbers)
    positions, grams = _select_repeated(np.arange(m), numbers)
    for n in range(2, longest + 1):
        is_repeated = np.zeros(m + 1, np.bool_)
        is_repeated[positions] = True
        is_candidate = is_repeated[positions + 1]
        positions = positions[is_candidate]
        positions, grams = _select_repeated(positions, grams[is_candidate] * m + numbers[positions + n - 1])
        yield n, positions, grams


def _select_repeated(positions: Positions, keys: Positions) -> tuple[Positions, Positions]:
    """Select the positions whose key occurs more than once, and number the keys."""
    _, numbers, counts = np.unique(keys, return_inverse=True, return_counts=True)
    is_repeated = counts[numbers] > 1
    return positions[is_repeated], numbers[is_repeated]


def repetition_rates(
    numbers: Positions,
    characters: Positions,
    offsets: Positions,
    *,
    top_sizes: Collection[int],
    duplicate_sizes: Collection[int],
) -> tuple[Mapping[int, Numbers], Mapping[int, Numbers]]:
    """Compute the share of characters of each text in its most frequent n-gram, and in duplicate n-grams.

    Only characters of words count, each once, however many n-grams contain it. Of equally frequent n-grams the longest
    in characters is taken, then the first; an n-gram that occurs once does not count. All n-grams but the first of
    equal ones are duplicates.

    Parameters
    ----------
    numbers, characters, offsets : the words of n texts, as ``number_words`` returns them
    top_sizes, duplicate_sizes : numbers of words in an n-gram, at least 2

    Returns
    -------
    top : (n,) float64 in [0, 1] by length
    duplicate : (n,) float64 in [0, 1] by length

    Notes
    -----
    Cost: see ``repeated_ngrams``.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1.

    Examples
    --------
    >>> numbers = np.array([0, 1, 2, 0, 1, 3])  # a bb c a bb d
    >>> characters, offsets = np.array([1, 2, 1, 1, 2, 1]), np.array([0, 6])
    >>> top, duplicate = repetition_rates(numbers, characters, offsets, top_sizes=[2], duplicate_sizes=[2])
    >>> top[2].tolist(), duplicate[2].tolist()
    ([0.75], [0.375])
    """
    texts = len(offsets) - 1
    text_of_word = np.repeat(np.arange(texts), np.diff(offsets))
    cumulative = np.concatenate(([0], np.cumsum(characters)))
    total = np.maximum(cumulative[offsets[1:]] - cumulative[offsets[:-1]], 1)

    def character_share(positions: Positions, n: int) -> Numbers:
        is_inside = np.zeros(len(numbers), np.bool_)
        for offset in range(n):
            is_inside[positions + offset] = True
        rates: Numbers = np.bincount(text_of_word[is_inside], characters[is_inside], texts) / total
        return rates

    top_rates, duplicate_shares = {}, {}
    for n, positions, grams in repeated_ngrams(numbers, max((*top_sizes, *duplicate_sizes), default=0)):
        _, first, counts = np.unique(grams, return_index=True, return_counts=True)
        if n in top_sizes:
            starts = positions[first]
            by_text = np.lexsort((starts, cumulative[starts] - cumulative[starts + n], -counts, text_of_word[starts]))
            _, first_of_text = np.unique(text_of_word[starts[by_text]], return_index=True)
            top_rates[n] = character_share(positions[np.isin(grams, grams[first[by_text[first_of_text]]])], n)
        if n in duplicate_sizes:
            duplicate_shares[n] = character_share(np.delete(positions, first), n)
    return top_rates, duplicate_shares
