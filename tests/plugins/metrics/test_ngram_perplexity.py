"""The n-gram model is the published distribution, and prefers texts like its training texts."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.ngram_perplexity import NGramPerplexity, distinct_characters, witten_bell

POOL = ["abracadabra", "a cat sat on a mat", "", "dada", "ß 東"]


def by_definition(train, weight, test, alphabet, order):
    """Compute Witten-Bell smoothing with dictionaries and recursion."""
    after = defaultdict(Counter)
    for text, times in zip(train, weight, strict=True):
        symbols = ["<"] * order + [c if c in alphabet else "?" for c in text] + [">"]
        for position in range(order, len(symbols)):
            for n in range(order):
                after["".join(symbols[position - n : position])][symbols[position]] += times

    def probability(symbol, context):
        lower = probability(symbol, context[1:]) if context else 1 / (len(alphabet) + 2)
        seen = after.get("".join(context))
        if not seen:
            return lower
        return (seen[symbol] + len(seen) * lower) / (sum(seen.values()) + len(seen))

    bits = 0.0
    for text in test:
        symbols = ["<"] * order + [c if c in alphabet else "?" for c in text] + [">"]
        for position in range(order, len(symbols)):
            bits -= np.log2(probability(symbols[position], symbols[position - order + 1 : position]))
    return bits


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("weight", [[1, 1, 1, 1], [3, 0.5, 1, 0.25]])
def test_is_the_published_model(order, weight):
    train, test, alphabet = POOL[:4], ["abba", "cat!", "", "東東ab"], distinct_characters(POOL)
    result, characters = witten_bell(train, np.array(weight, np.float32), test, alphabet, order)
    assert characters == 12
    assert result == pytest.approx(by_definition(train, weight, test, {chr(c) for c in alphabet}, order))


def test_probabilities_of_all_that_may_follow_add_up_to_1():
    """Texts of one character that is in the alphabet, or is not (all such are one symbol), or of none."""
    alphabet, train, weight = distinct_characters(["abc"]), ["abcab", "b"], np.ones(2, np.float32)
    bits = [witten_bell(train, weight, [text], alphabet, 3)[0] for text in ("a", "b", "c", "z", "")]
    ends = [witten_bell(train, weight, [text + "a"], alphabet, 3)[0] for text in ("a", "b", "c", "z")]
    assert 2 ** -bits[-1] < 1
    assert all(bit > 0 for bit in bits + ends)
    first = [
        sum(2 ** -witten_bell(train, weight, [a + b], alphabet, 1)[0] for b in ("a", "b", "c", "z")) for a in "abcz"
    ]
    end = 2 ** -witten_bell(train, weight, [""], alphabet, 1)[0]
    total = end + sum(2 ** -witten_bell(train, weight, [a], alphabet, 1)[0] / end for a in "abcz")
    assert total == pytest.approx(1)
    assert sum(first) == pytest.approx((1 - end) ** 2 * end)


def bits(chosen, test, texts=POOL, **fields):
    trial = MetricInput(n=len(texts), selected=np.array(chosen), texts=texts, test_texts=test)
    return NGramPerplexity(**fields).measure(trial, np.random.default_rng(0)).values[""]


def test_texts_like_the_selected_ones_have_lower_perplexity():
    assert bits([1], ["a mat on a cat"]) < bits([0], ["a mat on a cat"])
    assert bits([0], ["cadabra"]) < bits([1], ["cadabra"])


def test_the_alphabet_is_the_pools_so_that_choices_compare():
    """A choice without the characters of the test pays for them; a pool with more of them makes all choices pay."""
    assert bits([3], ["cat"]) > bits([1], ["cat"])
    assert bits([3], ["cat"], [*POOL, "".join(map(chr, range(1_000, 1_500)))]) > bits([3], ["cat"])


def test_without_selected_texts_all_characters_are_equally_likely():
    size = len(distinct_characters(POOL)) + 2
    trained_on_the_end = bits([2], ["東"], order=1)
    assert trained_on_the_end == pytest.approx(-np.log2(0.5 / size) - np.log2((1 + 1 / size) / 2))
