"""An n-gram model of words with modified Kneser–Ney smoothing, as sorted arrays: to learn, to save and to apply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.ragged import concatenate_ranges
from curate.kernels.text.ngram_ids import find_ngrams, nested_ngrams, shift_right
from curate.kernels.types import FittedState, Hashes, Numbers, Positions, Vector

_UNDEFINED = np.array([0, 0.5, 1, 1.5])
_PARTS = ("grams", "probability", "weight")


@dataclass(frozen=True, slots=True)
class NGramModel:
    """What was learnt from texts, for n = 1 to the order.

    The probability of a word after the n − 1 before it is that of its n-gram here, 0 if it has none, plus the weight
    of those n − 1 times the word's probability after one fewer; if the texts have not those n − 1, it is the latter
    alone. Before any word all are alike: the different words of the texts, the end, and one for all other words.
    """

    vocabulary: Hashes
    """(v,) the words of the texts, ascending."""

    grams: tuple[Positions, ...]
    """(g,) the n-grams, ascending, as ``nested_ngrams`` gives them."""

    probability: tuple[Vector, ...]
    """(g,) in [0, 1]."""

    weight: tuple[Vector, ...]
    """In [0, 1]: (1,) for n = 1, then one for each (n − 1)-gram."""

    def to_state(self) -> FittedState:
        """The model as named arrays."""
        named = {f"{part}_{n}": array for part in _PARTS for n, array in enumerate(getattr(self, part), 1)}
        return {"vocabulary": self.vocabulary, **named}

    @classmethod
    def from_state(cls, state: FittedState) -> NGramModel:
        """The model that ``state`` gave."""
        orders = range(1, sum(name.startswith("grams_") for name in state) + 1)
        return cls(state["vocabulary"], *(tuple(state[f"{part}_{n}"] for n in orders) for part in _PARTS))


def fit_kneser_ney(words: Hashes, offsets: Positions, order: int) -> NGramModel:
    """Learn an interpolated n-gram model with modified Kneser–Ney smoothing.

    From the count of every n-gram a discount is taken, another for those seen once, twice and more often, and given to
    the words that were not seen there, by their probability after fewer words. The count of the longest n-grams is how
    often they occur, that of shorter ones how many different words stand before them: a word that follows only one
    other is likely after that alone. N-grams at the beginning of a text, before which nothing stands, keep the former.

    Parameters
    ----------
    words : (m,) uint64, those of n texts; those of text i are ``words[offsets[i]:offsets[i + 1]]``
    offsets : (n + 1,) int64
    order : at least 1

    Returns
    -------
    The model; it has an end after the last word of each text, and a beginning before the first

    Cost: O(order · m log m) time, some 150 bytes of memory a word; the model has 20 bytes for each different n-gram.

    References
    ----------
    Chen & Goodman (1999), doi:10.1006/csla.1999.0128, section 3, equations 26 and 27. Kneser & Ney (1995),
    doi:10.1109/ICASSP.1995.479394. Counts at the beginning, and the unknown word: Heafield, Pouzyrevsky, Clark & Koehn
    (2013), "Scalable modified Kneser-Ney language model estimation", ACL.

    Deviations: where counts of counts leave a discount undefined, or not between 0 and what it is taken from, those of
    that n are 0.5, 1 and 1.5.

    >>> model = fit_kneser_ney(np.array([7, 8, 7], np.uint64), np.array([0, 3]), order=1)
    >>> model.probability[0].tolist(), model.weight[0].tolist()  # 7, 8, the end; the beginning follows nothing
    ([0.25, 0.125, 0.125, 0.0], [0.5])
    """
    vocabulary = np.unique(words)
    symbols, back = _symbols(words, offsets, vocabulary)
    size = len(vocabulary) + 3
    found_ngrams = nested_ngrams(symbols, order, back, size)
    grams, probability, weight = [], [], []
    own, numbers = next(found_ngrams)
    contexts = 1
    for n in range(1, order + 1):
        count = np.bincount(numbers[numbers >= 0], minlength=len(own))
        longer = next(found_ngrams, None)
        if longer is not None:
            begins = np.zeros(len(own), np.bool_)
            begins[numbers[back == n - 1]] = True
            count = np.where(begins, count, _preceding(*longer, numbers, len(own)))
        if n == 1:
            count[own == size - 1] = 0
        taken, left = _discounted(count, own // size, contexts)
        grams.append(own)
        probability.append(taken)
        weight.append(left)
        contexts = len(own)
        own, numbers = longer or (own, numbers)
    return NGramModel(vocabulary, tuple(grams), tuple(probability), tuple(weight))


def word_probabilities(model: NGramModel, words: Hashes, offsets: Positions) -> Numbers:
    """The probability of each word of each text after those before it, and of the text's end after its last word.

    Parameters
    ----------
    words, offsets : as for ``fit_kneser_ney``, m words of n texts

    Returns
    -------
    (m + n,) float64 in (0, 1]; an end after the words of each text

    Cost: O(order · m log g) time, some 100 bytes of memory a word. Guarantee: a text's do not depend, in any bit, on
    the texts beside it.

    >>> model = fit_kneser_ney(np.array([7, 8, 7], np.uint64), np.array([0, 3]), order=1)
    >>> word_probabilities(model, np.array([9], np.uint64), np.array([0, 1])).tolist()  # of 9, which is unknown: 0.5 / 4
    [0.125, 0.25]
    """
    symbols, back = _symbols(words, offsets, model.vocabulary)
    size = len(model.vocabulary) + 3
    probability = np.full(len(symbols), 1 / (size - 1))
    context = np.zeros(len(symbols), np.int64)
    for n, (grams, own, weight) in enumerate(zip(model.grams, model.probability, model.weight, strict=True), 1):
        reached = np.flatnonzero((back >= n - 1) & (context >= 0))
        place = find_ngrams(grams, context[reached], symbols[reached], size)
        share = np.where(place >= 0, own[place], 0) if len(own) else 0
        probability[reached] = share + weight[context[reached]] * probability[reached]
        numbers = np.full(len(symbols), -1)
        numbers[reached] = place
        context = shift_right(numbers)
    return np.asarray(probability[back > 0])


def _symbols(words: Hashes, offsets: Positions, vocabulary: Hashes) -> tuple[Positions, Positions]:
    """The texts' words as places in the vocabulary, each text between a beginning and an end; how far each is in."""
    unknown, end, beginning = range(len(vocabulary), len(vocabulary) + 3)
    lengths = np.diff(offsets)
    symbols = np.full(len(words) + 2 * len(lengths), beginning)
    back = concatenate_ranges(np.zeros_like(lengths), lengths + 2)
    place = find_ngrams(vocabulary, None, words, 0)
    starts = offsets[:-1] + 2 * np.arange(len(lengths))
    symbols[concatenate_ranges(starts + 1, lengths)] = np.where(place < 0, unknown, place)
    symbols[starts + lengths + 1] = end
    return symbols, back


