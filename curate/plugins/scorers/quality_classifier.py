"""Linear classifier of positive and negative examples, on hashed word n-grams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.errors import DataError
from curate.kernels.parallel import map_blocks
from curate.kernels.stats.calibration import auc_interval, brier_score, calibration_error
from curate.kernels.stats.fold_classifiers import N_FOLDS, fit_folds, fold_logits
from curate.kernels.stats.hash_folds import assign_folds, distinct_texts, hash_folded_texts
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.shingles import hash_shingles
from curate.kernels.types import FittedState, Matrix, Numbers, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ExampleFiles, FileNames, OutputColumn, Scorer, TextTemplate, scorer
from curate.plugins.results import FitReport

if TYPE_CHECKING:
    from scipy import sparse

MIN_TEXTS = 20
FACTS = ("positive", "negative", "auc", "auc_low", "auc_high", "brier", "calibration_error")
"""Numbers of the fit: distinct texts on each side, then the quality of the models on held-out texts."""


def hashed_ngrams(texts: Sequence[str], max_ngram_size: int, hash_bits: int) -> sparse.csr_array:
    """Hash the word n-grams of each text to a unit vector with weights 1 + ln count.

    Parameters
    ----------
    texts : n strings
    max_ngram_size : number of words in the longest n-grams, at least 1; shorter ones count too
    hash_bits : b

    Returns
    -------
    (n, 2^b) float32; n-grams whose hashes have the same leading b bits are merged

    Notes
    -----
    Cost: O(max_ngram_size · characters) time, 60 bytes of memory per character of a block of texts.

    Guarantee: the vector of a text does not depend on the other texts.

    Deviations: no signs, which avoid a bias of inner products that does not matter to a linear model.

    References
    ----------
    Weinberger et al. (2009), arXiv:0902.2206. Sublinear term counts: Salton & Buckley (1988),
    doi:10.1016/0306-4573(88)90021-0.

    Examples
    --------
    >>> hashed_ngrams(["to be or not", ""], max_ngram_size=1, hash_bits=18).nnz
    5
    """
    from scipy import sparse

    def block(rows: slice) -> sparse.csr_array:
        lowered = [text.lower() for text in texts[rows]]
        shingles_by_size = [hash_shingles(lowered, n, "word") for n in range(1, max_ngram_size + 1)]
        counts = [
            sparse.csr_array(
                (np.ones(len(hashes), np.float32), (hashes >> np.uint64(64 - hash_bits)).astype(np.int32), offsets),
                (len(offsets) - 1, 1 << hash_bits),
            )
            for hashes, offsets in shingles_by_size
        ]
        matrix = counts[0]
        for next_counts in counts[1:]:
            matrix = matrix + next_counts
        matrix.sum_duplicates()
        matrix.data = 1 + np.log(matrix.data)
        matrix.data /= np.repeat(np.sqrt(matrix.power(2).sum(axis=1)), np.diff(matrix.indptr))
        return matrix

    blocks = list(map_blocks(block, text_blocks(texts)))
    if not blocks:
        return sparse.csr_array(np.empty((0, 1 << hash_bits), np.float32))
    matrix: sparse.csr_array = sparse.vstack(blocks, format="csr")
    return matrix


def fit_classifier(
    positive: Sequence[str],
    negative: Sequence[str],
    *,
    max_ngram_size: int = 2,
    hash_bits: int = 18,
    l2_penalty: float = 0.1,
) -> FittedState:
    """Fit a model for each fold on the distinct texts of both classes, and evaluate it on held-out texts.

    Parameters
    ----------
    positive, negative : texts; blank ones are ignored, and a text among both is positive
    max_ngram_size : number of words in the longest n-grams
    hash_bits : number of bits of the hash of an n-gram
    l2_penalty : as in ``fit_folds``

    Returns
    -------
    ``weights`` and ``bias`` of ``fit_folds``, and the numbers of ``FACTS``, each an array without dimensions

    Raises
    ------
    DataError : if a class has fewer than ``MIN_TEXTS`` distinct texts
    """
    from scipy.special import expit
    from sklearn.metrics import roc_auc_score

    positive, positive_keys = distinct_texts(positive)
    negative, negative_keys = distinct_texts(negative)
    only_negative = np.flatnonzero(~np.isin(negative_keys, positive_keys))
    negative, negative_keys = [negative[row] for row in only_negative], negative_keys[only_negative]
    for side, texts in (("positive", positive), ("negative", negative)):
        if len(texts) < MIN_TEXTS:
            message = f"quality_classifier.{side}: {len(texts)} distinct texts"
            message += " that are not positive examples" if side == "negative" else ""
            raise DataError(f"{message}, but at least {MIN_TEXTS} are needed", hint="add files with more examples")
    folds = assign_folds(np.concatenate([positive_keys, negative_keys]), N_FOLDS)
    is_positive = np.arange(len(folds)) < len(positive)
    vectors = hashed_ngrams([*positive, *negative], max_ngram_size, hash_bits)
    weights, bias = fit_folds(vectors, is_positive, folds, l2_penalty)
    probability = expit(fold_logits(vectors, folds, weights, bias))
    auc = float(roc_auc_score(is_positive, probability))
    low, high = auc_interval(auc, len(positive), len(negative))
    error = calibration_error(probability, is_positive)
    fit_numbers = (len(positive), len(negative), auc, low, high, brier_score(probability, is_positive), error)
    return {
        "weights": weights,
        "bias": bias,
        **{name: np.array(value) for name, value in zip(FACTS, fit_numbers, strict=True)},
    }


@scorer(
    version=1,
    reads={"text"},
    columns=(
        OutputColumn(
            higher_is_better=True, unit="probability", range=(0.0, 1.0), higher_means="more like the positive examples"
        ),
    ),
    fits=True,
    example={"positive": "good.jsonl"},
    cost="O(characters) for n-grams of each size",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class QualityClassifier:
    """Probability that a text resembles the positive examples, assuming equal class priors.

    Use it to keep texts like those you trust: give files of positive examples, and of negative ones if you have them.
    Without ``negative``, rows of the pool are the negative examples, as in GPT-3 and DCLM; many of them are good, so
    the score then only ranks rows, and 0.5 means as likely from the positive files as from the pool. With clean texts
    only, ``perplexity`` is an alternative.

    The model is a logistic regression on hashed words and word pairs. For another share s of positive rows, multiply
    the odds by s / (1 − s).

    Five models are fitted, each without a fifth of the texts, and every text, including those of the pool, is scored by
    the model that was not fitted on it or a copy of it: the fold is a hash of the text, without case and white space.
    The area under the ROC curve, the Brier score and the calibration error in the log, the manifest and the report are
    therefore those of the scores that rows get. Equal texts count once. A text among both is a positive example.

    Words are separated by white space and keep their punctuation; every character of a script without blanks is a word.
    Memory: some 60 bytes per character of the longest example, and 16 for each distinct n-gram of each text.

    Notes
    -----
    Deviations: logistic regression where DCLM uses fastText; a threshold where GPT-3 draws from a Pareto distribution.

    References
    ----------
    Brown et al. (2020), arXiv:2005.14165, appendix A: hashed words, logistic regression, the pool as bad examples.
    Li et al. (2024), arXiv:2406.11794: words and pairs of words, as many good as bad. Cross-fitting:
    Chernozhukov et al. (2018), arXiv:1608.00060. Calibration: Platt (1999); Lin, Lin & Weng (2007),
    doi:10.1007/s10994-007-5018-6.
    """

    positive: Annotated[FileNames, ExampleFiles(MIN_TEXTS)]
    """Files of positive examples: a path, a glob pattern or a list of them, as in ``input.files``; at least 20 distinct
    texts."""

    negative: Annotated[FileNames, ExampleFiles(MIN_TEXTS)] | None = None
    """Files of negative examples; by default, a uniform sample of the pool's rows."""

    text: TextTemplate | None = None
    """Text of an example: a column name or a template; defaults to ``input.text``."""

    sample_size: Annotated[int, Ge(MIN_TEXTS)] = 200_000
    """Maximum number of examples of each side: of more, a uniform sample."""

    max_ngram_size: Annotated[int, Ge(1), Le(5)] = 2
    """Number of words in the longest n-grams."""

    hash_bits: Annotated[int, Ge(8), Le(24)] = 18
    """N-grams are hashed into 2^hash_bits buckets; five models take 20 bytes for each."""

    l2_penalty: Annotated[float, Gt(0)] = 0.1
    """L2 penalty: half of it times the squared weights is added to the sum of the losses."""

    def fit(self, examples: Mapping[str, Sequence[str]], rng: np.random.Generator) -> FittedState:  # noqa: ARG002 - folds are drawn by hash
        positive, negative = examples["positive"], examples["negative"]
        return fit_classifier(
            positive, negative, max_ngram_size=self.max_ngram_size, hash_bits=self.hash_bits, l2_penalty=self.l2_penalty
        )

    def restore(self, state: FittedState) -> Scorer:
        return FittedClassifier(state["weights"], state["bias"], self.max_ngram_size, self.hash_bits)

    def describe_fit(self, state: FittedState) -> FitReport:
        numbers = {name: float(state[name]) for name in FACTS}
        negatives = "rows of the pool for negative examples" if self.negative is None else "negative examples"
        note = "; the classes are indistinguishable" if numbers["auc_low"] <= 0.5 else ""
        summary = (
            f"{numbers['positive']:,.0f} positive examples and {numbers['negative']:,.0f} {negatives}; held-out "
            f"AUC {numbers['auc']:.3f} (95 % interval {numbers['auc_low']:.3f} to {numbers['auc_high']:.3f}), "
            f"Brier score {numbers['brier']:.3f}, calibration error {numbers['calibration_error']:.3f}{note}"
        )
        return FitReport(facts=numbers, summary=summary)


@dataclass(frozen=True, slots=True)
class FittedClassifier:
    """Fitted ``QualityClassifier``, ready to score."""

    weights: Matrix
    bias: Numbers
    max_ngram_size: int
    hash_bits: int

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        from scipy.special import expit

        texts = require(batch.texts)
        vectors = hashed_ngrams(texts, self.max_ngram_size, self.hash_bits)
        folds = assign_folds(hash_folded_texts(texts), N_FOLDS)
        return np.asarray(expit(fold_logits(vectors, folds, self.weights, self.bias)), np.float32)
