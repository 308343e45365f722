"""Lines, paragraphs and sentences of texts, and their repetition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

BULLETS = tuple("-*•‣◦▪●")
"""Characters that list items begin with."""

QUOTES = tuple("\"'”’»›」』")
"""Characters that quotations end with."""

_SPACED = ".!?؟۔।॥።։"
_UNSPACED = "。！？｡．။។"  # not necessarily followed by white space

TERMINAL = tuple(_SPACED + _UNSPACED)
"""Characters that sentences end with: Latin, Arabic, Urdu, Devanagari, Ethiopic, Armenian; Chinese and Japanese,
Myanmar, Khmer."""

_CLOSING = re.escape("".join(QUOTES) + ")]}")
_SENTENCE_END = re.compile(rf"[{_UNSPACED}]|[{re.escape(_SPACED)}…][{_CLOSING}]*(?!\S)")


def split_lines(text: str) -> list[str]:
    r"""Split a text into its non-blank lines, stripped of white space; only ``\n`` ends a line.

    Examples
    --------
    >>> split_lines("one\r\n\n  two three ")
    ['one', 'two three']
    """
    return [line for line in map(str.strip, text.split("\n")) if line]


def split_paragraphs(text: str) -> list[str]:
    r"""Split a text at blank lines into paragraphs, each line stripped of white space.

    Examples
    --------
    >>> split_paragraphs("\none\n two\n \n\nthree")
    ['one\ntwo', 'three']
    """
    return ["\n".join(block) for is_text, block in groupby(map(str.strip, text.split("\n")), bool) if is_text]


def count_sentences(line: str) -> int:
    """Count the sentences of a line: segments with a letter or digit, up to a terminal mark.

    The mark, with any closing quotes and brackets, must be followed by white space or the end of the line; in scripts
    written without blanks the mark is sufficient. Text after the last mark is a sentence too. Abbreviations count as
    ends of sentences; there is no list of them.

    Examples
    --------
    >>> [count_sentences(line) for line in ("“Wait!” he said. At 3.15 p.m. it began ...", "走了。来了", "?!")]
    [4, 2, 0]
    """
    return sum(any(map(str.isalnum, piece)) for piece in _SENTENCE_END.split(line))


def duplicate_rates(pieces: Sequence[str]) -> tuple[float, float]:
    """Compute the share of pieces that occurred before, and the share of characters in them; 0 if there are no pieces.

    The first of equal pieces is not a duplicate.

    Parameters
    ----------
    pieces : strings

    Returns
    -------
    piece_rate, character_rate : in [0, 1]

    Examples
    --------
    >>> duplicate_rates(["aa", "b", "aa", "aa"])
    (0.5, 0.5714285714285714)
    """
    distinct = set(pieces)
    n_characters = sum(map(len, pieces))
    n_repeated = n_characters - sum(map(len, distinct))
    return (len(pieces) - len(distinct)) / max(1, len(pieces)), n_repeated / max(1, n_characters)
