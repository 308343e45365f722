"""Bits per character of test texts under an n-gram model of the selected texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.ngram_ids import find_ngrams, nested_ngrams, shift_right
from curate.kernels.types import Counts, Vector
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult

_UNICODE = 0x110000


def distinct_characters(texts: Sequence[str]) -> Counts:
    """Return the distinct characters of ``texts``, as ascending code points.

    Examples
    --------
    >>> distinct_characters(["ab", "ba!"]).tolist()
    [33, 97, 98]
    """
    is_present = np.zeros(_UNICODE, np.bool_)
    for block in text_blocks(texts, 1 << 20):
        is_present[_code_points("".join(texts[block]))] = True
    return np.flatnonzero(is_present)


def witten_bell(
    train: Sequence[str], weight: Vector, test: Sequence[str], alphabet: Counts, order: int = 6
) -> tuple[float, int]:
    """Compute the bits needed to encode ``test`` with an interpolated n-gram model of ``train``.

    The probability of a character after the n − 1 before it is (c + t p) / (C + t): it followed them c times, any
    character did C times, t distinct characters did, and p is its probability after the n − 2 before it. The base
    distribution is uniform over the alphabet, plus one symbol for the end of a text and one for all other characters.

    Parameters
    ----------
    train : k texts
    weight : (k,) above 0, weight of each text
    test : m texts
    alphabet : (a,) ascending code points
    order : n, at least 1

    Returns
    -------
    bits : total number of bits, including the ends of the texts
    characters : number of characters, without the ends of the texts

    Notes
    -----
    Cost: O(order · characters log characters) time, about 100 bytes of memory a character.

    References
    ----------
    Witten & Bell (1991), doi:10.1109/18.87000, method C; interpolated: Chen & Goodman (1999),
    doi:10.1006/csla.1999.0128, section 2.3.

    Examples
    --------
    >>> bits, characters = witten_bell(["aa"], np.ones(1, np.float32), ["a"], np.array([97]), order=1)
    >>> round(2**-bits, 4), characters  # (2 + 2 / 3) / 5 for the character, (1 + 2 / 3) / 5 for the end
    (0.1778, 1)
    """
    n_symbols = len(alphabet) + 3  # plus: unknown character, end, blank before a text
    train_symbols, text_index = _symbols(train, alphabet, order)
    test_symbols, _ = _symbols(test, alphabet, order)
    is_counted, is_scored = train_symbols < n_symbols - 1, test_symbols < n_symbols - 1
    weights = weight.astype(np.float64)[text_index[is_counted]]
    context = np.zeros(len(test_symbols), np.int64)
    probability, contexts = np.full(len(test_symbols), 1 / (n_symbols - 1)), 1
    for grams, number in nested_ngrams(train_symbols, order, np.full(len(train_symbols), order), n_symbols):
        counts = np.bincount(number[is_counted], weights, len(grams))
        totals, n_kinds = (np.bincount(grams // n_symbols, values, contexts) for values in (counts, counts > 0))
        previous_context = shift_right(context)
        positions = find_ngrams(grams, previous_context, test_symbols, n_symbols)
        context_total, context_kinds = (
            np.where(previous_context >= 0, part[previous_context], 0) for part in (totals, n_kinds)
        )
        smoothed = np.where(positions >= 0, counts[positions], 0) + context_kinds * probability
        probability = np.divide(smoothed, context_total + context_kinds, out=probability, where=context_kinds > 0)
        context, contexts = positions, len(grams)
    return -float(np.log2(probability[is_scored]).sum()), sum(map(len, test))


def _symbols(texts: Sequence[str], alphabet: Counts, order: int) -> tuple[Counts, Counts]:
    """Encode texts as alphabet indices, with ``order`` blanks before and an end after each text.

    Returns
    -------
    symbols : (s,) int64
    text_index : (s,) text of each symbol
    """
    unknown, end, blank = range(len(alphabet), len(alphabet) + 3)

    def symbols_of_each() -> Iterator[Counts]:
        for text in texts:
            code_points = _code_points(text)
            positions = np.searchsorted(alphabet, code_points).clip(max=max(len(alphabet) - 1, 0))
            is_known = alphabet[positions] == code_points if len(alphabet) else np.zeros(len(code_points), np.bool_)
            yield np.concatenate([np.full(order, blank), np.where(is_known, positions, unknown), [end]])

    lengths = [order + len(text) + 1 for text in texts]
    return np.concatenate([np.empty(0, np.int64), *symbols_of_each()]), np.repeat(np.arange(len(texts)), lengths)


def _code_points(text: str) -> Counts:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)


@metric(
    version=1,
    reads={"text", "test"},
    learns=True,
    measures=(OutputColumn(higher_is_better=False, unit="bits a character", range=(0, float("inf"))),),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class NGramPerplexity:
    """Bits per character of test texts under a character model of the selected texts: less is better.

    Use it as a cheap substitute for training a language model on the selection, without labels. Longer texts teach
    more, so compare it together with ``tokens``. For labeled data, the probes are more direct.

    The interpolated n-gram model is trained in seconds. Its alphabet is that of the pool, so that values are comparable
    between selections; a character that is not in the pool costs the same for every selection. Training weights of the
    selected rows count. NaN if the test texts have no characters.

    References
    ----------
    Witten & Bell (1991), doi:10.1109/18.87000. Chen & Goodman (1999), doi:10.1006/csla.1999.0128.
    """

    order: Annotated[int, Ge(1), Le(100)] = 6
    """n: a character is predicted from the n - 1 before it."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        texts, test = require(inputs.texts), require(inputs.test_texts)
        weight = np.ones(len(inputs.selected), np.float32)
        if inputs.weight is not None:
            weight = (inputs.weight / inputs.weight.mean(dtype=np.float64)).astype(np.float32)
        selected_texts = [texts[row] for row in inputs.selected]
        bits, characters = witten_bell(selected_texts, weight, test, distinct_characters(texts), self.order)
        if not characters:
            return MetricResult({"": float("nan")}, notes=("the test texts have no characters",))
        return MetricResult({"": bits / characters})
