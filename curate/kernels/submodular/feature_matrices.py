"""Sparse feature matrices for feature-based functions: character trigrams of texts, and groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from curate.kernels.text.char_ngrams import text_blocks, trigrams
from curate.kernels.types import Positions

if TYPE_CHECKING:
    from scipy import sparse


def trigram_features(texts: Sequence[str]) -> sparse.csr_array:
    """Count the character trigrams of each text, weighted by inverse document frequency.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    (n, u) sparse float32: counts times log(n / number of texts with the trigram)

    Examples
    --------
    >>> trigram_features(["ab", "ab", "b"]).toarray().round(1)
    array([[0.4, 0. , 0.4],
           [0.4, 0. , 0.4],
           [0. , 1.1, 0. ]], dtype=float32)
    """
    from scipy import sparse

    blocks = [trigrams(texts[block]) for block in text_blocks(texts)]
    grams, columns = np.unique(np.concatenate([grams for grams, _ in blocks]), return_inverse=True)
    starts = np.cumsum(np.concatenate([[0], *(np.diff(offsets) for _, offsets in blocks)]))
    counts = sparse.csr_array((np.ones(len(columns), np.float32), columns, starts), shape=(len(texts), len(grams)))
    counts.sum_duplicates()
    document_counts = np.bincount(counts.indices, minlength=len(grams))
    counts.data *= np.log(len(texts) / document_counts).astype(np.float32)[counts.indices]
    return counts


def group_features(codes: Positions) -> sparse.csr_array:
    """Encode the group of each row as a one-hot vector.

    Parameters
    ----------
    codes : (n,) int64, group of each row

    Returns
    -------
    (n, g) sparse float32; g is the highest code plus one

    Examples
    --------
    >>> group_features(np.array([1, 0])).toarray()
    array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    from scipy import sparse

    n = len(codes)
    return sparse.csr_array((np.ones(n, np.float32), codes, np.arange(n + 1)), shape=(n, int(codes.max()) + 1))
