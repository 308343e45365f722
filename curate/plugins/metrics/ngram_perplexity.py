"""How well an n-gram model of the chosen texts predicts test texts, character by character."""

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


def characters_of(texts: Sequence[str]) -> Counts:
    """The different characters of ``texts``, as ascending code points.

    >>> characters_of(["ab", "ba!"]).tolist()
    [33, 97, 98]
    """
    occurs = np.zeros(_UNICODE, np.bool_)
    for part in text_blocks(texts, 1 << 20):
        occurs[_code_points("".join(texts[part]))] = True
    return np.flatnonzero(occurs)


def witten_bell(
    train: Sequence[str], weight: Vector, test: Sequence[str], alphabet: Counts, order: int = 6
) -> tuple[float, int]:
    """The bits that it takes to write ``test`` with an interpolated n-gram model of ``train``.

    The probability of a character after the n − 1 before it is (c + t p) / (C + t): it followed them c times, anything
    did C times, t different characters did, and p is its probability after the n − 2 before it. Before any character
    all of the alphabet are alike, with one for the end of a text and one for all characters that are not in it.

    Parameters
    ----------
    train : k texts
    weight : (k,) above 0, how many times a text counts
    test : m texts
    alphabet : (a,) ascending code points
    order : n, at least 1

    Returns
    -------
    bits, and the number of characters, not counting the ends of the texts, whose bits count

    Cost: O(order · characters log characters) time, about 100 bytes of memory a character.

    References
    ----------
    Witten & Bell (1991), doi:10.1109/18.87000, method C; interpolated: Chen & Goodman (1999),
    doi:10.1006/csla.1999.0128, section 2.3.

    >>> bits, characters = witten_bell(["aa"], np.ones(1, np.float32), ["a"], np.array([97]), order=1)
    >>> round(2**-bits, 4), characters  # (2 + 2 / 3) / 5 for the character, (1 + 2 / 3) / 5 for the end
    (0.1778, 1)
    """
    size = len(alphabet) + 3  # … a character that is not in it, the end, the blank before a text
    seen, of_text = _symbols(train, alphabet, order)
    asked, _ = _symbols(test, alphabet, order)
    counted, wanted = seen < size - 1, asked < size - 1
    times = weight.astype(np.float64)[of_text[counted]]
    asked_context = np.zeros(len(asked), np.int64)
    probability, contexts = np.full(len(asked), 1 / (size - 1)), 1
    for grams, number in nested_ngrams(seen, order, np.full(len(seen), order), size):
        count = np.bincount(number[counted], times, len(grams))
        after, kinds = (np.bincount(grams // size, values, contexts) for values in (count, count > 0))
        asked_before = shift_right(asked_context)
        place = find_ngrams(grams, asked_before, asked, size)
        total, different = (np.where(asked_before >= 0, part[asked_before], 0) for part in (after, kinds))
        share = np.where(place >= 0, count[place], 0) + different * probability
        probability = np.divide(share, total + different, out=probability, where=different > 0)
        asked_context, contexts = place, len(grams)
    return -float(np.log2(probability[wanted]).sum()), sum(map(len, test))


def _symbols(texts: Sequence[str], alphabet: Counts, order: int) -> tuple[Counts, Counts]:
    """Places in the alphabet, one text after the other, each behind order blanks and before an end; whose each is."""
    unknown, end, blank = range(len(alphabet), len(alphabet) + 3)

    def parts() -> Iterator[Counts]:
        for text in texts:
            points = _code_points(text)
            place = np.searchsorted(alphabet, points).clip(max=max(len(alphabet) - 1, 0))
            known = alphabet[place] == points if len(alphabet) else np.zeros(len(points), np.bool_)
            yield np.concatenate([np.full(order, blank), np.where(known, place, unknown), [end]])

    lengths = [order + len(text) + 1 for text in texts]
    return np.concatenate([np.empty(0, np.int64), *parts()]), np.repeat(np.arange(len(texts)), lengths)


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
    """Bits a character that test texts cost under a model of the characters of the chosen texts: less is better.

    An interpolated n-gram model, trained in seconds, asks of a choice what a language model would, without labels. Its
    alphabet is the pool's, so that numbers compare between choices; to write a character that the pool has not costs as
    much whichever it is. Training weights of the chosen rows count. Longer texts teach more:
    see ``tokens`` beside it. NaN where the test texts have no characters.

    References
    ----------
    Witten & Bell (1991), doi:10.1109/18.87000. Chen & Goodman (1999), doi:10.1006/csla.1999.0128.
    """

    order: Annotated[int, Ge(1), Le(100)] = 6
    """n: a character is predicted from the n - 1 before it."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        texts, test = require(trial.texts), require(trial.test_texts)
        weight = np.ones(len(trial.chosen), np.float32)
        if trial.weight is not None:
            weight = (trial.weight / trial.weight.mean(dtype=np.float64)).astype(np.float32)
        chosen = [texts[row] for row in trial.chosen]
        bits, characters = witten_bell(chosen, weight, test, characters_of(texts), self.order)
        if not characters:
            return MetricResult({"": float("nan")}, notes=("the test texts have no characters",))
        return MetricResult({"": bits / characters})
