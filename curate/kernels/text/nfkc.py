"""Unicode's compatibility form of a text, in linear time whatever the text."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import groupby
from sys import maxunicode

import numpy as np

from curate.kernels.types import Flags

_LONG = 31  # marks in a row; what people write has a few


def normalize_nfkc(text: str) -> str:
    r"""The text with one form for each character, however it was written or composed: Unicode's NFKC.

    Python puts the marks on a letter into their order by insertion, which takes 2 seconds for 40,000 of them and
    more than an hour for two million. Here a long run of marks is sorted first.

    Cost: O(characters), and O(m log m) for m marks in a row.

    References
    ----------
    Unicode Standard Annex 15, Unicode Normalization Forms; canonical ordering: The Unicode Standard, section 3.11.

    >>> normalize_nfkc("ﬁ e\u0301 ２") == "fi é 2"
    True
    """
    return text if text.isascii() else unicodedata.normalize("NFKC", sort_combining_marks(text))


def sort_combining_marks(text: str) -> str:
    r"""The text, which any of Unicode's forms is made of in linear time: the marks of long runs apart and in order.

    >>> sort_combining_marks("e" + "\u0301\u0316" * 16) == "e" + "\u0316" * 16 + "\u0301" * 16
    True
    """
    return _sorted(text) if len(text) > _LONG and not text.isascii() and _has_long_run(text) else text


def _has_long_run(text: str) -> bool:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    others = np.flatnonzero(~_marks()[codes])
    return len(codes) - len(others) > _LONG and int(np.diff(others, prepend=-1, append=len(codes)).max()) > _LONG


def _sorted(text: str) -> str:
    """The text with each run of marks taken apart, and in order."""
    pieces: list[str] = []
    for mark, run in groupby(text, lambda one: bool(_marks()[ord(one)])):
        some = "".join(run)
        pieces += sorted("".join(map(_apart, some)), key=unicodedata.combining) if mark else [some]
    return "".join(pieces)


@lru_cache(maxsize=1)
def _marks() -> Flags:
    """(0x110000,) the characters of which normalising leaves nothing but marks."""
    parts = (_apart(chr(code)) for code in range(maxunicode + 1))
    return np.fromiter((unicodedata.combining(some[0]) != 0 for some in parts), np.bool_, maxunicode + 1)


def _apart(one: str) -> str:
    return unicodedata.normalize("NFKD", one)
