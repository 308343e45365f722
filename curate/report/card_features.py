"""Column types in the format of the ``datasets`` library, for the front matter of a dataset card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import types

Feature = dict[str, Any]
"""One feature as it is written in YAML, without its name: ``{dtype: int64}``, ``{list: string}``, ``{struct: […]}``."""


class UnknownTypeError(ValueError):
    """Column whose type the ``datasets`` library cannot read."""


def describe_columns(
    columns: Mapping[str, pa.DataType], *, as_json: bool, known: Mapping[str, Feature] | None = None
) -> list[Feature]:
    """Return the features of an export.

    Without features, the library infers a column's type from the first file, and fails if all its values are null.

    Parameters
    ----------
    columns : mapping of str to pyarrow.DataType
        Name and type of every column.
    as_json : bool
        Whether the files are JSON Lines, which represent some types as text or as numbers.
    known : mapping of str to dict, optional
        Features that contain more information than the type of a column; see ``column_overrides``.

    Returns
    -------
    list of dict
        One feature per column.

    Raises
    ------
    UnknownTypeError
        If the library cannot read a column; the message names the first one.

    Examples
    --------
    >>> describe_columns({"id": pa.int64(), "tags": pa.list_(pa.string())}, as_json=True)
    [{'name': 'id', 'dtype': 'int64'}, {'name': 'tags', 'list': 'string'}]
    """
    overrides = known or {}
    return [{"name": name, **(overrides.get(name) or _feature(name, kind, as_json))} for name, kind in columns.items()]


def _feature(name: str, kind: pa.DataType, as_json: bool) -> Feature:
    """Return the feature of a column, or of a nested value; ``name`` is its name for the error."""
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
        return _list(item, "large_list" if large else "list") | length
    return {"dtype": _dtype(kind, as_json)}


def _is_plain(item: Feature) -> bool:
    """Return whether the items of a list are written without the key of their feature."""
    return list(item) in (["dtype"], ["struct"])


def _dtype(kind: pa.DataType, as_json: bool) -> str:
    """Return the library's name of a type that is not nested, or the smallest type that can represent all its values.

    In JSON Lines, binary values are base64 text and times are text; the library converts the text of other types.
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


# ---------------------------------------------------------------- features in the metadata of the input


def column_overrides(described: Mapping[str, object], *, as_json: bool) -> dict[str, Feature]:
    """Return the features of columns whose metadata contain more information than their type.

    Parameters
    ----------
    described : mapping
        Features by column as the library writes them into the metadata of a schema: ``{"_type": "ClassLabel", …}``.
    as_json : bool
        Whether the files are JSON Lines, which can represent class labels, but no images and no audio.

    Returns
    -------
    dict
        Features by column name.

    Examples
    --------
    >>> label = {"names": ["no", "yes"], "_type": "ClassLabel"}
    >>> column_overrides({"y": label, "n": {"dtype": "int64", "_type": "Value"}}, as_json=True)
    {'y': {'dtype': {'class_label': {'names': {'0': 'no', '1': 'yes'}}}}}
    """
    features_by_column = {}
    for name, feature in described.items():
        kinds = set(_kinds(feature))
        if kinds - _CONTAINERS and (not as_json or kinds <= _CONTAINERS | {"ClassLabel"}):
            features_by_column[name] = _described(feature)
    return features_by_column


_CONTAINERS = {"Value", "List", "LargeList", "Sequence", ""}
"""Kinds of features without information beyond the type; the empty one is a mapping of features by name."""


def _kinds(feature: object) -> Iterator[str]:
    """Yield the kind of a feature and of its nested features."""
    if isinstance(feature, list):
        for each in feature:
            yield from _kinds(each)
    elif isinstance(feature, dict) and isinstance(kind := feature.get("_type", ""), str):
        yield kind
        inner = [feature.get("feature", {})] if kind else list(feature.values())
        for each in inner if kind in _CONTAINERS else ():
            yield from _kinds(each)


def _described(feature: Any) -> Feature:
    """Return the feature of a column from the metadata of a schema."""
    if isinstance(feature, list):
        return _list(_described(feature[0]), "list")
    kind = feature.get("_type", "")
    values = {key: value for key, value in feature.items() if key not in ("_type", "id")}
    if not kind:
        return {"struct": [{"name": name, **_described(each)} for name, each in values.items()]}
    if kind == "Value":
        return {"dtype": str(values["dtype"])}
    if kind in _CONTAINERS:
        length = {"length": values["length"]} if values.get("length", -1) != -1 else {}
        return _list(_described(values["feature"]), "large_list" if kind == "LargeList" else "list") | length
    if isinstance(names := values.get("names"), list):
        values = {"names": {str(number): name for number, name in enumerate(names)}}
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
    return {"dtype": {word: values} if values else word}


def _list(item: Feature, key: str) -> Feature:
    return {key: item[next(iter(item))] if _is_plain(item) else item}
