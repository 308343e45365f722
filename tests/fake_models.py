"""Outputs of language models and answers of judges from closed formulas, for tests that need no model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.plugins.judging import Answer, Question, UnparsableReplyError
from curate.plugins.language_models import (
    AnswerRequest,
    Example,
    GradientRequest,
    HiddenRequest,
    LossRequest,
    Outputs,
    Request,
)

WIDTH = 12


def outputs_of(request: Request, rows: NDArray[np.intp]) -> Outputs:
    """Return outputs that depend on the numbers of the rows only."""
    x = rows[:, None].astype(np.float64)
    tokens = (rows % 7 + 2).astype(np.int32)
    facts: dict[str, Any] = {"truncated": rows % 5 == 4}
    match request:
        case LossRequest():
            loss = (1.5 + np.sin(1.3 * rows) + 0.4 * request.with_prompt * np.cos(rows)).astype(np.float32)
            prompt = np.where(request.with_prompt, 3 + rows % 4, 0).astype(np.int32)
            spread = loss[:, None] * np.linspace(0.2, 2, 5, dtype=np.float32)
            spreads = {"quantiles": spread, "first_loss": np.where(prompt > 0, 1.2 * loss, np.float32(np.nan))}
            return {"loss": loss, "tokens": tokens, "prompt_tokens": prompt, **facts, **spreads}
        case HiddenRequest():
            return {
                "vector": np.sin((x + 1) * np.arange(1, WIDTH + 1) ** 1.1).astype(np.float32),
                "tokens": tokens,
                **facts,
            }
        case AnswerRequest():
            logits = 3 * np.sin((x + 1) * np.arange(1, len(request.answers) + 1))
            logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)) - 0.5
            return {"log_probabilities": logs.astype(np.float32), "tokens": tokens, **facts}
        case GradientRequest():
            vector = np.cos((x + 1) * np.arange(1, request.dimension + 1) ** 1.2).astype(np.float32)
            return {"vector": vector, "loss": np.abs(vector[:, 0]), "tokens": tokens, **facts}


def run_fake_model(model: str | None, examples: Sequence[Example], request: Request) -> Outputs:
    """Return outputs that depend on the text of the examples only."""
    numbers = [int.from_bytes(hashlib.sha256(repr(one).encode()).digest()[:2]) for one in examples]
    return outputs_of(request, np.array(numbers, np.intp))


class ScriptedJudge:
    """Judge whose replies are those of a function of the question."""

    def __init__(self, reply: Callable[[Question], str]) -> None:
        self.reply = reply
        self.questions: list[Question] = []

    def ask(self, questions: Sequence[Question], parse: Callable[[str], Any]) -> list[Answer[Any]]:
        self.questions += questions
        return [self._answer(question, parse) for question in questions]

    def _answer(self, question: Question, parse: Callable[[str], Any]) -> Answer[Any]:
        text = self.reply(question)
        try:
            return Answer(value=parse(text), text=text)
        except UnparsableReplyError as error:
            return Answer(value=None, text=text, error=str(error))


def reply_by_content(question: Question) -> str:
    """Return a digit and a letter in brackets, which depend on the text of the question."""
    number = hashlib.sha256(question.messages[-1].content.encode()).digest()[0]
    return f"{1 + number % 5} [{'AB'[number % 2]}]"
