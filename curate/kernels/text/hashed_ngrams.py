"""Hashed n-grams of words and punctuation, and the importance weights of DSIR."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.ngram_ids import nested_ngrams
from curate.kernels.types import Counts, Numbers, Positions, Rows

_TOKEN = re.compile(r"\w+|[^\w\s]+")
_CHARACTERS = 1 << 21  # of a block of texts: its equal n-grams are hashed once
_FLOOR = 1e-8


def hash_ngrams(texts: Sequence[str], order: int, buckets: int) -> tuple[Positions, Rows]:
    """Hash the n-grams of each text, for n = 1 to the order, to numbers.

    A token is a run of letters, digits and underscores, or a run of other characters than white space. Tokens are in
    lower case; those of an n-gram are joined by a blank.

    Parameters
    ----------
    texts : n strings
    order : largest n, at least 1
    buckets : number of distinct numbers, from 1 to 2^32

    Returns
    -------
    hashes : (m,) int64 in 0 … ``buckets`` − 1
        SHA-256 of the UTF-8 bytes of each n-gram as an integer, modulo ``buckets``.
    rows : (m,) int64
        Text of each n-gram.

    Notes
    -----
    Cost: O(characters) time, and O(order m log m) for the n-grams; some 100 bytes of memory a token. Equal n-grams are
    hashed once.

    References
    ----------
    Xie et al. (2023), DSIR, arXiv:2302.03169, section 4. Tokens: ``WordPunctTokenizer`` of NLTK.

    Examples
    --------
    >>> hashes, rows = hash_ngrams(["Hello, world.", ""], order=2, buckets=10_000)
    >>> sorted(hashes.tolist()), rows.tolist()
    ([1202, 3960, 4345, 4887, 4892, 7620, 8983], [0, 0, 0, 0, 0, 0, 0])
    """
    tokens: list[str] = []
    lengths = np.zeros(len(texts), np.int64)
    for number, text in enumerate(texts):
        found = _TOKEN.findall(text.lower())
        lengths[number] = len(found)
        tokens += found
    number_by_token: defaultdict[str, int] = defaultdict()
    number_by_token.default_factory = number_by_token.__len__
    symbols = np.fromiter(map(number_by_token.__getitem__, tokens), np.int64, len(tokens))
    positions = concatenate_ranges(np.zeros_like(lengths), lengths)
    owners = np.repeat(np.arange(len(texts)), lengths)
    hashes, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    size = max(1, len(number_by_token))
    endings = [token.encode("utf-8", "surrogatepass") for token in number_by_token]
    strings = [b""]  # of the distinct n-grams
    for grams, numbers in nested_ngrams(symbols, order, positions, size):
        beginnings, last = (part.tolist() for part in np.divmod(grams, size))
        strings = [strings[beginning] + endings[token] for beginning, token in zip(beginnings, last, strict=True)]
        present = np.flatnonzero(numbers >= 0)
        hashes.append(_hash_strings(strings, buckets)[numbers[present]])
        rows.append(owners[present])
        strings = [string + b" " for string in strings]
    return np.concatenate(hashes), np.concatenate(rows)


def _hash_strings(strings: Sequence[bytes], buckets: int) -> Positions:
    """Hash each string: its SHA-256 as an integer, modulo ``buckets``."""
    digests = b"".join([sha256(string).digest() for string in strings])
    parts = np.frombuffer(digests, ">u4").reshape(len(strings), 8).astype(np.uint64)
    remainder = np.zeros(len(strings), np.uint64)
    for part in parts.T:
        remainder = ((remainder << np.uint64(32)) | part) % np.uint64(buckets)
    return remainder.astype(np.int64)


def count_ngrams(texts: Sequence[str], order: int, buckets: int) -> Counts:
    """Count the hashed n-grams of all texts; see ``hash_ngrams``.

    Returns
    -------
    (buckets,) int64
    """
    total = np.zeros(buckets, np.int64)
    blocks = text_blocks(texts, _CHARACTERS)
    for part in map_blocks(
        lambda rows: np.bincount(hash_ngrams(texts[rows], order, buckets)[0], minlength=buckets), blocks
    ):
        total += part
    return total


def log_ratio(target: Counts, pool: Counts, smoothing: float) -> Numbers:
    """Return the logarithm of the ratio of two distributions over buckets.

    Parameters
    ----------
    target, pool : (b,) int64
        Number of n-grams in each bucket.
    smoothing : float
        Number added to each count.

    Returns
    -------
    (b,) float64, ln(p + 10⁻⁸) − ln(q + 10⁻⁸); all 0 for equal counts

    Examples
    --------
    >>> log_ratio(np.array([3, 1]), np.array([1, 1]), 0).round(3).tolist()
    [0.405, -0.693]
    """
    p, q = (counts + smoothing for counts in (target, pool))
    p, q = p / max(p.sum(), 1), q / max(q.sum(), 1)
    return np.asarray(np.log(p + _FLOOR) - np.log(q + _FLOOR))


def importance(texts: Sequence[str], ratio: Numbers, order: int) -> tuple[Numbers, Counts]:
    """Sum the logarithms of a ratio over the n-grams of each text.

    Parameters
    ----------
    texts : n strings
    ratio : (b,) float64
        See ``log_ratio``.
    order : int
        Largest n.

    Returns
    -------
    sums : (n,) float64, 0 for a text without tokens
    counts : (n,) int64, number of n-grams

    Notes
    -----
    Guarantee: the sum of a text does not depend, in any bit, on the other texts.
    """

    def block(rows: slice) -> tuple[Numbers, Counts]:
        hashes, owners = hash_ngrams(texts[rows], order, len(ratio))
        size = rows.stop - rows.start
        return np.asarray(np.bincount(owners, ratio[hashes], size), np.float64), np.bincount(owners, minlength=size)

    parts = [(np.empty(0), np.empty(0, np.int64)), *map_blocks(block, text_blocks(texts, _CHARACTERS))]
    return np.concatenate([sums for sums, _ in parts]), np.concatenate([counts for _, counts in parts])