def _preceding(longer: Positions, numbers: Positions, shorter: Positions, size: int) -> Positions:
    """How many different words stand before each n-gram, of which the (n + 1)-grams tell."""
    ends_at = np.empty(len(longer), np.int64)
    there = np.flatnonzero(numbers >= 0)
    ends_at[numbers[there]] = there
    return np.bincount(shorter[ends_at], minlength=size)


def _discounted(count: Positions, context: Positions, contexts: int) -> tuple[Vector, Vector]:
    """The probability that is left to each n-gram, and what is taken from those after each context."""
    of_count = np.bincount(count, minlength=5)[:5].astype(np.float64)
    discount = _UNDEFINED
    if of_count[1:].all():
        y = of_count[1] / (of_count[1] + 2 * of_count[2])
        steps = np.arange(4)
        wanted = np.append(0, steps[1:] - (steps[1:] + 1) * y * of_count[2:] / of_count[1:4])
        if ((wanted[1:] > 0) & (wanted[1:] < steps[1:])).all():
            discount = wanted
    taken = discount[np.minimum(count, 3)]
    total = np.bincount(context, count, contexts)
    whole = np.maximum(total, 1)  # a context that nothing follows is asked of nothing
    given = np.where(total > 0, np.bincount(context, taken, contexts) / whole, 1)
    return ((count - taken) / whole[context]).astype(np.float32), given.astype(np.float32)
