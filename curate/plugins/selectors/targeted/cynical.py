"""Cynical selection: the texts that lower the cross-entropy of the target most, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Le

from curate.errors import DataError
from curate.kernels.text.ngram_ids import find_ngrams
from curate.kernels.text.normalized_words import normalize_words
from curate.kernels.text.unigram_selection import WordCounts, select_by_cross_entropy
from curate.kernels.types import Counts, Hashes, Texts
from curate.plugins.batches import Pool, TargetRows, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def count_words(texts: Texts, vocabulary: Hashes) -> WordCounts:
    """Count the words of a vocabulary (v,), ascending, in each text."""
    parts = [(np.empty(0, np.int64),) * 4, *(_count_block(block, vocabulary) for block in texts.blocks())]
    sizes, words, counts, lengths = (np.concatenate(column) for column in zip(*parts, strict=True))
    return WordCounts(np.concatenate([[0], np.cumsum(sizes)]), words, counts, lengths)


def _count_block(texts: Sequence[str], vocabulary: Hashes) -> tuple[Counts, ...]:
    """Return the number of distinct known words of each text, these words, their counts, and the lengths."""
    hashes, offsets = normalize_words(texts)
    lengths = np.diff(offsets)
    numbers = find_ngrams(vocabulary, None, hashes, 0)
    known = numbers >= 0
    rows = np.repeat(np.arange(len(texts)), lengths)[known]
    keys, counts = np.unique(rows * len(vocabulary) + numbers[known], return_counts=True)
    return np.bincount(keys // len(vocabulary), minlength=len(texts)), keys % len(vocabulary), counts, lengths


@selector(
    version=1,
    scope="pool",
    reads={"text", "target"},
    prefix=True,
    random=False,
    cost="O(characters + n k) with lazy evaluation",
    guarantee="the same rows as without lazy evaluation",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Cynical:
    """Add, one after another, the row that lowers the cross-entropy of the target texts most.

    The selection as a bag of words becomes like the target: each row adds words of the target that the selection still
    lacks, and words that the target lacks count against it. Unlike a score (``cross_entropy_difference``, ``dsir``), it
    does not add the same words again and again. Use it for a vocabulary to be covered with few rows. Needs a section
    ``target``.

    The gain of a row is the decrease of the cross-entropy, in nats a word. It becomes negative when more rows only
    dilute the selection, where the published method stops; here, the budget is selected, so look for the sign in the
    column ``gain``. Short rows are preferred then. Memory: 24 bytes for each distinct word of a row that the target
    has.

    Words are those of ``perplexity``: in lower case, with all digits equal, every mark or symbol a word.

    Notes
    -----
    Deviations: all words of the target are distinct, where the paper merges those of similar frequency to save time.

    References
    ----------
    Axelrod (2017), "Cynical Selection of Language Model Training Data", arXiv:1709.02279.
    """

    smoothing: Annotated[float, Gt(0), Le(1e6)] = 0.01
    """Number of times that the selection is assumed to have each word of the target in the beginning: with smaller
    values, the first rows are those with many different words."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        target: TargetRows = require(pool.target)
        vocabulary, counts = np.unique(normalize_words(require(target.texts))[0], return_counts=True)
        if not len(vocabulary):
            raise DataError("cynical: the target texts have no words", hint="add target rows with texts")
        texts = count_words(require(pool.texts), vocabulary)
        rows, gains = select_by_cross_entropy(texts, counts / counts.sum(), budget, self.smoothing)
        return Selection(rows, gains.astype(np.float32), reasons=("lowers the cross-entropy less than the kept rows",))
