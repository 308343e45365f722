"""Cross-validation folds by the hash of a text or vector, so that copies always share a fold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from curate.kernels.stats.hash_sampling import hash_vectors
from curate.kernels.types import Counts, Hashes, Matrix, Rows


def hash_folded_texts(texts: Sequence[str]) -> Hashes:
    r"""Hash texts to 64 bits, ignoring case and the amount of white space.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    (n,) uint64

    Notes
    -----
    Cost: O(characters).

    Examples
    --------
    >>> a, b, c = hash_folded_texts(["Two words", "two\n words ", "twowords"])
    >>> bool(a == b), bool(a == c)
    (True, False)
    """
    folded = (" ".join(text.lower().split()).encode("utf-8", "surrogatepass") for text in texts)
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in folded)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def assign_folds(hashes: Hashes, n_folds: int) -> Counts:
    """Assign each hash to a fold 0 … ``n_folds`` − 1; folds are equally large in expectation.

    Parameters
    ----------
    hashes : (n,) uint64
    n_folds : number of folds

    Returns
    -------
    (n,) int64

    Examples
    --------
    >>> assign_folds(np.array([4, 9, 4], np.uint64), 5).tolist()
    [4, 4, 4]
    """
    return (hashes % np.uint64(n_folds)).astype(np.int64)


def assign_vector_folds(x: Matrix, n_folds: int, rng: np.random.Generator, rows: Rows | None = None) -> Counts:
    """Assign each row to a fold 0 … ``n_folds`` − 1 by its vector: distinct vectors are divided equally.

    Parameters
    ----------
    x : (n, d) float32
    n_folds : number of folds
    rng : random generator
    rows : (m,) rows whose distinct vectors are divided equally, such as those with a label; None = all

    Returns
    -------
    (n,) int64

    Examples
    --------
    >>> x = np.array([[0, 1], [1, 0], [0, 1], [1, 1]], np.float32)
    >>> folds = assign_vector_folds(x, 3, np.random.default_rng(0))
    >>> bool(folds[0] == folds[2]), sorted(set(folds.tolist()))
    (True, [0, 1, 2])
    """
    hashes = hash_vectors(x, rng)
    distinct = np.unique(hashes if rows is None else hashes[rows])
    return np.searchsorted(distinct, hashes) % n_folds


def distinct_texts(texts: Sequence[str]) -> tuple[list[str], Hashes]:
    """Return the distinct texts that are not blank, in the order of their hashes, and the hashes.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    texts : the distinct texts; of texts with equal hashes, the first
    hashes : (m,) uint64, ascending

    Examples
    --------
    >>> distinct_texts(["b", " ", "a", "B "])[0] in (["b", "a"], ["a", "b"])
    True
    """
    non_blank = [text for text in texts if text and not text.isspace()]
    hashes, first = np.unique(hash_folded_texts(non_blank), return_index=True)
    return [non_blank[row] for row in first], hashes
