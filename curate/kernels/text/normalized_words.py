"""Words of texts as hashes, without case and with all digits equal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from curate.kernels.text.shingles import hash_shingles
from curate.kernels.types import Hashes, Positions


def normalize_words(texts: Sequence[str]) -> tuple[Hashes, Positions]:
    """Hash the words of each text after normalization: lower case, digits as 0, marks and symbols as separate words.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    words : (m,) uint64; those of text i are ``words[offsets[i]:offsets[i + 1]]``
    offsets : (n + 1,) int64

    Notes
    -----
    Cost: O(characters) time, some 60 bytes of memory a character.

    Examples
    --------
    >>> words, offsets = normalize_words(["Since 1999, …", "since 2024, …", " "])
    >>> offsets.tolist(), bool((words[:4] == words[4:]).all())
    ([0, 4, 8, 8], True)
    """
    normalized = [text.lower().translate(_NORMAL_FORMS) for text in texts]
    words, offsets = hash_shingles(normalized, 1, "word")
    blank = np.array([not text or text.isspace() for text in normalized], np.bool_)
    if blank.any():  # ``hash_shingles`` returns an empty word for these
        words = words[~np.repeat(blank, np.diff(offsets))]
        offsets = np.concatenate([[0], np.cumsum(np.where(blank, 0, np.diff(offsets)))])
    return words, offsets


class _NormalForms(dict[int, str]):
    """Table for ``str.translate``, filled on first use of a character: digits as 0, blanks around marks and symbols."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        form = "0" if category == "Nd" else f" {character} " if category[0] in "PS" else character
        self[code] = form
        return form


_NORMAL_FORMS = _NormalForms()
