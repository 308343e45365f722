"""Syntax of the text of a row in a configuration: a column name, or a template over columns."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

TextPath = tuple[str, ...]
"""Column name, followed by the steps into nested values: selectors of the elements of a list, and keys of objects."""

EACH_ELEMENT = "[*]"

_EXAMPLE = '"{messages[*].content}", "{messages[-1].content}" or "{messages[role=assistant].content}"'
_NAME = r"[^\[\].]+"
_POSITION = r"\[(?:\*|-?[0-9]{1,9})\]"
_FILTER = r"\[[^\[\]={}\s\"'](?:[^\[\]={}]*[^\[\]={}\s\"'])?=[^\[\]={}\s\"'](?:[^\[\]={}]*[^\[\]={}\s\"'])?\]"
_STEP = rf"(?:{_FILTER})+(?:{_POSITION})?|{_POSITION}"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME}|{_STEP})*")
_LIKE_A_SELECTOR = re.compile(r"\[(?:\s*-?[0-9]*\s*|[^\]]*[*?=:@][^\]]*)\]")
"""Pattern of brackets that are not part of a column name such as ``weight [kg]``."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Choice of some elements of a list."""

    filters: tuple[tuple[str, str], ...]
    """Keys and the values that elements must have there, as texts."""

    position: int | None
    """Position of the one element to choose among those that pass the filters, negative from the end; None for all."""

    def choose(self, matching: Sequence[int]) -> Sequence[int]:
        """Return the chosen ones of the positions whose elements pass the filters."""
        if self.position is None:
            return matching
        return matching[self.position :][:1] if -len(matching) <= self.position < len(matching) else ()


@lru_cache
def parse_selector(step: str) -> Selector | None:
    """Parse a step of a path; None if the step is the key of an object.

    >>> parse_selector("[role=assistant][-1]")
    Selector(filters=(('role', 'assistant'),), position=-1)
    >>> parse_selector("content") is None
    True
    """
    if not step.startswith("["):
        return None
    brackets = re.findall(r"\[([^\]]*)\]", step)
    pairs = (one.partition("=") for one in brackets if "=" in one)
    last = brackets[-1]
    position = None if last == "*" or "=" in last else int(last)
    return Selector(tuple((key, value) for key, _, value in pairs), position)


def parse_template(text: str) -> list[tuple[str, str | None]] | None:
    """Parse a template into pairs of a literal and the column after it; None if ``text`` is a column name.

    Raises
    ------
    ValueError
        If the template is invalid, or contains no column.

    Examples
    --------
    >>> parse_template("{instruction}: {output}")
    [('', 'instruction'), (': ', 'output')]
    >>> parse_template("text") is None
    True
    """
    if "{" not in text and "}" not in text:
        return None
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f'text: {error}; write columns as "{{name}}", a brace itself as "{{{{"') from error
    for _, name, form, conversion in parsed:
        if name == "" or form or conversion:
            raise ValueError('text: braces may contain only a column name, such as "{name}"')
        if name is not None and is_path(name) and not _PATH.fullmatch(name):
            if _PATH.fullmatch(plain := name.replace("[]", EACH_ELEMENT)):
                raise ValueError(f'text: {name!r} has no valid selector: write [*] for all elements: "{{{plain}}}"')
            raise ValueError(f"text: {name!r} is not a valid path into a list; write it like {_EXAMPLE}")
    if all(name is None for _, name, _, _ in parsed):
        raise ValueError("text: the template contains no column")
    return [(literal, name) for literal, name, _, _ in parsed]


def is_path(name: str) -> bool:
    """Return whether a name leads into a list: it has a selector in brackets.

    >>> is_path("messages[*].content"), is_path("meta.title"), is_path("weight [kg]")
    (True, False, False)
    """
    return _LIKE_A_SELECTOR.search(name) is not None


def split_path(name: str) -> TextPath:
    """Split the path in the braces of a template into steps; without a selector, it is a column name, including dots.

    >>> split_path("messages[role=assistant][-1].content"), split_path("meta.title")
    (('messages', '[role=assistant][-1]', 'content'), ('meta.title',))
    """
    if not is_path(name):
        return (name,)
    return tuple(re.findall(rf"{_STEP}|{_NAME}", name))


def join_path(path: TextPath) -> str:
    """Return a path as it is written in a template; the inverse of ``split_path``."""
    column, *steps = path
    return column + "".join(step if step.startswith("[") else f".{step}" for step in steps)


def extract_paths(text: str | None) -> list[TextPath]:
    """Return the paths in a template, or the column name itself, without duplicates; none without a text.

    >>> extract_paths("{system}: {messages[*].content}"), extract_paths("text")
    ([('system',), ('messages', '[*]', 'content')], [('text',)])
    """
    if text is None:
        return []
    parsed = parse_template(text)
    if parsed is None:
        return [(text,)]
    return list(dict.fromkeys(split_path(name) for _, name in parsed if name is not None))
