"""Scores of language models and their kernels: definitions, comparisons, regressions and questions from files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import PluginError
from curate.kernels.stats.bradley_terry import fit_bradley_terry
from curate.kernels.stats.pairs import sample_pairs
from curate.kernels.stats.surrogate import fit_surrogate, measure_quality, predict_held_out
from curate.plugins.batches import ScoreBatch
from curate.plugins.language_models import Example, LossRequest, Turn
from curate.plugins.questions import fill_question, read_question
from curate.plugins.ratings import MIN_RATED, extend_ratings
from curate.plugins.scorers.ask_llm import AskLLM
from curate.plugins.scorers.deita_rating import DeitaRating, expected_grade
from curate.plugins.scorers.ifd import IFD
from curate.plugins.scorers.learnability import Learnability
from curate.plugins.scorers.pairwise_quality import PairwiseQuality
from curate.plugins.scorers.perplexity_lm import PerplexityLM
from curate.plugins.scorers.pvi_lm import PVILM

RNG = np.random.default_rng(0)


def losses(values, tokens=10, prompt=5, first=1.0):
    n = len(values)
    return {
        "loss": np.float32(values),
        "tokens": np.full(n, tokens, np.int32),
        "prompt_tokens": np.full(n, prompt, np.int32),
        "first_loss": np.full(n, first, np.float32),
    }


def score(scorer, *outputs):
    return scorer.score(ScoreBatch(outputs=outputs), np.random.default_rng(0))


def test_ifd_is_the_ratio_of_the_losses_and_its_cut_is_at_one():
    result = score(IFD(), losses([1, 3, 2, np.nan]), losses([2, 2, 2, 1], prompt=1))
    np.testing.assert_array_equal(result, np.float32([[0.5, 1], [1.5, 0], [1, 0], [np.nan, np.nan]]))


def test_ifd_is_undefined_without_a_prompt():
    assert np.isnan(score(IFD(), losses([1.0], prompt=1), losses([1.0], prompt=1))).all()
    alone = losses([1.0], prompt=1, first=np.nan)  # a model without a token for the beginning
    assert np.isnan(score(IFD(), alone, alone)).all()


@pytest.mark.parametrize("prompt", [1, 5])
def test_ifd_and_pvi_leave_out_a_first_token_that_is_not_predicted_alone(prompt):
    shown = losses([2.0], tokens=4, prompt=prompt, first=5.0)  # losses 5, 1, 1, 1
    alone = losses([1.5], tokens=3, prompt=1, first=np.nan)
    np.testing.assert_allclose(score(IFD(), shown, alone), [[3 / 4.5, 1]])
    np.testing.assert_allclose(score(PVILM(), shown, alone), [1.5 / np.log(2)], rtol=1e-6)
    nothing = losses([np.nan], tokens=0, prompt=1, first=np.nan)
    only_first = losses([5.0], tokens=1, prompt=prompt, first=5.0)
    assert np.isnan(score(IFD(), only_first, nothing)).all()
    assert np.isnan(score(PVILM(), only_first, nothing)).all()


def test_pvi_is_in_bits_over_the_response_and_may_use_two_models():
    result = score(PVILM(), losses([np.log(2)], tokens=4), losses([3 * np.log(2)], tokens=4))
    assert result.tolist() == pytest.approx([8])
    assert [one.model for one in PVILM(model="a", null_model="b").requests()] == ["a", "b"]
    assert [one.model for one in PVILM(model="a").requests()] == ["a", "a"]
    assert [one.request for one in PVILM().requests()] == [LossRequest(), LossRequest(with_prompt=False)]


def test_learnability_is_what_the_reference_knows_better():
    assert score(Learnability(reference="r"), losses([3, 1]), losses([1, 1])).tolist() == [2, 0]


def test_perplexity_is_finite_for_any_loss():
    result = score(PerplexityLM(), losses([0, 1, 500]))
    assert result[:2].tolist() == pytest.approx([1, np.e])
    assert np.isfinite(result).all()


def test_ask_llm_is_normalized_over_both_answers():
    logs = np.log(np.float32([[0.3, 0.1], [0.01, 0.01]]))
    assert score(AskLLM(), {"log_probabilities": logs}).tolist() == pytest.approx([0.75, 0.5])


@given(st.integers(0, 99))
def test_expected_grades_of_logits_and_of_probabilities_are_the_same(seed):
    logits = np.random.default_rng(seed).normal(0, 3, (5, 6)).astype(np.float32)
    by_hand = [(np.exp(row) / np.exp(row).sum()) @ np.arange(1, 7) for row in logits.astype(np.float64)]
    np.testing.assert_allclose(expected_grade(logits), by_hand, rtol=1e-5)
    np.testing.assert_allclose(expected_grade(logits - 7), by_hand, rtol=1e-5)


def test_deita_multiplies_the_expected_grades_and_asks_two_models():
    sure = np.full((1, 6), -30, np.float32)
    complexity, quality = sure.copy(), sure.copy()
    complexity[0, 1] = quality[0, 4] = 0
    result = score(DeitaRating(), {"log_probabilities": complexity}, {"log_probabilities": quality})
    np.testing.assert_allclose(result, [[10, 2, 5]], rtol=1e-5)
    requests = DeitaRating(complexity_model="c", quality_model="q").requests()
    assert [one.model for one in requests] == ["c", "q"]
    assert [one.request.label for one in requests] == ["deita_complexity", "deita_quality"]


# ---------------------------------------------------------------- comparisons


@given(n=st.integers(0, 40), comparisons=st.integers(1, 50), seed=st.integers(0, 99))
def test_pairs_are_different_and_every_item_is_in_as_many(n, comparisons, seed):
    first, second = sample_pairs(n, comparisons, np.random.default_rng(seed))
    assert (first != second).all()
    pairs = {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    assert len(pairs) == len(first)
    if n > 1:
        counts = np.bincount(np.concatenate([first, second]), minlength=n)
        assert counts.max() - counts.min() <= 1
        assert counts.min() >= min(comparisons, n - 1) - 1
        assert counts.max() <= min(comparisons + 1, n - 1)


def test_bradley_terry_finds_the_strengths_that_made_the_outcomes():
    truth = np.linspace(-2, 2, 30)
    first, second = sample_pairs(30, 29, np.random.default_rng(1))
    wins = 1 / (1 + np.exp(truth[second] - truth[first]))
    fitted = fit_bradley_terry(first, second, wins, 30, prior_precision=1e-6)
    np.testing.assert_allclose(fitted, truth - truth.mean(), atol=1e-3)
    swapped = fit_bradley_terry(second, first, 1 - wins, 30, prior_precision=1e-6)
    np.testing.assert_allclose(swapped, fitted, atol=1e-6)


def test_bradley_terry_of_an_undefeated_item_and_of_separate_parts_is_finite():
    fitted = fit_bradley_terry(np.array([0, 3]), np.array([1, 4]), np.array([1.0, 0.0]), 6)
    assert np.isfinite(fitted).all()
    assert fitted[0] > 0 > fitted[1]
    assert fitted[4] > 0 > fitted[3]
    assert fitted[2] == fitted[5] == 0
    assert fit_bradley_terry(np.array([], int), np.array([], int), np.array([]), 3).tolist() == [0, 0, 0]


def unit(n, d=8, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_a_regression_finds_linear_ratings_and_nothing_in_noise():
    x = unit(400)
    weights = np.arange(8.0)
    folds = np.arange(400) % 5
    linear = x @ weights + 3
    assert measure_quality(linear, predict_held_out(x, linear, folds)).r2 > 0.999
    np.testing.assert_allclose(fit_surrogate(x, linear, folds).predict(x), linear, atol=1e-2)
    noise = np.random.default_rng(5).normal(size=400)
    assert measure_quality(noise, predict_held_out(x, noise, folds)).r2 < 0.05


def test_the_regression_with_more_dimensions_than_rows_equals_the_usual_form():
    from curate.kernels.stats.surrogate import fit_ridge

    x, y = unit(20, 30), np.random.default_rng(2).normal(size=20)
    both = [fit_ridge(np.vstack([x] * copies), np.tile(y, copies), 0.5 * copies) for copies in (1, 2)]
    np.testing.assert_allclose(both[0].predict(x), both[1].predict(x), atol=1e-5)


def test_ratings_of_a_sample_are_extended_and_their_quality_is_reported():
    x = unit(500)
    truth = (x @ np.arange(8.0)).astype(np.float64)
    rows = np.arange(0, 500, 4)
    noisy = truth[rows] + np.random.default_rng(3).normal(0, 0.5, len(rows))
    extended = extend_ratings(x, rows, noisy, np.random.default_rng(0), "rating")
    assert np.corrcoef(extended.values, truth)[0, 1] > 0.98
    assert 0.8 < extended.facts["r2"] < 1
    assert extended.facts["r2_with_25_percent"] < extended.facts["r2_with_100_percent"]
    assert 0.8 < extended.facts["slope"] < 1.2
    assert not extended.warnings
    useless = extend_ratings(
        x, rows, np.random.default_rng(3).normal(size=len(rows)), np.random.default_rng(0), "rating"
    )
    assert "hardly better than their mean" in useless.warnings[0]


def test_equal_ratings_are_kept_and_said_to_teach_nothing():
    extended = extend_ratings(unit(50), np.arange(30), np.full(30, 2.0), RNG, "grade")
    assert extended.values.tolist() == [2] * 50
    assert extended.warnings == ("all 30 rows have the same grade, so nothing can be learned from it",)


@pytest.mark.parametrize("rated", [0, 1, MIN_RATED - 1])
def test_too_few_ratings_give_all_rows_the_mean(rated):
    extended = extend_ratings(unit(50), np.arange(rated), np.arange(rated) + 1.0, np.random.default_rng(0), "rating")
    assert np.unique(extended.values).size == 1
    assert "a regression needs" in extended.warnings[0]


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_pairwise_quality_ranks_by_the_comparisons_and_reports_a_bias(bias):
    x = unit(300, 4)
    strengths = 4 * x[:, 0]
    texts = [str(number) for number in range(300)]

    def run(model, examples, request):
        margin = [strengths[int(one.prompt[0].content)] - strengths[int(one.response)] + bias for one in examples]
        logs = np.stack([-np.logaddexp(0, -np.array(margin)), -np.logaddexp(0, margin)], axis=1)
        return {"log_probabilities": logs.astype(np.float32) - 1}

    batch = ScoreBatch(texts=texts, embeddings=x, run_model=run)
    scores = PairwiseQuality(sample_size=200, comparisons=8).score(batch, np.random.default_rng(0))
    assert np.corrcoef(scores.values, strengths)[0, 1] > 0.98
    assert scores.facts["comparisons"] == 200 * 8
    assert any("prefers the first text" in warning for warning in scores.warnings) == bool(bias)


def test_texts_that_cannot_be_compared_do_not_change_the_strengths_of_others():
    x = unit(300, 4)
    strengths = 4 * x[:, 0]

    def run(model, examples, request):
        pairs = [(one.prompt[0].content, one.response) for one in examples]
        margin = np.array([strengths[int(a)] - strengths[int(b)] if a and b else np.nan for a, b in pairs])
        logs = -np.log1p(np.exp(np.stack([-margin, margin], axis=1)))
        return {"log_probabilities": logs.astype(np.float32)}

    texts = [str(number) if number % 10 else "" for number in range(300)]
    scores = PairwiseQuality(sample_size=300, comparisons=8).score(
        ScoreBatch(texts=texts, embeddings=x, run_model=run), np.random.default_rng(0)
    )
    assert np.corrcoef(scores.values, strengths)[0, 1] > 0.98
    assert scores.facts["rated"] == 270
    assert "of 1,200 pairs could not be compared" in scores.warnings[-1]
    empty = ScoreBatch(texts=[""] * 300, embeddings=x, run_model=run)
    nothing = PairwiseQuality(sample_size=300, comparisons=8).score(empty, np.random.default_rng(0))
    assert np.isnan(nothing.values).all()


# ---------------------------------------------------------------- questions


def test_questions_come_from_files_and_are_filled_once(tmp_path):
    (tmp_path / "question.txt").write_text("How good is {text}?")
    question = read_question(str(tmp_path / "question.txt"), "default")
    example = Example((Turn("user", "p {response}"),), "r {text}")
    assert fill_question(question, example) == "How good is p {response}\nr {text}?"
    assert fill_question("{prompt}|{response}|{other}", example) == "p {response}|r {text}|{other}"
    (request,) = AskLLM(question=str(tmp_path / "question.txt")).requests()
    assert request.request.question == "How good is {text}?"
    assert read_question(None, "default") == "default"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"no place", "no place for the row"), (b"\xff{text}", "UTF-8")],
)
def test_a_question_that_cannot_be_used_is_named(tmp_path, content, message):
    path = tmp_path / "question.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PluginError, match=message) as caught:
        AskLLM(question=str(path)).requests()
    assert caught.value.where == str(path)
