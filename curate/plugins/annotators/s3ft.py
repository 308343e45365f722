"""S3FT: responses in the words of the model to train, where they are right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge

from curate.plugins.batches import AnnotationBatch, require
from curate.plugins.interfaces import annotator
from curate.plugins.judging import Judge, Question, UnparsableReplyError
from curate.plugins.language_models import Example, Turn
from curate.plugins.results import Annotations

REPHRASE = """{prompt}

A correct answer is:
{response}

Answer the request above in your own words, with the same content and result. Do not mention this answer."""

VERIFY = """Decide whether an answer to a request is right. The reference answer is known to be right, and the other \
may be worded differently.

Request:
{prompt}

Reference answer:
{response}

Answer to decide on:
{answer}

Reply with one word: yes or no."""

Check = Literal["judge", "exact", "contains", "number"]


def final_number(text: str) -> str | None:
    """Return the last number in a text, without separators of thousands and trailing zeros; None without any.

    >>> final_number("so 3 + 4 = 1,007.50."), final_number("none") is None
    ('1007.5', True)
    """
    numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    if not numbers:
        return None
    digits: str = numbers[-1].replace(",", "")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def agrees(answer: str, reference: str, check: Check) -> bool:
    """Return whether an answer agrees with the reference by a rule; never for the check "judge"."""
    folded, expected = (" ".join(text.lower().split()) for text in (answer, reference))
    match check:
        case "exact":
            return folded == expected
        case "contains":
            return bool(expected) and expected in folded
        case "number":
            number = final_number(reference)
            return number is not None and final_number(answer) == number
    return False


def _parse_text(reply: str) -> str:
    if not reply.strip():
        raise UnparsableReplyError("it is empty")
    return reply.strip()


def _parse_decision(reply: str) -> bool:
    found = re.match(r"\W*(yes|no)\b", reply.strip(), re.IGNORECASE)
    if found is None:
        raise UnparsableReplyError("it does not begin with yes or no")
    return found[1].lower() == "yes"


@annotator(version=1, reads={"text", "judge"}, cost="up to four calls of the judge for each row")
@dataclass(frozen=True, slots=True, kw_only=True)
class S3FT:
    """S3FT: replace responses by right answers of the model that will be trained, which forgets less that way.

    Use it before fine-tuning on responses that somebody else wrote. The section ``judge`` names the model to train, at
    an endpoint. It answers each prompt; a right answer becomes the response. Otherwise it rewrites the response in its
    own words; a right rewriting becomes the response, and otherwise the response stays. Three columns are added:
    ``response``; ``origin``, which is answer, rephrased or original; and ``changed``.

    Rules decide on answers where they can (``check``), without a call; with ``check: judge``, the same model compares
    the answer with the response. A row without a prompt or a response keeps its response.

    References
    ----------
    Gupta et al. (2025), arXiv:2502.08130.
    """

    check: Check = "judge"
    """Comparison of answers with the response: by the judge, or by a rule: ``exact`` (apart from case and spaces),
    ``contains`` the response, or the same last ``number``."""

    max_tokens: Annotated[int, Ge(1)] = 512
    """Maximum number of tokens of an answer."""

    def columns(self) -> Mapping[str, pa.DataType]:
        return {"response": pa.string(), "origin": pa.string(), "changed": pa.bool_()}

    def count_questions(self, rows: int, budget: int | None) -> int:  # noqa: ARG002 - of selectors
        return rows * (4 if self.check == "judge" else 2)

    def annotate(self, batch: AnnotationBatch, rng: np.random.Generator) -> Annotations:  # noqa: ARG002
        judge, n = require(batch.judge), len(batch.examples)
        responses: list[str] = []
        origins: list[str] = []
        changed: list[bool] = []
        for block in batch.examples.blocks():
            found = rewrite(block, judge, self.check, self.max_tokens)
            responses += [response for response, _ in found]
            origins += [origin for _, origin in found]
            changed += [response != one.response for one, (response, _) in zip(block, found, strict=True)]
            batch.advance(len(block) / max(1, n))
        counts = Counter(origins)
        facts = {name: float(counts[name]) for name in ("answer", "rephrased", "original")}
        return Annotations(columns={"response": responses, "origin": origins, "changed": changed}, facts=facts)


def rewrite(examples: Sequence[Example], judge: Judge, check: Check, max_tokens: int) -> list[tuple[str, str]]:
    """Return the response of each row, and its origin: answer, rephrased or original."""
    result = [(one.response, "original") for one in examples]
    open_rows = [row for row, one in enumerate(examples) if one.prompt and one.response.strip()]
    steps: tuple[tuple[str, Callable[[Example], tuple[Turn, ...]]], ...] = (
        ("answer", lambda one: one.prompt),
        ("rephrased", lambda one: (Turn("user", _fill(REPHRASE, one)),)),
    )
    for origin, messages in steps:
        questions = [Question(messages=messages(examples[row]), max_tokens=max_tokens) for row in open_rows]
        texts = [answer.value for answer in judge.ask(questions, _parse_text)]
        right = _decide([(examples[row], text) for row, text in zip(open_rows, texts, strict=True)], judge, check)
        for row, text, is_right in zip(open_rows, texts, right, strict=True):
            if is_right and text is not None:
                result[row] = (text, origin)
        open_rows = [row for row, is_right in zip(open_rows, right, strict=True) if not is_right]
    return result


def _decide(answers: Sequence[tuple[Example, str | None]], judge: Judge, check: Check) -> list[bool]:
    """Return whether each answer is right; a missing answer, or one that the judge cannot decide on, is not."""
    if check != "judge":
        return [text is not None and agrees(text, one.response, check) for one, text in answers]
    sent = [number for number, (_, text) in enumerate(answers) if text is not None]
    questions = [
        Question(messages=(Turn("user", _fill(VERIFY, answers[number][0], answers[number][1] or "")),), max_tokens=8)
        for number in sent
    ]
    decisions = [bool(answer.value) for answer in judge.ask(questions, _parse_decision)]
    right = dict(zip(sent, decisions, strict=True))
    return [right.get(number, False) for number in range(len(answers))]


def _fill(template: str, example: Example, answer: str = "") -> str:
    parts = {
        "prompt": "\n".join(turn.content for turn in example.prompt),
        "response": example.response,
        "answer": answer,
    }
    return re.sub(r"\{(prompt|response|answer)\}", lambda match: parts[match[1]], template)
