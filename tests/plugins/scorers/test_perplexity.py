"""Perplexity is that of the published model, is held out for every text, and is defined for any."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import DataError
from curate.kernels.stats.hash_folds import assign_folds, hash_folded_texts
from curate.kernels.text.kneser_ney import fit_kneser_ney, word_probabilities
from curate.plugins.batches import ScoreBatch
from curate.plugins.scorers.perplexity import Perplexity, _marks, normalised_words

RNG = np.random.default_rng
RUNNING = [f"the {a} {b} over the {c}" for a in ("cat", "dog") for b in ("runs", "jumps") for c in "abcdefghijkl"]


def fitted(texts, **fields):
    plugin = Perplexity(**fields)
    state = plugin.fit({"files": texts}, RNG(0))
    return plugin.describe_fit(state), lambda asked: plugin.restore(state).score(ScoreBatch(texts=asked), RNG(0))


@pytest.mark.parametrize("order", [1, 3, 5])
def test_is_the_model_of_the_texts_of_the_other_half(order):
    _, score = fitted(RUNNING, order=order)
    asked = [*RUNNING[:4], "something else", "the cat runs"]
    for text, found in zip(asked, score(asked), strict=True):
        others = [
            one
            for one in RUNNING
            if assign_folds(hash_folded_texts([one]), 2) != assign_folds(hash_folded_texts([text]), 2)
        ]
        others.sort(key=lambda one: hash_folded_texts([one])[0])
        p = word_probabilities(fit_kneser_ney(*normalised_words(others), order), *normalised_words([text]))
        assert found == pytest.approx(np.exp(-np.log(p).mean()), rel=1e-6)


def test_what_is_unlike_the_clean_texts_is_surprising_and_the_texts_themselves_are_judged_unseen():
    learnt, score = fitted(RUNNING)
    clean, odd = score(["the dog jumps over the cat", "zxq wvu qqp rst"])
    assert clean < odd / 3
    assert learnt.facts["median"] == pytest.approx(np.median(score(RUNNING)), rel=1e-5)
    assert learnt.facts["texts"] == len(RUNNING)
    assert "held out" in learnt.summary
    noise = [" ".join(RNG(i).permutation(list("abcdefghijklmnop"))) for i in range(40)]
    assert fitted(noise)[0].facts["median"] > 6  # a model that had seen them would foresee them


def test_words_are_normalised_and_marks_and_symbols_are_words():
    def lengths(*texts):
        return np.diff(normalised_words(texts)[1]).tolist()

    assert lengths("Hello, world!", "你好。", "$5 + 3%", "हिंदी", "", " \n") == [4, 3, 5, 1, 0, 0]
    assert normalised_words(["In 1999"])[0].tolist() == normalised_words(["in 2024"])[0].tolist()
    assert all(_marks().match(mark) for mark in "].^-\\!€～")


def test_any_text_has_a_finite_perplexity_of_1_at_least():
    _, score = fitted(RUNNING)
    found = score(["", " ", "\ud800", "\0", "שלום", "你" * 10_000, "(" * 100_000, "the cat runs over the a"])
    assert np.isfinite(found).all()
    assert (found >= 1).all()
    assert found[0] == pytest.approx(found[1], rel=0.5)  # the end alone; by two models, perhaps


@pytest.mark.parametrize("few", [[], [" ", ""] * 30, ["same", "SAME "] * 30])
def test_too_few_texts_are_refused(few):
    with pytest.raises(DataError, match=r"perplexity\.files: [01] different texts, and 20 are needed"):
        fitted(few)
