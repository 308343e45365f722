"""The n-gram model equals the published one to the stored precision, and is a distribution."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.kneser_ney import NGramModel, fit_kneser_ney, word_probabilities

sentences = st.lists(st.lists(st.integers(1, 4), max_size=12), min_size=1, max_size=30)
RNG = np.random.default_rng(0)
ENOUGH = [RNG.zipf(1.4, RNG.integers(1, 20)).clip(max=300).tolist() for _ in range(80)]
"""Enough for every count of counts that the paper's discounts are made of."""


def packed(texts):
    words = np.array([word for text in texts for word in text], np.uint64)
    return words, np.cumsum([0, *map(len, texts)])


class Textbook:
    """Interpolated modified Kneser–Ney, with dictionaries and recursion."""

    def __init__(self, texts, order):
        sequences = [("<s>", *text, "</s>") for text in texts]
        grams = [
            Counter(s[i - n + 1 : i + 1] for s in sequences for i in range(n - 1, len(s))) for n in range(1, order + 1)
        ]
        self.words = {word for text in texts for word in text} | {"</s>", "<unk>"}
        self.count, self.discount = [], []
        for n, raw in enumerate(grams, 1):
            if n == order:
                own = dict(raw)
            else:
                before = defaultdict(set)
                for gram in grams[n]:
                    before[gram[1:]].add(gram[0])
                own = {g: raw[g] if g[0] == "<s>" else len(before[g]) for g in raw}
            own.pop(("<s>",), None)
            self.count.append(own)
            n1, n2, n3, n4 = (sum(c == k for c in own.values()) for k in (1, 2, 3, 4))
            d = [0.5, 1, 1.5]
            if n1 and n2 and n3 and n4:
                y = n1 / (n1 + 2 * n2)
                found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
                d = found if all(0 < one < k for k, one in enumerate(found, 1)) else d
            self.discount.append(d)

    def __call__(self, word, context):
        lower = self(word, context[1:]) if context else 1 / len(self.words)
        counts = self.count[len(context)]
        after = {g: c for g, c in counts.items() if g[:-1] == context}
        if not after:
            return lower
        d = self.discount[len(context)]
        taken = sum(d[min(c, 3) - 1] for c in after.values())
        own = counts.get((*context, word), 0)
        return (own - (d[min(own, 3) - 1] if own else 0) + taken * lower) / sum(after.values())

    def of(self, text, order):
        known = ["<s>", *(word if word in self.words else "<unk>" for word in text), "</s>"]
        return [self(known[i], tuple(known[max(0, i - order + 1) : i])) for i in range(1, len(known))]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@given(texts=sentences)
def test_is_the_textbook_one(order, texts):
    queries = [[1, 2, 3], [], [9, 1], [4, 4, 4, 4, 4, 4], *texts[:3]]
    slow = Textbook(texts, order)
    result = word_probabilities(fit_kneser_ney(*packed(texts), order), *packed(queries))
    np.testing.assert_allclose(result, [p for text in queries for p in slow.of(text, order)], rtol=2e-6)


def test_the_discounts_of_the_paper_are_used_where_counts_define_them():
    slow = Textbook(ENOUGH, 3)
    assert all(discount != [0.5, 1, 1.5] for discount in slow.discount)
    queries = [[1, 2, 999, 1], *ENOUGH[:5]]
    result = word_probabilities(fit_kneser_ney(*packed(ENOUGH), 3), *packed(queries))
    np.testing.assert_allclose(result, [p for text in queries for p in slow.of(text, 3)], rtol=2e-6)


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("before", [[], [1], [1, 2], [2, 1, 1], [999, 3], [3, 999]])
def test_probabilities_of_all_that_may_follow_add_up_to_1(order, before):
    """Of every word, one that is unknown, and the end."""
    model = fit_kneser_ney(*packed(ENOUGH), order)
    texts = [*([*before, int(word)] for word in model.vocabulary), [*before, 999], before]
    result, starts = word_probabilities(model, *packed(texts)), np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1]
    assert result[starts + len(before)].sum() == pytest.approx(1, abs=1e-5)


def test_perplexity_does_not_depend_on_other_texts_or_on_saving_the_model():
    model = fit_kneser_ney(*packed(ENOUGH), 3)
    again = NGramModel.from_state(model.to_state())
    texts = [[1, 2, 3], [], [42], [7, 7, 7, 7]]
    alone = [word_probabilities(model, *packed([text])) for text in texts]
    assert word_probabilities(again, *packed(texts)).tolist() == np.concatenate(alone).tolist()


def test_without_texts_all_words_are_equally_likely():
    model = fit_kneser_ney(*packed([]), 3)
    assert word_probabilities(model, *packed([[5]])).tolist() == [0.5, 0.5]  # an unknown word, or the end
