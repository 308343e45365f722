"""What evaluation texts and a pool's texts have in common: runs of words, and embeddings that are alike."""

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
    """How one text overlaps with the evaluation texts of one group."""

    text: int
    """The evaluation text of whose n-grams it has the largest share, ties to the first."""

    rate: float
    """That share."""

    texts: tuple[int, ...]
    """Every evaluation text of the group of whose n-grams it has enough."""


@dataclass(frozen=True, slots=True)
class NgramIndex:
    """The n-grams, which are runs of words, of t evaluation texts, to be looked for in the texts of a pool.

    Texts are compared after ``normalize``, by default without case, punctuation, invisible characters and the form of
    characters; ``split_words`` defines a word in scripts without blanks. A text of fewer words than n is one n-gram,
    all of it; one of fewer than ``min_words`` words has none.

    Cost: O(characters) to build, for each length that n-grams have; memory some 100 bytes a word.

    References
    ----------
    Brown et al. (2020), arXiv:2005.14165, appendix C: n-grams of 13 words without case and punctuation, for tasks with
    short texts of fewer words, but of no fewer than 8.

    Deviation: every text that is too short is compared whole; there, n is the 5th percentile of a task's lengths.

    >>> ngrams = NgramIndex.from_texts(["To be, or not to be?", "To be"], length=4, min_words=3)
    >>> rows, found = ngrams.find(["He said: TO BE OR NOT TO... what?", "be or not two be"])
    >>> rows.tolist(), [" ".join(ngrams.ngram_words(number)) for number in found]
    ([0, 0], ['to be or not', 'be or not to'])
    """

    words: Sequence[Sequence[str]]
    """Of each evaluation text."""

    length: Counts
    """(g,) words in each of the g different n-grams."""

    first: Positions
    """(g,) a place in ``sequence`` where each stands."""

    sequence: Positions
    """The n-grams of text i in reading order are ``sequence[begins[i]:begins[i + 1]]``."""

    begins: Positions
    """(t + 1,)"""

    holders: Positions
    """The texts that have n-gram j, ascending, are ``holders[offsets[j]:offsets[j + 1]]``."""

    offsets: Positions
    """(g + 1,)"""

    different: Counts
    """(t,) how many different n-grams each text has."""

    lookups: Sequence[tuple[int, int, HashIndex]]
    """For each length: the number of the first n-gram of that length, and their hashes."""

    differences: tuple[Difference, ...]
    """Differences between texts that are ignored."""

    @classmethod
    def from_texts(
        cls, texts: Sequence[str], length: int, min_words: int, differences: tuple[Difference, ...] = DIFFERENCES
    ) -> NgramIndex:
        """Index the n-grams of ``length`` words of t texts."""
        own = [split_words(normalize(text, differences)) for text in texts]
        sizes = np.array([len(one) for one in own], np.int64)
        lengths = np.where(sizes >= min_words, np.minimum(sizes, length), 0)
        sequences = [np.zeros(0, np.int64)] * len(own)
        lookups: list[tuple[int, int, HashIndex]] = []
        of_each: list[int] = []
        for words_each in np.unique(lengths[lengths > 0]).tolist():
            some = np.flatnonzero(lengths == words_each)
            hashes, offsets = hash_shingles([" ".join(own[text]) for text in some], words_each, "word")
            keys, number = np.unique(hashes, return_inverse=True)
            for text, start, end in zip(some, offsets[:-1], offsets[1:], strict=True):
                sequences[text] = len(of_each) + number[start:end]
            lookups.append((words_each, len(of_each), HashIndex.from_keys(keys)))
            of_each += [words_each] * len(keys)
        sequence = np.concatenate([np.zeros(0, np.int64), *sequences])
        begins = np.cumsum([0, *map(len, sequences)])
        held = np.unique(sequence * max(1, len(own)) + np.repeat(np.arange(len(own)), np.diff(begins)))
        number, holders = held // max(1, len(own)), held % max(1, len(own))
        return cls(
            own,
            np.array(of_each, np.int64),
            np.unique(sequence, return_index=True)[1],
            sequence,
            begins,
            holders,
            np.searchsorted(number, np.arange(len(of_each) + 1)),
            np.bincount(holders, minlength=len(own)),
            lookups,
            differences,
        )

    def __len__(self) -> int:
        return len(self.length)

    def ngram_words(self, number: int) -> Sequence[str]:
        """The words of an n-gram."""
        text = int(np.searchsorted(self.begins, self.first[number], "right")) - 1
        start = int(self.first[number] - self.begins[text])
        return self.words[text][start : start + int(self.length[number])]

    def find(self, texts: Sequence[str]) -> tuple[Positions, Positions]:
        """Which of the n-grams each of m texts has.

        Parameters
        ----------
        texts : m strings, whole ones: an n-gram that two rows share between them is not found

        Returns
        -------
        rows, numbers : (p,) int64 each, ascending: text ``rows[i]`` has n-gram ``numbers[i]``, each pair once

        Cost: O(characters) time for each length that n-grams have, and some 60 bytes of memory a character of the
        longest text. Guarantee: what hashes propose is compared word by word, so that every pair is a true one; one is
        missed only where two different runs of words have the same 64-bit hash.
        """
        blocks = text_blocks(texts, _CHARACTERS) if self.lookups else iter(())
        found = list(map_blocks(lambda block: self._find(texts, block), blocks))
        rows, numbers = (np.concatenate([np.zeros(0, np.int64), *(part[side] for part in found)]) for side in (0, 1))
        return rows, numbers

    def _find(self, texts: Sequence[str], block: slice) -> tuple[Positions, Positions]:
        plain = [normalize(text, self.differences) for text in texts[block]]
        parts = [self._proposed(plain, *lookup) for lookup in self.lookups]
        rows, numbers, places = (np.concatenate([np.zeros(0, np.int64), *some]) for some in zip(*parts, strict=True))
        order = np.lexsort((numbers, rows))
        true = [*self._verified(plain, rows[order], numbers[order], places[order])]
        kept = order[np.array(true, np.bool_)]
        return rows[kept] + block.start, numbers[kept]

    def _proposed(
        self, plain: Sequence[str], length: int, first: int, lookup: HashIndex
    ) -> tuple[Positions, Positions, Positions]:
        """Row, n-gram and its first place in words, of each pair that a hash proposes."""
        hashes, offsets = hash_shingles(plain, length, "word")
        among = lookup.find(hashes)
        at = np.flatnonzero(among >= 0)
        rows = np.searchsorted(offsets, at, "right") - 1
        pairs, earliest = np.unique(rows * len(self) + first + among[at], return_index=True)
        rows = pairs // len(self)
        return rows, pairs % len(self), at[earliest] - offsets[rows]

    def _verified(self, plain: Sequence[str], rows: Positions, numbers: Positions, places: Positions) -> Iterator[bool]:
        """Whether the words are the same, of pairs in order of their rows."""
        reading, own = -1, [""]
        for row, number, place in zip(rows.tolist(), numbers.tolist(), places.tolist(), strict=True):
            if row != reading:
                reading, own = row, split_words(plain[row])
            yield own[place : place + int(self.length[number])] == self.ngram_words(number)

    def overlaps(self, numbers: Positions, groups: Positions, min_rate: float = 0.0) -> dict[int, Overlap]:
        """What a text overlaps with.

        Parameters
        ----------
        numbers : the different n-grams that it has
        groups : (t,) the group of each evaluation text
        min_rate : the share of an evaluation text's different n-grams that count as enough; 0: any one

        Returns
        -------
        by group, ascending; groups without a text that it has enough of are left out

        Cost: O(h log h) for the h texts that hold the n-grams, of which there are no more than words in all of them.
        """
        starts = self.offsets[numbers]
        held = self.holders[concatenate_ranges(starts, self.offsets[numbers + 1] - starts)]
        texts, shared = np.unique(held, return_counts=True)
        rates = shared / self.different[texts]
        texts, rates = texts[rates >= min_rate], rates[rates >= min_rate]
        found: dict[int, Overlap] = {}
        for group in np.unique(groups[texts]).tolist():
            own = groups[texts] == group
            best = int(np.argmax(rates[own]))
            found[group] = Overlap(int(texts[own][best]), float(rates[own][best]), tuple(texts[own].tolist()))
        return found

    def longest_shared_span(self, text: int, numbers: Positions) -> str:
        """The longest run of words of an evaluation text all of whose n-grams are among ``numbers``, the first such.

        >>> ngrams = NgramIndex.from_texts(["a b c d e f g"], length=3, min_words=3)
        >>> ngrams.longest_shared_span(0, ngrams.find(["a b c, c d e f"])[1])
        'c d e f'
        """
        sequence = self.sequence[self.begins[text] : self.begins[text + 1]]
        inside = np.concatenate(([0], np.isin(sequence, numbers).astype(np.int8), [0]))
        starts, ends = np.flatnonzero(np.diff(inside) == 1), np.flatnonzero(np.diff(inside) == -1)
        longest = int(np.argmax(ends - starts))
        last = int(ends[longest]) - 1 + int(self.length[sequence[0]])
        return " ".join(self.words[text][int(starts[longest]) : last])


