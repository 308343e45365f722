"""Repeated spans: rows are dropped if most of their text occurs, in long spans, in kept rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le

from curate.kernels.arrow_lists import split_lists
from curate.kernels.neighbors.retention import Retention
from curate.kernels.text.span_index import RepeatedWindows, WindowHashes, find_repeated_windows
from curate.kernels.types import Hashes, Rows, Texts, Vector
from curate.plugins.batches import Pool, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

Keep = Literal["first", "best_quality"]


def repeated_spans(texts: Texts, quality: Vector, *, min_words: int, min_repeated_rate: float) -> tuple[Rows, Vector]:
    """Run substring deduplication by rows: drop a text if enough of its words are in spans of kept texts.

    A span is a run of at least ``min_words`` words that two texts have in common. Texts are processed in order of
    quality, ties to the lowest index, and each is compared with all texts kept before it together.

    Parameters
    ----------
    texts : n texts
    quality : (n,) float32, higher = keep
    min_words : at least 2
    min_repeated_rate : in (0, 1], the share of a text's words from which it is dropped

    Returns
    -------
    representative : (n,) for a dropped text, the kept text that most of those words are attributed to, ties to the
        lowest index; a word is attributed to the first kept text with the window of ``min_words`` words that contains
        it, of several windows the one that begins last; -1 for kept texts
    repeated : (n,) float32 in [0, 1], share of each text's words in spans of the texts kept before it

    Notes
    -----
    Cost: see ``find_repeated_windows``, and O(s) for s positions of repeated windows: linear for any text;
    some 20 µs for each text with repeated windows.

    Guarantee: no word counts as repeated unless a kept text has the span; spans that only dropped texts have do not
    count. Kept texts have less than ``min_repeated_rate`` of their words in spans of those kept before them.

    Deviations: words, not BPE tokens; rows are dropped, spans are not removed from them; a span that a text contains
    twice does not count; the share is of words, and exact hashes are used instead of a Bloom filter, which has false
    positives.

    References
    ----------
    Lee et al. (2022), arXiv:2107.06499, section 4.1 (ExactSubstr). Documents dropped by the share of n-grams that
    occurred before: Li et al. (2024), DataComp-LM, arXiv:2406.11794 (its Bloom filter: n-grams of 13 words, share 0.8).

    Examples
    --------
    >>> texts = Texts.from_list(["a b c d", "x a b c d", "a b c y z w v", "y z w v"])
    >>> quality = np.zeros(4, np.float32)
    >>> representative, repeated = repeated_spans(texts, quality, min_words=3, min_repeated_rate=0.5)
    >>> representative.tolist(), [round(float(rate), 2) for rate in repeated]
    ([-1, 0, -1, 2], [0.0, 0.8, 0.43, 1.0])
    """
    return link_windows(find_repeated_windows(texts.blocks, min_words), quality, min_repeated_rate)


def link_windows(windows: RepeatedWindows, quality: Vector, min_repeated_rate: float) -> tuple[Rows, Vector]:
    """Drop a text if enough of its words are in repeated windows of kept texts; see ``repeated_spans``."""
    n = len(windows.words)
    representative, repeated = np.full(n, -1, np.intp), np.zeros(n, np.float32)
    owner_of_window = np.full(windows.n_distinct, -1, np.intp)  # first kept row with each window
    order = np.argsort(-quality, kind="stable")
    for row in order[np.diff(windows.offsets)[order] > 0].tolist():
        starts, numbers = windows.get(row)
        owners = owner_of_window[numbers]
        is_owned = owners >= 0
        if is_owned.any():
            n_added = windows.added_words(starts[is_owned])
            repeated_rate = n_added.sum() / windows.words[row]
            repeated[row] = repeated_rate
            if repeated_rate >= min_repeated_rate:
                rows, positions = np.unique(owners[is_owned], return_inverse=True)
                representative[row] = rows[np.argmax(np.bincount(positions, n_added))]
                continue
        owner_of_window[numbers[~is_owned]] = row
    return representative, repeated


@selector(
    version=1,
    scope="sketch",
    reads={"text", "quality"},
    budgeted=False,
    equivariant=True,
    random=False,
    cost="O(w log min_words) for w words",
    guarantee="all counted spans of a dropped row are in kept rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedSpans:
    """Drop rows most of whose text repeats long spans of kept rows.

    Use it for texts that MinHash misses: a text within a longer one, or one composed of others. To remove the spans and
    keep the rows, use ``export.remove_repeated_spans``. A text of fewer than ``min_words`` words is always kept: use
    ``exact_duplicates`` for those.

    All kept rows before a row count together; dropped rows do not count. A dropped row names the kept row that most of
    it is attributed to, and its similarity is the share of its words in spans of kept rows. Case and the kind and
    amount of white space are ignored; punctuation is not. A character of a script written without blanks, such as
    Chinese, Japanese or Thai, counts as a word.

    The gain of a kept row is the share of its words that are not in such spans.

    References
    ----------
    Lee et al. (2022), arXiv:2107.06499, section 4.1 (ExactSubstr, which removes spans of 50 BPE tokens); Penedo et al.
    (2023), RefinedWeb, arXiv:2306.01116, section 3.3 (the same); Li et al. (2024), DataComp-LM, arXiv:2406.11794 (drops
    documents from a share of 0.8).
    """

    min_words: Annotated[int, Ge(2), Le(10_000)] = 50
    """Number of words from which a run counts as a span; published for BPE tokens, of which English has four per three
    words."""

    min_repeated_rate: Annotated[float, Gt(0), Le(1)] = 0.8
    """Share of a row's words in spans of kept rows from which it is dropped."""

    keep: Keep = "best_quality"
    """Row to keep: that of best quality, ties to the first in the pool, or the first."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        representative, repeated = repeated_spans(
            require(pool.texts),
            pool.quality if self.keep == "best_quality" else np.zeros_like(pool.quality),
            min_words=self.min_words,
            min_repeated_rate=self.min_repeated_rate,
        )
        return self._selection(representative, repeated)

    def _selection(self, representative: Rows, repeated: Vector) -> Selection:
        similarity = np.where(representative < 0, np.nan, repeated).astype(np.float32)
        retention = Retention("share of words repeated", self.min_repeated_rate, repeated)
        share_text, run_text = f"{100 * self.min_repeated_rate:g} %", f"spans of {self.min_words} or more words"
        reason = f"at least {share_text} of its words are in {run_text} of kept rows"
        return Selection.from_representatives(representative, similarity, 1 - repeated, reason, retention)

    def sketch(self, pool: Pool) -> pa.Table:
        """Return the number of words of each text, and two hashes of each run of ``min_words`` words."""
        windows = WindowHashes.from_texts(require(pool.texts).blocks, self.min_words)
        hashes = (pa.array(windows.first), pa.array(windows.second))
        lists = [pa.LargeListArray.from_arrays(windows.offsets, values) for values in hashes]
        return pa.table([pa.array(windows.words), *lists], names=["words", *_HASHES])

    def keys(self, sketches: pa.Table) -> tuple[Rows, Hashes]:
        """Return the first hash of each run of words."""
        windows = _read_windows(sketches)
        return np.repeat(np.arange(len(windows.words)), np.diff(windows.offsets)), windows.first

    def link(self, sketches: pa.Table, quality: Vector, n_published: int) -> Selection:  # noqa: ARG002
        """Select among sketched rows; published rows are not compared."""
        windows = _read_windows(sketches).find_repeated(self.min_words)
        key = quality if self.keep == "best_quality" else np.zeros_like(quality)
        return self._selection(*link_windows(windows, key, self.min_repeated_rate))


_HASHES = ("first", "second")


def _read_windows(sketches: pa.Table) -> WindowHashes:
    (counts, first), (_, second) = (split_lists(sketches[name].combine_chunks()) for name in _HASHES)
    offsets = np.cumsum(np.concatenate(([0], counts)))
    return WindowHashes(sketches["words"].to_numpy(), offsets, first.to_numpy(), second.to_numpy())
