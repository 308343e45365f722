"""Types of columns in the words of the ``datasets`` library, for the front matter of a dataset card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyarrow import types

Feature = dict[str, Any]
"""One feature as YAML holds it, without its name: ``{dtype: int64}``, ``{list: string}``, ``{struct: […]}``."""


class UnknownTypeError(ValueError):
    """The ``datasets`` library has no type for a column."""


def features(
    columns: Mapping[str, pa.DataType], *, as_json: bool, overrides: Mapping[str, Feature] | None = None
) -> list[dict[str, Any]]:
    """Return the features of an export.

    Without them the library takes a column's type from the first file, and fails where all its values there are null.

    Parameters
    ----------
    columns : mapping of str to pyarrow.DataType
        Name and type of every column.
    as_json : bool
        Whether the files are JSON Lines, which hold some types as text or as numbers.
    overrides : mapping of str to dict, optional
        Features of single columns that say more than their type does, such as the names of a class label.

    Raises
    ------
    UnknownTypeError
        Naming the first column that the library cannot read.

    Examples
    --------
    >>> features({"id": pa.int64(), "tags": pa.list_(pa.string())}, as_json=True)
    [{'name': 'id', 'dtype': 'int64'}, {'name': 'tags', 'list': 'string'}]
    """
    told = overrides or {}
    return [{"name": name, **(told.get(name) or _feature(name, kind, as_json))} for name, kind in columns.items()]


def _feature(name: str, kind: pa.DataType, as_json: bool) -> Feature:
    """Return the feature of one column, or of what is in it, which ``name`` says for the error."""
    if isinstance(kind, pa.BaseExtensionType):
        return _feature(name, kind.storage_type, as_json)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _feature(name, kind.value_type, as_json)
    if types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        return {"struct": [{"name": one.name, **_feature(f"{name}.{one.name}", one.type, as_json)} for one in fields]}
    if types.is_map(kind) and as_json:
        return _feature(name, pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])), as_json)
    view = types.is_list_view(kind) or types.is_large_list_view(kind)
    if types.is_map(kind) or types.is_union(kind) or types.is_interval(kind) or (view and not as_json):
        raise UnknownTypeError(f"column {name!r} is {kind}")
    if types.is_nested(kind):
        item = _feature(name, kind.value_type, as_json)
        length = {"length": kind.list_size} if types.is_fixed_size_list(kind) else {}
        large = types.is_large_list(kind) or types.is_large_list_view(kind)
        return {"large_list" if large else "list": item[next(iter(item))] if _is_plain(item) else item, **length}
    return {"dtype": _dtype(kind, as_json)}


def _is_plain(item: Feature) -> bool:
    """Whether the items of a list are written without the key of their feature."""
    return list(item) in (["dtype"], ["struct"])


def _dtype(kind: pa.DataType, as_json: bool) -> str:
    """Return the library's name of a type without parts; of a type that it does not have, the nearest that holds all.

    In JSON Lines binary values are base64 text and times are text; the library converts the text of the other types.
    """
    plain = str(kind)
    if "binary" in plain:
        return "string" if as_json else "large_binary" if plain.startswith("large") else "binary"
    if types.is_time(kind) and as_json:
        return "string"
    if types.is_decimal(kind) and not types.is_decimal256(kind):
        return f"decimal128({kind.precision}, {kind.scale})"
    names = {"halffloat": "float16", "string_view": "string", "date32[day]": "date32", "date64[ms]": "date32"}
    return names.get(plain, plain)
