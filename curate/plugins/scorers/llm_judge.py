"""LLM judge: grades or comparisons of texts by a language model behind an endpoint."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le, MinLen

from curate.errors import PluginError
from curate.kernels.stats.bradley_terry import fit_bradley_terry
from curate.kernels.stats.pairs import sample_pairs
from curate.kernels.types import Matrix, Numbers, Rows, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ContentPath, OutputColumn, scorer
from curate.plugins.judging import Answer, Judge, Question, UnparsableReplyError, summarize_errors
from curate.plugins.language_models import Example, Turn
from curate.plugins.questions import fill_question, read_question
from curate.plugins.ratings import extend_ratings, sample_rows
from curate.plugins.results import Scores

RUBRIC = """Grade the text below as training material for a language model. Consider whether it is correct, complete, \
clear, and useful beyond its occasion. 1 is harmful, empty or wrong, and {grades} is outstanding; most texts are in \
between.

Text:
{text}"""

COMPARISON = """Which of the two texts below is better training material for a language model? Consider which one is \
more correct, more complete, clearer, and more useful beyond its occasion.

Text A:
{prompt}

Text B:
{response}"""

_REASONS = "First give your reasons in at most three sentences."
_GRADE = "{reasons} End with a line of the form: Grade: N, where N is an integer from 1 to {grades}."
_CHOICE = "{reasons} End with a line of the form: Better: A, or Better: B, or Better: tie."
_REASON_TOKENS, _ANSWER_TOKENS = 300, 12
_TEMPERATURE = 0.7
"""Temperature of several samples of reasons."""


def parse_grade(reply: str, grades: int) -> int:
    """Return the grade in a reply: the last number after the word grade, or the only number in it.

    Raises
    ------
    UnparsableReplyError
        There is no grade, or it is not on the scale.

    Examples
    --------
    >>> parse_grade("It has 2 errors. Grade: 4/5", 5), parse_grade("3", 5)
    (4, 3)
    """
    numbers = _last_matches(r"grade[\s:=*\[(]*(-?\d+(?:\.\d+)?)", reply)
    numbers = numbers or re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"/\s*\d+", "", reply))
    if len(set(numbers)) != 1:
        raise UnparsableReplyError("it has several grades" if numbers else "it has no grade")
    grade = float(numbers[-1])
    if grade != int(grade) or not 1 <= grade <= grades:
        raise UnparsableReplyError(f"the grade {numbers[-1]} is no integer from 1 to {grades}")
    return int(grade)


def parse_choice(reply: str) -> float:
    """Return 1 if the reply prefers text A, 0 for B, and 0.5 for a tie.

    Raises
    ------
    UnparsableReplyError
        There is no choice.

    Examples
    --------
    >>> parse_choice("A is short. Better: B"), parse_choice("[A]"), parse_choice("better: **Tie**")
    (0.0, 1.0, 0.5)
    """
    choices = _last_matches(r"better\W*(A|B|tie)\b", reply)
    choices = choices or re.findall(r"(?:^|\[)\s*(A|B|tie)\s*(?:$|\]|\.)", reply.strip(), re.IGNORECASE)
    if len({choice.lower() for choice in choices}) != 1:
        raise UnparsableReplyError("it names several choices" if choices else "it has no line Better: A, B or tie")
    return {"a": 1.0, "b": 0.0, "tie": 0.5}[choices[-1].lower()]


def _last_matches(pattern: str, reply: str) -> list[str]:
    """Return the matches of a pattern in the last line that has any; reasons before it may have others."""
    lines = [re.findall(pattern, line, re.IGNORECASE) for line in reply.splitlines()]
    return next((matches for matches in reversed(lines) if matches), [])


@scorer(
    version=1,
    reads={"judge", "text", "embedding"},
    within="corpus",
    columns=(OutputColumn(higher_is_better=True, unit="grade or log odds", higher_means="judged better"),),
    cost="one call for each graded row and sample, or two for each comparison",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class LLMJudge:
    """Grades of texts by a language model behind an endpoint, or strengths from its comparisons of pairs.

    Use it where quality cannot be written as a rule. It needs the section ``judge``. Try it on a few hundred rows with
    ``sample_size`` first: a ridge regression on the embeddings then predicts the grades of all rows. The log has the
    share of their variance that it explains for rows that were not graded, the rank correlation, the slope, and how
    the share grew with the number of grades, so you see whether more are worth their price. All rows get the
    prediction, because a mixture with grades, which vary more, would favor graded rows at both ends.

    The judge gives its reasons before it decides, and may do so several times (``n_samples``). In ``mode: pairwise``
    each pair is compared in both orders, so that a preference for the first text cancels out; the preference, and the
    share of pairs whose outcome depends on the order, are in the log. A Bradley–Terry model turns the outcomes into
    strengths.

    A row without an answer is NaN if all rows are graded: the reasons are in the log, and the questions in the folder
    ``judge`` of the run directory.

    References
    ----------
    Grades: Chen et al. (2024), arXiv:2307.08701. Both orders, and several samples of reasons: Wang et al. (2024),
    arXiv:2305.17926.
    """

    mode: Literal["grades", "pairwise"] = "grades"
    """Whether texts are graded one by one, or compared in pairs."""

    rubric: Annotated[str, MinLen(1), ContentPath()] | None = None
    """Path of a file with the rubric: with {text} in place of the text, or in ``mode: pairwise`` with {prompt} in place
    of text A and {response} of text B. How to answer is added. null: a rubric about training material in general."""

    grades: Annotated[int, Ge(2), Le(100)] = 5
    """Best grade; the worst is 1."""

    n_samples: Annotated[int, Ge(1), Le(50)] = 1
    """Number of times that each question is answered; the mean counts. More than 1 needs ``reasons``."""

    reasons: bool = True
    """Whether the judge gives its reasons before it decides, which costs more tokens."""

    sample_size: Annotated[int, Ge(2)] | None = None
    """Number of rows that are graded or compared; null: all rows, but at most 1,000 in ``mode: pairwise``."""

    comparisons: Annotated[int, Ge(1)] = 10
    """Number of comparisons of each row in ``mode: pairwise``; each is made in both orders."""

    max_characters: Annotated[int, Ge(1)] = 8_000
    """Number of characters of a text that the judge reads."""

    def __post_init__(self) -> None:
        if self.n_samples > 1 and not self.reasons:
            raise ValueError("n_samples: without reasons, all samples are the same; set reasons: true, or 1 sample")

    def count_questions(self, rows: int, budget: int | None) -> int:  # noqa: ARG002 - of selectors
        rated = min(rows, self._sample_size or rows)
        if self.mode == "grades":
            return rated * self.n_samples
        return rated * min(self.comparisons + 1, max(0, rated - 1)) * self.n_samples

    @property
    def _sample_size(self) -> int | None:
        return 1_000 if self.sample_size is None and self.mode == "pairwise" else self.sample_size

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:
        x, texts, judge = require(batch.embeddings), require(batch.texts), require(batch.judge)
        rows = sample_rows(x, self._sample_size, rng)
        shown = [texts[row][: self.max_characters] for row in rows.tolist()]
        if self.mode == "grades":
            return self._grade(x, rows, shown, judge, rng)
        return self._compare(x, rows, shown, judge, rng)

    def _grade(self, x: Matrix, rows: Rows, shown: Sequence[str], judge: Judge, rng: np.random.Generator) -> Scores:
        rubric = read_question(self.rubric, RUBRIC)
        examples = [Example((), text) for text in shown]
        suffix = _GRADE.replace("{grades}", str(self.grades))
        filled = [fill_question(rubric.replace("{grades}", str(self.grades)), example) for example in examples]
        answers = judge.ask(self._questions(filled, suffix), partial(parse_grade, grades=self.grades))
        grades = _to_array(answers).reshape(len(rows), self.n_samples)
        means, warnings = _mean(grades), summarize_errors(answers, "questions")
        facts = {"questions": float(len(answers))}
        if self.n_samples > 1 and np.isfinite(grades).any():
            facts["deviation_between_samples"] = float(np.nanmean(np.nanstd(grades, axis=1)))
        if len(rows) == len(x):
            return Scores(means.astype(np.float32), warnings=warnings, facts=facts)
        known = np.isfinite(means)
        extended = extend_ratings(x, rows[known], means[known], rng, "grade")
        return Scores(extended.values, warnings=(*warnings, *extended.warnings), facts={**facts, **extended.facts})

    def _compare(self, x: Matrix, rows: Rows, shown: Sequence[str], judge: Judge, rng: np.random.Generator) -> Scores:
        rubric = read_question(self.rubric, COMPARISON)
        if "{prompt}" not in rubric or "{response}" not in rubric:
            raise PluginError("the rubric needs a place for both texts", hint="write {prompt} and {response}")
        first, second = sample_pairs(len(rows), self.comparisons, rng)
        filled = [
            fill_question(rubric, Example((Turn("user", shown[a]),), shown[b]))
            for one, two in ((first, second), (second, first))
            for a, b in zip(one.tolist(), two.tolist(), strict=True)
        ]
        answers = judge.ask(self._questions(filled, _CHOICE), parse_choice)
        outcomes = _mean(_to_array(answers).reshape(2, len(first), self.n_samples))
        both = np.isfinite(outcomes).all(axis=0)
        wins_first, wins_second = outcomes[:, both]
        wins = (wins_first + 1 - wins_second) / 2
        strengths = fit_bradley_terry(first[both], second[both], wins, len(rows))
        extended = extend_ratings(x, rows, strengths, rng, "strength")
        facts = {"questions": float(len(answers)), **extended.facts}
        warnings = [*summarize_errors(answers, "questions"), *extended.warnings]
        if both.any():
            preferred = float((wins_first + wins_second).mean() / 2)
            facts["first_preferred"] = preferred
            facts["outcomes_that_depend_on_the_order"] = float(((wins_first > 0.5) == (wins_second > 0.5)).mean())
            if abs(preferred - 0.5) > 0.2:
                position, share = ("first", preferred) if preferred > 0.5 else ("second", 1 - preferred)
                warnings.append(f"the judge prefers the {position} text in {share:.0%} of the comparisons")
        values: Vector = extended.values
        return Scores(values, warnings=tuple(warnings), facts=facts)

    def _questions(self, filled: Sequence[str], suffix: str) -> list[Question]:
        """Return the questions, each ``n_samples`` times."""
        ending = suffix.replace("{reasons}", _REASONS if self.reasons else "Give no reasons.")
        return [
            Question(
                messages=(Turn("user", f"{text}\n\n{ending}"),),
                max_tokens=_REASON_TOKENS if self.reasons else _ANSWER_TOKENS,
                temperature=_TEMPERATURE if self.n_samples > 1 else 0.0,
                sample=sample,
            )
            for text in filled
            for sample in range(self.n_samples)
        ]


def _to_array(answers: Sequence[Answer[int]] | Sequence[Answer[float]]) -> Numbers:
    return np.array([np.nan if answer.value is None else answer.value for answer in answers], np.float64)


def _mean(values: Numbers) -> Numbers:
    """Return the mean over the last axis of the values that are not NaN; NaN without any."""
    known = np.isfinite(values)
    counts = known.sum(axis=-1)
    sums = np.where(known, values, 0).sum(axis=-1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