def match_embeddings(x: Matrix, among: Matrix, min_similarity: float) -> tuple[Matrix, Positions, Positions32]:
    """The most similar row of ``among`` for each row of ``x``.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    among : (m, d) float32, rows of unit length, m at least 1
    min_similarity : cosine from which two rows count as similar

    Returns
    -------
    similarity : (n,) float32, at most 1
    place : (n,) which row it is, ties to the first
    similar : (n,) int32, how many are similar

    Cost: O(n m d) time; memory O(n), and 16 MiB a thread.

    >>> x = np.eye(2, dtype=np.float32)
    >>> [found.tolist() for found in match_embeddings(x, x[[1, 0, 1]], 0.5)]
    [[1.0, 1.0], [1, 0], [1, 2]]
    """
    best = np.full(len(x), -np.inf, np.float32)
    place, similar = np.zeros(len(x), np.int64), np.zeros(len(x), np.int32)

    def use(similarities: Matrix, rows: slice, columns: slice) -> None:
        similar[rows] += (similarities >= min_similarity).sum(axis=1, dtype=np.int32)
        at = similarities.argmax(axis=1)
        values = similarities[np.arange(len(at)), at]
        nearer = values > best[rows]
        best[rows] = np.where(nearer, values, best[rows])
        place[rows] = np.where(nearer, at + columns.start, place[rows])

    for_each_product(x, among, use)
    return np.minimum(best, np.float32(1)), place, similar
