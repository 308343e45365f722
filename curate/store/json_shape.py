"""Whether data read from JSON has the shape that its readers rely on: a run folder may come from anyone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def fits(data: Any, shape: Any) -> bool:
    """Whether ``data`` has a shape.

    ``shape`` is a type (``int`` means from 0 to 2**63, ``float`` any finite number, ``object`` anything), ``None``, a
    tuple of alternatives, a list with the shape of its items, ``{str: shape}`` for a mapping whose values have that
    shape, or a mapping of the keys that must be there; more may stand beside them.

    >>> fits({"rows": [1, 2], "note": None}, {"rows": [int]}), fits({"rows": [1, True]}, {"rows": [int]})
    (True, False)
    """
    if isinstance(shape, tuple):
        return any(fits(data, each) for each in shape)
    if isinstance(shape, list):
        return isinstance(data, list) and all(fits(item, shape[0]) for item in data)
    if isinstance(shape, dict):
        every = shape.get(str)
        return isinstance(data, dict) and (
            all(fits(item, every) for item in data.values())
            if every is not None
            else all(key in data and fits(data[key], each) for key, each in shape.items())
        )
    if shape is None or isinstance(data, bool):
        return data is None or shape is object
    if shape is float:
        return isinstance(data, int | float) and math.isfinite(data)
    return isinstance(data, shape) and (shape is not int or 0 <= data < 1 << 63)


def made(kind: Any, data: Any) -> Any:
    """The dataclass ``kind`` from what its ``asdict`` was written as, NaN as null; None if ``data`` has another shape.

    Its fields are numbers, texts, dataclasses, and ``tuple[X, ...]``, ``Mapping[str, X]`` and ``X | None`` of these.
    """
    try:
        return _made(kind, data)
    except (KeyError, TypeError, ValueError):
        return None


def _made(kind: Any, data: Any) -> Any:
    if is_dataclass(kind):
        if not isinstance(data, dict):
            raise TypeError
        make: Any = kind
        return make(**{name: _made(hint, data[name]) for name, hint in get_type_hints(kind).items()})
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if data is None else _made(inner[0], data)
    if origin is tuple and isinstance(data, list):
        return tuple(_made(inner[0], each) for each in data)
    if origin is Mapping and isinstance(data, dict):
        return {name: _made(inner[1], each) for name, each in data.items()}
    if kind is float and data is None:
        return math.nan
    if kind is Any or (isinstance(data, bool) if kind is bool else fits(data, kind)):
        return data
    raise TypeError
