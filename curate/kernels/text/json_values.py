"""Conversion of Arrow arrays to JSON types and to text."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable
from decimal import Decimal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate.kernels.arrow_lists import join_lists, split_lists, split_maps


def to_json_types(array: pa.Array, name: str = "") -> pa.Array:
    """Convert an array to types that JSON has, at any depth.

    - float16 and float32: the shortest digits that give the same number back; NaN and infinities stay (``dumps`` writes
      null)
    - integers, and decimals without fraction digits: all digits; other decimals: text
    - date, time: ISO 8601 text; timestamp: ISO 8601 text, in UTC and ending in ``Z`` if it has a time zone
    - duration: an integer in the unit of the column
    - uuid: its canonical text; binary: base64 text
    - map: a list of objects with ``key`` and ``value``
    - dictionary, run-end encoded and extension arrays: the values that they represent

    Parameters
    ----------
    array : (n,) of any type
    name : name of the column, for the error

    Returns
    -------
    (n,) of null, bool, integer, float64, decimal without fraction digits, string, list or struct type

    Raises
    ------
    TypeError : if the type has no equivalent in JSON (a union, an interval)
    """
    array = _decode(array)
    data_type = array.type
    if types.is_union(data_type) or types.is_interval(data_type):
        raise TypeError(f"column {name!r}: JSON has no equivalent of {data_type}")
    if types.is_struct(data_type):
        return _convert_struct(array, name)
    if types.is_nested(data_type):
        lengths, values = split_lists(array)
        values = to_json_types(values, name)
        return join_lists(lengths, values, pa.large_list(values.type), array.is_null())
    return _convert_scalars(array)


def _decode(array: pa.Array) -> pa.Array:
    """Decode dictionaries, runs and extensions to their values, and maps to lists of pairs."""
    data_type = array.type
    if types.is_dictionary(data_type):
        return _decode(array.dictionary_decode())
    if types.is_run_end_encoded(data_type):
        return _decode(pc.run_end_decode(array))
    if isinstance(array, pa.ExtensionArray):
        return _format_uuids(array) if data_type.extension_name == "arrow.uuid" else _decode(array.storage)
    if types.is_map(data_type):
        lengths, keys, items = split_maps(array)
        pairs = pa.StructArray.from_arrays([keys, items], names=["key", "value"])
        return join_lists(lengths, pairs, pa.list_(pairs.type), array.is_null())
    return array


def dumps(value: object, *, newline: bool = False) -> bytes:
    """Serialize a value of a ``to_json_types`` array as strict JSON; NaN and infinities become null."""
    return orjson.dumps(value, default=_serialize_decimal, option=orjson.OPT_APPEND_NEWLINE if newline else None)


def _serialize_decimal(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"JSON has no equivalent of {type(value).__name__}")


def to_text(array: pa.Array) -> pa.Array:
    """Render every value as text.

    Parameters
    ----------
    array : (n,) of any type

    Returns
    -------
    (n,) strings

    Notes
    -----
    Strings stay, binary is decoded as UTF-8, everything else as in ``to_json_types``: numbers as digits, dates in ISO
    8601, lists and objects as JSON. Null, NaN and binary that is not UTF-8 give null.

    Examples
    --------
    >>> to_text(pa.array([1.5, None])).to_pylist(), to_text(pa.array([{"a": [1]}])).to_pylist()
    (['1.5', None], ['{"a":[1]}'])
    """
    decoded = _decode(array)
    if is_binary(decoded.type):
        return _cast_utf8(decoded)
    decoded = to_json_types(decoded)
    if types.is_nested(decoded.type) or types.is_floating(decoded.type) or types.is_decimal(decoded.type):
        texts = [None if value is None else dumps(value).decode() for value in decoded.to_pylist()]
        return pa.array([None if text == "null" else text for text in texts], pa.string())
    return decoded.cast(pa.string())


def _cast_utf8(array: pa.Array) -> pa.Array:
    try:
        return array.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decode_utf8(value) for value in array.to_pylist()], pa.string())


def _decode_utf8(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def to_identifier(array: pa.Array) -> pa.Array:
    """Render every value as an id: binary as hexadecimal digits, the rest as in ``to_text``.

    Parameters
    ----------
    array : (n,) of any type

    Returns
    -------
    (n,) strings
    """
    if is_binary(array.type) or types.is_fixed_size_binary(array.type):
        return pa.array([None if value is None else value.hex() for value in array.to_pylist()], pa.string())
    return to_text(array)


def is_binary(data_type: pa.DataType) -> bool:
    """Return whether values of ``data_type`` are bytes of any length."""
    return bool(types.is_binary(data_type) or types.is_large_binary(data_type) or types.is_binary_view(data_type))


def is_json(data_type: pa.DataType) -> bool:
    """Return whether values of ``data_type`` are JSON texts."""
    return isinstance(data_type, pa.BaseExtensionType) and data_type.extension_name == "arrow.json"


def to_json_texts(array: pa.Array) -> pa.Array:
    """Render every value that is not null as JSON text; JSON texts stay unchanged.

    Parameters
    ----------
    array : (n,) of any type

    Returns
    -------
    (n,) of type ``arrow.json``

    Examples
    --------
    >>> to_json_texts(pa.array(["a", None])).to_pylist(), to_json_texts(pa.array([{"a": [1.0]}])).to_pylist()
    (['"a"', None], ['{"a":[1.0]}'])
    """
    if is_json(array.type):
        return array
    return serialize_values(to_json_types(array).to_pylist())


def serialize_values(values: Iterable[object]) -> pa.Array:
    """Serialize Python values as JSON texts; None becomes null.

    Parameters
    ----------
    values : n values of a ``to_json_types`` array

    Returns
    -------
    (n,) of type ``arrow.json``
    """
    return pa.array([None if value is None else dumps(value).decode() for value in values], pa.json_())


def _format_uuids(array: pa.ExtensionArray) -> pa.Array:
    values = array.storage.to_pylist()
    return pa.array([None if value is None else str(uuid.UUID(bytes=value)) for value in values], pa.string())


def _convert_scalars(array: pa.Array) -> pa.Array:
    data_type = array.type
    converted = array
    if types.is_float32(data_type):
        converted = array.cast(pa.string()).cast(pa.float64())
    elif types.is_float16(data_type):
        digits = [None if value is None else float(str(np.float16(value))) for value in array.to_pylist()]
        converted = pa.array(digits, pa.float64())
    elif types.is_decimal(data_type):
        converted = array.cast(pa.string()) if data_type.scale > 0 else array
    elif types.is_date(data_type):
        converted = _format_iso(array.cast(pa.date32()).cast(pa.int32()), "D")
    elif types.is_timestamp(data_type):
        converted = _format_iso(array.cast(pa.int64()), data_type.unit)
        if data_type.tz is not None:
            converted = pc.binary_join_element_wise(converted, "Z", "")
    elif types.is_time(data_type):
        converted = array.cast(pa.string())
    elif types.is_duration(data_type):
        converted = array.cast(pa.int64())
    elif is_binary(data_type) or types.is_fixed_size_binary(data_type):
        coded = [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]
        converted = pa.array(coded, pa.large_string())
    return converted


def _format_iso(numbers: pa.Array, unit: str) -> pa.Array:
    """Format dates and times, also those out of Python's range, as ISO 8601."""
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False).astype(f"datetime64[{unit}]")
    texts = pa.array(np.datetime_as_string(values).tolist(), pa.string())
    return pc.if_else(numbers.is_valid(), texts, pa.scalar(None, pa.string()))


def _convert_struct(array: pa.StructArray, name: str) -> pa.Array:
    fields = [array.type.field(i).name for i in range(array.type.num_fields)]
    if not fields:
        return array
    children = [to_json_types(child, f"{name}.{field}") for child, field in zip(array.flatten(), fields, strict=True)]
    return pa.StructArray.from_arrays(children, names=fields, mask=array.is_null())
