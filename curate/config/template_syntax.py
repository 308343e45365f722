"""The text of a row as the configuration writes it: a column's name, or a template over columns."""

from __future__ import annotations

import string


def parts(text: str) -> list[tuple[str, str | None]] | None:
    """The template taken apart: literals, each with the column after it; None if ``text`` is a column's name.

    Raises
    ------
    ValueError : if it is no template of plain column names, or names none

    >>> parts("{instruction}: {output}")
    [('', 'instruction'), (': ', 'output')]
    >>> parts("text") is None
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
    if all(name is None for _, name, _, _ in parsed):
        raise ValueError("text: the template names no column")
    return [(literal, name) for literal, name, _, _ in parsed]
