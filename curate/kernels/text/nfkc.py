"""NFKC normalization in linear time for any text."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import groupby
from sys import maxunicode

import numpy as np

from curate.kernels.types import Flags

_LONG = 31  # combining marks in a row; natural text has at most a few


def normalize_nfkc(text: str) -> str:
    r"""Normalize a text to Unicode's compatibility form NFKC.

    Python orders combining marks by insertion sort, which takes 2 seconds for 40,000 marks on one letter and more than
    an hour for two million. Long runs of marks are therefore sorted first.

    Notes
    -----
    Cost: O(characters), and O(m log m) for m marks in a row.

    References
    ----------
    Unicode Standard Annex 15, Unicode Normalization Forms; canonical ordering: The Unicode Standard, section 3.11.

    Examples
    --------
    >>> normalize_nfkc("ﬁ e\u0301 ２") == "fi é 2"
    True
    """
    return text if text.isascii() else unicodedata.normalize("NFKC", sort_combining_marks(text))


def sort_combining_marks(text: str) -> str:
    r"""Decompose and sort long runs of combining marks, so that any Unicode normal form takes linear time.

    Examples
    --------
    >>> sort_combining_marks("e" + "\u0301\u0316" * 16) == "e" + "\u0316" * 16 + "\u0301" * 16
    True
    """
    return _sort_marks(text) if len(text) > _LONG and not text.isascii() and _has_long_run(text) else text


def _has_long_run(text: str) -> bool:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    others = np.flatnonzero(~_marks()[codes])
    return len(codes) - len(others) > _LONG and int(np.diff(others, prepend=-1, append=len(codes)).max()) > _LONG


def _sort_marks(text: str) -> str:
    """Decompose and sort each run of combining marks."""
    pieces: list[str] = []
    for is_mark, characters in groupby(text, lambda character: bool(_marks()[ord(character)])):
        segment = "".join(characters)
        pieces += sorted("".join(map(_decompose, segment)), key=unicodedata.combining) if is_mark else [segment]
    return "".join(pieces)


@lru_cache(maxsize=1)
def _marks() -> Flags:
    """Return a table (0x110000,) of the characters whose decomposition starts with a combining mark."""
    decompositions = (_decompose(chr(code)) for code in range(maxunicode + 1))
    return np.fromiter(
        (unicodedata.combining(decomposition[0]) != 0 for decomposition in decompositions), np.bool_, maxunicode + 1
    )


def _decompose(character: str) -> str:
    return unicodedata.normalize("NFKD", character)
