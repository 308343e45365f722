"""How likely a text is one of the user's good examples rather than one of the bad: a linear model of hashed n-grams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.errors import DataError
from curate.kernels.parallel import map_blocks
from curate.kernels.stats.calibration import auc_interval, brier_score, calibration_error, fit_platt
from curate.kernels.stats.hash_folds import assign_folds, distinct_texts, hash_folded_texts
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.shingles import hash_shingles
from curate.kernels.types import Counts, FittedState, Flags, Matrix, Numbers, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ExampleFiles, FileNames, OutputColumn, Scorer, TextTemplate, scorer
from curate.plugins.results import FitReport

if TYPE_CHECKING:
    from scipy import sparse

FOLDS = 5
FEWEST = 20
FACTS = ("positive", "negative", "auc", "auc_low", "auc_high", "brier", "calibration_error")
"""Numbers of the fit: different texts on each side, then the quality of the models on texts not seen by them."""


def hashed_ngrams(texts: Sequence[str], max_ngram_size: int, hash_bits: int) -> sparse.csr_array:
    """Each text as a vector of unit length: 1 + ln count for each of its n-grams of words, by the hash of those.

    Parameters
    ----------
    texts : n strings
    max_ngram_size : the longest n-grams in words, at least 1; shorter ones count too
    hash_bits : b

    Returns
    -------
    (n, 2^b) float32; n-grams whose hashes have the same leading b bits are one

    Cost: O(max_ngram_size · characters) time, 60 bytes of memory per character of a block of texts. Guarantee: a
    text's vector does not depend on the texts beside it.

    References
    ----------
    Weinberger et al. (2009), arXiv:0902.2206. Of one more term the next counts less: Salton & Buckley (1988),
    doi:10.1016/0306-4573(88)90021-0.

    Deviations: no signs, which spare inner products a bias that a linear model does not mind.

    >>> hashed_ngrams(["to be or not", ""], max_ngram_size=1, hash_bits=18).nnz
    5
    """
    from scipy import sparse

    def block(rows: slice) -> sparse.csr_array:
        plain = [text.lower() for text in texts[rows]]
        parts = [hash_shingles(plain, n, "word") for n in range(1, max_ngram_size + 1)]
        counts = [
            sparse.csr_array(
                (np.ones(len(hashes), np.float32), (hashes >> np.uint64(64 - hash_bits)).astype(np.int32), offsets),
                (len(offsets) - 1, 1 << hash_bits),
            )
            for hashes, offsets in parts
        ]
        found = counts[0]
        for more in counts[1:]:
            found = found + more
        found.sum_duplicates()
        found.data = 1 + np.log(found.data)
        found.data /= np.repeat(np.sqrt(found.power(2).sum(axis=1)), np.diff(found.indptr))
        return found

    blocks = list(map_blocks(block, text_blocks(texts)))
    if not blocks:
        return sparse.csr_array(np.empty((0, 1 << hash_bits), np.float32))
    found: sparse.csr_array = sparse.vstack(blocks, format="csr")
    return found


def cross_fitted(
    vectors: sparse.csr_array, positive: Flags, folds: Counts, l2_penalty: float
) -> tuple[Matrix, Numbers]:
    """For each fold a logistic regression on the others, whose logits the others calibrate.

    Every example is judged by a model that was not fitted to it. From these judgements, those of a fold left out, comes
    the slope and the intercept that make its model's answers probabilities (``fit_platt``).

    Parameters
    ----------
    vectors : (n, d) float32
    positive : (n,), some and not all in every set of all folds but one
    folds : (n,) in 0 … FOLDS − 1
    l2_penalty : half of it, times the squared weights, is added to the sum of the losses; good and bad examples count
        alike in that, whatever their numbers

    Returns
    -------
    weights : (FOLDS, d) float32
    bias : (FOLDS,) float64, so that expit(x · weights[f] + bias[f]) is the probability

    Cost: FOLDS fits of O(non-zeros) for each of some 50 to 100 steps.
    """
    from sklearn.linear_model import LogisticRegression

    weights = np.zeros((FOLDS, vectors.shape[1]), np.float32)
    bias = np.zeros(FOLDS)
    for fold in range(FOLDS):
        others = np.flatnonzero(folds != fold)
        model = LogisticRegression(C=1 / l2_penalty, class_weight="balanced", max_iter=10_000)
        model.fit(vectors[others], positive[others])
        weights[fold], bias[fold] = model.coef_[0], model.intercept_[0]
    logit = logits(vectors, folds, weights, bias)
    for fold in range(FOLDS):
        others = folds != fold
        slope, intercept = fit_platt(logit[others], positive[others])
        weights[fold] *= np.float32(slope)
        bias[fold] = slope * bias[fold] + intercept
    return weights, bias


def logits(vectors: sparse.csr_array, folds: Counts, weights: Matrix, bias: Numbers) -> Numbers:
    """What each row's fold's model says of it, (n,) float64."""
    products = vectors.data * weights[np.repeat(folds, np.diff(vectors.indptr)), vectors.indices].astype(np.float64)
    owners = np.repeat(np.arange(len(folds)), np.diff(vectors.indptr))
    return np.asarray(np.bincount(owners, products, len(folds)) + bias[folds])


def fit_classifier(
    positive: Sequence[str],
    negative: Sequence[str],
    *,
    max_ngram_size: int = 2,
    hash_bits: int = 18,
    l2_penalty: float = 0.1,
) -> FittedState:
    """Fit a model for each fold on the different texts of two sides, and judge every text by one that has not seen it.

    Parameters
    ----------
    positive, negative : texts; those that are blank are left out, and a text among both is a good one
    max_ngram_size : longest n-grams, in words
    hash_bits : number of bits of the hash of an n-gram
    l2_penalty : as in ``cross_fitted``

    Returns
    -------
    ``weights`` and ``bias`` of ``cross_fitted``, and the numbers of ``FACTS``, each an array without dimensions

    Raises
    ------
    DataError
        If a side has fewer than ``FEWEST`` different texts.
    """
    from scipy.special import expit
    from sklearn.metrics import roc_auc_score

    positive, positive_keys = distinct_texts(positive)
    negative, negative_keys = distinct_texts(negative)
    only = np.flatnonzero(~np.isin(negative_keys, positive_keys))
    negative, negative_keys = [negative[row] for row in only], negative_keys[only]
    for side, texts in (("positive", positive), ("negative", negative)):
        if len(texts) < FEWEST:
            told = f"quality_classifier.{side}: {len(texts)} different texts"
            told += " that are no good examples too" if side == "negative" else ""
            raise DataError(f"{told}, and {FEWEST} are needed", hint="name more examples")
    folds = assign_folds(np.concatenate([positive_keys, negative_keys]), FOLDS)
    is_positive = np.arange(len(folds)) < len(positive)
    vectors = hashed_ngrams([*positive, *negative], max_ngram_size, hash_bits)
    weights, bias = cross_fitted(vectors, is_positive, folds, l2_penalty)
    probability = expit(logits(vectors, folds, weights, bias))
    area = float(roc_auc_score(is_positive, probability))
    low, high = auc_interval(area, len(positive), len(negative))
    error = calibration_error(probability, is_positive)
    facts = (len(positive), len(negative), area, low, high, brier_score(probability, is_positive), error)
    return {"weights": weights, "bias": bias, **{name: np.array(f) for name, f in zip(FACTS, facts, strict=True)}}


@scorer(
    version=1,
    reads={"text"},
    columns=(
        OutputColumn(
            higher_is_better=True, unit="probability", range=(0.0, 1.0), higher_means="more like the good examples"
        ),
    ),
    fits=True,
    example={"positive": "good.jsonl"},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class QualityClassifier:
    """The probability that a text is one of the good examples' kind, if it might as well be one of the bad ones'.

    Logistic regression on hashed words and pairs of words learns to tell the two apart, as in the filters of GPT-3 and
    DCLM. Without ``negative``, rows of the pool stand for bad ones, as they do there: many of those are good, so the
    number then ranks rows, and 0.5 means as likely from the positive files as from the pool. A probability for another
    share s of good rows: multiply the odds by s / (1 − s).

    Five models are fitted, each without a fifth of the texts, and every text, also of the pool, is judged by the one
    that has not seen it or a copy of it: the fold is a hash of the text, without capitals and white space. So the area
    under the ROC curve, the Brier score and the calibration error in the log, the manifest and the report are those of
    the very numbers that rows get. Equal texts count once. A text among both is a good one.

    Words are what stands between white space, with its punctuation, and every character of a script without blanks.
    Some 60 bytes of memory a character of the examples' longest texts, and 16 for each different n-gram of each text.

    References
    ----------
    Brown et al. (2020), arXiv:2005.14165, appendix A: hashed words, logistic regression, the pool as bad examples.
    Li et al. (2024), arXiv:2406.11794: words and pairs of words, as many good as bad. Cross-fitting:
    Chernozhukov et al. (2018), arXiv:1608.00060. Calibration: Platt (1999); Lin, Lin & Weng (2007),
    doi:10.1007/s10994-007-5018-6.

    Deviations: logistic regression where DCLM takes fastText; a threshold where GPT-3 draws from a Pareto distribution.
    """

    positive: Annotated[FileNames, ExampleFiles(FEWEST)]
    """Files of good examples: a path, a pattern or a list of them, as in ``input.files``; at least 20."""

    negative: Annotated[FileNames, ExampleFiles(FEWEST)] | None = None
    """Files of bad examples; without them, an even sample of the pool's rows."""

    text: TextTemplate | None = None
    """The text of an example: a column's name, or a template; the input's, unless said."""

    sample_size: Annotated[int, Ge(FEWEST)] = 200_000
    """The most examples of each side that are read: of more, an even sample."""

    max_ngram_size: Annotated[int, Ge(1), Le(5)] = 2
    """The longest n-grams, in words."""

    hash_bits: Annotated[int, Ge(8), Le(24)] = 18
    """N-grams are hashed into 2^hash_bits buckets; five models take 20 bytes of each."""

    l2_penalty: Annotated[float, Gt(0)] = 0.1
    """How strongly weights are drawn to zero: half of it times their squares is added to the sum of the losses."""

    def fit(self, examples: Mapping[str, Sequence[str]], rng: np.random.Generator) -> FittedState:  # noqa: ARG002 - folds are drawn by hash
        positive, negative = examples["positive"], examples["negative"]
        return fit_classifier(
            positive, negative, max_ngram_size=self.max_ngram_size, hash_bits=self.hash_bits, l2_penalty=self.l2_penalty
        )

    def restore(self, state: FittedState) -> Scorer:
        return FittedClassifier(state["weights"], state["bias"], self.max_ngram_size, self.hash_bits)

    def describe_fit(self, state: FittedState) -> FitReport:
        numbers = {name: float(state[name]) for name in FACTS}
        from_pool = "rows of the pool for bad ones" if self.negative is None else "bad ones"
        chance = "; it cannot tell them apart" if numbers["auc_low"] <= 0.5 else ""
        told = (
            f"{numbers['positive']:,.0f} good examples and {numbers['negative']:,.0f} {from_pool}; held out, its AUC "
            f"is {numbers['auc']:.3f} (95 % interval {numbers['auc_low']:.3f} to {numbers['auc_high']:.3f}), "
            "its Brier score "
            f"{numbers['brier']:.3f}, its calibration error {numbers['calibration_error']:.3f}{chance}"
        )
        return FitReport(facts=numbers, summary=told)


@dataclass(frozen=True, slots=True)
class FittedClassifier:
    """What ``QualityClassifier.fit`` learnt, ready to score."""

    weights: Matrix
    bias: Numbers
    max_ngram_size: int
    hash_bits: int

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        from scipy.special import expit

        texts = require(batch.texts)
        vectors = hashed_ngrams(texts, self.max_ngram_size, self.hash_bits)
        folds = assign_folds(hash_folded_texts(texts), FOLDS)
        return np.asarray(expit(logits(vectors, folds, self.weights, self.bias)), np.float32)
