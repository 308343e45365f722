"""Batches of Arrow data as records. Every value is checked, because the file may come from an untrusted source."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from curate.errors import DataError
from curate.kernels.arrow_lists import is_list, split_lists, split_maps
from curate.kernels.text.json_values import is_binary, is_json, to_text
from curate.store import arrow_values
from curate.store.expansion import FREE_BYTES
from curate.store.records import MAX_BATCH_BYTES, BadRecord, Batch


def storable(field: pa.Field, path: str) -> pa.DataType:
    """Return the type in which a column is stored; raise an error for a type that cannot be stored."""
    try:
        return arrow_values.storable_type(field.type)
    except TypeError as error:
        raise DataError(f"column {field.name!r}: {error}", where=path, hint="leave the column out") from error


def plain_size(array: pa.Array | pa.RecordBatch) -> int:
    """Return the size of an array with decoded dictionaries, in bytes."""
    if isinstance(array, pa.RecordBatch):
        return sum(map(plain_size, array.columns))
    if types.is_dictionary(array.type):
        kind = array.type.value_type
        if not is_text(kind):
            return len(array) * 8 if types.is_primitive(kind) else len(array) * array.dictionary.nbytes
        lengths = pc.binary_length(array.dictionary).take(array.indices)
        return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0) + 4 * len(array)
    inner = children(array)
    return sum(map(plain_size, inner)) + 4 * len(array) if inner else int(array.nbytes)


def children(array: pa.Array) -> list[pa.Array]:
    """Return the fields of objects, the elements of lists, and the keys and values of maps."""
    if types.is_struct(array.type):
        return list(array.flatten())
    if types.is_map(array.type):
        return list(split_maps(array)[1:])
    return [split_lists(array)[1]] if is_list(array.type) else []


def is_text(kind: pa.DataType) -> bool:
    """Return whether values are strings or bytes of any length."""
    return any(belongs(kind) for belongs in (types.is_string, types.is_large_string, is_binary))


def split_batch(batch: pa.RecordBatch, where: str) -> Iterator[pa.RecordBatch]:
    """Halve a batch until it is small enough: values stored once in the file may take much more memory."""
    size = plain_size(batch)
    if size <= MAX_BATCH_BYTES:
        yield batch
    elif batch.num_rows < 2:
        if size > FREE_BYTES:
            hint = "leave the row out, or split its lists into rows"
            raise DataError(f"a row takes {size:,} bytes; the limit is {FREE_BYTES:,}", where=where, hint=hint)
        yield batch
    else:
        half = batch.num_rows // 2
        yield from split_batch(batch.slice(0, half), where)
        yield from split_batch(batch.slice(half), where)


def to_batch(
    batch: pa.RecordBatch,
    row: int,
    kinds: dict[str, pa.DataType],
    features: dict[str, object],
    as_text: Collection[str],
) -> Batch:
    """Return the rows of an Arrow batch as records; a row with a value that is invalid for its type is bad.

    Parameters
    ----------
    row : int
        Number of rows of the file before the batch.
    kinds : dict[str, pa.DataType]
        Types in which the columns are stored.
    features : dict[str, object]
        Features of columns; see ``read_features``.
    as_text : Collection[str]
        Columns to read as text, whatever their type.
    """
    names = batch.schema.names
    table = pa.table([arrow_values.convert(batch.column(name), kinds[name]) for name in names], names=names)
    reasons = _wrong_values(table)
    rows = [row + index for index in range(len(table)) if index not in reasons]
    if reasons:
        table = table.take(pa.array([number - row for number in rows], pa.int64()))
    for index, name in enumerate(names):
        if name in as_text:
            table = table.set_column(index, name, to_text(table[name].combine_chunks()))
    bad = [BadRecord(row + index, row + index + 1, reason, "") for index, reason in sorted(reasons.items())]
    return Batch(table, rows, [number + 1 for number in rows], bad, features=features)


def _wrong_values(table: pa.Table) -> dict[int, str]:
    """Return the reason for each row with a value that is invalid for its type, such as text that is not UTF-8."""
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        reasons = dict[int, str]()
        for name in table.column_names:
            for row, reason in _wrong_rows(table[name].combine_chunks(), np.arange(len(table))):
                reasons.setdefault(row, f"column {name!r} {reason}")
    else:
        reasons = {}
    for name in table.column_names:
        if is_json(table.schema.field(name).type):
            texts = table[name].combine_chunks().storage.cast(pa.large_binary()).to_pylist()
            wrong = (row for row, text in enumerate(texts) if text is not None and not _is_valid(text))
            reasons = {**dict.fromkeys(wrong, f"column {name!r} is not JSON"), **reasons}
    return reasons


def _is_valid(json_text: bytes) -> bool:
    try:
        orjson.loads(json_text)
    except orjson.JSONDecodeError:
        return False
    return True


def _wrong_rows(array: pa.Array, rows: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """Find the invalid rows of an array by bisection."""
    part = array.take(pa.array(rows))
    try:
        part.validate(full=True)
    except pa.ArrowInvalid as error:
        if len(rows) == 1:
            yield int(rows[0]), "is not UTF-8" if "UTF8" in str(error) else f"has an invalid value: {error}"
            return
        half = len(rows) // 2
        yield from _wrong_rows(array, rows[:half])
        yield from _wrong_rows(array, rows[half:])


def read_features(schema: pa.Schema) -> dict[str, object]:
    """Read the features of columns that Hugging Face's ``datasets`` writes into a schema's metadata."""
    try:
        data = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = data["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: one for name, one in features.items() if name in schema.names} if isinstance(features, dict) else {}
