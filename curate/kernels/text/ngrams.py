"""How much of each text its repeated n-grams of words make up, found by extending only what repeats already."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from curate.kernels.types import Numbers, Positions


def repeated_ngrams(numbers: Positions, longest: int) -> Iterator[tuple[int, Positions, Positions]]:
    """For n = 2, 3, …, ``longest``: where the n-grams stand that a text has more than once.

    An n-gram can repeat only if the two shorter ones do that it begins and ends with, so that each length looks at what
    the one before has left: little, in ordinary texts. One that reaches from a text into the next stands nowhere else.

    Parameters
    ----------
    numbers : (m,) int64, the words of texts, as ``numbered_words`` gives them

    Yields
    ------
    n
    places : the places in ``numbers`` where such an n-gram begins, ascending; two may overlap
    grams : for each place an n-gram: the same number below m for equal ones, and only for those

    Cost: O(m log m) time for each length at worst, some 60 bytes of memory a word. Guarantee: exact.

    >>> [(n, *map(np.ndarray.tolist, found)) for n, *found in repeated_ngrams(np.array([0, 1, 2, 0, 1, 2, 1]), 3)]
    [(2, [0, 1, 3, 4], [0, 1, 0, 1]), (3, [0, 3], [0, 0])]
    """
    m = len(numbers)
    places, grams = _repeated(np.arange(m), numbers)
    for n in range(2, longest + 1):
        repeats = np.zeros(m + 1, np.bool_)
        repeats[places] = True
        both = repeats[places + 1]
        places = places[both]
        places, grams = _repeated(places, grams[both] * m + numbers[places + n - 1])
        yield n, places, grams


def _repeated(places: Positions, keys: Positions) -> tuple[Positions, Positions]:
    """Those of the places whose key another has too, and the keys numbered."""
    _, numbers, counts = np.unique(keys, return_inverse=True, return_counts=True)
    several = counts[numbers] > 1
    return places[several], numbers[several]


def repetition_rates(
    numbers: Positions, characters: Positions, offsets: Positions, *, top: Collection[int], duplicate: Collection[int]
) -> tuple[Mapping[int, Numbers], Mapping[int, Numbers]]:
    """The share of each text's characters that is within its most frequent n-gram, and within duplicate ones.

    Characters are those of words. Each counts once, however many n-grams it is in. Of equally frequent n-grams the
    longest in characters is taken, then the first; one that occurs once is not frequent. All n-grams but the first of
    equal ones are duplicates.

    Parameters
    ----------
    numbers, characters, offsets : the words of n texts, as ``numbered_words`` gives them
    top, duplicate : lengths in words, at least 2

    Returns
    -------
    top : for each length (n,) float64 in [0, 1]
    duplicate : for each length (n,) float64 in [0, 1]

    Cost: see ``repeated_ngrams``.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1.

    >>> numbers = np.array([0, 1, 2, 0, 1, 3])  # a bb c a bb d
    >>> top, duplicate = repetition_rates(numbers, np.array([1, 2, 1, 1, 2, 1]), np.array([0, 6]), top=[2], duplicate=[2])
    >>> top[2].tolist(), duplicate[2].tolist()
    ([0.75], [0.375])
    """
    texts = len(offsets) - 1
    of_text = np.repeat(np.arange(texts), np.diff(offsets))
    before = np.concatenate(([0], np.cumsum(characters)))
    total = np.maximum(before[offsets[1:]] - before[offsets[:-1]], 1)

    def rate(places: Positions, n: int) -> Numbers:
        within = np.zeros(len(numbers), np.bool_)
        for further in range(n):
            within[places + further] = True
        rates: Numbers = np.bincount(of_text[within], characters[within], texts) / total
        return rates

    tops, duplicates = {}, {}
    for n, places, grams in repeated_ngrams(numbers, max((*top, *duplicate), default=0)):
        _, first, counts = np.unique(grams, return_index=True, return_counts=True)
        if n in top:
            starts = places[first]
            by_text = np.lexsort((starts, before[starts] - before[starts + n], -counts, of_text[starts]))
            _, chosen = np.unique(of_text[starts[by_text]], return_index=True)
            tops[n] = rate(places[np.isin(grams, grams[first[by_text[chosen]]])], n)
        if n in duplicate:
            duplicates[n] = rate(np.delete(places, first), n)
    return tops, duplicates
