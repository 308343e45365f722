"""Words of texts, their positions, and their numbers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from curate.kernels.text.shingles import UNSPACED_SCRIPTS
from curate.kernels.types import Counts, Positions

_SINGLE = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED_SCRIPTS)
_UNSPACED_CHARACTER = re.compile(rf"(?!\s)[{_SINGLE}]")
_WORD = re.compile(rf"{_UNSPACED_CHARACTER.pattern}|[^\s{_SINGLE}]+")


def split_words(text: str) -> list[str]:
    """Split a text at white space; a character of a script written without blanks is a word.

    These are the scripts of which ``hash_shingles`` treats every character as a word: Chinese, Japanese, Thai, … Korean
    has blanks, and so words. Punctuation and case are preserved.

    Examples
    --------
    >>> split_words("She said: “Go.”  我走了")
    ['She', 'said:', '“Go.”', '我', '走', '了']
    """
    if text.isascii() or not _UNSPACED_CHARACTER.search(text):
        return text.split()
    return _WORD.findall(text)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return the start and end of each word.

    Examples
    --------
    >>> word_spans("She said:  我走")
    [(0, 3), (4, 9), (11, 12), (12, 13)]
    """
    return [match.span() for match in _WORD.finditer(text)]


def number_words(texts: Sequence[str]) -> tuple[Positions, Counts, Positions]:
    """Assign numbers to the words of each text: equal for equal words of one text, distinct otherwise.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    numbers : (m,) int64 in 0 … m − 1, in reading order; those of text i are ``numbers[offsets[i]:offsets[i + 1]]``, and
        no other text has any of them
    characters : (m,) int64, length of each word
    offsets : (n + 1,) int64

    Notes
    -----
    Cost: O(characters) time; memory for the words of one text as strings, some 60 bytes each, and 16 bytes for each
    word of all texts.

    Guarantee: exact, without hashing.

    Examples
    --------
    >>> [part.tolist() for part in number_words(["to be or not to be", "", "to be"])]
    [[0, 1, 2, 3, 0, 1, 4, 5], [2, 2, 2, 3, 2, 2, 2, 2], [0, 6, 6, 8]]
    """
    n_numbers, numbers, lengths = 0, [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for text in texts:
        words_of_text = split_words(text)
        numbers_by_word: defaultdict[str, int] = defaultdict()
        numbers_by_word.default_factory = numbers_by_word.__len__  # the next word that is new
        text_numbers = np.fromiter(map(numbers_by_word.__getitem__, words_of_text), np.int64, len(words_of_text))
        numbers.append(text_numbers + n_numbers)
        lengths.append(np.fromiter(map(len, numbers_by_word), np.int64, len(numbers_by_word))[text_numbers])
        n_numbers += len(numbers_by_word)
    offsets = np.cumsum([0, *map(len, numbers[1:])])
    return np.concatenate(numbers), np.concatenate(lengths), offsets
