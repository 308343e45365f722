"""Syntax of the text of a row in a configuration: a column name, or a template over columns."""

from __future__ import annotations

import re
import string

TextPath = tuple[str, ...]
"""Column name, followed by the steps into nested values: ``EACH_ELEMENT`` for a list, or the key of an object."""

EACH_ELEMENT = "[]"

_NAME = r"[^\[\].]+"
_PATH = re.compile(rf"{_NAME}(\.{_NAME}|\[\])*")


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
        if name is not None and EACH_ELEMENT in name and not _PATH.fullmatch(name):
            raise ValueError(f'text: {name!r} is not a valid path into a list; write it like "{{messages[].content}}"')
    if all(name is None for _, name, _, _ in parsed):
        raise ValueError("text: the template contains no column")
    return [(literal, name) for literal, name, _, _ in parsed]


def split_path(name: str) -> TextPath:
    """Split the path in the braces of a template into steps; a path without ``[]`` is a column name, including dots.

    >>> split_path("messages[].content"), split_path("meta.title")
    (('messages', '[]', 'content'), ('meta.title',))
    """
    if EACH_ELEMENT not in name:
        return (name,)
    return tuple(re.findall(rf"{_NAME}|\[\]", name))


def extract_paths(text: str | None) -> list[TextPath]:
    """Return the paths in a template, or the column name itself, without duplicates; none without a text.

    >>> extract_paths("{system}: {messages[].content}"), extract_paths("text")
    ([('system',), ('messages', '[]', 'content')], [('text',)])
    """
    if text is None:
        return []
    parsed = parse_template(text)
    if parsed is None:
        return [(text,)]
    return list(dict.fromkeys(split_path(name) for _, name in parsed if name is not None))
