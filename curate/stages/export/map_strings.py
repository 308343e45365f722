"""Mapping of a function over all strings in the text columns of a table, at any depth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from curate.config.template_syntax import EACH_ELEMENT, TextPath, extract_paths, parse_selector
from curate.errors import DataError
from curate.kernels.arrow_lists import is_list, join_lists, join_maps, split_lists, split_maps
from curate.kernels.text.chats import JSON_TEXT, kind_of, paths_to_texts
from curate.kernels.text.json_values import is_binary, is_json, to_text
from curate.kernels.types import Counts
from curate.stages.ingest.text_template import choose_elements, loads, parse_text

if TYPE_CHECKING:
    from curate.config.model import InputConfig, RunConfig

Change = Callable[[int, str], str]
"""Function from a row number and one of the row's strings to the new string."""


_Steps = frozenset[TextPath]
"""Paths from a value to the strings to change.

The empty path leads to the strings that the text of the value shows: some of those of a chat, all of other values.
"""

_RENDERED: TextPath = ()
_EVERYTHING: TextPath = ("",)
"""Path to all strings of a value, including the keys of objects in JSON texts and of maps."""

_ALL: _Steps = frozenset([_RENDERED])


def text_paths(config: InputConfig) -> list[TextPath]:
    """Return the columns that the text uses, with the paths into their lists and objects."""
    return extract_paths(config.text)


def root_columns(paths: Sequence[TextPath]) -> list[str]:
    """Return the columns that paths begin with, without duplicates.

    >>> root_columns([("chat", "[]", "value"), ("text",), ("chat", "[]", "from")])
    ['chat', 'text']
    """
    return list(dict.fromkeys(path[0] for path in paths))


def check(config: RunConfig, kinds: Mapping[str, pa.DataType]) -> None:
    """Raise an error for text columns of unsupported types, if their strings are to be masked or cut.

    Raises
    ------
    DataError
        A column has an unsupported type; the error names both.
    """
    if config.export.mask_pii or config.export.remove_repeated_spans:
        paths = text_paths(config.input)
        for name in root_columns(paths):
            check_type(name, kinds.get(name, pa.null()), _steps_into(name, paths))


def _steps_into(name: str, paths: Sequence[TextPath]) -> _Steps:
    """Return the steps into a column."""
    return frozenset(tuple(steps) for column, *steps in paths if column == name)


def _steps_after(step: str, below: _Steps) -> _Steps:
    """Return the remainders of the paths after a step."""
    if _EVERYTHING in below:
        return frozenset([_EVERYTHING])
    return frozenset(tuple(rest) for first, *rest in below if first == step)


def _expand(below: _Steps, keys: Collection[str] | None, elements: Collection[str] = ()) -> _Steps:
    """Replace the empty path by the paths to the strings that the text of a value shows.

    Parameters
    ----------
    keys : Collection[str] or None
        Keys of the value, if it is an object.
    elements : Collection[str], default ()
        Keys of the elements of the value, if it is a list.
    """
    if _RENDERED not in below:
        return below
    if keys is None and kind_of(elements):
        return below - {_RENDERED} | {(EACH_ELEMENT,)}
    kind = kind_of(keys or ())
    return below - {_RENDERED} | (set(paths_to_texts(kind)) if kind else {_EVERYTHING})


def _keys_of(kind: pa.DataType) -> list[str] | None:
    """Return the keys of an object type; None for another type."""
    return [one.name for one in kind] if types.is_struct(kind) else None


def _expand_type(below: _Steps, kind: pa.DataType) -> _Steps:
    if (JSON_TEXT,) in below:
        return frozenset([_EVERYTHING])
    elements = _keys_of(kind.value_type) if is_list(kind) else None
    return _expand(below, _keys_of(kind), elements or ())


def check_type(name: str, kind: pa.DataType, below: _Steps = _ALL) -> None:
    """Raise an error for a type that ``map_strings`` does not support.

    Raises
    ------
    DataError
        The type is unsupported; the error names the column and the type.
    """
    if not below:
        return
    below = _expand_type(below, kind)
    if types.is_struct(kind):
        for one in kind:
            check_type(name, one.type, _steps_after(one.name, below))
    elif types.is_nested(kind):
        inner = _inner_steps(below)
        for number in range(kind.num_fields):
            one = kind.field(number)
            check_type(name, one.type, _steps_after(one.name, inner) if types.is_map(kind) else inner)
    elif not (is_text_type(kind) or _is_textless(kind)):
        raise DataError(
            f"the text column {name!r} has the type {kind}, whose text can be neither masked nor cut",
            hint="store it as text, or leave out export.mask_pii and export.remove_repeated_spans",
        )


