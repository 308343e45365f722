"""Takes texts apart into words, and numbers those."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from curate.kernels.text.shingles import UNSPACED_SCRIPTS
from curate.kernels.types import Counts, Positions

_ALONE = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED_SCRIPTS)
_UNSPACED_CHARACTER = re.compile(rf"(?!\s)[{_ALONE}]")
_WORD = re.compile(rf"{_UNSPACED_CHARACTER.pattern}|[^\s{_ALONE}]+")


def split_words(text: str) -> list[str]:
    """What stands between white space; a character of a script written without blanks is a word of its own.

    Those are the scripts of which ``shingles`` takes every character for a word: Chinese, Japanese, Thai, … Korean has
    blanks, and so words. Punctuation and capitals stay as they are.

    >>> split_words("She said: “Go.”  我走了")
    ['She', 'said:', '“Go.”', '我', '走', '了']
    """
    if text.isascii() or not _UNSPACED_CHARACTER.search(text):
        return text.split()
    return _WORD.findall(text)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where each of its words begins and ends.

    >>> word_spans("She said:  我走")
    [(0, 3), (4, 9), (11, 12), (12, 13)]
    """
    return [found.span() for found in _WORD.finditer(text)]


def number_words(texts: Sequence[str]) -> tuple[Positions, Counts, Positions]:
    """The words of each text as numbers, the same for equal words of one text, and another for every other word.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    numbers : (m,) int64 in 0 … m − 1, in reading order; those of text i are ``numbers[offsets[i]:offsets[i + 1]]``, and
        no other text has any of them
    characters : (m,) int64, the length of each word
    offsets : (n + 1,) int64

    Cost: O(characters) time; memory for the words of one text as strings, some 60 bytes each, and 16 bytes for each
    word of all. Guarantee: exact, nothing is hashed.

    >>> [part.tolist() for part in number_words(["to be or not to be", "", "to be"])]
    [[0, 1, 2, 3, 0, 1, 4, 5], [2, 2, 2, 3, 2, 2, 2, 2], [0, 6, 6, 8]]
    """
    known, numbers, lengths = 0, [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for text in texts:
        found = split_words(text)
        number: defaultdict[str, int] = defaultdict()
        number.default_factory = number.__len__  # the next word that is new
        own = np.fromiter(map(number.__getitem__, found), np.int64, len(found))
        numbers.append(own + known)
        lengths.append(np.fromiter(map(len, number), np.int64, len(number))[own])
        known += len(number)
    offsets = np.cumsum([0, *map(len, numbers[1:])])
    return np.concatenate(numbers), np.concatenate(lengths), offsets
