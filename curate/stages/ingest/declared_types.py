"""Conversion of columns to the types that the configuration declares, for all file formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.kernels.text.json_values import to_text

if TYPE_CHECKING:
    from curate.config.model import ColumnType

_INTEGER = r"^[+-]?[0-9]+(\.0*)?$"
_FLOAT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_TRUE, _FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")


def convert_columns(
    table: pa.Table, declared: Mapping[str, ColumnType]
) -> tuple[pa.Table, list[tuple[str, NDArray[np.bool_]]]]:
    """Convert the columns of a batch to their declared types.

    Parameters
    ----------
    table : pa.Table
        Batch of records.
    declared : Mapping[str, ColumnType]
        Declared types by column.

    Returns
    -------
    table : pa.Table
        Converted table; a value that does not fit its type is null.
    wrong : list[tuple[str, ndarray of bool_]]
        Reasons, each with the rejected rows as booleans of shape (n,).
    """
    wrong: list[tuple[str, NDArray[np.bool_]]] = []
    for name, kind in declared.items():
        if name not in table.column_names:
            continue
        original = table[name].combine_chunks()
        values = _parse(to_text(original), kind)
        lost = np.asarray(pc.and_(original.is_valid(), values.is_null()).to_numpy(zero_copy_only=False))
        if lost.any():
            wrong.append((f"column {name!r} is not {_NAMES[kind]}", lost))
        table = table.set_column(table.column_names.index(name), name, values)
    return table, wrong


_NAMES: Mapping[ColumnType, str] = {
    "string": "text in UTF-8",
    "int64": "an integer of 64 bits",
    "float64": "a number",
    "bool": "true or false",
}


def _parse(texts: pa.StringArray, kind: ColumnType) -> pa.Array:
    if kind == "string":
        return texts
    texts = pc.utf8_trim_whitespace(texts)
    if kind == "bool":
        lower = pc.utf8_lower(texts)
        true, false = (pc.is_in(lower, pa.array(words)) for words in (_TRUE, _FALSE))
        return pc.if_else(pc.or_(true, false), true, pa.scalar(None, pa.bool_()))
    if kind == "int64":
        return pa.array(_integers(texts), pa.int64())
    numbers = pc.if_else(pc.match_substring_regex(texts, _FLOAT), texts, pa.scalar(None, pa.string()))
    numbers = numbers.cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _integers(texts: pa.StringArray) -> Iterator[int | None]:
    for text, digits in zip(texts.to_pylist(), pc.match_substring_regex(texts, _INTEGER).to_pylist(), strict=True):
        number = int(text.partition(".")[0]) if digits and len(text) < 64 else None
        yield number if number is not None and -(1 << 63) <= number < 1 << 63 else None
