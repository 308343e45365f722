"""The text of a row as the configuration writes it: a column's name, or a template over columns."""

from __future__ import annotations

import re
import string

TextPath = tuple[str, ...]
"""A column, then the steps into its lists and objects: ``EACH`` for the elements of a list, or the key of a field."""

EACH_ELEMENT = "[]"

_NAME = r"[^\[\].]+"
_PATH = re.compile(rf"{_NAME}(\.{_NAME}|\[\])*")


def parse_template(text: str) -> list[tuple[str, str | None]] | None:
    """The template taken apart: literals, each with the column after it; None if ``text`` is a column's name.

    Raises
    ------
    ValueError : if it is no template of column names and paths, or names none

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
            raise ValueError('text: only a plain column\'s name may stand in braces, such as "{name}"')
        if name is not None and EACH_ELEMENT in name and not _PATH.fullmatch(name):
            raise ValueError(f'text: {name!r} is no path into a list; write one as "{{messages[].content}}"')
    if all(name is None for _, name, _, _ in parsed):
        raise ValueError("text: the template names no column")
    return [(literal, name) for literal, name, _, _ in parsed]


def split_path(name: str) -> TextPath:
    """Take the name in the braces of a template apart; one without ``[]`` is a column's, dots and all.

    >>> split_path("messages[].content"), split_path("meta.title")
    (('messages', '[]', 'content'), ('meta.title',))
    """
    if EACH_ELEMENT not in name:
        return (name,)
    return tuple(re.findall(rf"{_NAME}|\[\]", name))


def extract_paths(text: str) -> list[TextPath]:
    """Return the paths that a text or a template is made of, each once.

    >>> extract_paths("{system}: {messages[].content}"), extract_paths("text")
    ([('system',), ('messages', '[]', 'content')], [('text',)])
    """
    parsed = parse_template(text)
    if parsed is None:
        return [(text,)]
    return list(dict.fromkeys(split_path(name) for _, name in parsed if name is not None))
