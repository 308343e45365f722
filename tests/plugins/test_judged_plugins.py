"""Plugins that ask a judge, with scripted judges: Add-One-In and grades or comparisons of texts."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from curate.errors import DataError, PluginError
from curate.kernels.types import Texts
from curate.plugins.batches import Pool, ScoreBatch
from curate.plugins.judging import UnparsableReplyError
from curate.plugins.scorers.llm_judge import LLMJudge, parse_choice, parse_grade
from curate.plugins.selectors.sampling.add_one_in import AddOneIn, add_one_in, label, parse_label
from tests.fake_models import ScriptedJudge


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------- Add-One-In


def best_by(utility):
    def choose(rounds):
        return [
            int(np.argmax([utility(set(chosen.tolist()), row) for row in candidates])) for chosen, candidates in rounds
        ]

    return choose


@pytest.mark.parametrize("set_size", [2, 5])
def test_greedy_choices_of_a_utility_of_single_rows_are_its_ranking(set_size):
    utility = rng(2).permutation(40)
    found = add_one_in(
        40, 15, best_by(lambda _, row: utility[row]), set_size=set_size, n_candidates=40, n_chains=1, rng=rng()
    ).tolist()
    rest = sorted(set(range(40)) - set(found[:set_size]), key=lambda row: -utility[row])
    assert found[set_size:] == rest[: 15 - set_size]


def test_one_candidate_gives_a_random_order():
    counts = Counter(
        tuple(add_one_in(4, 2, lambda rounds: [0] * len(rounds), 1, 1, 1, rng(seed)).tolist()) for seed in range(2400)
    )
    assert len(counts) == 12
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_a_judge_that_always_prefers_a_position_selects_uniformly_at_random():
    counts = Counter(
        row
        for seed in range(1500)
        for row in add_one_in(8, 4, lambda rounds: [0] * len(rounds), 1, 4, 1, rng(seed)).tolist()
    )
    assert stats.chisquare([counts[row] for row in range(8)]).pvalue > 1e-4


@pytest.mark.parametrize(("budget", "set_size", "chains"), [(20, 5, 1), (20, 5, 3), (7, 10, 2), (50, 1, 4), (0, 3, 2)])
def test_there_is_a_call_for_each_row_after_the_first_ones(budget, set_size, chains):
    calls = []

    def choose(rounds):
        calls.append(len(rounds))
        assert all(len(chosen) <= set_size for chosen, _ in rounds)
        assert all(set(chosen.tolist()).isdisjoint(candidates.tolist()) for chosen, candidates in rounds)
        return [0] * len(rounds)

    rows = add_one_in(50, budget, choose, set_size, 6, chains, rng())
    shares = [len(part) for part in np.array_split(np.arange(budget), chains)]
    assert len(set(rows.tolist())) == budget
    assert sum(calls) == sum(max(0, share - set_size) for share in shares)


def test_a_draw_without_an_answer_is_repeated_but_not_for_ever():
    answers = iter([[None], [None], [1]] * 3)
    rows = add_one_in(20, 4, lambda _: next(answers), 1, 5, 1, rng())
    assert len(set(rows.tolist())) == 4
    with pytest.raises(DataError, match="no answer in 11 draws in a row"):
        add_one_in(20, 4, lambda rounds: [None] * len(rounds), 1, 5, 1, rng())


def test_labels_go_beyond_the_alphabet_and_are_parsed():
    for position in (0, 9, 25, 26, 51, 52, 699):
        assert parse_label(f"[{label(position)}]\nbecause [A] is short", 700) == position
    assert parse_label("**C**\nIt is the best.", 5) == 2
    assert parse_label("The best is [ B ].", 5) == 1
    for reply in ("I think the first one", "[F]", "", "[a]", "Answer: none"):
        with pytest.raises(UnparsableReplyError, match=r"no label from \[A\] to \[E\]"):
            parse_label(reply, 5)


def pool_of(texts, judge):
    n = len(texts)
    zeros = np.zeros(n, np.float32)
    return Pool(np.zeros((n, 0), np.float32), zeros, zeros.astype(np.int32), texts=Texts.from_list(texts), judge=judge)


def longest(question):
    """Return the label of the longest candidate."""
    candidates = re.findall(r"^\[([A-Z]+)\] (.*)$", question.messages[-1].content, re.MULTILINE)
    return f"[{max(candidates, key=lambda one: len(one[1]))[0]}]\nIt is the longest."


def test_the_selector_shows_both_lists_and_follows_the_judge():
    texts = [f"text {number} " + "x" * number + "\nnext {candidates} line" for number in range(30)]
    judge = ScriptedJudge(longest)
    chosen = AddOneIn(set_size=3, n_candidates=27).select(pool_of(texts, judge), 8, rng()).indices.tolist()
    rest = sorted(set(range(30)) - set(chosen[:3]), reverse=True)
    assert chosen[3:] == rest[:5]
    assert len(judge.questions) == 5
    content = judge.questions[0].messages[0].content
    assert content.count("{candidates}") == 30  # in the texts, which are not filled in
    assert "\nnext" not in content  # a text is one line
    replay = AddOneIn(set_size=3, n_candidates=27).select(pool_of(texts, ScriptedJudge(longest)), 8, rng())
    assert replay.indices.tolist() == chosen


def test_the_instruction_may_come_from_a_file(tmp_path):
    path = tmp_path / "instruction.txt"
    path.write_text("{chosen} -- {candidates}")
    judge = ScriptedJudge(longest)
    AddOneIn(set_size=1, n_candidates=2, instruction=str(path)).select(pool_of(["a", "b", "c"], judge), 2, rng())
    assert re.fullmatch(r"1\. [abc] -- \[A\] [abc]\n\[B\] [abc]", judge.questions[0].messages[0].content)
    path.write_text("{chosen}")
    with pytest.raises(PluginError, match="a place for both lists"):
        AddOneIn(instruction=str(path)).select(pool_of(["a"], judge), 1, rng())


# ---------------------------------------------------------------- grades


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("Grade: 4", 4),
        ("It has 3 errors, but good.\nGrade: 4", 4),
        ("**Grade:** **2**", 2),
        ("5", 5),
        ("4/5", 4),
        ("grade 3 of 5", 3),
    ],
)
def test_grades_are_found(reply, grade):
    assert parse_grade(reply, 5) == grade


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "good",
        "Grade: 0",
        "Grade: 6",
        "Grade: 3.5",
        "Grade: -1",
        "between 2 and 4",
        "Grade: five",
        "Grade: 1, or Grade: 2",
    ],
)
def test_other_replies_have_no_grade(reply):
    with pytest.raises(UnparsableReplyError):
        parse_grade(reply, 5)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("Better: A", 1),
        ("First Better: B?\nBetter: A", 1),
        ("x\nbetter: b.", 0),
        ("Better: TIE", 0.5),
        ("[B]", 0),
        ("A", 1),
    ],
)
def test_choices_are_found(reply, choice):
    assert parse_choice(reply) == choice


@pytest.mark.parametrize(
    "reply", ["", "Both are good", "Better: A, or Better: B", "Text A is about birds", "Better: C"]
)
def test_other_replies_have_no_choice(reply):
    with pytest.raises(UnparsableReplyError):
        parse_choice(reply)


def unit(n):
    x = rng(3).normal(size=(n, 6))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def batch_of(n, judge):
    return ScoreBatch(texts=[f"text <{number}>" for number in range(n)], embeddings=unit(n), judge=judge)


def numbers_in(question):
    return [int(number) for number in re.findall(r"<(\d+)>", question.messages[-1].content)]


def test_all_rows_are_graded_and_a_row_without_an_answer_is_missing():
    judge = ScriptedJudge(
        lambda question: "no idea" if numbers_in(question) == [7] else f"Grade: {numbers_in(question)[0] % 5 + 1}"
    )
    scores = LLMJudge().score(batch_of(20, judge), rng())
    assert scores.values[:7].tolist() == [1, 2, 3, 4, 5, 1, 2]
    assert np.isnan(scores.values).nonzero()[0].tolist() == [7]
    assert scores.warnings == ("1 of 20 questions have no answer: 1 × it has no grade",)
    assert len(judge.questions) == 20 == LLMJudge().count_questions(20, None)
    assert all(question.temperature == 0 for question in judge.questions)


def test_several_samples_are_averaged_and_their_spread_is_reported():
    judge = ScriptedJudge(lambda question: f"Grade: {1 + question.sample}")
    scores = LLMJudge(n_samples=3).score(batch_of(5, judge), rng())
    assert scores.values.tolist() == [2] * 5
    assert scores.facts["deviation_between_samples"] == pytest.approx(np.std([1, 2, 3]))
    assert {question.sample for question in judge.questions} == {0, 1, 2}
    assert all(question.temperature > 0 for question in judge.questions)
    with pytest.raises(ValueError, match="n_samples"):
        LLMJudge(n_samples=2, reasons=False)


def test_grades_of_a_sample_are_extended_to_all_rows():
    x = unit(400)
    truth = np.clip(np.round(3 + 2.5 * x[:, 0]), 1, 5).astype(int)
    judge = ScriptedJudge(lambda question: f"Grade: {truth[numbers_in(question)[0]]}")
    scorer = LLMJudge(sample_size=150)
    scores = scorer.score(batch_of(400, judge), rng())
    assert len(judge.questions) == 150 == scorer.count_questions(400, None)
    assert np.corrcoef(scores.values, truth)[0, 1] > 0.9
    assert scores.facts["rated"] == 150
    assert scores.facts["r2"] > 0.8
    assert scores.facts["r2_with_25_percent"] <= scores.facts["r2_with_100_percent"]


@pytest.mark.parametrize("bias", [False, True])
def test_comparisons_in_both_orders_cancel_a_preference_for_the_first(bias):
    x = unit(120)
    strength = x[:, 0]

    def reply(question):
        first, second = numbers_in(question)
        prefers_first = strength[first] > strength[second] or (bias and abs(strength[first] - strength[second]) < 0.8)
        return f"Better: {'A' if prefers_first else 'B'}"

    judge = ScriptedJudge(reply)
    scorer = LLMJudge(mode="pairwise", comparisons=12)
    scores = scorer.score(batch_of(120, judge), rng())
    assert np.corrcoef(scores.values, strength)[0, 1] > 0.95
    assert len(judge.questions) <= scorer.count_questions(120, None)
    assert (scores.facts["first_preferred"] > 0.7) == bias
    assert (scores.facts["outcomes_that_depend_on_the_order"] > 0.3) == bias
    assert any("prefers the first text" in warning for warning in scores.warnings) == bias


def test_a_rubric_may_come_from_a_file(tmp_path):
    path = tmp_path / "rubric.txt"
    path.write_text("Is {text} funny? 1 to {grades}")
    judge = ScriptedJudge(lambda _: "Grade: 9")
    LLMJudge(rubric=str(path), grades=9).score(batch_of(2, judge), rng())
    assert judge.questions[0].messages[0].content.startswith("Is text <0> funny? 1 to 9\n\nFirst give your reasons")
    with pytest.raises(PluginError, match="a place for both texts"):
        LLMJudge(rubric=str(path), mode="pairwise").score(batch_of(2, judge), rng())
