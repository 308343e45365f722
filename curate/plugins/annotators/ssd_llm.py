"""SSD-LLM: dimensions of a pool and their attributes, discovered by a judge, and the attributes of every row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, TypeVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le, MinLen

from curate.errors import DataError
from curate.plugins.batches import AnnotationBatch, require
from curate.plugins.interfaces import annotator
from curate.plugins.judging import Answer, Judge, Question, UnparsableReplyError, parse_names, summarize_errors
from curate.plugins.language_models import Example, Turn
from curate.plugins.results import Annotations

Value = TypeVar("Value")

UNASSIGNED = "unassigned"
"""Attribute of a row for which the judge names none of the list."""

_PROPOSED, _PER_ROUND, _VOTES = 5, 20, 3
_MAX_WORDS = 4

_PROPOSE = """Here are some texts from one data set.

{texts}

Name {count} dimensions along which such texts differ, each in one word, such as topic or tone. Write one dimension \
per line, and nothing else."""

_ATTRIBUTES = """Here are some texts from one data set.

{texts}

Along the dimension "{dimension}", which values do these texts have? Write at most 10 values, each in one to three \
words, one per line, and nothing else."""

_SUMMARIZE = """These are names for {what}, with the number of times that each was proposed.

{names}

Merge names that mean the same, and drop those that do not fit{limit}. Write the names to keep, one per line, and \
nothing else."""

_CLASSIFY = """Which value does the text have along the dimension "{dimension}"? Choose from this list:

{names}

Text:
{text}

Reply with one value of the list, exactly as it is written there{escape}."""

_DISAGREE = """Along the dimension "{dimension}", the text below was given different values: {given}. The list of \
values is:

{names}

Text:
{text}

What is the reason? Reply with one of these lines:
mistake
hard case
redundant: VALUE, where VALUE is one name for the values of the list that mean the same
missing: VALUE, where VALUE is a name for the value that the list lacks"""

_VALIDATE = """Is "{name}" a sensible value of the dimension "{dimension}", next to these?

{names}

