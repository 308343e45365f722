"""Scorer of the words that a row shares with the rows of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.text.bm25 import TermFrequencies, bm25, count_terms
from curate.kernels.types import FittedState, Matrix
from curate.plugins.batches import ScoreBatch, TargetRows, require
from curate.plugins.interfaces import OutputColumn, scorer


@scorer(
    version=1,
    reads={"text", "target"},
    summarizes=True,
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="nats",
            range=(0, np.inf),
            higher_means="more rare words in common with the target rows on average",
        ),
        OutputColumn(
            name="max",
            higher_is_better=True,
            unit="nats",
            range=(0, np.inf),
            higher_means="more rare words in common with the most similar target row",
        ),
    ),
    cost="O(words m) for m target rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class BM25:
    """BM25 of a row with the texts of a task as queries, the mean and the largest one: rare words in common.

    The baseline of search engines for ``rds_plus`` and ``less``; it needs no model. Words are lowercase, without
    punctuation and without stemming. Rare words are those of few rows of the pool. A long target text shares more words
    than a short one, and so counts more. Needs a section ``target``.

    References
    ----------
    Robertson & Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond", Foundations and Trends in
    Information Retrieval 3(4).
    """

    k1: Annotated[float, Ge(0), Le(100)] = 1.2
    """Saturation of repeated words: 0 counts a word once."""

    b: Annotated[float, Ge(0), Le(1)] = 0.75
    """Share of the length normalization: with 0, long rows have larger scores."""

    def summarize(self, batch: ScoreBatch) -> FittedState:
        """Return the number of texts, of their words, and of texts with each term of the target."""
        target: TargetRows = require(batch.target)
        counts = count_terms(require(batch.texts), require(target.texts))
        return {"counts": np.array([counts.texts, counts.words, *counts.with_term])}

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002
        target: TargetRows = require(batch.target)
        texts, words, *with_term = require(batch.summary)["counts"].tolist()
        frequencies = TermFrequencies(texts, words, np.array(with_term, np.int64))
        return bm25(require(batch.texts), require(target.texts), frequencies, self.k1, self.b)
