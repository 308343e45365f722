"""DSIR: importance weights of hashed n-grams, between the rows of a task and the pool."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.text.hashed_ngrams import count_ngrams, importance, log_ratio
from curate.kernels.types import Counts, FittedState, Matrix, freeze
from curate.plugins.batches import ScoreBatch, TargetRows, require
from curate.plugins.interfaces import OutputColumn, scorer


@lru_cache(maxsize=2)
def count_once(texts: tuple[str, ...], order: int, buckets: int) -> Counts:
    """Return ``count_ngrams`` of the target, which a process counts once, not for each shard."""
    return freeze(count_ngrams(texts, order, buckets))


@scorer(
    version=1,
    reads={"text", "target"},
    summarizes=True,
    columns=(
        OutputColumn(higher_is_better=True, unit="nats", higher_means="likelier in the target than in the pool"),
        OutputColumn(
            name="mean",
            higher_is_better=True,
            unit="nats",
            range=(-20, 20),
            higher_means="likelier in the target than in the pool, per n-gram",
        ),
    ),
    cost="O(characters), twice",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DSIR:
    """Importance weight of DSIR: how much likelier the words of a text are in the target than in the pool.

    The score is the logarithm of the ratio of two bags of hashed words and word pairs, one of the target rows and one
    of all rows of the pool. With ``{use: gumbel_top_k, quality: dsir}`` rows are drawn with these weights, as
    published, so that the selection is distributed like the target. The weight grows with the length of a text, in
    both directions; the second column is its mean per n-gram, by which ``top_k`` compares texts of any length. With
    fewer than some thousand target rows, use the second column, or ``cross_entropy_difference``, which found more right
    rows in tests (page Evidence). Needs a section ``target``.

    The pool is read twice, to count and to score, on all workers. If a refresh adds rows, the counts of the other
    shards are kept, and all rows are scored again. A text without words has a weight of 0.

    Notes
    -----
    Deviations: no minimum length; the published code drops texts of fewer than 100 words, which is ``{use: where, drop:
    "score_length_words < 100"}`` with the score ``length``. All rows are counted, not at most 10⁹ n-grams.

    References
    ----------
    Xie, Santurkar, Ma & Liang (2023), "Data Selection for Language Models via Importance Resampling", NeurIPS,
    arXiv:2302.03169.
    """

    order: Annotated[int, Ge(1), Le(5)] = 2
    """Number of words in the longest n-grams; shorter ones count too."""

    buckets: Annotated[int, Ge(2), Le(1 << 24)] = 10_000
    """Number of buckets that n-grams are hashed into."""

    smoothing: Annotated[float, Ge(0), Le(1e9)] = 0.0
    """Number added to the count of each bucket; with 0, an n-gram that the target lacks lowers the weight a lot."""

    def summarize(self, batch: ScoreBatch) -> FittedState:
        """Return the number of n-grams in each bucket."""
        return {"counts": count_ngrams(require(batch.texts), self.order, self.buckets)}

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002 - nothing is drawn
        target: TargetRows = require(batch.target)
        wanted = count_once(require(target.texts), self.order, self.buckets)
        ratio = log_ratio(wanted, require(batch.summary)["counts"], self.smoothing)
        sums, counts = importance(require(batch.texts), ratio, self.order)
        return np.stack([sums, sums / np.maximum(counts, 1)], axis=1).astype(np.float32)
