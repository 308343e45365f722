"""Takes texts apart into shingles, which are runs of words or characters, and hashes those, with whole arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.kernels.ragged import concatenate_ranges
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.text.char_ngrams import white_space_table
from curate.kernels.types import Hashes, Positions

Unit = Literal["word", "character"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_PIECE = 8  # bytes of a word that are hashed at once
_FIRST_BYTES = np.array([(1 << 8 * kept) - 1 for kept in range(_PIECE + 1)], np.uint64)

_BLANK, _ALONE = 1, 2  # any other character is part of a word
UNSPACED_SCRIPTS = (
    *((0x0E00, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0x2E80, 0x312F), (0x3190, 0xA4CF)),
    *((0xA980, 0xA9DF), (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0xFF01, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40)),
    *((0xFF5B, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF)),
)
"""Scripts written without blanks between words: Thai, Lao, Tibetan, Myanmar, Khmer, Tai, Javanese, Han, kana, Yi; and
the punctuation of the last three.
"""


def hash_shingles(texts: Sequence[str], length: int, unit: Unit) -> tuple[Hashes, Positions]:
    """Hash every run of ``length`` words, or characters, of each text to 64 bits.

    Texts are taken as they are; see ``normalize``. Words are separated by white space. A character of a script that is
    written without blanks between words (Chinese, Japanese, Thai, …) is a word, so that such texts are split into
    characters wherever they occur, and Korean into words. As characters, white space counts like any other. A text of
    fewer words or characters has one shingle, and so has an empty one.

    Parameters
    ----------
    texts : n strings
    length : at least 1

    Returns
    -------
    hashes : (m,) uint64, repetitions included, in reading order; those of text i are
        ``hashes[offsets[i]:offsets[i + 1]]``
    offsets : (n + 1,) int64; every text has at least one

    Cost: O(characters + length · words) time, some 60 bytes of memory a character. Guarantee: the same on every
    machine; two different shingles have the same hash with probability 2^-64 if nobody means them to.

    References
    ----------
    Broder (1997), "On the resemblance and containment of documents", doi:10.1109/SEQUEN.1997.666900, section 2.

    >>> hashes, offsets = hash_shingles(["a rose is a  rose is", "a rose is", "你好吗"], 3, "word")
    >>> offsets.tolist(), (hashes[[0, 3]] == hashes[4]).tolist()
    ([0, 4, 5, 6], [True, True])
    """
    tokens, offsets = _words(texts) if unit == "word" else _characters(texts)
    return _joined(tokens, offsets, length)


def _words(texts: Sequence[str]) -> tuple[Hashes, Positions]:
    text, codes, begins = _codes(texts)
    kinds = _kinds()[codes]
    within = kinds != _BLANK
    cut = np.ones(len(codes) + 1, np.bool_)  # before each character, and at the end
    cut[1:-1] = ~(within[1:] & within[:-1])
    if not text.isascii():
        alone = kinds == _ALONE
        cut[1:-1] |= alone[1:] | alone[:-1]
    starts, ends = np.flatnonzero(within & cut[:-1]), np.flatnonzero(within & cut[1:]) + 1
    offsets = np.searchsorted(starts, begins)
    if not text.isascii():
        widths = 1 + (codes >= 0x80).astype(np.int8) + (codes >= 0x800) + (codes >= 0x10000)
        bytes_before = np.concatenate(([0], np.cumsum(widths, dtype=np.int64)))
        starts, ends = bytes_before[starts], bytes_before[ends]
    return _hashed(text.encode("utf-8", "surrogatepass"), starts, ends), offsets


def _characters(texts: Sequence[str]) -> tuple[Hashes, Positions]:
    _, codes, begins = _codes(texts)
    characters = np.delete(codes, begins[1:] - 1).astype(np.uint64)  # but for the blank after each text
    return mix_bits(characters + _GOLDEN), begins - np.arange(len(begins))


def _codes(texts: Sequence[str]) -> tuple[str, NDArray[np.unsignedinteger], Positions]:
    """Join all texts with a blank after each; return the string, its code points, and where texts begin or end."""
    begins = np.cumsum([0, *(len(text) + 1 for text in texts)])
    joined = " ".join([*texts, ""])
    if joined.isascii():
        return joined, np.frombuffer(joined.encode("ascii"), np.uint8), begins
    return joined, np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4"), begins


def _hashed(data: bytes, starts: Positions, ends: Positions) -> Hashes:
    """A hash of each word from its bytes, eight at a time."""
    eight = np.ndarray((len(data) + 1,), "<u8", data + bytes(_PIECE), 0, (1,))  # the bytes from each place on
    lengths = ends - starts
    hashes = mix_bits(eight[starts] & _FIRST_BYTES[np.minimum(lengths, _PIECE)])
    long = np.flatnonzero(lengths > _PIECE)
    if len(long):
        more = (lengths[long] - 1) // _PIECE
        first = np.cumsum(more) - more
        number = concatenate_ranges(np.ones_like(more), more)
        left = np.repeat(lengths[long], more) - _PIECE * number
        pieces = eight[np.repeat(starts[long], more) + _PIECE * number] & _FIRST_BYTES[np.minimum(left, _PIECE)]
        hashes[long] += np.add.reduceat(mix_bits(pieces + number.astype(np.uint64) * _GOLDEN), first)
    return mix_bits(hashes + lengths.astype(np.uint64))


def _joined(tokens: Hashes, offsets: Positions, length: int) -> tuple[Hashes, Positions]:
    """The hash of each run of ``length`` tokens: their sum, each times an odd number that goes with its place."""
    counts = np.diff(offsets)
    numbers = np.maximum(counts - length + 1, 1)
    found = np.concatenate(([0], np.cumsum(numbers)))
    factors = mix_bits(np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN) | np.uint64(1)
    padded = np.concatenate((tokens, np.zeros(length, np.uint64)))
    places = concatenate_ranges(offsets[:-1], numbers)
    sums = np.zeros(len(tokens) + 1, np.uint64)
    for place, factor in enumerate(factors):
        sums += padded[place : place + len(sums)] * factor
    hashes = sums[places]
    short = np.flatnonzero(counts < length)
    if len(short):
        of_short = np.zeros(len(short), np.uint64)
        for place, factor in enumerate(factors[:-1]):
            of_short += np.where(place < counts[short], padded[offsets[short] + place], np.uint64(0)) * factor
        hashes[found[short]] = of_short
    return mix_bits(hashes), found


@lru_cache(maxsize=1)
def _kinds() -> NDArray[np.uint8]:
    """(0x110000,) of each code point."""
    table = np.zeros(0x110000, np.uint8)
    for first, last in UNSPACED_SCRIPTS:
        table[first : last + 1] = _ALONE
    table[white_space_table()] = _BLANK
    return table
