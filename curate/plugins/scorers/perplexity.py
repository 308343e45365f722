"""How surprising a text is to a model of n-grams of words that learnt from clean texts."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.errors import DataError
from curate.kernels.parallel import map_blocks
from curate.kernels.stats.hash_folds import assign_folds, distinct_texts, hash_folded_texts
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.kneser_ney import NGramModel, fit_kneser_ney, word_probabilities
from curate.kernels.text.shingles import hash_shingles
from curate.kernels.types import Counts, FittedState, Hashes, Numbers, Positions, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ExampleFiles, FileNames, OutputColumn, Scorer, TextTemplate, scorer
from curate.plugins.results import FitReport

FEWEST = 20
HALVES = 2
FACTS = ("texts", "words", "perplexity", "median")
"""Numbers of the fit."""

_LARGEST = 1e38  # what float32 still holds


def normalised_words(texts: Sequence[str]) -> tuple[Hashes, Positions]:
    """The words of each text as hashes: in lower case, every digit a 0, every mark or symbol a word of its own.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    words : (m,) uint64; those of text i are ``words[offsets[i]:offsets[i + 1]]``
    offsets : (n + 1,) int64

    Cost: O(characters) time, some 60 bytes of memory a character.

    >>> words, offsets = normalised_words(["Since 1999, …", "since 2024, …", " "])
    >>> offsets.tolist(), bool((words[:4] == words[4:]).all())
    ([0, 4, 8, 8], True)
    """
    marks = _marks()
    plain = [re.sub(r"\d", "0", marks.sub(r" \g<0> ", text.lower())) for text in texts]
    words, offsets = hash_shingles(plain, 1, "word")
    blank = np.array([not text or text.isspace() for text in plain], np.bool_)
    if blank.any():  # of those ``hash_shingles`` makes a word of nothing
        words = words[~np.repeat(blank, np.diff(offsets))]
        offsets = np.concatenate([[0], np.cumsum(np.where(blank, 0, np.diff(offsets)))])
    return words, offsets


def perplexities(texts: Sequence[str], models: Sequence[NGramModel]) -> tuple[Numbers, Positions]:
    """How many words each word of a text might as well have been, by the model that its fold has.

    Parameters
    ----------
    texts : n strings
    models : one for each fold

    Returns
    -------
    perplexity : (n,) float64, at least 1: exp of the mean of −ln p over the text's words and its end; a blank text has
        only the latter
    counts : (n,) int64, the words and the end

    Cost: as ``word_probabilities``. Guarantee: a text's does not depend on the texts beside it.

    References
    ----------
    Jelinek, Mercer, Bahl & Baker (1977), doi:10.1121/1.2016299.
    """

    def block(rows: slice) -> tuple[Numbers, Positions]:
        some = texts[rows]
        folds = assign_folds(hash_folded_texts(some), len(models))
        surprise, counts = np.zeros(len(some)), np.zeros(len(some), np.int64)
        for fold, model in enumerate(models):
            mine = np.flatnonzero(folds == fold)
            words, offsets = normalised_words([some[row] for row in mine.tolist()])
            counts[mine] = np.diff(offsets) + 1
            owners = np.repeat(np.arange(len(mine)), counts[mine])
            surprise[mine] = -np.bincount(owners, np.log(word_probabilities(model, words, offsets)), len(mine))
        return surprise, counts

    blocks = list(map_blocks(block, text_blocks(texts)))
    surprise, counts = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return np.exp(np.clip(surprise / counts, 0, np.log(_LARGEST))), counts


def cross_fitted(texts: Sequence[str], folds: Counts, order: int) -> list[NGramModel]:
    """Return a model for each of ``HALVES`` folds, fitted on the texts of the others.

    Parameters
    ----------
    texts : n strings
    folds : (n,) in 0 … HALVES − 1
    order : longest n-grams, in words
    """
    return [
        fit_kneser_ney(*normalised_words([texts[row] for row in np.flatnonzero(folds != fold).tolist()]), order)
        for fold in range(HALVES)
    ]


def held_out_perplexity(texts: Sequence[str], models: Sequence[NGramModel]) -> tuple[float, float, float]:
    """Return the number of words, the perplexity of a word, and the median over texts, by models that did not see them.

    Parameters
    ----------
    texts, models : as in ``perplexities``
    """
    values, counts = perplexities(texts, models)
    mean = np.exp((np.log(values) * counts).sum() / counts.sum())
    return float(counts.sum() - len(texts)), float(mean), float(np.median(values))


@lru_cache(maxsize=1)
def _marks() -> re.Pattern[str]:
    """Any character of punctuation, and any symbol."""
    codes = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in "PS")
    runs = [[code for _, code in run] for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0])]
    return re.compile("[" + "".join(rf"\U{run[0]:08x}-\U{run[-1]:08x}" for run in runs) + "]")


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
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """How surprised a model of n-grams of words is by the text: high for what is unlike the clean texts it learnt from.

    Interpolated n-grams with modified Kneser–Ney smoothing, trained in seconds; its files are what you hold for clean
    (an encyclopedia's articles, good answers), in the pool's languages: texts in another are all surprising. Without
    files an even sample of the pool is learnt, and what is unlike the rest stands out. CCNet sorts texts by this score
    into three equal parts, head, middle and tail; to keep the head: ``{use: top_k, keep_rate: 0.333, quality:
    perplexity}``; to drop a tail: ``{use: where, drop: "score_perplexity > 1000"}``, with the threshold read from the
    report. A low number is not always good: text that repeats itself, or a template, is easily foreseen.

    Two models are trained, each on half of the texts, and every text, also of the pool, is judged by the one that has
    not seen it or a copy of it: the half is a hash of the text, without capitals and white space. A model that has seen
    a text foresees it. The perplexity that is reported is that of the texts learnt from, judged so.

    Words are in lower case, digits are all alike, every mark, symbol or character of a script without blanks is a word;
    all words that no text had are one. Training takes some 150 bytes of memory a word, the models 20 to 80.

    References
    ----------
    Wenzek et al. (2020), CCNet, arXiv:1911.00359. Chen & Goodman (1999), doi:10.1006/csla.1999.0128.

    Deviations: words where CCNet takes pieces of them; accents and punctuation stay; a text is one sequence, and not
    one a line.
    """

    files: Annotated[FileNames, ExampleFiles(FEWEST)] | None = None
    """Files of clean texts: a path, a pattern or a list of them, as in ``input.files``, 20 different texts at least;
    without them, an even sample of the pool's rows."""

    text: TextTemplate | None = None
    """The text of a row of the files: a column's name, or a template; the input's, unless said."""

    sample_size: Annotated[int, Ge(FEWEST)] = 20_000
    """The most texts that are learnt from: of more, an even sample."""

    order: Annotated[int, Ge(1), Le(8)] = 5
    """n: a word is foreseen from the n − 1 before it."""

    def fit(self, examples: Mapping[str, Sequence[str]], rng: np.random.Generator) -> FittedState:  # noqa: ARG002 - halves are drawn by hash
        texts, keys = distinct_texts(examples["files"])
        if len(keys) < FEWEST:
            told = f"perplexity.files: {len(keys)} different texts, and {FEWEST} are needed"
            raise DataError(told, hint="name more texts")
        models = cross_fitted(texts, assign_folds(keys, HALVES), self.order)
        state = {
            f"{fold}_{name}": array for fold, model in enumerate(models) for name, array in model.to_state().items()
        }
        facts = (float(len(texts)), *held_out_perplexity(texts, models))
        return state | {name: np.array(fact) for name, fact in zip(FACTS, facts, strict=True)}

    def restore(self, state: FittedState) -> Scorer:
        parts = ({key[2:]: state[key] for key in state if key.startswith(f"{fold}_")} for fold in range(HALVES))
        return FittedPerplexity(tuple(map(NGramModel.from_state, parts)))

    def describe_fit(self, state: FittedState) -> FitReport:
        numbers = {name: float(state[name]) for name in FACTS}
        whose = "of the pool" if self.files is None else "of the files"
        told = (
            f"{numbers['texts']:,.0f} texts {whose}, {numbers['words']:,.0f} words; held out, their perplexity is "
            f"{numbers['perplexity']:,.1f} a word, that of half of them below {numbers['median']:,.1f}"
        )
        return FitReport(facts=numbers, summary=told)


@dataclass(frozen=True, slots=True)
class FittedPerplexity:
    """What ``Perplexity.fit`` learnt, ready to score."""

    models: tuple[NGramModel, ...]

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return perplexities(require(batch.texts), self.models)[0].astype(np.float32)
