"""Shared n-grams and similar embeddings agree with brute force."""

from __future__ import annotations

import string
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text import ngram_overlap
from curate.kernels.text.ngram_overlap import NgramIndex, match_embeddings
from curate.kernels.text.shingles import UNSPACED_SCRIPTS

letters = st.text(st.sampled_from("abAB \t.,-$\u3000\0\u200b\u00adée\u0301Ａ你吗ท\ud800🎉ß'"), max_size=24)
INVISIBLE = "\0\u200b\u00ad"
texts = st.lists(letters, max_size=5)


def slow_words(text):
    """Reference implementation of the definition in the docstring."""
    text = unicodedata.normalize("NFKC", text)
    removed = string.punctuation + INVISIBLE
    kept = "".join(c for c in text if not unicodedata.category(c).startswith("P") and c not in removed)
    kept = unicodedata.normalize("NFKC", kept.casefold())
    return "".join(
        f" {c} " if any(a <= ord(c) <= b for a, b in UNSPACED_SCRIPTS) and not c.isspace() else c for c in kept
    ).split()


def slow_ngrams(text, length, min_words):
    words = slow_words(text)
    if len(words) < min_words:
        return []
    size = min(length, len(words))
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]


def has(text, ngram):
    words = slow_words(text)
    return any(tuple(words[i : i + len(ngram)]) == ngram for i in range(len(words)))


@given(texts, texts, st.integers(1, 4), st.integers(1, 4))
def test_every_shared_ngram_is_found_and_no_other(evaluation, pool, length, min_words):
    ngrams = NgramIndex.from_texts(evaluation, length, min_words)
    rows, numbers = ngrams.find(pool)
    result = {
        (row, tuple(ngrams.ngram_words(number))) for row, number in zip(rows.tolist(), numbers.tolist(), strict=True)
    }
    wanted = {ngram for text in evaluation for ngram in slow_ngrams(text, length, min_words)}
    assert len(ngrams) == len(wanted)
    assert result == {(row, ngram) for row, text in enumerate(pool) for ngram in wanted if has(text, ngram)}
    assert len(result) == len(rows)


@given(texts, letters, st.integers(1, 3), st.sampled_from([0.0, 0.5, 1.0]))
def test_overlaps_are_those_of_sets(evaluation, text, length, min_rate):
    ngrams = NgramIndex.from_texts(evaluation, length, 1)
    groups = np.arange(len(evaluation)) % 2
    own = ngrams.find([text])[1]
    rates = {}
    for number, one in enumerate(evaluation):
        wanted = set(slow_ngrams(one, length, 1))
        shared = {ngram for ngram in wanted if has(text, ngram)}
        if shared and len(shared) / len(wanted) >= min_rate:
            rates[number] = len(shared) / len(wanted)
    result = ngrams.overlaps(own, groups, min_rate)
    assert sorted(result) == sorted({number % 2 for number in rates})
    for group, one in result.items():
        local_rows = {number: rate for number, rate in rates.items() if number % 2 == group}
        assert (one.rate, list(one.texts)) == (max(local_rows.values()), sorted(local_rows))
        assert one.best_text == min(number for number, rate in local_rows.items() if rate == one.rate)
        words = ngrams.longest_shared_span(one.best_text, own).split()
        assert all(has(text, tuple(words[i : i + length])) for i in range(len(words) - length + 1))
        assert has(evaluation[one.best_text], tuple(words))


def test_what_hashes_propose_is_compared_word_by_word(monkeypatch):
    real = ngram_overlap.hash_shingles

    def alike(some, length, unit):
        hashes, offsets = real(some, length, unit)
        return hashes & np.uint64(0), offsets  # all runs of words have the same hash

    monkeypatch.setattr(ngram_overlap, "hash_shingles", alike)
    assert NgramIndex.from_texts(["a b c"], 3, 3).find(["q r s", "A b, c", "b c"])[0].tolist() == [1]


def test_a_run_of_words_is_not_joined_from_two_rows_that_are_read_together():
    ngrams = NgramIndex.from_texts(["a b c d"], 4, 4)
    assert ngrams.find(["x a b", "c d y"])[0].tolist() == []


def test_blocks_of_texts_are_numbered_through(monkeypatch):
    monkeypatch.setattr(ngram_overlap, "_CHARACTERS", 4)
    assert NgramIndex.from_texts(["b c"], 2, 2).find(["a", "b c", "long and longer", "a b c"])[0].tolist() == [1, 3]


@pytest.mark.parametrize("evaluation", [[], [""], ["too short"], ["?!", " "]])
def test_an_empty_query_is_found_nowhere(evaluation):
    ngrams = NgramIndex.from_texts(evaluation, 3, 3)
    assert [result.tolist() for result in ngrams.find(["too short", ""])] == [[], []]
    assert ngrams.n_distinct.tolist() == [0] * len(evaluation)


def test_the_most_similar_of_many_blocks(monkeypatch):
    monkeypatch.setattr("curate.kernels.linalg.blocked_matmul._ROWS", 3)
    monkeypatch.setattr("curate.kernels.linalg.blocked_matmul._COLUMNS", 4)
    rng = np.random.default_rng(0)
    x, among = (rng.standard_normal((n, 5)).astype(np.float32) for n in (10, 13))
    among[9] = among[2]
    x, among = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (x, among))
    similarity, position, similar = match_embeddings(x, among, 0.4)
    complete = x @ among.T
    np.testing.assert_allclose(similarity, complete.max(axis=1), rtol=1e-6)
    assert position.tolist() == complete.argmax(axis=1).tolist()
    assert similar.tolist() == (complete >= 0.4).sum(axis=1).tolist()


@pytest.mark.parametrize(
    ("differences", "found"),
    [((), [0]), (("case",), [0, 1]), (("punctuation",), [0, 2]), (("unicode",), [0, 3]), (("space",), [0])],
)
def test_only_what_is_named_is_ignored(differences, found):
    ngrams = NgramIndex.from_texts(["To be or not"], 4, 4, differences)
    assert (
        ngrams.find(["so To  be or not", "to BE or not", "To be, or not!", "To b\u200be or no\u00adt"])[0].tolist()
        == found
    )
