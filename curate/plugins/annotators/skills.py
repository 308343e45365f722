"""Skills: what a model must be able to do to solve each row, as named by a judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le, MinLen

from curate.kernels.text.name_clusters import merge_names
from curate.plugins.batches import AnnotationBatch, require
from curate.plugins.interfaces import ContentPath, annotator
from curate.plugins.judging import Question, parse_names, summarize_errors
from curate.plugins.language_models import Example, Turn
from curate.plugins.questions import fill_question, read_question
from curate.plugins.results import Annotations

QUESTION = """Which skills does one need to solve or to write the text below? Name the most specific ones, such as \
"solving linear equations" or "polite refusal", not "mathematics" or "writing". Write at most {max_skills} skills, one \
per line, each in two to five words, and nothing else.

Text:
{text}"""

_MAX_WORDS = 10


@annotator(version=1, reads={"text", "judge"}, cost="one call of the judge for each row")
@dataclass(frozen=True, slots=True, kw_only=True)
class Skills:
    """Skills that one needs for a row, as named by a judge: a list of short phrases in a column.

    Use it to see which skills a pool teaches, and as the nodes of a skill graph, as MASS does for problems in
    mathematics. It needs the section ``judge``. Similar names are merged into the most frequent one. A row without an
    answer, or outside the sample, has no skills (null).

    Differences from MASS: names are merged by the similarity of their letters, not of their embeddings; the paper does
    not give its threshold. Merging takes memory for the square of the number of different names.

    References
    ----------
    Li et al. (2025), arXiv:2503.14917.
    """

    max_skills: Annotated[int, Ge(1), Le(20)] = 5
    """Maximum number of skills of a row."""

    min_similarity: Annotated[float, Gt(0), Le(1)] = 0.8
    """Cosine similarity of the letter n-grams of two names from which they are one skill; 1: only equal names."""

    question: Annotated[str, MinLen(1), ContentPath()] | None = None
    """Path of a file with the question, with {text}, or {prompt} and {response}, in place of the row; null: our own."""

    sample_size: Annotated[int, Ge(1)] | None = None
    """Number of rows, chosen at random, that get skills; null: all."""

    max_characters: Annotated[int, Ge(1)] = 8_000
    """Number of characters of a row that the judge reads."""

    def columns(self) -> Mapping[str, pa.DataType]:
        return {"": pa.list_(pa.string())}

    def count_questions(self, rows: int, budget: int | None) -> int:  # noqa: ARG002 - of selectors
        return min(rows, self.sample_size or rows)

    def annotate(self, batch: AnnotationBatch, rng: np.random.Generator) -> Annotations:
        n, judge = len(batch.examples), require(batch.judge)
        question = read_question(self.question, QUESTION).replace("{max_skills}", str(self.max_skills))
        chosen = np.ones(n, np.bool_)
        if self.sample_size is not None and self.sample_size < n:
            chosen = np.isin(np.arange(n), rng.choice(n, self.sample_size, replace=False))
        found: list[tuple[str, ...] | None] = []
        errors = []
        for block in batch.examples.blocks():
            mask = chosen[len(found) : len(found) + len(block)].tolist()
            shown = [shorten(one, self.max_characters) for one, wanted in zip(block, mask, strict=True) if wanted]
            questions = [
                Question(messages=(Turn("user", fill_question(question, one)),), max_tokens=120) for one in shown
            ]
            answers = judge.ask(questions, partial(parse_names, most=self.max_skills, max_words=_MAX_WORDS))
            errors += answers
            values = iter(answers)
            found += [next(values).value if wanted else None for wanted in mask]
            batch.advance(len(block) / n)
        names = merge_names(Counter(skill for skills in found if skills for skill in skills), self.min_similarity)
        column = [None if one is None else list(dict.fromkeys(names[skill] for skill in one)) for one in found]
        different = len({skill for skills in column if skills for skill in skills})
        facts = {"skills": float(different), "names": float(len(names))}
        return Annotations(columns={"": column}, warnings=summarize_errors(errors, "rows"), facts=facts)


def shorten(example: Example, max_characters: int) -> Example:
    """Return an example whose prompt and response have at most so many characters together; the response yields."""
    turns: list[Turn] = []
    room = max_characters
    for turn in example.prompt:
        turns.append(Turn(turn.role, turn.content[:room]))
        room -= len(turns[-1].content)
    return Example(tuple(turns), example.response[:room])
