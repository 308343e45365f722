"""Moore–Lewis: the difference of two models with one vocabulary, held out for every row of the pool."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import DataError
from curate.kernels.stats.hash_folds import assign_folds, distinct_texts, hash_folded_texts
from curate.kernels.text.kneser_ney import fit_kneser_ney, word_probabilities
from curate.kernels.text.normalized_words import normalize_words
from curate.plugins.batches import ScoreBatch
from curate.plugins.scorers.cross_entropy_difference import CrossEntropyDifference, sample_words


def sentences(subject, n):
    verbs, objects = ("sees", "likes", "takes", "finds"), ("house", "tree", "river", "stone", "bird")
    return [f"the {subject} {verbs[i % 4]} a {objects[i % 5]} number {i}" for i in range(n)]


def scored(targets, general, texts, **fields):
    plugin = CrossEntropyDifference(**fields)
    state = plugin.fit({"target": targets, "general": general}, np.random.default_rng(0))
    return plugin.restore(state).score(ScoreBatch(texts=texts), np.random.default_rng(1)), plugin.describe_fit(state)


def test_texts_like_the_target_have_lower_values():
    general = sentences("dog", 300) + sentences("car", 300)
    values, _ = scored(sentences("cat", 60), general, ["the cat likes a stone", "the dog likes a stone", "zzz qqq"])
    assert values[0] < values[2]
    assert values[0] < values[1] - 0.1


def test_the_score_is_the_difference_of_two_models_with_the_words_of_the_target():
    targets, general = sentences("cat", 30), sentences("dog", 80)
    words, offsets = normalize_words(targets)
    distinct, counts = np.unique(words, return_counts=True)
    vocabulary = distinct[counts >= 2]
    texts, hashes = distinct_texts(general)
    folds, order = assign_folds(hashes, 2), np.random.default_rng(0).permutation(len(texts))
    values, _ = scored(targets, general, general, order=3)
    for row in (0, 13, 40):
        fold = int(assign_folds(hash_folded_texts([general[row]]), 2)[0])
        sample = sample_words([texts[i] for i in order if folds[i] != fold], len(words))
        assert general[row] not in sample
        models = [
            fit_kneser_ney(words, offsets, 3, vocabulary),
            fit_kneser_ney(*normalize_words(sample), 3, vocabulary),
        ]
        target, pool = (-np.log(word_probabilities(model, *normalize_words([general[row]]))).mean() for model in models)
        assert values[row] == pytest.approx(target - pool, rel=1e-5)


def test_models_of_the_same_texts_differ_little():
    texts = sentences("dog", 400)
    values, _ = scored(texts, texts, sentences("dog", 50))
    assert np.abs(values).max() < 1.5


def test_the_general_models_have_as_many_words_as_the_target():
    targets = sentences("cat", 10)
    _, report = scored(targets, sentences("dog", 500), targets)
    assert report.facts["words"] == 70
    assert 2 * 70 <= report.facts["general"] <= 2 * 77
    assert "10 target texts with 70 words" in report.summary


def test_a_pool_with_few_texts_and_a_target_without_repeated_words():
    with pytest.raises(DataError, match=r"general: 3 distinct texts, at least 20 are needed"):
        scored(["a a"], sentences("dog", 3), [])
    with pytest.raises(DataError, match=r"no word occurs 2 times in the 1 target texts; .*min_count: 1"):
        scored(["one two"], sentences("dog", 30), [])
    values, _ = scored(["one two"], sentences("dog", 30), ["one two", "", "dog"], min_count=1)
    assert np.isfinite(values).all()
    assert values[0] < values[2]


def test_blank_target_texts_do_not_count():
    with_blanks, _ = scored(["", " ", *sentences("cat", 9)], sentences("dog", 30), ["the cat"])
    without, _ = scored(sentences("cat", 9), sentences("dog", 30), ["the cat"])
    assert with_blanks.tolist() == without.tolist()