def _inner_steps(below: _Steps) -> _Steps:
    """Return the remainders of the paths after the selectors of elements."""
    selectors = {first for first, *_ in below if first and parse_selector(first)}
    return frozenset().union(*(_steps_after(each, below) for each in [*selectors, EACH_ELEMENT]))


def is_text_type(kind: pa.DataType) -> bool:
    """Return whether values of a non-nested type are strings or contain strings."""
    return _is_text(kind) or is_json(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or is_binary(kind))


def _is_textless(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name in ("arrow.uuid", "arrow.bool8", "arrow.fixed_shape_tensor")
    primitive = types.is_primitive(kind) or types.is_boolean(kind) or types.is_null(kind) or types.is_decimal(kind)
    return bool(primitive or types.is_temporal(kind))


def map_strings(table: pa.Table, paths: Sequence[TextPath], change: Change) -> pa.Table:
    """Return the table with a function applied to every string at the given paths.

    Lists, structs and maps are traversed at any depth, including the keys of maps; JSON columns are traversed by
    value. A string on the way of a path is part of the text and changed as well. Binary is text in UTF-8. Numbers,
    times and booleans stay unchanged. Columns, types and nulls stay; ``change`` is always called in the same order.

    Raises
    ------
    DataError
        A column has an unsupported type or bytes that are not UTF-8.

    >>> table = pa.table({"chat": [["a", None], ["b"]], "n": [1, 2]})
    >>> map_strings(table, [("chat",)], lambda row, text: f"{text}{row}")["chat"].to_pylist()
    [['a0', None], ['b1']]
    """
    for name in root_columns(paths):
        below = _steps_into(name, paths)
        check_type(name, table[name].type, below)
        if _is_text(table[name].type) and _RENDERED not in below:
            below |= {(JSON_TEXT,)}
        new, start = [], 0
        for chunk in table[name].chunks:  # joined, they might exceed the 2 GiB of text of one array
            try:
                new.append(_map_array(chunk, np.arange(start, start + len(chunk)), change, below))
            except UnicodeDecodeError as error:
                hint = "convert the input to UTF-8, or remove export.mask_pii and export.remove_repeated_spans"
                message = f"the text column {name!r} is not valid UTF-8"
                raise DataError(message, hint=hint) from error
            start += len(chunk)
        column = pa.chunked_array(new, table[name].type)
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    return table


def _map_array(array: pa.Array, rows: NDArray[np.intp], change: Change, below: _Steps) -> pa.Array:
    """Return the array with every string changed; ``rows`` are the table rows of the elements."""
    kind = array.type
    if not below or _is_textless(kind) or (types.is_struct(kind) and not kind.num_fields):
        return array
    if _is_text(kind):
        return _strings(array, rows, change, below)
    if is_json(kind):
        return pa.ExtensionArray.from_storage(kind, _json(array.storage, rows, change, below))
    below = _expand_type(below, kind)
    if types.is_struct(kind):
        fields = list(kind)
        children = [
            _map_array(child, rows, change, _steps_after(one.name, below))
            for child, one in zip(array.flatten(), fields, strict=True)
        ]
        return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())
    if types.is_map(kind):
        lengths, keys, items = split_maps(array)
        if _EVERYTHING in below:
            keys, items = (_map_array(each, np.repeat(rows, lengths), change, below) for each in (keys, items))
        else:
            pairs = pa.StructArray.from_arrays([keys, items], names=["key", "value"])
            keys, items = _map_elements(pairs, lengths, rows, change, below).flatten()
        return join_maps(lengths, keys, items, kind, array.is_null())
    lengths, values = split_lists(array)
    return join_lists(lengths, _map_elements(values, lengths, rows, change, below), kind, array.is_null())


def _map_elements(values: pa.Array, lengths: Counts, rows: NDArray[np.intp], change: Change, below: _Steps) -> pa.Array:
    """Return the elements of lists with every string changed; selectors choose among the elements of each list."""
    rows = np.repeat(rows, lengths)
    if _EVERYTHING in below:
        return _map_array(values, rows, change, below)
    by_selector = {step: _choose(values, lengths, step) for step in sorted({path[0] for path in below}) if step}
    chosen = {step: mask for step, mask in by_selector.items() if mask is not None}
    if all(mask.all() for mask in chosen.values()):
        inner: _Steps = frozenset().union(*(_steps_after(step, below) for step in chosen))
        return _map_array(values, rows, change, inner)
    sets = sum(
        (mask.astype(np.int64) << bit for bit, mask in enumerate(chosen.values())), np.zeros(len(rows), np.int64)
    )
    parts, positions = [], []
    for bits in np.unique(sets).tolist():  # elements that the same selectors choose
        here = np.flatnonzero(sets == bits)
        inner = frozenset().union(*(_steps_after(step, below) for bit, step in enumerate(chosen) if bits >> bit & 1))
        parts.append(_map_array(values.take(pa.array(here)), rows[here], change, inner))
        positions.append(here)
    return pa.concat_arrays(parts).take(pa.array(np.argsort(np.concatenate(positions), kind="stable")))


