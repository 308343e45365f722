"""Questions to a judge, a language model behind an endpoint, and its answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from curate.plugins.language_models import Turn

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Messages to which the judge replies."""

    messages: tuple[Turn, ...]
    """Messages of the chat; the last one is the user's."""

    max_tokens: int = 16
    """Maximum number of tokens of the reply."""

    temperature: float = 0.0
    """Temperature of the sampling of the reply."""

    sample: int = 0
    """Number of the reply, if the same question is repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[Value]):
    """Answer to a question, or the reason for a missing one."""

    value: Value | None
    """Parsed answer; None without one."""

    text: str = ""
    """Reply of the judge."""

    error: str = ""
    """Reason for a missing answer, such as a refusal; empty with an answer."""


class UnparsableReplyError(ValueError):
    """Reply that does not contain an answer; the message is the reason."""


def parse_names(reply: str, most: int, max_words: int) -> tuple[str, ...]:
    r"""Return the names in a reply, one from each line, in lower case, without bullets, explanations and repetitions.

    Parameters
    ----------
    reply : str
        Reply of the judge.
    most : int
        Maximum number of names; further ones are left out.
    max_words : int
        Maximum number of words of a name.

    Raises
    ------
    UnparsableReplyError
        There is no name, or a line is no short name.

    Examples
    --------
    >>> parse_names("1. Long Division (3)\n- tone: how it sounds\n* 'tone'", 5, 4)
    ('long division', 'tone')
    """
    lines = [re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", line) for line in reply.splitlines()]
    lines = [re.sub(r"\s*[(:].*$", "", line).strip(" \t*_.,;\"'`") for line in lines]
    names = list(dict.fromkeys(" ".join(line.lower().split()) for line in lines if re.search(r"[^\W\d_]", line)))
    if not names:
        raise UnparsableReplyError("it has no name")
    if long := [name for name in names if len(name.split()) > max_words]:
        raise UnparsableReplyError(f"a line is no short name: {long[0][:60]!r}")
    return tuple(names[:most])


def summarize_errors(answers: Sequence[Answer[Value]], what: str) -> tuple[str, ...]:
    """Return a warning with the number of missing answers and their most frequent reasons; none without any."""
    reasons = Counter(answer.error for answer in answers if answer.error)
    if not reasons:
        return ()
    listed = "; ".join(f"{count:,} × {reason}" for reason, count in reasons.most_common(3))
    more = f"; and {len(reasons) - 3} more reasons" if len(reasons) > 3 else ""
    return (f"{reasons.total():,} of {len(answers):,} {what} have no answer: {listed}{more}",)


class Judge(Protocol):
    """Answers questions; replies are cached, so the same question costs one call."""

    def ask(self, questions: Sequence[Question], parse: Callable[[str], Value]) -> list[Answer[Value]]:
        """Return the answers in the order of the questions.

        Parameters
        ----------
        questions : sequence of Question
            Questions, sent concurrently.
        parse : callable
            Function that extracts the answer from a reply, or raises an UnparsableReplyError; the question is then
            sent again, a limited number of times.

        Raises
        ------
        DataError
            The endpoint is not available, or refuses all requests.
        BudgetError
            The budget of calls or tokens is used up.
        """
