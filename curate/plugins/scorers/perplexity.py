"""Perplexity of texts under an n-gram model of words fitted on clean texts."""

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
from curate.kernels.types import Counts, FittedState, Numbers, Positions, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ExampleFiles, FileNames, OutputColumn, Scorer, TextTemplate, scorer
from curate.plugins.results import FitReport

MIN_TEXTS = 20
N_FOLDS = 2
FACTS = ("texts", "words", "perplexity", "median")
"""Numbers of the fit."""

_LARGEST = 1e38  # within the range of float32


def perplexities(texts: Sequence[str], models: Sequence[NGramModel]) -> tuple[Numbers, Positions]:
    """Compute the perplexity of each text per word, with the model of the text's fold.

    Parameters
    ----------
    texts : n strings
    models : one model for each fold

    Returns
    -------
    perplexity : (n,) float64, at least 1: exp of the mean of −ln p over the words of the text and its end; a blank text
        has only the end
    counts : (n,) int64, number of words plus the end

    Notes
    -----
    Cost: as ``word_probabilities``.

    Guarantee: the perplexity of a text does not depend on the other texts.

    References
    ----------
    Jelinek, Mercer, Bahl & Baker (1977), doi:10.1121/1.2016299.
    """

    def block(rows: slice) -> tuple[Numbers, Positions]:
        block_texts = texts[rows]
        folds = assign_folds(hash_folded_texts(block_texts), len(models))
        negative_log_likelihood, counts = np.zeros(len(block_texts)), np.zeros(len(block_texts), np.int64)
        for fold, model in enumerate(models):
            fold_rows = np.flatnonzero(folds == fold)
            words, offsets = normalize_words([block_texts[row] for row in fold_rows.tolist()])
            counts[fold_rows] = np.diff(offsets) + 1
            owners = np.repeat(np.arange(len(fold_rows)), counts[fold_rows])
            negative_log_likelihood[fold_rows] = -np.bincount(
                owners, np.log(word_probabilities(model, words, offsets)), len(fold_rows)
            )
        return negative_log_likelihood, counts

    blocks = list(map_blocks(block, text_blocks(texts)))
    negative_log_likelihood, counts = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return np.exp(np.clip(negative_log_likelihood / counts, 0, np.log(_LARGEST))), counts


def cross_fitted(texts: Sequence[str], folds: Counts, order: int) -> list[NGramModel]:
    """Fit a model for each of ``N_FOLDS`` folds on the texts of the other folds.

    Parameters
    ----------
    texts : n strings
    folds : (n,) in 0 … N_FOLDS − 1
    order : number of words in the longest n-grams
    """
    return [
        fit_kneser_ney(*normalize_words([texts[row] for row in np.flatnonzero(folds != fold).tolist()]), order)
        for fold in range(N_FOLDS)
    ]


def held_out_perplexity(texts: Sequence[str], models: Sequence[NGramModel]) -> tuple[float, float, float]:
    """Compute the number of words, the perplexity per word, and the median over texts, with held-out models.

    Parameters
    ----------
    texts, models : as in ``perplexities``
    """
    values, counts = perplexities(texts, models)
    mean = np.exp((np.log(values) * counts).sum() / counts.sum())
    return float(counts.sum() - len(texts)), float(mean), float(np.median(values))


@scorer(
    version=1,
    reads={"text"},
    columns=(
        OutputColumn(
            higher_is_better=False,
            unit="perplexity of a word",
            range=(1.0, float("inf")),
            higher_means="less like the clean texts",
        ),
    ),
    fits=True,
    cost="O(characters)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """Perplexity of the text under an n-gram model fitted on clean texts: high for unlike text.

    Use it to find text that is unlike a collection of clean texts (an encyclopedia, good answers) in the same
    languages: texts in other languages all have high perplexity. Without files it is fitted on a uniform sample of the
    pool, and finds outliers. ``quality_classifier`` is better if you have examples of both good and bad texts.

    The model has interpolated n-grams with modified Kneser–Ney smoothing, and is fitted in seconds. CCNet sorts texts
    by this score into three equal parts, head, middle and tail. To keep the head: ``{use: top_k, keep_rate: 0.333,
    quality: perplexity}``; to drop a tail: ``{use: where, drop: "score_perplexity > 1000"}``, with a threshold from the
    report. A low perplexity is not always good: repetitive text and templates are easy to predict.

    Two models are fitted, each on half of the texts, and every text, including those of the pool, is scored by the
    model that was not fitted on it or a copy of it, because a model predicts texts it has seen too well. The half is a
    hash of the text, without case and white space. The reported perplexity is that of the fitted texts, scored in the
    same way.

    Words are in lower case, all digits are equal, and every mark, symbol or character of a script without blanks is a
    word; all unknown words are equal. The fit takes some 150 bytes of memory a word, the models 20 to 80.

    Notes
    -----
    Deviations: words where CCNet uses subwords; accents and punctuation stay; a text is one sequence, not one per line.

    References
    ----------
    Wenzek et al. (2020), CCNet, arXiv:1911.00359. Chen & Goodman (1999), doi:10.1006/csla.1999.0128.
    """

    files: Annotated[FileNames, ExampleFiles(MIN_TEXTS)] | None = None
    """Files of clean texts: a path, a glob pattern or a list of them, as in ``input.files``, with at least 20 distinct
    texts; by default, a uniform sample of the pool's rows."""

    text: TextTemplate | None = None
    """Text of a row of the files: a column name or a template; defaults to ``input.text``."""

    sample_size: Annotated[int, Ge(MIN_TEXTS)] = 20_000
    """Maximum number of texts to fit on: of more, a uniform sample."""

    order: Annotated[int, Ge(1), Le(8)] = 5
    """n: a word is predicted from the n − 1 words before it."""

    def fit(self, examples: Mapping[str, Sequence[str]], rng: np.random.Generator) -> FittedState:  # noqa: ARG002 - folds are assigned by hash
        texts, hashes = distinct_texts(examples["files"])
        if len(hashes) < MIN_TEXTS:
            message = f"perplexity.files: {len(hashes)} distinct texts, but at least {MIN_TEXTS} are needed"
            raise DataError(message, hint="add files with more texts")
        models = cross_fitted(texts, assign_folds(hashes, N_FOLDS), self.order)
        state = {
            f"{fold}_{name}": array for fold, model in enumerate(models) for name, array in model.to_state().items()
        }
        fit_numbers = (float(len(texts)), *held_out_perplexity(texts, models))
        return state | {name: np.array(number) for name, number in zip(FACTS, fit_numbers, strict=True)}

    def restore(self, state: FittedState) -> Scorer:
        parts = ({key[2:]: state[key] for key in state if key.startswith(f"{fold}_")} for fold in range(N_FOLDS))
        return FittedPerplexity(tuple(map(NGramModel.from_state, parts)))

    def describe_fit(self, state: FittedState) -> FitReport:
        numbers = {name: float(state[name]) for name in FACTS}
        origin = "of the pool" if self.files is None else "of the files"
        summary = (
            f"{numbers['texts']:,.0f} texts {origin}, {numbers['words']:,.0f} words; held-out perplexity "
            f"{numbers['perplexity']:,.1f} per word, median over texts {numbers['median']:,.1f}"
        )
        return FitReport(facts=numbers, summary=summary)


@dataclass(frozen=True, slots=True)
class FittedPerplexity:
    """Fitted ``Perplexity``, ready to score."""

    models: tuple[NGramModel, ...]

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return perplexities(require(batch.texts), self.models)[0].astype(np.float32)