def _choose(values: pa.Array, lengths: Counts, step: str) -> NDArray[np.bool_] | None:
    """Return which elements of lists a step chooses, shape (n,); None if the step is no selector."""
    selector = parse_selector(step)
    if selector is None:
        return None
    passed = np.ones(len(values), np.bool_)
    for key, wanted in selector.filters:
        if not types.is_struct(values.type) or values.type.get_field_index(key) < 0:
            return np.zeros(len(values), np.bool_)
        texts = to_text(values.flatten()[values.type.get_field_index(key)])
        passed &= np.asarray(pc.equal(texts, wanted).fill_null(False).to_numpy(zero_copy_only=False))
    if selector.position is None:
        return passed
    chosen = np.zeros(len(values), np.bool_)
    ends = np.cumsum(lengths)
    for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
        matching = np.flatnonzero(passed[start:end])
        chosen[[start + int(index) for index in selector.choose(matching.tolist())]] = True
    return chosen


def _strings(array: pa.Array, rows: NDArray[np.intp], change: Change, below: _Steps) -> pa.Array:
    binary = is_binary(array.type)
    texts = [text.decode() if binary and text is not None else text for text in array.to_pylist()]
    new = [
        None if text is None else _change_text(row, text, change, below)
        for row, text in zip(rows.tolist(), texts, strict=True)
    ]
    return array if new == texts else pa.array(new, array.type)


def _change_text(row: int, text: str, change: Change, below: _Steps) -> str:
    """Return a text with all of it changed, or the strings in it if it contains JSON that is to be read."""
    if (JSON_TEXT,) in below and _EVERYTHING not in below:
        value = parse_text(text)
        if not isinstance(value, str):
            inner = below - {(JSON_TEXT,)} or frozenset([(JSON_TEXT,)])
            new = _change_value(row, value, change, inner)
            return text if new == value else orjson.dumps(new).decode()
    return change(row, text)


def _json(array: pa.Array, rows: NDArray[np.intp], change: Change, below: _Steps) -> pa.Array:
    """Return JSON texts with every string changed, including keys; numbers keep their digits."""
    new = []
    for row, text in zip(rows.tolist(), array.to_pylist(), strict=True):
        parsed = None if text is None else loads(text)
        other = _change_value(row, parsed, change, below)
        new.append(text if other == parsed else orjson.dumps(other).decode())
    return pa.array(new, array.type)


def _change_value(row: int, value: object, change: Change, below: _Steps) -> object:
    """Return a JSON value with the strings at some paths changed."""
    if not below:
        return value
    if isinstance(value, str):
        return _change_text(row, value, change, below)
    if isinstance(value, dict):
        return _change_object(row, value, change, below)
    if not isinstance(value, list):
        return value
    below = _expand(below, None, next((one for one in value if isinstance(one, dict) and kind_of(one)), ()))
    if (JSON_TEXT,) in below or _EVERYTHING in below:
        return [_change_value(row, one, change, below) for one in value]
    by_element: list[set[TextPath]] = [set() for _ in value]
    for step in {path[0] for path in below}:
        if selector := parse_selector(step):
            for index in choose_elements(selector, value):
                by_element[index] |= _steps_after(step, below)
    return [_change_value(row, one, change, frozenset(each)) for one, each in zip(value, by_element, strict=True)]


def _change_object(row: int, value: dict[str, object], change: Change, below: _Steps) -> dict[str, object]:
    below = _expand(below, value)
    if (JSON_TEXT,) in below:  # arguments of a tool call: their values, not their names
        return {key: _change_value(row, inner, change, below) for key, inner in value.items()}
    out: dict[str, object] = {}
    for key, inner in value.items():
        name = change(row, key) if _EVERYTHING in below else key
        while name in out:  # two keys may become the same
            name += "_"
        out[name] = _change_value(row, inner, change, _steps_after(key, below))
    return out
