"""Word n-gram model with modified Kneser–Ney smoothing, stored as sorted arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.ragged import concatenate_ranges
from curate.kernels.text.ngram_ids import find_ngrams, nested_ngrams, shift_right
from curate.kernels.types import FittedState, Hashes, Numbers, Positions, Vector

_DEFAULT_DISCOUNTS = np.array([0, 0.5, 1, 1.5])
_ARRAYS = ("grams", "probability", "weight")


@dataclass(frozen=True, slots=True)
class NGramModel:
    """Fitted n-gram model for n = 1 to the order.

    The probability of a word after the n − 1 words before it is that of its n-gram, 0 if the n-gram is unknown, plus
    the weight of those n − 1 words times the probability after one word fewer. If the n − 1 words are unknown, it is
    the latter alone. The base distribution is uniform over the distinct words of the texts, the end, and one symbol for
    all other words.
    """

    vocabulary: Hashes
    """Distinct words of the texts (v,), ascending."""

    grams: tuple[Positions, ...]
    """N-grams (g,) of each order, ascending, as ``nested_ngrams`` returns them."""

    probability: tuple[Vector, ...]
    """Discounted probability of each n-gram (g,), in [0, 1]."""

    weight: tuple[Vector, ...]
    """Back-off weights in [0, 1]: (1,) for n = 1, otherwise one for each (n − 1)-gram."""

    def to_state(self) -> FittedState:
        """Return the model as named arrays."""
        arrays = {f"{part}_{n}": array for part in _ARRAYS for n, array in enumerate(getattr(self, part), 1)}
        return {"vocabulary": self.vocabulary, **arrays}

    @classmethod
    def from_state(cls, state: FittedState) -> NGramModel:
        """Return the model that ``to_state`` saved."""
        orders = range(1, sum(name.startswith("grams_") for name in state) + 1)
        return cls(state["vocabulary"], *(tuple(state[f"{part}_{n}"] for n in orders) for part in _ARRAYS))


def fit_kneser_ney(words: Hashes, offsets: Positions, order: int, vocabulary: Hashes | None = None) -> NGramModel:
    """Fit an interpolated n-gram model with modified Kneser–Ney smoothing.

    A discount is subtracted from the count of every n-gram, with separate discounts for those seen once, twice and more
    often. It is redistributed to words not seen in that context, by their probability in the shorter context. The count
    of the longest n-grams is their frequency; that of shorter ones is the number of distinct words before them, so a
    word that follows only one other word is unlikely elsewhere. N-grams at the beginning of a text, which have no word
    before them, keep their frequency.

    Parameters
    ----------
    words : (m,) uint64, the words of n texts; those of text i are ``words[offsets[i]:offsets[i + 1]]``
    offsets : (n + 1,) int64
    order : largest n, at least 1
    vocabulary : (v,) uint64, ascending; other words are all equal, as unknown words; None: all words

    Returns
    -------
    NGramModel; texts are padded with a beginning and an end symbol

    Notes
    -----
    Cost: O(order · m log m) time, some 150 bytes of memory a word; the model has 20 bytes for each distinct n-gram.

    Deviations: if counts of counts leave a discount undefined or out of range, the discounts of that n are 0.5, 1 and
    1.5.

    References
    ----------
    Chen & Goodman (1999), doi:10.1006/csla.1999.0128, section 3, equations 26 and 27. Kneser & Ney (1995),
    doi:10.1109/ICASSP.1995.479394. Counts at the beginning, and the unknown word: Heafield, Pouzyrevsky, Clark & Koehn
    (2013), "Scalable modified Kneser-Ney language model estimation", ACL.

    Examples
    --------
    >>> model = fit_kneser_ney(np.array([7, 8, 7], np.uint64), np.array([0, 3]), order=1)
    >>> model.probability[0].tolist(), model.weight[0].tolist()  # 7, 8, the end; the beginning follows nothing
    ([0.25, 0.125, 0.125, 0.0], [0.5])
    """
    vocabulary = np.unique(words) if vocabulary is None else vocabulary
    symbols, positions = _symbols(words, offsets, vocabulary)
    size = len(vocabulary) + 3
    ngrams = nested_ngrams(symbols, order, positions, size)
    grams, probability, weight = [], [], []
    current, numbers = next(ngrams)
    contexts = 1
    for n in range(1, order + 1):
        count = np.bincount(numbers[numbers >= 0], minlength=len(current))
        next_ngrams = next(ngrams, None)
        if next_ngrams is not None:
            at_beginning = np.zeros(len(current), np.bool_)
            at_beginning[numbers[positions == n - 1]] = True
            count = np.where(at_beginning, count, _count_preceding(*next_ngrams, numbers, len(current)))
        if n == 1:
            count[current == size - 1] = 0
        taken, backoff = _discount(count, current // size, contexts)
        grams.append(current)
        probability.append(taken)
        weight.append(backoff)
        contexts = len(current)
        current, numbers = next_ngrams or (current, numbers)
    return NGramModel(vocabulary, tuple(grams), tuple(probability), tuple(weight))


def word_probabilities(model: NGramModel, words: Hashes, offsets: Positions) -> Numbers:
    """Compute the probability of each word given the words before it, and of the end of each text.

    Parameters
    ----------
    model : fitted model
    words, offsets : as for ``fit_kneser_ney``, m words of n texts

    Returns
    -------
    (m + n,) float64 in (0, 1]; the end of a text follows its words

    Notes
    -----
    Cost: O(order · m log g) time, some 100 bytes of memory a word.

    Guarantee: the probabilities of a text do not depend, in any bit, on the other texts.

    Examples
    --------
    >>> model = fit_kneser_ney(np.array([7, 8, 7], np.uint64), np.array([0, 3]), order=1)
    >>> word_probabilities(model, np.array([9], np.uint64), np.array([0, 1])).tolist()  # 9 is unknown: 0.5 / 4
    [0.125, 0.25]
    """
    symbols, positions = _symbols(words, offsets, model.vocabulary)
    size = len(model.vocabulary) + 3
    probability = np.full(len(symbols), 1 / (size - 1))
    context = np.zeros(len(symbols), np.int64)
    for n, (grams, ngram_probability, weight) in enumerate(
        zip(model.grams, model.probability, model.weight, strict=True), 1
    ):
        active = np.flatnonzero((positions >= n - 1) & (context >= 0))
        ngram_ids = find_ngrams(grams, context[active], symbols[active], size)
        share = np.where(ngram_ids >= 0, ngram_probability[ngram_ids], 0) if len(ngram_probability) else 0
        probability[active] = share + weight[context[active]] * probability[active]
        numbers = np.full(len(symbols), -1)
        numbers[active] = ngram_ids
        context = shift_right(numbers)
    return np.asarray(probability[positions > 0])


def _symbols(words: Hashes, offsets: Positions, vocabulary: Hashes) -> tuple[Positions, Positions]:
    """Return the words as vocabulary indices, padded with beginning and end, and the position of each in its text."""
    unknown, end, beginning = range(len(vocabulary), len(vocabulary) + 3)
    lengths = np.diff(offsets)
    symbols = np.full(len(words) + 2 * len(lengths), beginning)
    positions = concatenate_ranges(np.zeros_like(lengths), lengths + 2)
    word_ids = find_ngrams(vocabulary, None, words, 0)
    starts = offsets[:-1] + 2 * np.arange(len(lengths))
    symbols[concatenate_ranges(starts + 1, lengths)] = np.where(word_ids < 0, unknown, word_ids)
    symbols[starts + lengths + 1] = end
    return symbols, positions


def _count_preceding(longer: Positions, numbers: Positions, shorter: Positions, size: int) -> Positions:
    """Count the distinct words before each n-gram, from the (n + 1)-grams."""
    ends_at = np.empty(len(longer), np.int64)
    present = np.flatnonzero(numbers >= 0)
    ends_at[numbers[present]] = present
    return np.bincount(shorter[ends_at], minlength=size)


def _discount(count: Positions, context: Positions, contexts: int) -> tuple[Vector, Vector]:
    """Return the discounted probability of each n-gram, and the mass discounted in each context."""
    count_of_counts = np.bincount(count, minlength=5)[:5].astype(np.float64)
    discount = _DEFAULT_DISCOUNTS
    if count_of_counts[1:].all():
        y = count_of_counts[1] / (count_of_counts[1] + 2 * count_of_counts[2])
        steps = np.arange(4)
        estimates = np.append(0, steps[1:] - (steps[1:] + 1) * y * count_of_counts[2:] / count_of_counts[1:4])
        if ((estimates[1:] > 0) & (estimates[1:] < steps[1:])).all():
            discount = estimates
    discounts = discount[np.minimum(count, 3)]
    totals = np.bincount(context, count, contexts)
    denominators = np.maximum(totals, 1)  # contexts without a following word are never queried
    backoff = np.where(totals > 0, np.bincount(context, discounts, contexts) / denominators, 1)
    return ((count - discounts) / denominators[context]).astype(np.float32), backoff.astype(np.float32)
