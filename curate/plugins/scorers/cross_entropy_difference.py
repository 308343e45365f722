"""Moore–Lewis: cross-entropy of a text under a model of the target, minus that under a model of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.errors import DataError
from curate.kernels.parallel import map_blocks
from curate.kernels.stats.hash_folds import assign_folds, distinct_texts, hash_folded_texts
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.kneser_ney import NGramModel, fit_kneser_ney, word_probabilities
from curate.kernels.text.normalized_words import normalize_words
from curate.kernels.types import Counts, FittedState, Hashes, Numbers, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ExampleFiles, FileNames, OutputColumn, Scorer, TextTemplate, scorer
from curate.plugins.results import FitReport

MIN_TEXTS = 20
N_FOLDS = 2
FACTS = ("texts", "words", "vocabulary", "general", "known")
"""Numbers of the fit: target texts, their words, distinct known words, words of the two general models, and the share
of the general words that are known."""


def cross_entropy(texts: Sequence[str], models: Sequence[NGramModel], folds: Counts) -> Numbers:
    """Compute the mean of −ln p over the words of each text and its end, with the model of the text's fold.

    Parameters
    ----------
    texts : n strings
    models : sequence of NGramModel
        One model for each fold.
    folds : (n,) int64

    Returns
    -------
    (n,) float64, in nats
    """
    result = np.zeros(len(texts))
    for fold, model in enumerate(models):
        rows = np.flatnonzero(folds == fold)
        words, offsets = normalize_words([texts[row] for row in rows.tolist()])
        counts = np.diff(offsets) + 1
        owners = np.repeat(np.arange(len(rows)), counts)
        sums = np.bincount(owners, -np.log(word_probabilities(model, words, offsets)), len(rows))
        result[rows] = sums / counts
    return result


def sample_words(texts: Sequence[str], words: int) -> list[str]:
    """Return the first texts that have a number of words together, or all texts if they have fewer."""
    _, offsets = normalize_words(texts)
    return list(texts[: int(np.searchsorted(offsets[1:], words)) + 1])


def known_words(words: Hashes, min_count: int) -> Hashes:
    """Return the distinct words that occur at least ``min_count`` times, ascending."""
    distinct, counts = np.unique(words, return_counts=True)
    return distinct[counts >= min_count]


@scorer(
    version=1,
    reads={"text", "target"},
    columns=(
        OutputColumn(higher_is_better=False, unit="nats a word", higher_means="less like the target than the pool is"),
    ),
    fits=True,
    cost="O(characters)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropyDifference:
    """Moore–Lewis: cross-entropy under a model of the target, minus that under a model of the pool; low is similar.

    The score is the cross-entropy per word under an n-gram model fitted on the target rows, minus that under a model
    fitted on as many words of the pool. It finds texts in the style and vocabulary of the target, needs no embedding,
    and does not depend on the length of a text. To keep the best tenth: ``{use: top_k, keep_rate: 0.1, quality:
    cross_entropy_difference}``. ``dsir`` compares bags of words instead, so that a long text counts more. Needs a
    section ``target``.

    As published, words that occur only once in the target are all equal, as unknown words, in both models. Two general
    models are fitted on different rows of the pool, and each row is scored by the one that did not see it or a copy of
    it. A row of the pool that is also a target row is predicted too well.

    Words are those of ``perplexity``: in lower case, with all digits equal, every mark or symbol a word.

    Notes
    -----
    Deviations: interpolated modified Kneser–Ney smoothing where the paper uses absolute discounting with back-off; two
    general models, so that no row is scored by a model that saw it.

    References
    ----------
    Moore & Lewis (2010), "Intelligent Selection of Language Model Training Data", ACL, short papers. Axelrod, He & Gao
    (2011), "Domain Adaptation via Pseudo In-Domain Data Selection", EMNLP.
    """

    general: Annotated[FileNames, ExampleFiles(MIN_TEXTS)] | None = None
    """Files of general texts, as in ``input.files``; by default, a uniform sample of the pool's rows."""

    text: TextTemplate | None = None
    """Text of a row of these files: a column name or a template; defaults to ``input.text``."""

    sample_size: Annotated[int, Ge(MIN_TEXTS)] = 200_000
    """Maximum number of general texts to draw the words of both models from."""

    order: Annotated[int, Ge(1), Le(8)] = 4
    """n: a word is predicted from the n − 1 words before it."""

    min_count: Annotated[int, Ge(1)] = 2
    """Number of times that a word must occur in the target; rarer words are unknown."""

    def fit(self, examples: Mapping[str, Sequence[str]], rng: np.random.Generator) -> FittedState:
        targets = [text for text in examples["target"] if text and not text.isspace()]
        general, hashes = distinct_texts(examples["general"])
        if len(hashes) < MIN_TEXTS:
            message = f"cross_entropy_difference.general: {len(hashes)} distinct texts, at least {MIN_TEXTS} are needed"
            raise DataError(message, hint="add files with more texts")
        words, offsets = normalize_words(targets)
        vocabulary = known_words(words, self.min_count)
        if not len(vocabulary):
            message = (
                f"cross_entropy_difference: no word occurs {self.min_count} times in the {len(targets)} target texts"
            )
            raise DataError(message, hint="add target rows, or set min_count: 1")
        state = dict(_named("target", fit_kneser_ney(words, offsets, self.order, vocabulary)))
        folds, order = assign_folds(hashes, N_FOLDS), rng.permutation(len(general))
        seen = known = 0
        for fold in range(N_FOLDS):
            others = [general[row] for row in order.tolist() if folds[row] != fold]
            # of 20 texts, all are in one fold once in 500,000 pools
            sample = normalize_words(sample_words(others or general, len(words)))
            seen += len(sample[0])
            known += int(np.isin(sample[0], vocabulary).sum())
            state |= _named(f"general{fold}", fit_kneser_ney(*sample, self.order, vocabulary))
        facts = (len(targets), len(words), len(vocabulary), seen, known / max(seen, 1))
        return state | {name: np.array(float(value)) for name, value in zip(FACTS, facts, strict=True)}

    def restore(self, state: FittedState) -> Scorer:
        return FittedDifference(
            _model(state, "target"), tuple(_model(state, f"general{fold}") for fold in range(N_FOLDS))
        )

    def describe_fit(self, state: FittedState) -> FitReport:
        numbers = {name: float(state[name]) for name in FACTS}
        origin = "of the pool" if self.general is None else "of the general files"
        summary = (
            f"{numbers['texts']:,.0f} target texts with {numbers['words']:,.0f} words, "
            f"{numbers['vocabulary']:,.0f} of them distinct and known; {numbers['known']:.1%} of "
            f"{numbers['general']:,.0f} words {origin} are known"
        )
        return FitReport(facts=numbers, summary=summary)


def _named(name: str, model: NGramModel) -> FittedState:
    return {f"{name}_{key}": array for key, array in model.to_state().items()}


def _model(state: FittedState, name: str) -> NGramModel:
    prefix = f"{name}_"
    arrays = {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}

    return NGramModel.from_state(arrays)


@dataclass(frozen=True, slots=True)
class FittedDifference:
    """Fitted ``CrossEntropyDifference``, ready to score."""

    target: NGramModel
    general: tuple[NGramModel, ...]

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        texts = require(batch.texts)

        def block(rows: slice) -> Numbers:
            part = texts[rows]
            folds = assign_folds(hash_folded_texts(part), N_FOLDS)
            return cross_entropy(part, (self.target,) * N_FOLDS, folds) - cross_entropy(part, self.general, folds)

        return np.concatenate([np.empty(0), *map_blocks(block, text_blocks(texts))]).astype(np.float32)
