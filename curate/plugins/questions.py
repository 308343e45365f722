"""Questions about rows: templates from files, with the parts of a row in place of {prompt}, {response} and {text}."""

from __future__ import annotations

import re
from pathlib import Path

from curate.errors import PluginError
from curate.plugins.language_models import Example

PLACES = ("prompt", "response", "text")


def read_question(path: str | None, default: str) -> str:
    """Return the question in a file, or the default without one.

    Raises
    ------
    PluginError
        The file cannot be read, or has none of the places of a row.
    """
    if path is None:
        return default
    try:
        question = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise PluginError(
            f"cannot read the question: {reason}", where=path, hint="set the path of a text file"
        ) from error
    if not any(f"{{{place}}}" in question for place in PLACES):
        message = "the question has no place for the row"
        raise PluginError(message, where=path, hint="write {text}, or {prompt} and {response}, where the row belongs")
    return question


def read_text(path: str) -> str:
    """Return the text of a file.

    Raises
    ------
    PluginError
        The file cannot be read.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        message = f"cannot read the question: {reason}"
        raise PluginError(message, where=path, hint="set the path of a text file") from error


def has_parts(question: str, example: Example) -> bool:
    """Return whether a row has a text for each place of a question.

    >>> has_parts("Rate {prompt}", Example((), "a text")), has_parts("Rate {text}", Example((), "a text"))
    (False, True)
    """
    parts = _parts(example)
    return all(text.strip() for place, text in parts.items() if f"{{{place}}}" in question)


def _parts(example: Example) -> dict[str, str]:
    """Return the texts for the places of a question."""
    prompt = "\n".join(turn.content for turn in example.prompt)
    text = "\n".join(filter(None, (prompt, example.response)))
    return {"prompt": prompt, "response": example.response, "text": text}


def fill_question(question: str, example: Example) -> str:
    """Return a question with the parts of a row; {text} is the prompt and the response.

    Text of the row that looks like a place stays as it is.

    >>> fill_question("Rate: {text}", Example((), "a {prompt}"))
    'Rate: a {prompt}'
    """
    parts = _parts(example)
    return re.sub(r"\{(prompt|response|text)\}", lambda match: parts[match[1]], question)
