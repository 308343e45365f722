"""Word windows that occur more than once in many texts, found by their hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from curate.kernels.neighbors.hash_index import HashIndex
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.shingles import hash_shingles
from curate.kernels.text.word_tokens import word_spans
from curate.kernels.types import Counts, Hashes, Positions, Positions32

Blocks = Callable[[], Iterable[Sequence[str]]]
"""Function that starts another pass over texts and returns blocks of them."""

Result = TypeVar("Result")

_CHARACTERS = 1 << 18  # characters in a block
_WINDOWS = 1 << 20  # stored windows in a block
_MAX_HASHES = 1 << 27  # hashes in memory: 1 GiB
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LARGEST = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class RepeatedWindows:
    """Positions of the windows, which are runs of ``length`` words, that occur more than once in n texts."""

    length: int
    words: Counts
    """Number of words of each text (n,); 1 if it is blank."""

    starts: Positions32
    """Word positions of the windows in text i are ``starts[offsets[i]:offsets[i + 1]]``, ascending."""

    numbers: Positions
    """Number of each window, below ``n_distinct``; equal for equal windows only."""

    n_distinct: int
    offsets: Positions
    """Offsets of the texts (n + 1,)."""

    def get(self, text: int) -> tuple[Positions32, Positions]:
        """Return the starts and the numbers of the windows of one text."""
        entries = slice(self.offsets[text], self.offsets[text + 1])
        return self.starts[entries], self.numbers[entries]

    def added_words(self, starts: Positions32) -> Positions:
        """Count the words that each of some windows of one text adds: those before the next of them begins.

        Examples
        --------
        >>> windows = RepeatedWindows(3, *[np.zeros(1, np.int64)] * 3, 1, np.array([0, 1]))
        >>> windows.added_words(np.array([2, 3, 9])).tolist()
        [1, 3, 3]
        """
        lengths: Positions = np.full(len(starts), self.length, np.int64)
        np.minimum(np.diff(starts), self.length, out=lengths[:-1])
        return lengths


def find_repeated_windows(texts: Blocks, length: int) -> RepeatedWindows:
    """Find every window that occurs more than once, in different texts or within one.

    The windows of a longer repeated run overlap.

    Words are those of ``hash_shingles``: case is ignored, punctuation matters, and a character of a script without
    blanks is a word. A first pass finds the hashes of more than one window. A second pass finds the windows with those
    hashes, and separates collisions by a second hash.

    Parameters
    ----------
    texts : function that starts a pass over n texts; each pass returns the same texts
    length : number of words in a window, at least 2; shorter texts have none

    Notes
    -----
    Cost: O(w log length) time for w words, and two passes. Memory: some 60 bytes a character of the longest text; 16
    bytes a word, but at most 2 GiB, for which the first pass is repeated for each 2²⁷ distinct windows; 60 bytes for
    each distinct repeated window, and 40 for each position.

    Guarantee: the same on every machine, for any blocks; none is missed. Two windows are confused if both hashes are
    equal: with probability 2⁻⁶⁴ if they differ in one word, and about 2⁻¹²⁶ if in more, unless an adversary constructs
    a collision.

    References
    ----------
    Runs of equal tokens, by a suffix array: Lee et al. (2022), arXiv:2107.06499, section 4.1 (ExactSubstr). Hashes of
    long runs from those of runs half as long: Karp, Miller & Rosenberg (1972), doi:10.1145/800152.804905.

    Examples
    --------
    >>> windows = find_repeated_windows(lambda: [["a b c d x", "y A b  c d"], ["b c d"]], 3)
    >>> [[part.tolist() for part in windows.get(text)] for text in range(3)]
    [[[0, 1], [0, 1]], [[1, 2], [0, 1]], [[0], [1]]]
    """
    repeated_hashes = _repeated_hashes(
        lambda: _map_texts(
            texts, lambda words, offsets: _hash_windows(words, _window_positions(offsets, length), length, 0)
        )
    )
    lookup = HashIndex.from_keys(repeated_hashes)

    def find_windows(words: Hashes, offsets: Positions) -> tuple[Positions, Positions, Positions32, Positions, Hashes]:
        """Return the numbers of words and windows of each text, and the start and both hashes of each window."""
        positions = _window_positions(offsets, length)
        hash_ids = lookup.find(_hash_windows(words, positions, length, 0))
        positions, hash_ids = positions[hash_ids >= 0], hash_ids[hash_ids >= 0]
        counts = np.diff(np.searchsorted(positions, offsets))
        starts = (positions - np.repeat(offsets[:-1], counts)).astype(np.int32)
        return np.diff(offsets), counts, starts, hash_ids, _hash_windows(words, positions, length, 1)

    numbering = _WindowNumbers(len(repeated_hashes))
    results: list[tuple[Positions, Positions, Positions32, Positions]] = [
        (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
    ]
    for sizes, counts, starts, hash_ids, second_hashes in _map_texts(texts, find_windows):
        results.append((sizes, counts, starts, numbering.assign(hash_ids, second_hashes)))
    words, counts, starts, numbers = (np.concatenate(columns) for columns in zip(*results, strict=True))
    repeated = np.bincount(numbers, minlength=numbering.n_distinct)[numbers] > 1
    ends = np.cumsum(np.concatenate(([0], counts)))
    offsets = np.concatenate(([0], np.cumsum(repeated)))[ends]
    return RepeatedWindows(length, words, starts[repeated], numbers[repeated], numbering.n_distinct, offsets)


@dataclass(frozen=True, slots=True)
class WindowHashes:
    """Hashes of all windows of n texts, from which ``find_repeated_windows`` can be answered without the texts."""

    words: Counts
    """Number of words of each text (n,); 1 if it is blank."""

    offsets: Positions
    """Offsets of the texts (n + 1,) in ``first`` and ``second``."""

    first: Hashes
    """First hash of each window, (m,); window j of a text begins at its word j."""

    second: Hashes
    """Second hash of each window, (m,)."""

    @classmethod
    def from_texts(cls, texts: Blocks, length: int) -> WindowHashes:
        """Hash the windows of texts in one pass; see ``find_repeated_windows``.

        Examples
        --------
        >>> WindowHashes.from_texts(lambda: [["a b c d", "e"]], 3).offsets.tolist()
        [0, 2, 2]
        """

        def hash_block(words: Hashes, offsets: Positions) -> tuple[Positions, Hashes, Hashes]:
            positions = _window_positions(offsets, length)
            first, second = (_hash_windows(words, positions, length, seed) for seed in (0, 1))
            return np.diff(offsets), first, second

        none = np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        parts = [none, *_map_texts(texts, hash_block)]
        words, first, second = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        counts = np.maximum(words - length + 1, 0)
        return cls(words, np.cumsum(np.concatenate(([0], counts))), first, second)

    def find_repeated(self, length: int) -> RepeatedWindows:
        """Find every window that occurs more than once, as ``find_repeated_windows`` does.

        Notes
        -----
        Cost: O(m log m) for m windows. Memory: 16 bytes a window, but at most 2 GiB, for which there are several
        passes; 60 bytes for each distinct repeated window, and 40 for each of its positions.

        Examples
        --------
        >>> windows = WindowHashes.from_texts(lambda: [["a b c d", "x a b c"]], 3).find_repeated(3)
        >>> windows.starts.tolist(), windows.numbers.tolist(), windows.offsets.tolist()
        ([0, 1], [0, 0], [0, 1, 2])
        """
        slices = list(block_slices(len(self.first), _WINDOWS))
        repeated_hashes = _repeated_hashes(lambda: (self.first[block] for block in slices))
        lookup, numbering = HashIndex.from_keys(repeated_hashes), _WindowNumbers(len(repeated_hashes))
        parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        for block in slices:
            hash_ids = lookup.find(self.first[block])
            hits = np.flatnonzero(hash_ids >= 0)
            parts.append((block.start + hits, numbering.assign(hash_ids[hits], self.second[block][hits])))
        positions, numbers = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        repeated = np.bincount(numbers, minlength=numbering.n_distinct)[numbers] > 1
        positions, numbers = positions[repeated], numbers[repeated]
        starts = positions - self.offsets[np.searchsorted(self.offsets, positions, "right") - 1]
        offsets = np.searchsorted(positions, self.offsets)
        return RepeatedWindows(length, self.words, starts.astype(np.int32), numbers, numbering.n_distinct, offsets)


def find_repeated_spans(windows: RepeatedWindows) -> tuple[Positions, Positions, Positions]:
    """Find the longest spans of words whose windows all occurred before, in an earlier text or in the same one.

    Within a text, a window occurred before if it occurs there twice without overlapping itself: in "ha ha ha …" the
    first window is not a copy.

    Parameters
    ----------
    windows : repeated windows of n texts

    Returns
    -------
    texts, firsts, ends : (r,) int64 each, ascending: span i is in text ``texts[i]``, from word ``firsts[i]`` to the
        word before ``ends[i]``

    Notes
    -----
    Cost: O(s) for s window positions.

    Guarantee: every word of such a span has a copy outside of all of them.

    Examples
    --------
    >>> texts = ["a b c d", "x a b c d y", "ha ha ha ha ha ha ha"]
    >>> [part.tolist() for part in find_repeated_spans(find_repeated_windows(lambda: [texts], 3))]
    [[1, 2], [1, 3], [5, 7]]
    """
    texts, starts = _copied_windows(windows)
    return _join_windows(texts, starts, windows.length)


def find_spans_with_earlier(
    windows: WindowHashes, length: int, earlier: tuple[Hashes, Hashes]
) -> tuple[Positions, Positions, Positions]:
    """Find the longest spans of words whose windows all occurred before, in these texts or in others before them.

    Parameters
    ----------
    windows : windows of n texts
    length : number of words in a window
    earlier : both hashes (k,) of the windows of these texts that occur in earlier texts, distinct

    Returns
    -------
    texts, firsts, ends : see ``find_repeated_spans``

    Notes
    -----
    Cost: O(m log m) for m windows; memory as for ``WindowHashes.find_repeated``.

    Guarantee: the spans of all texts are those of ``find_repeated_spans``, however the texts are divided.

    Examples
    --------
    >>> first, second = (WindowHashes.from_texts(lambda text=text: [[text]], 3) for text in ("a b c d", "x a b c d y"))
    >>> seen = first.first, first.second
    >>> [part.tolist() for part in find_spans_with_earlier(second, 3, seen)]
    [[0], [1], [5]]
    """
    order = np.lexsort((earlier[1], earlier[0]))
    firsts, seconds = earlier[0][order], earlier[1][order]
    lookup = HashIndex.from_keys(np.unique(firsts))
    seen = [np.zeros(0, np.int64)]
    for block in block_slices(len(windows.first) if len(firsts) else 0, _WINDOWS):
        hits = block.start + np.flatnonzero(lookup.find(windows.first[block]) >= 0)
        low, high = (np.searchsorted(firsts, windows.first[hits], side) for side in ("left", "right"))
        is_seen = seconds[low] == windows.second[hits]
        for hit in np.flatnonzero(high - low > 1).tolist():  # windows that share the first hash
            is_seen[hit] = windows.second[hits[hit]] in seconds[low[hit] : high[hit]]
        seen.append(hits[is_seen])
    texts, starts = _copied_windows(windows.find_repeated(length))
    positions = np.union1d(windows.offsets[texts] + starts, np.concatenate(seen))
    texts = np.searchsorted(windows.offsets, positions, "right") - 1
    return _join_windows(texts, positions - windows.offsets[texts], length)


def _copied_windows(windows: RepeatedWindows) -> tuple[Positions, Positions]:
    """Return the text and the start of each window that occurred before."""
    n_windows = len(windows.starts)
    first_positions = np.zeros(windows.n_distinct, np.int64)
    first_positions[windows.numbers[::-1]] = np.arange(n_windows)[::-1]  # for duplicates, the last assignment wins
    texts = np.repeat(np.arange(len(windows.words)), np.diff(windows.offsets))
    starts, first_of_window = windows.starts.astype(np.int64), first_positions[windows.numbers]
    is_copy = (texts != texts[first_of_window]) | (starts >= starts[first_of_window] + windows.length)
    return texts[is_copy], starts[is_copy]


def _join_windows(texts: Positions, starts: Positions, length: int) -> tuple[Positions, Positions, Positions]:
    """Join windows that overlap or touch to spans."""
    is_gap = (np.diff(texts) > 0) | (np.diff(starts) > length)
    is_start = np.concatenate((np.ones(1, np.bool_), is_gap))[: len(starts)]
    ends = np.concatenate((is_gap, np.ones(1, np.bool_)))[-len(starts) :] if len(starts) else is_start
    return texts[is_start], starts[is_start], starts[ends] + length


def remove_spans(text: str, spans: Iterable[tuple[int, int]]) -> str:
    r"""Remove spans of words from a text, together with the white space after them.

    Parameters
    ----------
    text : the text
    spans : first word and end of each span, ascending

    Returns
    -------
    the remaining text

    Examples
    --------
    >>> remove_spans("one, two three\n four", [(1, 3)])
    'one, four'
    """
    word_positions, parts, position = word_spans(text), [], 0
    for first, end in spans:
        parts.append(text[position : word_positions[first][0]])
        position = word_positions[end][0] if end < len(word_positions) else len(text)
    return "".join([*parts, text[position:]])


def _map_texts(texts: Blocks, work: Callable[[Hashes, Positions], Result]) -> Iterator[Result]:
    """Apply ``work`` to blocks of texts, given as word hashes and the offset of each text."""
    blocks = (block[piece] for block in texts() for piece in text_blocks(block, _CHARACTERS))
    return map_blocks(lambda piece: work(*hash_shingles([text.lower() for text in piece], 1, "word")), blocks)


def _window_positions(offsets: Positions, length: int) -> Positions:
    """Return the word positions where a window begins that lies within one text."""
    return concatenate_ranges(offsets[:-1], np.maximum(np.diff(offsets) - length + 1, 0))


def _hash_windows(words: Hashes, positions: Positions, length: int, seed: int) -> Hashes:
    """Hash the window at each position; each seed gives another hash."""
    if not len(positions):
        return np.zeros(0, np.uint64)
    size, hashes = 1, mix_bits(words + np.uint64(seed))
    while size < length:
        step = min(size, length - size)
        hashes = mix_bits(hashes[:-step] * _GOLDEN + hashes[step:])
        size += step
    return hashes[positions]


def _repeated_hashes(start_pass: Callable[[], Iterator[Hashes]]) -> Hashes:
    """Return the hashes that occur more than once, ascending, in as many passes as needed: one range per pass."""
    low, high = 0, _LARGEST
    results = [np.zeros(0, np.uint64)]
    while low <= _LARGEST:
        distinct, pending, count = np.zeros(0, np.uint64), [np.zeros(0, np.uint64)], 0
        for hashes in start_pass():
            pending.append(hashes[(hashes >= np.uint64(low)) & (hashes <= np.uint64(high))])
            count += len(pending[-1])
            if len(distinct) + count > _MAX_HASHES:
                distinct, pending, count = _limit_to_two(distinct, *pending), [], 0
                while low == 0 and len(distinct) > _MAX_HASHES // 2:
                    high //= 2
                    distinct = distinct[: np.searchsorted(distinct, np.uint64(high), "right")]
        distinct = _limit_to_two(distinct, *pending)
        results.append(distinct[1:][distinct[1:] == distinct[:-1]])
        low, high = high + 1, 2 * high + 1 - low
    return np.concatenate(results)


def _limit_to_two(*parts: Hashes) -> Hashes:
    """Concatenate and sort hashes, and keep each at most twice."""
    hashes = np.concatenate(parts)
    hashes.sort()
    is_kept = np.ones(len(hashes), np.bool_)
    is_kept[2:] = hashes[2:] != hashes[:-2]
    return hashes[is_kept]


class _WindowNumbers:
    """Numbering of windows by the index of one hash, and by a second hash if two windows share the first."""

    def __init__(self, k: int) -> None:
        self._second_hashes = np.zeros(k, np.uint64)
        self._is_known = np.zeros(k, np.bool_)
        self._collisions: dict[tuple[int, int], int] = {}

    @property
    def n_distinct(self) -> int:
        return len(self._second_hashes) + len(self._collisions)

    def assign(self, hash_ids: Positions, second_hashes: Hashes) -> Positions:
        """Return equal numbers for windows of the same two hashes."""
        is_new = ~self._is_known[hash_ids]
        self._second_hashes[hash_ids[is_new]] = second_hashes[is_new]
        self._is_known[hash_ids[is_new]] = True
        numbers = hash_ids.copy()
        for window in np.flatnonzero(self._second_hashes[hash_ids] != second_hashes).tolist():
            key = int(hash_ids[window]), int(second_hashes[window])
            numbers[window] = self._collisions.setdefault(key, self.n_distinct)
        return numbers
