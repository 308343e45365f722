"""Repeated spans: drop rows most of whose text stands word for word, in long runs, in rows that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.neighbors.retention import Retention
from curate.kernels.text.span_index import find_repeated_windows
from curate.kernels.types import Rows, Texts, Vector
from curate.plugins.batches import Pool, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

First = Literal["first", "best_quality"]


def repeated_spans(texts: Texts, quality: Vector, *, min_words: int, min_repeated_rate: float) -> tuple[Rows, Vector]:
    """Substring deduplication by rows: drop a text if enough of its words are in spans that kept texts have.

    A span is a run of at least ``min_words`` words that two texts have in common. Texts are looked at in order of
    quality, ties to the lowest index, and each is held against all that are kept before it together.

    Parameters
    ----------
    texts : n texts
    quality : (n,) float32, higher = keep
    min_words : at least 2
    min_repeated_rate : in (0, 1], the share of a text's words from which it is dropped

    Returns
    -------
    representative : (n,) for a dropped text, the kept one that most of those words are owed to, ties to the lowest
        index; a word is owed to the first kept text with the window of ``min_words`` words that it is in, of several
        the one that begins last; -1 for kept texts
    repeated : (n,) float32 in [0, 1], the share of each text's words in spans that the kept texts before it have

    Cost: see ``find_repeated_windows``, and O(s) for s places where a repeated window stands: linear in words, whatever they
    are; some 20 µs a text that has one.
    Guarantee: no word counts as repeated unless a kept text has the span; what only dropped texts have does not count.
    Those that are kept have less than ``min_repeated_rate`` of their words in spans of those kept before them.

    References
    ----------
    Lee et al. (2022), arXiv:2107.06499, section 4.1 (ExactSubstr). Documents dropped for the share of n-grams that came
    before: Li et al. (2024), DataComp-LM, arXiv:2406.11794 (its Bloom filter: n-grams of 13 words, share 0.8).

    Deviations: words, not BPE tokens; rows are dropped, not spans cut out of them; a span that a text has twice itself
    does not count; the share is of words, and hashes are held, not a Bloom filter, which takes some for seen that were
    not.

    >>> texts = Texts.from_list(["a b c d", "x a b c d", "a b c y z w v", "y z w v"])
    >>> representative, repeated = repeated_spans(texts, np.zeros(4, np.float32), min_words=3, min_repeated_rate=0.5)
    >>> representative.tolist(), [round(float(rate), 2) for rate in repeated]
    ([-1, 0, -1, 2], [0.0, 0.8, 0.43, 1.0])
    """
    windows = find_repeated_windows(texts.blocks, min_words)
    representative, repeated = np.full(texts.rows, -1, np.intp), np.zeros(texts.rows, np.float32)
    holder = np.full(windows.kinds, -1, np.intp)  # the first kept row that has each window
    order = np.argsort(-quality, kind="stable")
    for row in order[np.diff(windows.offsets)[order] > 0].tolist():
        starts, numbers = windows.get(row)
        holders = holder[numbers]
        held = holders >= 0
        if held.any():
            added = windows.covered(starts[held])
            rate = added.sum() / windows.words[row]
            repeated[row] = rate
            if rate >= min_repeated_rate:
                rows, place = np.unique(holders[held], return_inverse=True)
                representative[row] = rows[np.argmax(np.bincount(place, added))]
                continue
        holder[numbers[~held]] = row
    return representative, repeated


@selector(
    version=1,
    reads={"text", "quality"},
    budgeted=False,
    equivariant=True,
    random=False,
    cost="O(w log min_words) for w words",
    guarantee="a dropped row's spans are in kept rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedSpans:
    """Drop rows of whose text a large share stands, in long runs of the same words, in rows that are kept.

    So it finds what MinHash does not see: a text within a longer one, or one put together from others. All kept rows
    before a row count together; those of a dropped row stand for none. A dropped row names the kept row that most of
    it is owed to, and its similarity is the share of its words that kept rows have. Capitals and the kind and amount of
    white space make no difference; punctuation does. A character of a script written without blanks, such as Chinese,
    Japanese or Thai, counts as a word. A text of fewer than ``min_words`` words is kept, whatever it is: use
    ``exact_duplicates`` for those.

    The gain of a kept row is the share of its words that are not in such spans.

    References
    ----------
    Lee et al. (2022), arXiv:2107.06499, section 4.1 (ExactSubstr, which cuts spans of 50 BPE tokens out); Penedo et al.
    (2023), RefinedWeb, arXiv:2306.01116, section 3.3 (the same); Li et al. (2024), DataComp-LM, arXiv:2406.11794
    (documents dropped from a share of 0.8).
    """

    min_words: Annotated[int, Ge(2), Le(10_000)] = 50
    """Words from which a run counts as a span; published for BPE tokens, of which English has four for three words."""

    min_repeated_rate: Annotated[float, Gt(0), Le(1)] = 0.8
    """Share of a row's words, in spans that kept rows have, from which it is dropped."""

    keep: First = "best_quality"
    """The row that comes first, and is kept: the best, ties to the earliest in the pool, or the earliest."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        representative, repeated = repeated_spans(
            require(pool.texts),
            pool.quality if self.keep == "best_quality" else np.zeros_like(pool.quality),
            min_words=self.min_words,
            min_repeated_rate=self.min_repeated_rate,
        )
        similarity = np.where(representative < 0, np.nan, repeated).astype(np.float32)
        retention = Retention("share of words repeated", self.min_repeated_rate, repeated)
        share, run = f"{100 * self.min_repeated_rate:g} %", f"runs of {self.min_words} words or more"
        reason = f"{share} of its words or more are in {run} that kept rows have"
        return Selection.from_representatives(representative, similarity, 1 - repeated, reason, retention)
