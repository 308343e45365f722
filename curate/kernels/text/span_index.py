"""Finds the runs of words that stand more than once in many texts, by the hashes of their windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from curate.kernels.neighbors.hash_index import HashIndex
from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.shingles import hash_shingles
from curate.kernels.text.word_tokens import word_spans
from curate.kernels.types import Counts, Hashes, Positions, Positions32

Blocks = Callable[[], Iterable[Sequence[str]]]
"""Starts another pass over texts; gives some after the others."""

R = TypeVar("R")

_CHARACTERS = 1 << 18  # taken apart at once
_AT_ONCE = 1 << 27  # hashes that are held: 1 GiB
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LARGEST = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class RepeatedWindows:
    """Where those windows stand, which are runs of ``length`` words, that n texts have more than once between them."""

    length: int
    words: Counts
    """(n,) how many each text has; 1 if it is blank."""

    starts: Positions32
    """The words at which such windows begin in text i are ``starts[offsets[i]:offsets[i + 1]]``, ascending."""

    numbers: Positions
    """Equal windows have the same number, and others another; below ``kinds``."""

    kinds: int
    offsets: Positions
    """(n + 1,)"""

    def get(self, text: int) -> tuple[Positions32, Positions]:
        """The starts and the numbers of one text's."""
        own = slice(self.offsets[text], self.offsets[text + 1])
        return self.starts[own], self.numbers[own]

    def covered(self, starts: Positions32) -> Positions:
        """How many words each of some windows of one text adds: those before the next of them begins.

        >>> RepeatedWindows(3, *[np.zeros(1, np.int64)] * 3, 1, np.array([0, 1])).covered(np.array([2, 3, 9])).tolist()
        [1, 3, 3]
        """
        lengths: Positions = np.full(len(starts), self.length, np.int64)
        np.minimum(np.diff(starts), self.length, out=lengths[:-1])
        return lengths


