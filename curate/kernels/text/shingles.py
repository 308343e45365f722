"""Hashes of shingles, which are n-grams of words or characters, by array arithmetic."""

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
_CHUNK = 8  # bytes of a word hashed at a time
_FIRST_BYTES = np.array([(1 << 8 * n_bytes) - 1 for n_bytes in range(_CHUNK + 1)], np.uint64)

_BLANK, _ALONE = 1, 2  # every other character is part of a word
UNSPACED_SCRIPTS = (
    *((0x0E00, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0x2E80, 0x312F), (0x3190, 0xA4CF)),
    *((0xA980, 0xA9DF), (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0xFF01, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40)),
    *((0xFF5B, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF)),
)
"""Ranges of scripts written without blanks between words: Thai, Lao, Tibetan, Myanmar, Khmer, Tai, Javanese, Han, kana,
Yi; and the punctuation of the last three."""


def hash_shingles(texts: Sequence[str], ngram_size: int, unit: Unit) -> tuple[Hashes, Positions]:
    """Hash every run of ``ngram_size`` words, or characters, of each text to 64 bits.

    Texts are not normalized; see ``normalize``. Words are separated by white space. Each character of a script written
    without blanks between words (Chinese, Japanese, Thai, …) is a word, so such texts are split into characters, and
    Korean into words. For characters, white space counts like any other. A text of fewer words or characters has one
    shingle, and so has an empty text.

    Parameters
    ----------
    texts : n strings
    ngram_size : number of words or characters, at least 1
    unit : "word" or "character"

    Returns
    -------
    hashes : (m,) uint64, duplicates included, in reading order; those of text i are ``hashes[offsets[i]:offsets[i +
        1]]``
    offsets : (n + 1,) int64; every text has at least one shingle

    Notes
    -----
    Cost: O(characters + ngram_size · words) time, some 60 bytes of memory a character.

    Guarantee: the same on every machine; two different shingles collide with probability 2^-64, unless an adversary
    constructs a collision.

    References
    ----------
    Broder (1997), "On the resemblance and containment of documents", doi:10.1109/SEQUEN.1997.666900, section 2.

    Examples
    --------
    >>> hashes, offsets = hash_shingles(["a rose is a  rose is", "a rose is", "你好吗"], 3, "word")
    >>> offsets.tolist(), (hashes[[0, 3]] == hashes[4]).tolist()
    ([0, 4, 5, 6], [True, True])
    """
    tokens, offsets = _words(texts) if unit == "word" else _characters(texts)
    return _combine(tokens, offsets, ngram_size)


def _words(texts: Sequence[str]) -> tuple[Hashes, Positions]:
    text, codes, begins = _codes(texts)
    kinds = _kinds()[codes]
    in_word = kinds != _BLANK
    is_boundary = np.ones(len(codes) + 1, np.bool_)  # boundary before each character, and at the end
    is_boundary[1:-1] = ~(in_word[1:] & in_word[:-1])
    if not text.isascii():
        is_single = kinds == _ALONE
        is_boundary[1:-1] |= is_single[1:] | is_single[:-1]
    starts, ends = np.flatnonzero(in_word & is_boundary[:-1]), np.flatnonzero(in_word & is_boundary[1:]) + 1
    offsets = np.searchsorted(starts, begins)
    if not text.isascii():
        widths = 1 + (codes >= 0x80).astype(np.int8) + (codes >= 0x800) + (codes >= 0x10000)
        bytes_before = np.concatenate(([0], np.cumsum(widths, dtype=np.int64)))
        starts, ends = bytes_before[starts], bytes_before[ends]
    return _hash_words(text.encode("utf-8", "surrogatepass"), starts, ends), offsets


def _characters(texts: Sequence[str]) -> tuple[Hashes, Positions]:
    _, codes, begins = _codes(texts)
    characters = np.delete(codes, begins[1:] - 1).astype(np.uint64)  # without the blank after each text
    return mix_bits(characters + _GOLDEN), begins - np.arange(len(begins))


def _codes(texts: Sequence[str]) -> tuple[str, NDArray[np.unsignedinteger], Positions]:
    """Join all texts with a blank after each; return the string, its code points, and the text boundaries."""
    begins = np.cumsum([0, *(len(text) + 1 for text in texts)])
    joined = " ".join([*texts, ""])
    if joined.isascii():
        return joined, np.frombuffer(joined.encode("ascii"), np.uint8), begins
    return joined, np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4"), begins


def _hash_words(data: bytes, starts: Positions, ends: Positions) -> Hashes:
    """Hash each word from its bytes, eight at a time."""
    chunks = np.ndarray((len(data) + 1,), "<u8", data + bytes(_CHUNK), 0, (1,))  # eight bytes from each position on
    lengths = ends - starts
    hashes = mix_bits(chunks[starts] & _FIRST_BYTES[np.minimum(lengths, _CHUNK)])
    long = np.flatnonzero(lengths > _CHUNK)
    if len(long):
        n_more = (lengths[long] - 1) // _CHUNK
        first_chunk = np.cumsum(n_more) - n_more
        chunk_number = concatenate_ranges(np.ones_like(n_more), n_more)
        remaining = np.repeat(lengths[long], n_more) - _CHUNK * chunk_number
        masked_chunks = (
            chunks[np.repeat(starts[long], n_more) + _CHUNK * chunk_number]
            & _FIRST_BYTES[np.minimum(remaining, _CHUNK)]
        )
        hashes[long] += np.add.reduceat(mix_bits(masked_chunks + chunk_number.astype(np.uint64) * _GOLDEN), first_chunk)
    return mix_bits(hashes + lengths.astype(np.uint64))


def _combine(tokens: Hashes, offsets: Positions, ngram_size: int) -> tuple[Hashes, Positions]:
    """Hash each run of ``ngram_size`` tokens: the sum of the tokens, each times an odd number for its position."""
    counts = np.diff(offsets)
    numbers = np.maximum(counts - ngram_size + 1, 1)
    shingle_offsets = np.concatenate(([0], np.cumsum(numbers)))
    factors = mix_bits(np.arange(1, ngram_size + 1, dtype=np.uint64) * _GOLDEN) | np.uint64(1)
    padded = np.concatenate((tokens, np.zeros(ngram_size, np.uint64)))
    positions = concatenate_ranges(offsets[:-1], numbers)
    sums = np.zeros(len(tokens) + 1, np.uint64)
    for position, factor in enumerate(factors):
        sums += padded[position : position + len(sums)] * factor
    hashes = sums[positions]
    short = np.flatnonzero(counts < ngram_size)
    if len(short):
        short_hashes = np.zeros(len(short), np.uint64)
        for position, factor in enumerate(factors[:-1]):
            short_hashes += np.where(position < counts[short], padded[offsets[short] + position], np.uint64(0)) * factor
        hashes[shingle_offsets[short]] = short_hashes
    return mix_bits(hashes), shingle_offsets


@lru_cache(maxsize=1)
def _kinds() -> NDArray[np.uint8]:
    """Return the kind of each code point (0x110000,): blank, single-character word, or part of a word."""
    table = np.zeros(0x110000, np.uint8)
    for first, last in UNSPACED_SCRIPTS:
        table[first : last + 1] = _ALONE
    table[white_space_table()] = _BLANK
    return table
