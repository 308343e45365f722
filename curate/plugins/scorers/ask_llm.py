"""Ask-LLM: probability with which a language model answers that a text is worth training on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import MinLen

from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ContentPath, OutputColumn, scorer
from curate.plugins.language_models import AnswerRequest, ModelRequest
from curate.plugins.questions import read_question

QUESTION = """Here is an example from a data set for training language models, between two lines of equals signs.

=====
{text}
=====

Would a language model become more useful by training on this example? A useful example is clearly written, contains \
facts, reasoning or skills that help with other texts, and is neither spam nor harmful. Answer with one word: yes or \
no."""


@scorer(
    version=1,
    reads={"model"},
    columns=(
        OutputColumn(higher_is_better=True, unit="probability", range=(0.0, 1.0), higher_means="judged more useful"),
    ),
    cost="one pass of the model over each row",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AskLLM:
    """Ask-LLM: probability that a language model answers "yes" when the question is whether to train on a text.

    Use it with a capable instruction model; small models hardly understand the question. The probability is normalized
    over the two answers. Texts that exceed the context are shortened at their end; NaN for an empty text.

    The question is our own wording, not that of the paper; a file may contain another one.

    References
    ----------
    Sachdeva et al. (2024), arXiv:2402.09668.
    """

    model: str | None = None
    """Name of the model entry; the first by default."""

    question: Annotated[str, MinLen(1), ContentPath()] | None = None
    """Path of a file with the question, with {text}, or {prompt} and {response}, in place of the row; null: a question
    about usefulness in general."""

    answers: tuple[str, str] = ("yes", "no")
    """Answers for and against the row."""

    def requests(self) -> tuple[ModelRequest, ...]:
        question = read_question(self.question, QUESTION)
        return (ModelRequest(AnswerRequest(label="ask_llm", question=question, answers=self.answers), self.model),)

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - interface
        logs = require(batch.outputs)[0]["log_probabilities"]
        return softmax(logs)[:, 0].astype(np.float32)