def find_repeated_windows(texts: Blocks, length: int) -> RepeatedWindows:
    """Every window that stands more than once, in two texts or in one: those of a longer run that is repeated overlap.

    What is a word, ``hash_shingles`` says: capitals make no difference, punctuation does, and a character of a script
    without blanks is a word. A first pass finds the hashes that more than one window has. A second finds the windows of
    those hashes, and tells them apart by another hash.

    Parameters
    ----------
    texts : of n texts; each pass gives the same ones
    length : words in a window, at least 2; a shorter text has none

    Cost: O(w log length) time for w words, and two passes. Memory: some 60 bytes a character of the longest text; 16
    bytes a word, but no more than 2 GiB, for which the first pass is made again for each 2²⁷ different windows; 60
    bytes for each different window that is repeated, and 40 for each place where one stands.
    Guarantee: the same on every machine, for any blocks; none is missed. Two windows are taken for the same if both
    hashes are equal: with a probability of 2⁻⁶⁴ if they differ in one word, and of about 2⁻¹²⁶ if in more, where nobody
    means them to.

    References
    ----------
    Runs of equal tokens, by a suffix array: Lee et al. (2022), arXiv:2107.06499, section 4.1 (ExactSubstr). Hashes of
    long runs from those of runs half as long: Karp, Miller & Rosenberg (1972), doi:10.1145/800152.804905.

    >>> windows = find_repeated_windows(lambda: [["a b c d x", "y A b  c d"], ["b c d"]], 3)
    >>> [[part.tolist() for part in windows.get(text)] for text in range(3)]
    [[[0, 1], [0, 1]], [[1, 2], [0, 1]], [[0], [1]]]
    """
    several = _several(lambda: _each(texts, lambda words, offsets: _hashes(words, _whole(offsets, length), length, 0)))
    lookup = HashIndex.from_keys(several)

    def find(words: Hashes, offsets: Positions) -> tuple[Positions, Positions, Positions32, Positions, Hashes]:
        """Of each text the words, and how many such windows; of each window its start, the place of its hash, another
        hash.
        """
        places = _whole(offsets, length)
        among = lookup.find(_hashes(words, places, length, 0))
        places, among = places[among >= 0], among[among >= 0]
        counts = np.diff(np.searchsorted(places, offsets))
        starts = (places - np.repeat(offsets[:-1], counts)).astype(np.int32)
        return np.diff(offsets), counts, starts, among, _hashes(words, places, length, 1)

    numbering = _Numbering(len(several))
    found: list[tuple[Positions, Positions, Positions32, Positions]] = [
        (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
    ]
    for sizes, counts, starts, among, second in _each(texts, find):
        found.append((sizes, counts, starts, numbering.of(among, second)))
    words, counts, starts, numbers = (np.concatenate(part) for part in zip(*found, strict=True))
    repeated = np.bincount(numbers, minlength=numbering.kinds)[numbers] > 1
    ends = np.cumsum(np.concatenate(([0], counts)))
    offsets = np.concatenate(([0], np.cumsum(repeated)))[ends]
    return RepeatedWindows(length, words, starts[repeated], numbers[repeated], numbering.kinds, offsets)


def find_repeated_spans(windows: RepeatedWindows) -> tuple[Positions, Positions, Positions]:
    """The longest runs of words all of whose windows came before, in an earlier text or in the same.

    In the same text a window came before if it stands there twice without overlapping itself: of "ha ha ha …" the first
    window is no copy.

    Returns
    -------
    texts, firsts, ends : (r,) int64 each, ascending: run i is of text ``texts[i]``, and from word ``firsts[i]`` to the
        one before ``ends[i]``

    Cost: O(s) for s places where a window stands. Guarantee: every word in such a run has a copy outside of all of
    them.

    >>> texts = ["a b c d", "x a b c d y", "ha ha ha ha ha ha ha"]
    >>> [part.tolist() for part in find_repeated_spans(find_repeated_windows(lambda: [texts], 3))]
    [[1, 2], [1, 3], [5, 7]]
    """
    m = len(windows.starts)
    first = np.zeros(windows.kinds, np.int64)
    first[windows.numbers[::-1]] = np.arange(m)[::-1]  # of equal places, the last that is written
    texts = np.repeat(np.arange(len(windows.words)), np.diff(windows.offsets))
    starts, before = windows.starts.astype(np.int64), first[windows.numbers]
    copies = (texts != texts[before]) | (starts >= starts[before] + windows.length)
    texts, starts = texts[copies], starts[copies]
    apart = (np.diff(texts) > 0) | (np.diff(starts) > windows.length)
    begins = np.concatenate((np.ones(1, np.bool_), apart))[: len(starts)]
    ends = np.concatenate((apart, np.ones(1, np.bool_)))[-len(starts) :] if len(starts) else begins
    return texts[begins], starts[begins], starts[ends] + windows.length


def remove_spans(text: str, some: Iterable[tuple[int, int]]) -> str:
    r"""The text without runs of its words, each told by its first word and the one after its last, ascending.

    What stands between the last of a run and the next word goes too.

    >>> remove_spans("one, two three\n four", [(1, 3)])
    'one, four'
    """
    places, parts, at = word_spans(text), [], 0
    for first, end in some:
        parts.append(text[at : places[first][0]])
        at = places[end][0] if end < len(places) else len(text)
    return "".join([*parts, text[at:]])


def _each(texts: Blocks, work: Callable[[Hashes, Positions], R]) -> Iterator[R]:
    """What ``work`` gives for some texts after the others, told by the hash of each word and where each text begins."""
    some = (block[piece] for block in texts() for piece in text_blocks(block, _CHARACTERS))
    return map_blocks(lambda piece: work(*hash_shingles([text.lower() for text in piece], 1, "word")), some)


def _whole(offsets: Positions, length: int) -> Positions:
    """The words at which a window begins that is within one text."""
    return concatenate_ranges(offsets[:-1], np.maximum(np.diff(offsets) - length + 1, 0))


def _hashes(words: Hashes, places: Positions, length: int, seed: int) -> Hashes:
    """A hash of the window at each of some places; another for another seed."""
    if not len(places):
        return np.zeros(0, np.uint64)
    size, hashes = 1, mix_bits(words + np.uint64(seed))
    while size < length:
        step = min(size, length - size)
        hashes = mix_bits(hashes[:-step] * _GOLDEN + hashes[step:])
        size += step
    return hashes[places]


def _several(passes: Callable[[], Iterator[Hashes]]) -> Hashes:
    """The hashes that come more than once, ascending, as many passes as it takes: in each, those of a range."""
    first, last = 0, _LARGEST
    found = [np.zeros(0, np.uint64)]
    while first <= _LARGEST:
        held, more, count = np.zeros(0, np.uint64), [np.zeros(0, np.uint64)], 0
        for hashes in passes():
            more.append(hashes[(hashes >= np.uint64(first)) & (hashes <= np.uint64(last))])
            count += len(more[-1])
            if len(held) + count > _AT_ONCE:
                held, more, count = _twice_at_most(held, *more), [], 0
                while first == 0 and len(held) > _AT_ONCE // 2:
                    last //= 2
                    held = held[: np.searchsorted(held, np.uint64(last), "right")]
        held = _twice_at_most(held, *more)
        found.append(held[1:][held[1:] == held[:-1]])
        first, last = last + 1, 2 * last + 1 - first
    return np.concatenate(found)


def _twice_at_most(*parts: Hashes) -> Hashes:
    """All of them, ascending, each no more than twice."""
    hashes = np.concatenate(parts)
    hashes.sort()
    kept = np.ones(len(hashes), np.bool_)
    kept[2:] = hashes[2:] != hashes[:-2]
    return hashes[kept]


class _Numbering:
    """Numbers windows by the place of one hash among k, and by another hash where two share the first."""

    def __init__(self, k: int) -> None:
        self._second = np.zeros(k, np.uint64)
        self._known = np.zeros(k, np.bool_)
        self._others: dict[tuple[int, int], int] = {}

    @property
    def kinds(self) -> int:
        return len(self._second) + len(self._others)

    def of(self, place: Positions, second: Hashes) -> Positions:
        """The same number for windows of the same two hashes."""
        new = ~self._known[place]
        self._second[place[new]] = second[new]
        self._known[place[new]] = True
        numbers = place.copy()
        for window in np.flatnonzero(self._second[place] != second).tolist():
            both = int(place[window]), int(second[window])
            numbers[window] = self._others.setdefault(both, self.kinds)
        return numbers
