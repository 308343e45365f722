"""Character trigrams of texts, and signed hashing of trigrams into vectors, by array arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from curate.kernels.types import Flags, Hashes, Matrix, Positions

_BLANK = 0x20
WHITE_SPACE = (
    *((0x09, 0x0D), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)),
)
"""Ranges of code points for which ``str.isspace`` is true."""


def text_blocks(texts: Sequence[str], characters: int = 1 << 17) -> Iterator[slice]:
    """Yield slices of consecutive texts with up to ``characters`` characters each; a longer text is one slice.

    Parameters
    ----------
    texts : n strings
    characters : maximum number of characters in a slice

    Notes
    -----
    ``trigrams`` takes about 50 bytes of memory a character, and is fastest if a block fits the processor's cache.

    Examples
    --------
    >>> list(text_blocks(["ab", "cd", "efghi", "j"], characters=4))
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    start, size = 0, 0
    for i, text in enumerate(texts):
        if i > start and size + len(text) > characters:
            yield slice(start, i)
            start, size = i, 0
        size += len(text)
    if start < len(texts):
        yield slice(start, len(texts))


def trigrams(texts: Sequence[str]) -> tuple[Hashes, Positions]:
    """Split texts into character trigrams in lower case, with white space reduced to single blanks.

    There is one trigram for every character that is not white space: the character and its two neighbors. A word of L
    letters gives L of them, the first and last include the blanks around it, and none spans two words. Scripts without
    blanks between words need no special treatment, and only a blank text has no trigram.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    grams : (m,) uint64, three code points of 21 bits each, duplicates included, in reading order; those of text i are
        ``grams[offsets[i]:offsets[i + 1]]``
    offsets : (n + 1,) int64

    Notes
    -----
    Cost: O(characters) time and memory.

    Guarantee: exact, different trigrams are different numbers.

    Examples
    --------
    >>> grams, offsets = trigrams(["Go,  go!", " "])
    >>> offsets.tolist(), ["".join(chr(int(gram) >> shift & 0x1FFFFF) for shift in (42, 21, 0)) for gram in grams]
    ([0, 6, 6], [' go', 'go,', 'o, ', ' go', 'go!', 'o! '])
    """
    lowered = [text.lower() for text in texts]
    starts = np.cumsum([1, *(len(text) + 1 for text in lowered)])
    text = " ".join(["", *lowered, ""])
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    is_white = white_space_table()[codes]
    codes[is_white] = _BLANK
    centers = np.flatnonzero(~is_white)
    grams = codes[centers - 1] << np.uint64(42)
    grams |= codes[centers] << np.uint64(21)
    grams |= codes[centers + 1]
    return grams, np.searchsorted(centers, starts)


def signed_hashing(grams: Hashes, offsets: Positions, dimensions: int) -> Matrix:
    """Hash trigrams into vectors whose inner product estimates that of the trigram counts of the texts.

    Every trigram adds +1 or -1, by one bit of its hash, to the coordinate that the other bits select. If all trigrams
    of a text cancel out, they are added without signs.

    Parameters
    ----------
    grams, offsets : as from ``trigrams``, n texts
    dimensions : d, at least 1

    Returns
    -------
    (n, d) float32, integers; a row is zero only if the text has no trigram

    Notes
    -----
    Cost: O(m + n d).

    Guarantee: the same on every machine; the inner product is unbiased, with variance O(1 / d), except for texts whose
    trigrams cancel out.

    References
    ----------
    Weinberger et al. (2009), arXiv:0902.2206, section 3.

    Examples
    --------
    >>> signed_hashing(*trigrams(["aaaa", ""]), dimensions=4).tolist()
    [[1.0, 0.0, -2.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    n = len(offsets) - 1
    hashes = _mix_bits(grams)
    cells = text_of_each(offsets) * dimensions + ((hashes >> np.uint64(1)) % np.uint64(dimensions)).astype(np.int64)
    signs = 1.0 - 2.0 * (hashes & np.uint64(1))
    rows = np.bincount(cells, signs, n * dimensions).reshape(n, dimensions)
    cancels = ~rows.any(axis=1)
    if cancels.any():
        rows[cancels] = np.bincount(cells, minlength=n * dimensions).reshape(n, dimensions)[cancels]
    return rows.astype(np.float32)


def text_of_each(offsets: Positions) -> Positions:
    """Return the text that each trigram belongs to.

    Parameters
    ----------
    offsets : (n + 1,) int64

    Returns
    -------
    (m,) int64

    Examples
    --------
    >>> text_of_each(np.array([0, 2, 2, 3])).tolist()
    [0, 0, 2]
    """
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


@lru_cache(maxsize=1)
def white_space_table() -> Flags:
    """Return a table (0x110000,) bool of the code points that are white space."""
    table = np.zeros(0x110000, bool)
    for first, last in WHITE_SPACE:
        table[first : last + 1] = True
    return table


def _mix_bits(grams: Hashes) -> Hashes:
    """Mix bits so that each depends on all others (the finalizer of MurmurHash3)."""
    mixed = grams ^ (grams >> np.uint64(33))
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> np.uint64(33)
    return mixed