Reply with one word: yes or no."""


def parse_value(reply: str, names: Sequence[str], *, is_open: bool = False) -> str:
    """Return the name of the list in a reply; with ``is_open``, also a short name that is not in the list.

    Raises
    ------
    UnparsableReplyError
        The reply is another text.
    """
    value = " ".join(re.sub(r"^[\W_]+|[\W_]+$", "", reply.strip().partition("\n")[0]).lower().split())
    if value in names or (is_open and value and len(value.split()) <= _MAX_WORDS):
        return value
    raise UnparsableReplyError(f"{value[:60]!r} is not in the list")


def parse_reason(reply: str) -> tuple[str, str]:
    """Return the reason of a disagreement, and the name for it: ("missing", "sports"); the name is "" without one.

    Raises
    ------
    UnparsableReplyError
        The reply is another text.
    """
    found = re.match(r"\W*(mistake|hard case|redundant|missing)\b\W*(.*)", reply.strip(), re.IGNORECASE)
    if found is None:
        raise UnparsableReplyError("it does not begin with one of the four reasons")
    reason, name = found[1].lower(), " ".join(found[2].partition("\n")[0].strip(" .\"'`*").lower().split())
    if reason in ("mistake", "hard case"):
        return reason, ""
    if not name or len(name.split()) > _MAX_WORDS:
        raise UnparsableReplyError("it has no short name after the reason")
    return reason, name


def _parse_yes(reply: str) -> bool:
    found = re.match(r"\W*(yes|no)\b", reply.strip(), re.IGNORECASE)
    if found is None:
        raise UnparsableReplyError("it does not begin with yes or no")
    return found[1].lower() == "yes"


@dataclass(slots=True)
class Discovery:
    """Discovery of dimensions and attributes from some texts, with a judge."""

    texts: Sequence[str]
    judge: Judge
    rng: np.random.Generator
    rounds: int
    attribute_rounds: int
    refinements: int
    n_attributes: int | None

    def propose_dimensions(self) -> list[str]:
        """Return the dimensions that more than a fifth of the rounds propose, merged by the judge.

        Raises
        ------
        DataError
            The judge proposes none.
        """
        prompts = [_PROPOSE.format(texts=texts, count=_PROPOSED) for texts in self._samples(self.rounds)]
        proposals = self._ask(prompts, partial(parse_names, most=_PROPOSED, max_words=_MAX_WORDS))
        counts = Counter(name for answer in proposals for name in answer.value or ())
        frequent = {name: count for name, count in counts.items() if count > int(self.rounds * 0.2)}
        if not frequent:
            raise DataError("ssd_llm: the judge agrees on no dimension", hint="set dimensions, or use another judge")
        return self._summarize(frequent, "dimensions of texts", None)

    def propose_attributes(self, dimension: str) -> list[str]:
        """Return the attributes of a dimension, merged by the judge."""
        samples = self._samples(self.attribute_rounds)
        prompts = [_ATTRIBUTES.format(texts=texts, dimension=dimension) for texts in samples]
        proposals = self._ask(prompts, partial(parse_names, most=10, max_words=_MAX_WORDS))
        counts = Counter(name for answer in proposals for name in answer.value or ())
        if not counts:
            return []
        return self._summarize(counts, f'values of the dimension "{dimension}"', self.n_attributes)

    def refine(self, dimension: str, names: list[str]) -> list[str]:
        """Return the attributes after some texts were classified, and the judge explained its disagreements.

        Three equal answers that are not in the list are added. If the answers differ, a redundant name replaces those
        of the answers that are in the list, and a missing name is added, both if the judge confirms it.
        """
        for number in self.rng.permutation(len(self.texts))[: self.refinements].tolist():
            text = self.texts[number]
            prompt = _classify(dimension, names, text, is_open=True)
            answers = self._ask([prompt], partial(parse_value, names=names, is_open=True), samples=_VOTES)
            given = [answer.value for answer in answers if answer.value is not None]
            if len(given) < _VOTES:
                continue
            if len(set(given)) == 1:
                if given[0] not in names and self._confirms(dimension, names, given[0]):
                    names = [*names, given[0]]
                continue
            different = ", ".join(dict.fromkeys(given))
            question = _DISAGREE.format(dimension=dimension, given=different, names="\n".join(names), text=text)
            (reason,) = self._ask([question], parse_reason)
            kind, name = reason.value or ("mistake", "")
            if kind == "redundant" and self._confirms(dimension, names, name):
                names = [*(one for one in names if one not in given), name]
            elif kind == "missing" and name not in names and self._confirms(dimension, names, name):
                names = [*names, name]
        return list(dict.fromkeys(names))

    def _confirms(self, dimension: str, names: Sequence[str], name: str) -> bool:
        (answer,) = self._ask([_VALIDATE.format(name=name, dimension=dimension, names="\n".join(names))], _parse_yes)
        return bool(answer.value)

    def _summarize(self, counts: Mapping[str, int], what: str, number: int | None) -> list[str]:
        """Return the merged names; those that were proposed, most frequent first, if the judge has no answer."""
        order = sorted(counts, key=lambda name: (-counts[name], name))
        limit = f", and keep exactly {number}" if number is not None else ""
        listed = "\n".join(f"{name} ({counts[name]})" for name in order)
        most = len(order) if number is None else number
        prompt = _SUMMARIZE.format(what=what, names=listed, limit=limit)
        (answer,) = self._ask([prompt], partial(parse_names, most=most, max_words=_MAX_WORDS))
        return list(answer.value or order[:most])

    def _samples(self, rounds: int) -> list[str]:
        """Return a random sample of the texts for each round, as one numbered list each."""
        size = min(_PER_ROUND, len(self.texts))
        chosen = [self.rng.choice(len(self.texts), size, replace=False).tolist() for _ in range(rounds)]
        return ["\n".join(f"{place}. {self.texts[row]}" for place, row in enumerate(rows, 1)) for rows in chosen]

    def _ask(self, prompts: Sequence[str], parse: Callable[[str], Value], samples: int = 1) -> list[Answer[Value]]:
        questions = [_question(prompt, sample, samples) for prompt in prompts for sample in range(samples)]
        return self.judge.ask(questions, parse)


def _question(prompt: str, sample: int = 0, samples: int = 1) -> Question:
    temperature = 0.7 if samples > 1 else 0.0
    return Question(messages=(Turn("user", prompt),), max_tokens=150, temperature=temperature, sample=sample)


def _classify(dimension: str, names: Sequence[str], text: str, *, is_open: bool = False) -> str:
    escape = ", or with another value in one to three words if none fits" if is_open else ""
    return _CLASSIFY.format(dimension=dimension, names="\n".join(names), text=text, escape=escape)


@annotator(
    version=1,
    reads={"text", "judge"},
    cost="one call of the judge for each row and dimension, and a few hundred for the discovery",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SSDLLM:
    """SSD-LLM: discover how the texts of a pool differ, and assign every row to an attribute of each dimension.

    Use it to balance a pool over subpopulations that no column names: ``within`` the added column with a ``quota``, or
    as clusters with ``cluster: {use: column, column: ssd_llm}``. It needs the section ``judge``.

    The judge proposes dimensions and attributes from random texts, merges its proposals, refines the attributes where
    its own answers disagree, and then classifies every row. The column of the entry is the cell of a row, which is its
    attribute of each dimension; ``attributes`` lists "dimension: attribute". With ``dimensions``, each of them has a
    column, too. A row for which the judge names no attribute of the list is "unassigned".

    Differences from the authors' code: a redundant name replaces the names that it unites; an answer outside the list
    is added only if the judge confirms it; rows are texts, not captions of images.

    References
    ----------
    Luo et al. (2024), arXiv:2405.02363.
    """

    dimensions: Annotated[tuple[Annotated[str, MinLen(1)], ...], MinLen(1)] | None = None
    """Dimensions, such as [topic, tone]; null: discovered."""

    n_attributes: Annotated[int, Ge(2), Le(100)] | None = None
    """Number of attributes of each dimension before the refinement; null: as many as the judge keeps."""

    rounds: Annotated[int, Ge(1), Le(100)] = 10
    """Number of proposals of dimensions, each from 20 texts; a dimension needs more than a fifth of them."""

    attribute_rounds: Annotated[int, Ge(1), Le(100)] = 20
    """Number of proposals of attributes of each dimension, each from 20 texts."""

    refinements: Annotated[int, Ge(0), Le(1000)] = 20
    """Number of texts with which the attributes of a dimension are refined."""

    max_characters: Annotated[int, Ge(1)] = 1_000
    """Number of characters of a row that the judge reads."""

    def __post_init__(self) -> None:
        names = [re.sub(r"\W", "_", name) for name in self.dimensions or ()]
        if len(set(names)) < len(names) or "attributes" in names:
            raise ValueError("dimensions: names must differ, and none may be attributes")

    def columns(self) -> Mapping[str, pa.DataType]:
        extra = dict.fromkeys((_column(name) for name in self.dimensions or ()), pa.string())
        return {"": pa.string(), "attributes": pa.list_(pa.string()), **extra}

    def count_questions(self, rows: int, budget: int | None) -> int:  # noqa: ARG002 - of selectors
        dimensions = _PROPOSED if self.dimensions is None else len(self.dimensions)
        discovery = self.rounds + 1 if self.dimensions is None else 0
        return discovery + dimensions * (self.attribute_rounds + 1 + (_VOTES + 2) * self.refinements + rows)

    def annotate(self, batch: AnnotationBatch, rng: np.random.Generator) -> Annotations:
        judge, n = require(batch.judge), len(batch.examples)
        used = self.attribute_rounds * _PER_ROUND + self.refinements
        rows = np.sort(rng.permutation(n)[: min(n, used)]).tolist()
        texts = [self._show(one) for one in batch.examples.take(rows)]
        discovery = Discovery(
            texts, judge, rng, self.rounds, self.attribute_rounds, self.refinements, self.n_attributes
        )
        dimensions = list(self.dimensions or discovery.propose_dimensions())
        attributes = {name: discovery.refine(name, discovery.propose_attributes(name)) for name in dimensions}
        attributes = {name: values for name, values in attributes.items() if values}
        if not attributes:
            raise DataError("ssd_llm: the judge proposes no attributes", hint="use another judge, or other dimensions")
        assigned: dict[str, list[str]] = {name: [] for name in attributes}
        answers: list[Answer[str]] = []
        for block in batch.examples.blocks():
            shown = [self._show(one) for one in block]
            for name, values in attributes.items():
                questions = [_question(_classify(name, values, text)) for text in shown]
                found = judge.ask(questions, partial(parse_value, names=values))
                assigned[name] += [answer.value or UNASSIGNED for answer in found]
                answers += found
            batch.advance(len(block) / n)
        columns: dict[str, list[str] | list[list[str]]] = {
            "": [" / ".join(cell) for cell in zip(*assigned.values(), strict=True)],
            "attributes": [
                [f"{name}: {value}" for name, value in zip(assigned, cell, strict=True)]
                for cell in zip(*assigned.values(), strict=True)
            ],
            **{_column(name): assigned.get(name, [UNASSIGNED] * n) for name in self.dimensions or ()},
        }
        facts = {"dimensions": float(len(attributes)), "cells": float(len(set(map(str, columns[""]))))}
        return Annotations(columns=columns, warnings=summarize_errors(answers, "assignments"), facts=facts)

    def _show(self, example: Example) -> str:
        """Return the text of a row on one line."""
        text = "\n".join([*(turn.content for turn in example.prompt), example.response])
        return " ".join(text[: self.max_characters].split())


def _column(dimension: str) -> str:
    return re.sub(r"\W", "_", dimension)
