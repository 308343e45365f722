from __future__ import annotations

import re
from collections import Counter
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.hashed_ngrams import count_ngrams, hash_ngrams, importance, log_ratio

texts_of_words = st.lists(st.text("ab, .\n_1é東", max_size=12), max_size=8)


def naive(text, order, buckets):
    """Hash every n-gram, one after the other."""
    tokens = re.findall(r"\w+|[^\w\s]+", text.lower())
    grams = [" ".join(tokens[i : i + n]) for n in range(1, order + 1) for i in range(len(tokens) - n + 1)]
    return Counter(int(sha256(gram.encode()).hexdigest(), 16) % buckets for gram in grams)


def test_the_published_example():
    hashes, rows = hash_ngrams(["Hello, world."], 2, 10_000)
    assert set(hashes.tolist()) == {1202, 3960, 4345, 4887, 4892, 7620, 8983}
    assert len(hashes) == 7
    assert set(rows.tolist()) == {0}


@given(texts=texts_of_words, order=st.integers(1, 4), buckets=st.sampled_from([1, 7, 10_000, 1 << 24, 1 << 32]))
def test_the_ngrams_of_each_text_are_those_hashed_one_by_one(texts, order, buckets):
    hashes, rows = hash_ngrams(texts, order, buckets)
    for row, text in enumerate(texts):
        assert Counter(hashes[rows == row].tolist()) == naive(text, order, buckets)


@given(texts=texts_of_words, order=st.integers(1, 3))
def test_counts_and_weights_are_sums_over_ngrams(texts, order):
    buckets = 50
    every = [naive(text, order, buckets) for text in texts]
    counts = count_ngrams(texts, order, buckets)
    assert Counter({bucket: int(count) for bucket, count in enumerate(counts) if count}) == sum(every, Counter())
    ratio = np.sin(np.arange(buckets))
    sums, sizes = importance(texts, ratio, order)
    np.testing.assert_allclose(sums, [sum(ratio[b] * c for b, c in one.items()) for one in every], atol=1e-12)
    assert sizes.tolist() == [sum(one.values()) for one in every]


@given(texts=texts_of_words)
def test_a_target_equal_to_the_pool_weighs_nothing(texts):
    counts = count_ngrams(texts, 2, 100)
    sums, _ = importance(texts, log_ratio(counts, counts, 0), 2)
    assert (sums == 0).all()
    proportional, _ = importance(texts, log_ratio(3 * counts, counts, 0), 2)
    np.testing.assert_allclose(proportional, 0, atol=1e-9)


def test_a_text_has_the_same_bytes_among_other_texts():
    texts = [
        f"the {word} of number {i % 97}, {word * (i % 5)}!" for i, word in enumerate(["cat", "dog", "東京"] * 9_000)
    ]
    ratio = np.random.default_rng(0).standard_normal(10_000)
    together, _ = importance(texts, ratio, 2)
    alone = [importance([text], ratio, 2)[0][0] for text in texts[::5_000]]
    assert together[::5_000].tolist() == alone


@pytest.mark.parametrize("counts", [([0, 0], [3, 1]), ([1, 0], [0, 0]), ([0, 0], [0, 0])])
def test_a_side_without_ngrams_has_finite_weights(counts):
    target, pool = map(np.array, counts)
    assert np.isfinite(log_ratio(target, pool, 0)).all()
    assert np.isfinite(log_ratio(target, pool, 1)).all()


def test_a_lone_surrogate_is_hashed():
    assert len(hash_ngrams(["a \ud800 b"], 1, 10)[0]) == 3
