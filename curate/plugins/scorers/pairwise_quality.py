"""Pairwise quality: strengths of texts from comparisons by a language model, extended to all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, MinLen

from curate.errors import PluginError
from curate.kernels.stats.bradley_terry import fit_bradley_terry
from curate.kernels.stats.pairs import sample_pairs
from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ContentPath, OutputColumn, scorer
from curate.plugins.language_models import AnswerRequest, Example, ModelRequest, Turn
from curate.plugins.questions import read_question
from curate.plugins.ratings import extend_ratings, sample_rows
from curate.plugins.results import Scores

QUESTION = """Compare two texts. Which one would teach a careful reader more, and is better written?

Text A:
{prompt}

Text B:
{response}

Answer with one letter, A or B."""

_BIASED = 0.2


@scorer(
    version=2,
    reads={"model", "text", "embedding"},
    within="corpus",
    columns=(OutputColumn(higher_is_better=True, unit="log odds", higher_means="wins more comparisons"),),
    cost="sample_size × comparisons passes of the model, and O(n d)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseQuality:
    """Pairwise quality, as in QuRating: strengths of texts in comparisons by a language model.

    Use it where a model judges which of two texts is better more reliably than how good one is. The model compares
    pairs from a sample of the rows, each in both orders, so that a preference for the first text cancels out. A
    Bradley–Terry model turns the outcomes into strengths, and a ridge regression on the embeddings predicts those of
    all rows.

    A difference of 1 means odds of e : 1. The log has the share of the variance that the regression explains for rows
    that it was not fitted to, how that grew with the number of rows, and the preference of the model for the first
    text. QuRating trains a language model where this has a regression, and asks for several criteria: use one entry for
    each, with the question in a file.

    References
    ----------
    Wettig et al. (2024), arXiv:2402.09739.
    """

    model: str | None = None
    """Name of the model entry; the first by default."""

    question: Annotated[str, MinLen(1), ContentPath()] | None = None
    """Path of a file with the question, with {prompt} in place of text A and {response} of text B; null: a question
    about writing and educational value."""

    answers: tuple[str, str] = ("A", "B")
    """Answers for the first and the second text."""

    sample_size: Annotated[int, Ge(2)] = 1_000
    """Number of rows that are compared."""

    comparisons: Annotated[int, Ge(1)] = 10
    """Number of comparisons of each of these rows; each is made in both orders."""

    max_characters: Annotated[int, Ge(1)] = 2_000
    """Number of characters of a text that the model reads."""

    def requests(self) -> tuple[ModelRequest, ...]:
        return ()

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:
        x, texts, run = require(batch.embeddings), require(batch.texts), require(batch.run_model)
        question = read_question(self.question, QUESTION)
        if "{prompt}" not in question or "{response}" not in question:
            raise PluginError("the question needs a place for both texts", hint="write {prompt} and {response}")
        rows = sample_rows(x, self.sample_size, rng)
        first, second = sample_pairs(len(rows), self.comparisons, rng)
        shown = [texts[row][: self.max_characters] for row in rows.tolist()]
        orders = [(first, second), (second, first)]
        examples = [
            Example((Turn("user", shown[a]),), shown[b]) for one, two in orders for a, b in zip(one, two, strict=True)
        ]
        request = AnswerRequest(label="pairs", question=question, answers=self.answers)
        logs = run(self.model, examples, request)["log_probabilities"] if examples else np.zeros((0, 2), np.float32)
        wins_first, wins_second = np.split(softmax(logs)[:, 0].astype(np.float64), 2)
        known = np.isfinite(wins_first + wins_second)
        failed = np.setdiff1d([first[~known], second[~known]], [first[known], second[known]])  # in no comparison
        first, second, wins_first, wins_second = first[known], second[known], wins_first[known], wins_second[known]
        strengths = fit_bradley_terry(first, second, (wins_first + 1 - wins_second) / 2, len(rows))
        extended = extend_ratings(x, np.delete(rows, failed), np.delete(strengths, failed), rng, "strength")
        bias = float((wins_first + wins_second).mean() / 2) if len(first) else 0.5
        warnings = list(extended.warnings)
        if not known.all():
            message = f"{np.count_nonzero(~known):,} of {len(known):,} pairs could not be compared"
            warnings.append(f"{message}, for example because a text is empty")
        if abs(bias - 0.5) > _BIASED:
            position, share = ("first", bias) if bias > 0.5 else ("second", 1 - bias)
            warnings.append(f"the model prefers the {position} text in {share:.0%} of the comparisons, whatever it is")
        facts = {**extended.facts, "comparisons": 2.0 * len(first), "first_preferred": bias}
        values: Vector = extended.values
        return Scores(values, warnings=tuple(warnings), facts=facts)
