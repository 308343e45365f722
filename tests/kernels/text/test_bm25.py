"""BM25 against its formula, word by word."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.bm25 import bm25, count_terms, split_terms

WORDS = st.lists(st.sampled_from(["red", "blue", "cat", "dog", "Katze", "東", "x1"]), max_size=9).map(" ".join)


def by_formula(texts, query, k1, b):
    documents = [split_terms(text) for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        total = 0.0
        for term in split_terms(query):
            frequency = sum(term in other for other in documents)
            count = document.count(term)
            if count:
                rarity = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
                total += rarity * count * (k1 + 1) / (count + k1 * (1 - b + b * len(document) / mean))
        scores.append(total)
    return np.array(scores)


@given(
    texts=st.lists(WORDS, min_size=1, max_size=8),
    queries=st.lists(WORDS, min_size=1, max_size=4),
    k1=st.sampled_from([0.0, 1.2, 3.0]),
    b=st.sampled_from([0.0, 0.75, 1.0]),
)
def test_scores_are_those_of_the_formula(texts, queries, k1, b):
    every = np.array([by_formula(texts, query, k1, b) for query in queries])
    found = bm25(texts, queries, count_terms(texts, queries), k1, b)
    np.testing.assert_allclose(found, np.stack([every.mean(axis=0), every.max(axis=0)], axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("queries", [[""], ["!!!"], ["unknown"]])
def test_queries_without_words_of_the_texts_give_zero(queries):
    texts = ["a cat", "", "!!"]
    assert bm25(texts, queries, count_terms(texts, queries)).tolist() == [[0, 0]] * 3
    assert bm25([], queries, count_terms([], queries)).shape == (0, 2)


def test_many_texts_are_scored_in_blocks():
    texts = [f"w{number % 97} common" for number in range(3000)]
    queries = ["w7", "w7 nothing"]
    found = bm25(texts, queries, count_terms(texts, queries))
    same = [number for number in range(3000) if number % 97 == 7]
    assert set(np.flatnonzero(found[:, 1] == found[:, 1].max()).tolist()) == set(same)
