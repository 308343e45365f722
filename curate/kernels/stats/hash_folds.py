"""Puts texts into folds by what they say, so that copies of a text share one, whoever asks and whenever."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from curate.kernels.types import Counts, Hashes


def hash_folded_texts(texts: Sequence[str]) -> Hashes:
    r"""A 64-bit hash of each text, blind to capitals and to how much white space is where.

    Cost: O(characters).

    >>> a, b, c = hash_folded_texts(["Two words", "two\n words ", "twowords"])
    >>> bool(a == b), bool(a == c)
    (True, False)
    """
    plain = (" ".join(text.lower().split()).encode("utf-8", "surrogatepass") for text in texts)
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in plain)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def assign_folds(keys: Hashes, folds: int) -> Counts:
    """The fold of each key, 0 … ``folds`` − 1: as large as one another, but for chance.

    >>> assign_folds(np.array([4, 9, 4], np.uint64), 5).tolist()
    [4, 4, 4]
    """
    return (keys % np.uint64(folds)).astype(np.int64)


def distinct_texts(texts: Sequence[str]) -> tuple[list[str], Hashes]:
    """Return each different text that is not blank once, in the order of its hash, and the hashes.

    >>> distinct_texts(["b", " ", "a", "B "])[0] in (["b", "a"], ["a", "b"])
    True
    """
    there = [text for text in texts if text and not text.isspace()]
    keys, first = np.unique(hash_folded_texts(there), return_index=True)
    return [there[row] for row in first], keys
