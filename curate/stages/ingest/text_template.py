"""Text of a row: a column, or a template over columns such as ``"{instruction}: {output}"``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa

from curate.config.template_syntax import (
    Selector,
    TextPath,
    extract_paths,
    is_path,
    join_path,
    parse_selector,
    parse_template,
    split_path,
)
from curate.errors import summarize_names
from curate.kernels.text.chats import render_value
from curate.kernels.text.json_values import dumps, is_binary, is_json, to_json_types, to_text
from curate.kernels.text.text_identity import is_blank
from curate.store.records import preview


def template_columns(template: str | None) -> list[str] | None:
    """Return the columns that a template uses; None if ``template`` is a column name; none without a text.

    >>> template_columns("{instruction}: {messages[*].content}")
    ['instruction', 'messages']
    >>> template_columns("text") is None
    True
    """
    return (
        None
        if template is not None and parse_template(template) is None
        else list(dict.fromkeys(path[0] for path in extract_paths(template)))
    )


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type is text: strings, or bytes in UTF-8."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_binary(kind))


@dataclass(slots=True)
class PathCounts:
    """Use of the paths of a template by the rows of a pool."""

    rows: Counter[str] = field(default_factory=Counter)
    """Number of rows with a text at each path."""

    values: dict[str, Counter[str]] = field(default_factory=dict)
    """Number of occurrences of the first values of each key that a path compares, such as ``role``."""

    def add(self, other: PathCounts) -> None:
        """Add the counts of later rows."""
        self.rows.update(other.rows)
        for key, counts in other.values.items():
            mine = self.values.setdefault(key, Counter())
            mine.update({value: count for value, count in counts.items() if value in mine or len(mine) < _MAX_VALUES})

    def note(self, key: str, value: str) -> None:
        """Count a value of a key; only the first different values are kept."""
        mine = self.values.setdefault(key, Counter())
        if value in mine or len(mine) < _MAX_VALUES:
            mine[value] += 1


_MAX_VALUES = 50  # of a key


def render(template: str, table: pa.Table, counts: PathCounts | None = None) -> pa.Array:
    """Fill the template with each row of ``table``, (n,) strings.

    A null and an empty list render as nothing, a chat as its messages, another list or an object as JSON, and every
    other value as by ``to_text``. A path such as ``messages[*].content`` renders as the texts of all values at the
    path, one per line. A row in which every column is null or blank becomes null, even if the template has words
    besides its columns.

    Parameters
    ----------
    counts : PathCounts, optional
        Counts to which those of the paths of these rows are added.
    """
    pieces = parse_template(template) or []
    cells = {name: _strings(table, split_path(name), counts) for _, name in pieces if name is not None}
    blanks = {name: is_blank(column) for name, column in cells.items()}
    if counts is not None:
        counts.rows.update({name: int(len(table) - blank.sum()) for name, blank in blanks.items() if is_path(name)})
    filled = ~np.logical_and.reduce(list(blanks.values()))
    lists = {name: column.fill_null("").to_pylist() for name, column in cells.items()}
    texts = [
        "".join(literal + (lists[name][row] if name is not None else "") for literal, name in pieces)
        if filled[row]
        else None
        for row in range(len(table))
    ]
    return pa.array(texts, pa.string())


def describe_paths_without_text(template: str | None, counts: PathCounts) -> list[str]:
    """Return a message for each path of a template at which no row has a text, with the values of compared keys."""
    messages = []
    for path in extract_paths(template):
        name = join_path(path)
        if template is None or parse_template(template) is None or not is_path(name) or counts.rows[name]:
            continue
        keys = [key for step in path[1:] if (selector := parse_selector(step)) for key, _ in selector.filters]
        values = [f"; the values of {key!r} are {summarize_names(counts.values.get(key, ()))}" for key in keys]
        messages.append(f"no row has a text at {name!r}{''.join(values)}")
    return messages


def _strings(table: pa.Table, path: TextPath, counts: PathCounts | None) -> pa.Array:
    column, *steps = path
    if column not in table.column_names:
        return pa.nulls(len(table), pa.string())
    array = table[column].combine_chunks()
    if steps:
        values = map(parse_text, json_values(array)) if is_text(array.type) else json_values(array)
        return pa.array(["\n".join(_texts(value, steps, counts)) for value in values], pa.string())
    if is_json(array.type):
        return pa.array(map(_render_json, array.storage.to_pylist()), pa.string())
    if pa.types.is_nested(array.type):
        return pa.array([render_value(value) for value in json_values(array)], pa.string())
    return to_text(array)


def _render_json(text: str | None) -> str | None:
    """Render a JSON text; what is rendered as JSON stays as it is written."""
    if text is None:
        return None
    value = loads(text)
    rendered = render_value(value)
    return text if rendered == dumps(value).decode() else rendered


def json_values(array: pa.Array) -> list[object]:
    """Return the values of an array as JSON values; numbers in JSON texts keep their digits."""
    if pa.types.is_dictionary(array.type) or is_text(array.type):
        return list(to_text(array).to_pylist())
    if not is_json(array.type):
        return list(to_json_types(array).to_pylist())
    return [None if text is None else loads(text) for text in array.storage.to_pylist()]


def parse_text(text: object) -> object:
    """Return the list or object that a text of a column contains as JSON; any other text stays a text.

    >>> parse_text('[{"role": "user"}]'), parse_text("[sic] a text")
    ([{'role': 'user'}], '[sic] a text')
    """
    if isinstance(text, str) and text.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            return loads(text)
    return text


def loads(text: str) -> object:
    """Parse JSON; numbers stay as they are written."""
    return json.loads(text, parse_int=orjson.Fragment, parse_float=orjson.Fragment)


def _texts(value: object, steps: list[str], counts: PathCounts | None) -> Iterator[str]:
    """Yield the non-blank texts at the end of the steps; a text on the way is included."""
    if isinstance(value, str) or not steps:
        text = render_value(value)
        if text.strip():
            yield text
    elif selector := parse_selector(steps[0]):
        if isinstance(value, list):
            for index in choose_elements(selector, value, counts):
                yield from _texts(value[index], steps[1:], counts)
    elif isinstance(value, dict):
        yield from _texts(value.get(steps[0]), steps[1:], counts)


def choose_elements(selector: Selector, elements: list[object], counts: PathCounts | None = None) -> Sequence[int]:
    """Return the positions of the elements of a list that a selector chooses."""
    matching: Sequence[int] = range(len(elements))
    for key, wanted in selector.filters:
        passed = []
        for index in matching:
            element = elements[index]
            value = element.get(key) if isinstance(element, dict) else None
            if value is None:
                continue
            text = value if isinstance(value, str) else dumps(value).decode()
            if counts is not None:
                counts.note(key, preview(text))
            if text == wanted:
                passed.append(index)
        matching = passed
    return selector.choose(matching)
