"""BM25: relevance of texts to queries by the words that they share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.text.shingles import UNSPACED_SCRIPTS
from curate.kernels.types import Counts, Matrix

_SINGLE = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED_SCRIPTS)
_TERM = re.compile(rf"(?!\W)[{_SINGLE}]|[^\W{_SINGLE}]+")
_ROWS = 1024


def split_terms(text: str) -> list[str]:
    """Split a text into lowercase words without punctuation; a character of a script without blanks is a word.

    Examples
    --------
    >>> split_terms("Don't stop, 我走了!")
    ['don', 't', 'stop', '我', '走', '了']
    """
    return _TERM.findall(text.lower())


@dataclass(frozen=True, slots=True)
class TermFrequencies:
    """Counts of a collection of texts."""

    texts: int
    """Number of texts."""

    words: int
    """Number of words of all texts."""

    with_term: Counts
    """Number of texts with each distinct term of the queries, in alphabetical order, (terms,) int64."""


def bm25(
    texts: Sequence[str], queries: Sequence[str], frequencies: TermFrequencies, k1: float = 1.2, b: float = 0.75
) -> Matrix:
    """Compute the mean and the largest BM25 of each text over the queries.

    Parameters
    ----------
    texts : n strings
        Some documents of a collection.
    queries : m strings, m at least 1
    frequencies : TermFrequencies
        Counts of the collection for these queries.
    k1 : float
        Saturation of repeated words: 0 counts a word once, larger values count more of its repetitions.
    b : float
        Share of the length normalization, from 0 to 1.

    Returns
    -------
    (n, 2) float32, at least 0

    Notes
    -----
    A text has the sum over the words of the query, with their repetitions, of

        ln(1 + (n − f + ½) / (f + ½)) · c (k1 + 1) / (c + k1 (1 − b + b l / L)),

    where f of n texts of the collection have the word, this one c times, l is its number of words, and L the mean of
    the collection.

    Cost: O(characters) time for the words, and O(words m) at most for the products; memory for the words of the texts
    that a query has, 12 bytes each.

    References
    ----------
    Robertson & Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond", Foundations and Trends in
    Information Retrieval 3(4); the logarithm, which is never negative, is that of Lucene.

    Examples
    --------
    >>> texts, queries = ["a red cat", "a blue dog", "a cat"], ["red cat"]
    >>> bm25(texts, queries, count_terms(texts, queries)).round(2)[:, 0].tolist()
    [1.3799999952316284, 0.0, 0.5199999809265137]
    """
    query_terms = [Counter(split_terms(query)) for query in queries]
    numbers = _number_terms(queries)
    matrix, length = _count_texts(texts, numbers)
    n = frequencies.texts
    rarity = np.log1p((n - frequencies.with_term + 0.5) / (frequencies.with_term + 0.5))
    relative = length / max(frequencies.words / n if n else 0.0, 1e-12)
    per_value = np.repeat(k1 * (1 - b + b * relative), np.diff(matrix.indptr))
    matrix.data = rarity[matrix.indices] * matrix.data * (k1 + 1) / (matrix.data + per_value)
    wanted = _count_matrix([{numbers[term]: count for term, count in one.items()} for one in query_terms], len(numbers))
    transposed = wanted.T.tocsc()

    def scores(rows: slice) -> Matrix:
        values = (matrix[rows] @ transposed).toarray()
        return np.stack([values.mean(axis=1), values.max(axis=1)], axis=1).astype(np.float32)

    return np.concatenate([np.empty((0, 2), np.float32), *map_blocks(scores, block_slices(len(texts), _ROWS))])


def count_terms(texts: Sequence[str], queries: Sequence[str]) -> TermFrequencies:
    """Count the texts, their words, and the texts with each term of the queries.

    Examples
    --------
    >>> counts = count_terms(["a red cat", "a cat, a cat"], ["red cat"])
    >>> counts.texts, counts.words, counts.with_term.tolist()  # cat, red
    (2, 7, [2, 1])
    """
    numbers = _number_terms(queries)
    matrix, lengths = _count_texts(texts, numbers)
    return TermFrequencies(len(texts), int(lengths.sum()), np.bincount(matrix.indices, minlength=len(numbers)))


def _number_terms(queries: Sequence[str]) -> dict[str, int]:
    """Return the distinct terms of all queries, with their numbers in alphabetical order."""
    return {term: number for number, term in enumerate(sorted({term for one in queries for term in split_terms(one)}))}


def _count_texts(texts: Sequence[str], numbers: dict[str, int]) -> tuple[sp.csr_matrix, Counts]:
    """Return the counts of the numbered terms in each text, and its number of words."""
    counts, lengths = [], []
    for text in texts:
        terms = split_terms(text)
        lengths.append(len(terms))
        counts.append(Counter(numbers[term] for term in terms if term in numbers))
    return _count_matrix(counts, len(numbers)), np.array(lengths, np.int64)


def _count_matrix(counts: Sequence[Counter[int] | dict[int, int]], width: int) -> sp.csr_matrix:
    """Return the counts of each row as a sparse matrix, columns ascending."""
    starts = np.cumsum([0, *map(len, counts)])
    ordered = [sorted(one.items()) for one in counts]
    columns = np.array([column for one in ordered for column, _ in one], np.int32)
    values = np.array([value for one in ordered for _, value in one], np.float64)
    return sp.csr_matrix((values, columns, starts), shape=(len(counts), width))
