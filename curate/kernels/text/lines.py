"""What the lines, paragraphs and sentences of a text are, and how many of them repeat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

BULLETS = tuple("-*•‣◦▪●")
"""What the lines of a list begin with."""

QUOTES = tuple("\"'”’»›」』")
"""What quotations end with."""

_SPACED = ".!?؟۔।॥።։"
_UNSPACED = "。！？｡．။។"  # what follows them need not be a blank

TERMINAL = tuple(_SPACED + _UNSPACED)
"""What sentences end with: Latin, Arabic, Urdu, Devanagari, Ethiopic, Armenian; Chinese and Japanese, Myanmar, Khmer.
"""

_CLOSING = re.escape("".join(QUOTES) + ")]}")
_SENTENCE_END = re.compile(rf"[{_UNSPACED}]|[{re.escape(_SPACED)}…][{_CLOSING}]*(?!\S)")


def split_lines(text: str) -> list[str]:
    r"""The lines that are not blank, without the white space around them; a line ends with ``\n``.

    >>> split_lines("one\r\n\n  two three ")
    ['one', 'two three']
    """
    return [line for line in map(str.strip, text.split("\n")) if line]


def split_paragraphs(text: str) -> list[str]:
    r"""What stands between blank lines, each line without the white space around it.

    >>> split_paragraphs("\none\n two\n \n\nthree")
    ['one\ntwo', 'three']
    """
    return ["\n".join(some) for full, some in groupby(map(str.strip, text.split("\n")), bool) if full]


def count_sentences(line: str) -> int:
    """How many sentences there are in a line: stretches with a letter or digit in them, up to a mark that ends one.

    The mark, and quotes and brackets that close after it, must stand before white space or at the end; in scripts
    written without blanks the mark is enough. What comes after the last mark is a sentence too. Abbreviations count as
    ends: no list of them is known here.

    >>> count_sentences("“Wait!” he said. At 3.15 p.m. it began ..."), count_sentences("走了。来了"), count_sentences("?!")
    (4, 2, 0)
    """
    return sum(any(map(str.isalnum, piece)) for piece in _SENTENCE_END.split(line))


def duplicate_rates(pieces: Sequence[str]) -> tuple[float, float]:
    """The share of pieces that came before, and the share of the characters that is in them; 0 of nothing.

    The first of equal pieces is no duplicate.

    >>> duplicate_rates(["aa", "b", "aa", "aa"])
    (0.5, 0.5714285714285714)
    """
    distinct = set(pieces)
    all_characters = sum(map(len, pieces))
    repeated = all_characters - sum(map(len, distinct))
    return (len(pieces) - len(distinct)) / max(1, len(pieces)), repeated / max(1, all_characters)
