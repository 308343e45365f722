"""Perplexity agrees with the published model, is held out for every text, and is always defined."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import DataError
from curate.kernels.stats.hash_folds import assign_folds, hash_folded_texts
from curate.kernels.text.kneser_ney import fit_kneser_ney, word_probabilities
from curate.kernels.text.normalized_words import _NORMAL_FORMS, normalize_words
from curate.plugins.batches import ScoreBatch
from curate.plugins.scorers.perplexity import Perplexity

RNG = np.random.default_rng
RUNNING = [f"the {a} {b} over the {c}" for a in ("cat", "dog") for b in ("runs", "jumps") for c in "abcdefghijkl"]


def fitted(texts, **fields):
    plugin = Perplexity(**fields)
    state = plugin.fit({"files": texts}, RNG(0))
    return plugin.describe_fit(state), lambda texts: plugin.restore(state).score(ScoreBatch(texts=texts), RNG(0))


@pytest.mark.parametrize("order", [1, 3, 5])
def test_is_the_model_of_the_texts_of_the_other_half(order):
    _, score = fitted(RUNNING, order=order)
    queries = [*RUNNING[:4], "something else", "the cat runs"]
    for text, result in zip(queries, score(queries), strict=True):
        others = [
            one
            for one in RUNNING
            if assign_folds(hash_folded_texts([one]), 2) != assign_folds(hash_folded_texts([text]), 2)
        ]
        others.sort(key=lambda one: hash_folded_texts([one])[0])
        p = word_probabilities(fit_kneser_ney(*normalize_words(others), order), *normalize_words([text]))
        assert result == pytest.approx(np.exp(-np.log(p).mean()), rel=1e-6)


def test_what_is_unlike_the_clean_texts_is_surprising_and_the_texts_themselves_are_judged_unseen():
    report, score = fitted(RUNNING)
    clean, odd = score(["the dog jumps over the cat", "zxq wvu qqp rst"])
    assert clean < odd / 3
    assert report.facts["median"] == pytest.approx(np.median(score(RUNNING)), rel=1e-5)
    assert report.facts["texts"] == len(RUNNING)
    assert "held-out perplexity" in report.summary
    noise = [" ".join(RNG(i).permutation(list("abcdefghijklmnop"))) for i in range(40)]
    assert fitted(noise)[0].facts["median"] > 6  # a model that had seen them would foresee them


def test_words_are_normalized_and_marks_and_symbols_are_words():
    def lengths(*texts):
        return np.diff(normalize_words(texts)[1]).tolist()

    assert lengths("Hello, world!", "你好。", "$5 + 3%", "हिंदी", "", " \n") == [4, 3, 5, 1, 0, 0]
    assert normalize_words(["In 1999"])[0].tolist() == normalize_words(["in 2024"])[0].tolist()
    assert "a].^-\\!€～7٣b".translate(_NORMAL_FORMS) == "a" + "".join(f" {mark} " for mark in "].^-\\!€～") + "00b"
    assert "é ü中\ud800".translate(_NORMAL_FORMS) == "é ü中\ud800"


def test_any_text_has_a_finite_perplexity_of_1_at_least():
    _, score = fitted(RUNNING)
    result = score(["", " ", "\ud800", "\0", "שלום", "你" * 10_000, "(" * 100_000, "the cat runs over the a"])
    assert np.isfinite(result).all()
    assert (result >= 1).all()
    assert result[0] == pytest.approx(result[1], rel=0.5)  # the end alone; by two models, perhaps


@pytest.mark.parametrize("few", [[], [" ", ""] * 30, ["same", "SAME "] * 30])
def test_too_few_texts_are_refused(few):
    with pytest.raises(DataError, match=r"perplexity\.files: [01] distinct texts, but at least 20 are needed"):
        fitted(few)
