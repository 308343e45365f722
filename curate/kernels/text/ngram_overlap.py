"""Overlap of pool texts with evaluation texts: shared n-grams of words, and similar embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from curate.kernels.linalg.blocked_matmul import for_each_product
from curate.kernels.neighbors.hash_index import HashIndex
from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.shingles import hash_shingles
from curate.kernels.text.text_differences import DIFFERENCES, Difference
from curate.kernels.text.text_identity import normalize
from curate.kernels.text.word_tokens import split_words
from curate.kernels.types import Counts, Matrix, Positions, Positions32

_CHARACTERS = 1 << 17


@dataclass(frozen=True, slots=True)
class Overlap:
    """Overlap of one text with the evaluation texts of one group."""

    best_text: int
    """Evaluation text with the largest share of its n-grams in the text, ties to the first."""

    rate: float
    """Share of the n-grams of that evaluation text."""

    texts: tuple[int, ...]
    """All evaluation texts of the group that reach the minimum share."""


@dataclass(frozen=True, slots=True)
class NgramIndex:
    """Index of the word n-grams of t evaluation texts, to find them in the texts of a pool.

    Texts are compared after ``normalize``, by default without case, punctuation, invisible characters and compatibility
    forms; ``split_words`` defines words in scripts without blanks. A text of fewer words than n is a single n-gram; one
    of fewer than ``min_words`` words has none.

    Notes
    -----
    Cost: O(characters) to build, for each distinct n-gram length; memory some 100 bytes a word.

    Deviations: every text that is too short is compared in full; in the paper, n is the 5th percentile of the lengths
    of a task.

    References
    ----------
    Brown et al. (2020), arXiv:2005.14165, appendix C: n-grams of 13 words without case and punctuation, for tasks with
    short texts of fewer words, but at least 8.

    Examples
    --------
    >>> ngrams = NgramIndex.from_texts(["To be, or not to be?", "To be"], length=4, min_words=3)
    >>> rows, numbers = ngrams.find(["He said: TO BE OR NOT TO... what?", "be or not two be"])
    >>> rows.tolist(), [" ".join(ngrams.ngram_words(number)) for number in numbers]
    ([0, 0], ['to be or not', 'be or not to'])
    """

    words: Sequence[Sequence[str]]
    """Words of each evaluation text."""

    lengths: Counts
    """Number of words of each of the g distinct n-grams (g,)."""

    first_positions: Positions
    """A position of each n-gram in ``sequence`` (g,)."""

    sequence: Positions
    """N-grams of text i in reading order are ``sequence[text_starts[i]:text_starts[i + 1]]``."""

    text_starts: Positions
    """Offsets of the texts in ``sequence`` (t + 1,)."""

    texts: Positions
    """Texts that contain n-gram j, ascending, are ``texts[offsets[j]:offsets[j + 1]]``."""

    offsets: Positions
    """Offsets of the n-grams in ``texts`` (g + 1,)."""

    n_distinct: Counts
    """Number of distinct n-grams of each text (t,)."""

    indexes: Sequence[tuple[int, int, HashIndex]]
    """For each length: the length, the number of the first n-gram of that length, and the index of their hashes."""

    differences: tuple[Difference, ...]
    """Differences between texts that are ignored."""

    @classmethod
    def from_texts(
        cls, texts: Sequence[str], length: int, min_words: int, differences: tuple[Difference, ...] = DIFFERENCES
    ) -> NgramIndex:
        """Index the n-grams of ``length`` words of t texts."""
        tokens_of_texts = [split_words(normalize(text, differences)) for text in texts]
        sizes = np.array([len(tokens) for tokens in tokens_of_texts], np.int64)
        lengths = np.where(sizes >= min_words, np.minimum(sizes, length), 0)
        sequences = [np.zeros(0, np.int64)] * len(tokens_of_texts)
        indexes: list[tuple[int, int, HashIndex]] = []
        ngram_lengths: list[int] = []
        for n_words in np.unique(lengths[lengths > 0]).tolist():
            members = np.flatnonzero(lengths == n_words)
            hashes, offsets = hash_shingles([" ".join(tokens_of_texts[text]) for text in members], n_words, "word")
            keys, ngram_numbers = np.unique(hashes, return_inverse=True)
            for text, start, end in zip(members, offsets[:-1], offsets[1:], strict=True):
                sequences[text] = len(ngram_lengths) + ngram_numbers[start:end]
            indexes.append((n_words, len(ngram_lengths), HashIndex.from_keys(keys)))
            ngram_lengths += [n_words] * len(keys)
        sequence = np.concatenate([np.zeros(0, np.int64), *sequences])
        text_starts = np.cumsum([0, *map(len, sequences)])
        pairs = np.unique(
            sequence * max(1, len(tokens_of_texts)) + np.repeat(np.arange(len(tokens_of_texts)), np.diff(text_starts))
        )
        ngram_numbers, texts_of_ngrams = pairs // max(1, len(tokens_of_texts)), pairs % max(1, len(tokens_of_texts))
        return cls(
            tokens_of_texts,
            np.array(ngram_lengths, np.int64),
            np.unique(sequence, return_index=True)[1],
            sequence,
            text_starts,
            texts_of_ngrams,
            np.searchsorted(ngram_numbers, np.arange(len(ngram_lengths) + 1)),
            np.bincount(texts_of_ngrams, minlength=len(tokens_of_texts)),
            indexes,
            differences,
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def ngram_words(self, number: int) -> Sequence[str]:
        """Return the words of an n-gram."""
        text = int(np.searchsorted(self.text_starts, self.first_positions[number], "right")) - 1
        start = int(self.first_positions[number] - self.text_starts[text])
        return self.words[text][start : start + int(self.lengths[number])]

    def find(self, texts: Sequence[str]) -> tuple[Positions, Positions]:
        """Find the n-grams that each of m texts contains.

        Parameters
        ----------
        texts : m complete strings; n-grams across two texts are not found

        Returns
        -------
        rows, numbers : (p,) int64 each, ascending: text ``rows[i]`` contains n-gram ``numbers[i]``, each pair once

        Notes
        -----
        Cost: O(characters) time for each n-gram length, and some 60 bytes of memory a character of the longest text.

        Guarantee: hash matches are verified word by word, so every pair is correct; a pair is missed only if two
        different word sequences have the same 64-bit hash.
        """
        blocks = text_blocks(texts, _CHARACTERS) if self.indexes else iter(())
        pairs = list(map_blocks(lambda block: self._find(texts, block), blocks))
        rows, numbers = (
            np.concatenate([np.zeros(0, np.int64), *(pair[column] for pair in pairs)]) for column in (0, 1)
        )
        return rows, numbers

    def _find(self, texts: Sequence[str], block: slice) -> tuple[Positions, Positions]:
        normalized = [normalize(text, self.differences) for text in texts[block]]
        candidates = [self._find_candidates(normalized, *index) for index in self.indexes]
        rows, numbers, positions = (
            np.concatenate([np.zeros(0, np.int64), *columns]) for columns in zip(*candidates, strict=True)
        )
        order = np.lexsort((numbers, rows))
        is_match = [*self._verify(normalized, rows[order], numbers[order], positions[order])]
        matches = order[np.array(is_match, np.bool_)]
        return rows[matches] + block.start, numbers[matches]

    def _find_candidates(
        self, normalized: Sequence[str], length: int, first: int, index: HashIndex
    ) -> tuple[Positions, Positions, Positions]:
        """Return row, n-gram and first word position of each pair that a hash match proposes."""
        hashes, offsets = hash_shingles(normalized, length, "word")
        ngram_ids = index.find(hashes)
        hits = np.flatnonzero(ngram_ids >= 0)
        rows = np.searchsorted(offsets, hits, "right") - 1
        pairs, first_hits = np.unique(rows * len(self) + first + ngram_ids[hits], return_index=True)
        rows = pairs // len(self)
        return rows, pairs % len(self), hits[first_hits] - offsets[rows]

    def _verify(
        self, normalized: Sequence[str], rows: Positions, numbers: Positions, positions: Positions
    ) -> Iterator[bool]:
        """Yield whether the words match, for pairs sorted by row."""
        current_row, words = -1, [""]
        for row, number, position in zip(rows.tolist(), numbers.tolist(), positions.tolist(), strict=True):
            if row != current_row:
                current_row, words = row, split_words(normalized[row])
            yield words[position : position + int(self.lengths[number])] == self.ngram_words(number)

    def overlaps(self, numbers: Positions, groups: Positions, min_rate: float = 0.0) -> dict[int, Overlap]:
        """Compute the overlap of a text with each group of evaluation texts.

        Parameters
        ----------
        numbers : distinct n-grams that the text contains
        groups : (t,) the group of each evaluation text
        min_rate : minimum share of an evaluation text's distinct n-grams; 0: any one

        Returns
        -------
        overlaps by group, ascending; groups without a text that reaches the minimum share are omitted

        Notes
        -----
        Cost: O(h log h) for the h texts that contain the n-grams; h is at most the total number of words.
        """
        starts = self.offsets[numbers]
        text_numbers = self.texts[concatenate_ranges(starts, self.offsets[numbers + 1] - starts)]
        texts, shared = np.unique(text_numbers, return_counts=True)
        rates = shared / self.n_distinct[texts]
        texts, rates = texts[rates >= min_rate], rates[rates >= min_rate]
        overlaps: dict[int, Overlap] = {}
        for group in np.unique(groups[texts]).tolist():
            in_group = groups[texts] == group
            best_index = int(np.argmax(rates[in_group]))
            overlaps[group] = Overlap(
                int(texts[in_group][best_index]), float(rates[in_group][best_index]), tuple(texts[in_group].tolist())
            )
        return overlaps

    def longest_shared_span(self, text: int, numbers: Positions) -> str:
        """Return the longest span of an evaluation text whose n-grams are all among ``numbers``.

        The first of equally long spans is returned.

        Examples
        --------
        >>> ngrams = NgramIndex.from_texts(["a b c d e f g"], length=3, min_words=3)
        >>> ngrams.longest_shared_span(0, ngrams.find(["a b c, c d e f"])[1])
        'c d e f'
        """
        sequence = self.sequence[self.text_starts[text] : self.text_starts[text + 1]]
        is_shared = np.concatenate(([0], np.isin(sequence, numbers).astype(np.int8), [0]))
        starts, ends = np.flatnonzero(np.diff(is_shared) == 1), np.flatnonzero(np.diff(is_shared) == -1)
        longest_run = int(np.argmax(ends - starts))
        last = int(ends[longest_run]) - 1 + int(self.lengths[sequence[0]])
        return " ".join(self.words[text][int(starts[longest_run]) : last])


def match_embeddings(x: Matrix, references: Matrix, min_similarity: float) -> tuple[Matrix, Positions, Positions32]:
    """Find the most similar row of ``references`` for each row of ``x``, and count the similar ones.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    references : (m, d) float32, rows of unit length, m at least 1
    min_similarity : cosine from which two rows count as similar

    Returns
    -------
    similarity : (n,) float32, at most 1
    nearest : (n,) int64, most similar row, ties to the first
    n_similar : (n,) int32, number of similar rows

    Notes
    -----
    Cost: O(n m d) time; memory O(n), and 16 MiB a thread.

    Examples
    --------
    >>> x = np.eye(2, dtype=np.float32)
    >>> [result.tolist() for result in match_embeddings(x, x[[1, 0, 1]], 0.5)]
    [[1.0, 1.0], [1, 0], [1, 2]]
    """
    best = np.full(len(x), -np.inf, np.float32)
    nearest, n_similar = np.zeros(len(x), np.int64), np.zeros(len(x), np.int32)

    def update(similarities: Matrix, rows: slice, columns: slice) -> None:
        n_similar[rows] += (similarities >= min_similarity).sum(axis=1, dtype=np.int32)
        columns_of_best = similarities.argmax(axis=1)
        values = similarities[np.arange(len(columns_of_best)), columns_of_best]
        nearer = values > best[rows]
        best[rows] = np.where(nearer, values, best[rows])
        nearest[rows] = np.where(nearer, columns_of_best + columns.start, nearest[rows])

    for_each_product(x, references, update)
    return np.minimum(best, np.float32(1)), nearest, n_similar
