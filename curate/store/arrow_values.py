"""Arrow types that input shards store, and lossless conversions between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate.kernels.arrow_lists import is_list, join_lists, join_maps, split_lists, split_maps
from curate.kernels.text.json_values import is_json, to_json_texts


def storable_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which values of ``kind`` are stored and exported.

    Dictionaries and run-end encoded arrays become their values, views become plain strings, binary and lists, and every
    field may be null. Types that Parquet cannot represent become their nearest equivalent: dates count days, times and
    timestamps have at least milliseconds, and an object without fields is null. Extension types within lists and
    objects become their storage type, because few functions of Arrow support them there.

    Raises
    ------
    TypeError
        There is no equivalent (a union, an interval), or an object has two fields with the same name.
    """
    if isinstance(kind, pa.BaseExtensionType) and _inner(kind.storage_type) == kind.storage_type:
        return kind
    return _inner(kind)


def _inner(kind: pa.DataType) -> pa.DataType:
    """Return the storable type of values within lists and objects."""
    if isinstance(kind, pa.BaseExtensionType):
        return _inner(kind.storage_type)
    if types.is_union(kind) or types.is_interval(kind):
        raise TypeError(f"values of type {kind} cannot be stored")
    return next((equivalent(kind) for belongs, equivalent in _FAMILIES if belongs(kind)), _EQUIVALENTS.get(kind, kind))


_EQUIVALENTS = {
    pa.string_view(): pa.string(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.time32("s"): pa.time32("ms"),
}


def _storable_struct(kind: pa.StructType) -> pa.DataType:
    names = [field.name for field in kind]
    if len(set(names)) < len(names):
        raise TypeError(f"an object with two fields of the same name cannot be stored: {kind}")
    fields = [pa.field(field.name, _inner(field.type)) for field in kind]
    return pa.struct(fields) if fields else pa.null()


def _storable_timestamp(kind: pa.TimestampType) -> pa.DataType:
    return pa.timestamp("ms", kind.tz) if kind.unit == "s" else kind


_FAMILIES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], pa.DataType]], ...] = (
    (lambda kind: types.is_dictionary(kind) or types.is_run_end_encoded(kind), lambda kind: _inner(kind.value_type)),
    (types.is_struct, _storable_struct),
    (types.is_map, lambda kind: pa.map_(_inner(kind.key_type), _inner(kind.item_type))),
    (types.is_fixed_size_list, lambda kind: pa.list_(_inner(kind.value_type), kind.list_size)),
    (
        lambda kind: types.is_large_list(kind) or types.is_large_list_view(kind),
        lambda kind: pa.large_list(_inner(kind.value_type)),
    ),
    (is_list, lambda kind: pa.list_(_inner(kind.value_type))),
    (types.is_timestamp, _storable_timestamp),
)


def leaf_types(kind: pa.DataType) -> Iterator[pa.DataType]:
    """Yield the leaf types of a nested type; a type that is not nested is its own only leaf."""
    if types.is_nested(kind):
        for number in range(kind.num_fields):
            yield from leaf_types(kind.field(number).type)
    else:
        yield kind


def to_storable(array: pa.Array) -> pa.Array:
    """Convert an array to its ``storable`` type."""
    return convert(array, storable_type(array.type))


def convert(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Convert an array to a type that can represent all of its values, such as one that ``column_types`` finds.

    Structs gain null fields, and lists and objects may become JSON texts. Numbers and times are checked: a value that
    ``kind`` cannot represent is an error.

    Parameters
    ----------
    array : pa.Array
        Array of any type, shape (n,).
    kind : pa.DataType
        Type of the result.

    Raises
    ------
    ArrowException
        A value would be lost.
    """
    if is_json(kind) and array.type != kind:
        array = pa.ExtensionArray.from_storage(kind, to_json_texts(array).storage.cast(kind.storage_type))
    array = _decode(array, kind)
    if array.type == kind:
        return array
    if types.is_null(array.type) or types.is_null(kind) or array.null_count == len(array):
        return _convert_nulls(array, kind)
    if types.is_struct(array.type):
        return _convert_struct(array, kind)
    if types.is_map(array.type):
        return _convert_map(array, kind)
    if is_list(array.type):
        lengths, values = split_lists(array)
        return join_lists(lengths, convert(values, kind.value_type), kind, array.is_null())
    return array.cast(kind)


def _decode(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Decode dictionaries, runs and extensions until the array has the type ``kind`` or needs no more decoding."""
    while array.type != kind:
        if types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        elif isinstance(array, pa.ExtensionArray):
            array = array.storage
        else:
            break
    return array


def convert_column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Convert every chunk of a column as ``convert`` does."""
    return pa.chunked_array([convert(chunk, kind) for chunk in column.chunks], kind)


def _convert_nulls(array: pa.Array, kind: pa.DataType) -> pa.Array:
    empty_objects = types.is_struct(array.type) and array.type.num_fields == 0
    if array.null_count < len(array) and not empty_objects:
        raise pa.ArrowInvalid(f"values of type {array.type} would be lost")
    return pa.nulls(len(array), kind)


def _convert_struct(array: pa.StructArray, kind: pa.StructType) -> pa.Array:
    names = [field.name for field in array.type]
    if lost := set(names) - {field.name for field in kind}:
        raise pa.ArrowInvalid(f"fields would be lost: {', '.join(sorted(lost))}")
    children_by_name = dict(zip(names, array.flatten(), strict=True))
    children = [
        convert(children_by_name[field.name], field.type)
        if field.name in children_by_name
        else pa.nulls(len(array), field.type)
        for field in kind
    ]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())


def _convert_map(array: pa.MapArray, kind: pa.MapType) -> pa.Array:
    lengths, keys, items = split_maps(array)
    return join_maps(lengths, convert(keys, kind.key_type), convert(items, kind.item_type), kind, array.is_null())
