"""Share of the word n-grams of a text that occur in the rows of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.parallel import map_blocks
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.shingles import hash_shingles
from curate.kernels.types import Numbers, Vector
from curate.plugins.batches import ScoreBatch, TargetRows, require
from curate.plugins.interfaces import OutputColumn, scorer


@scorer(
    version=1,
    reads={"text", "target"},
    columns=(
        OutputColumn(
            higher_is_better=True, unit="share", range=(0, 1), higher_means="more n-grams in common with the target"
        ),
    ),
    cost="O(characters)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class NgramOverlap:
    """Share of the word n-grams of a text that occur in any row of the target.

    The simplest baseline for a task: no model, no weights. A short text of common words has a large share by chance, so
    compare it with ``bm25`` or ``dsir``. It also finds near copies of the target rows, with n of 8 or more. Needs a
    section ``target``.

    Words are in lower case, and separated by white space; every character of a script without blanks is a word. A text
    of fewer than n words is one n-gram.

    References
    ----------
    Broder (1997), "On the resemblance and containment of documents", doi:10.1109/SEQUEN.1997.666900: containment.
    """

    ngram_size: Annotated[int, Ge(1), Le(50)] = 2
    """n: number of words in an n-gram."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        target: TargetRows = require(batch.target)
        wanted = np.unique(hash_shingles([text.lower() for text in require(target.texts)], self.ngram_size, "word")[0])
        texts = require(batch.texts)

        def block(rows: slice) -> Numbers:
            hashes, offsets = hash_shingles([text.lower() for text in texts[rows]], self.ngram_size, "word")
            counts = np.diff(offsets)
            owners = np.repeat(np.arange(len(counts)), counts)
            return np.bincount(owners, np.isin(hashes, wanted), len(counts)) / counts

        return np.concatenate([np.empty(0), *map_blocks(block, text_blocks(texts))]).astype(np.float32)
