"""Shape checks for data read from JSON, because a run directory may come from an untrusted source."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def has_shape(data: Any, shape: Any) -> bool:
    """Return whether ``data`` has a shape.

    ``shape`` is a type (``int`` means from 0 to 2**63, ``float`` any finite number, ``object`` anything), ``None``, a
    tuple of alternatives, a list with the shape of its items, ``{str: shape}`` for a mapping whose values have that
    shape, or a mapping of the required keys; other keys are allowed.

    >>> has_shape({"rows": [1, 2], "note": None}, {"rows": [int]}), has_shape({"rows": [1, True]}, {"rows": [int]})
    (True, False)
    """
    if isinstance(shape, tuple):
        return any(has_shape(data, each) for each in shape)
    if isinstance(shape, list):
        return isinstance(data, list) and all(has_shape(item, shape[0]) for item in data)
    if isinstance(shape, dict):
        every = shape.get(str)
        return isinstance(data, dict) and (
            all(has_shape(item, every) for item in data.values())
            if every is not None
            else all(key in data and has_shape(data[key], each) for key, each in shape.items())
        )
    if shape is None or isinstance(data, bool):
        return data is None or shape is object
    if shape is float:
        return _is_number(data)
    return isinstance(data, shape) and (shape is not int or 0 <= data < 1 << 63)


def parse_dataclass(cls: type[T], data: object, *, null_is_nan: bool = False) -> T | None:
    """Build a dataclass from its ``asdict`` form read from JSON; return None if a value has another shape.

    Lists become tuples and integers floats where the type of the field requires it. No other value is converted.

    Parameters
    ----------
    cls : type[T]
        Its fields are ``bool``, ``int`` (from 0 to 2**63; booleans are refused), ``float`` (a finite number), ``str``,
        ``None``, ``Literal``, ``Any``, dataclasses, and ``tuple``, ``list``, ``Mapping[str, X]``, ``dict[str, X]`` and
        unions of these; the metadata of ``Annotated`` is not checked.
    data : object
        Parsed JSON; it may lack the keys of fields with a default, and may not have keys without a field.
    null_is_nan : bool, default False
        Read null as NaN where the field is a ``float`` that may not be None.

    Raises
    ------
    TypeError
        A field has an unsupported type.

    Notes
    -----
    A ``ValueError`` raised in ``__post_init__`` of the class counts as another shape.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Fit:
    ...     rows: tuple[int, ...]
    ...     drift: float | None = None
    >>> parse_dataclass(Fit, {"rows": [1, 2]}), parse_dataclass(Fit, {"rows": [1, True]})
    (Fit(rows=(1, 2), drift=None), None)
    """
    try:
        built: T = _build(cls, data, null_is_nan)
    except ValueError:
        return None
    return built


def _build(kind: object, data: Any, null_is_nan: bool) -> Any:
    """Build a value of type ``kind``; raise ValueError if ``data`` has another shape."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _build_member(inner, data, null_is_nan)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(data, dict):
        return _build_dataclass(kind, data, null_is_nan)
    if origin in (tuple, list) and isinstance(data, list):
        variadic = origin is list or inner[1:] == (...,)
        kinds: Sequence[object] = [inner[0]] * len(data) if variadic else inner
        return origin([_build(each, item, null_is_nan) for each, item in zip(kinds, data, strict=True)])
    if origin in (Mapping, dict) and isinstance(data, dict):
        return data if inner[1] is Any else {key: _build(inner[1], item, null_is_nan) for key, item in data.items()}
    if kind is float and data is None and null_is_nan:
        return math.nan
    if not _is_scalar(kind, data):
        raise ValueError(f"no {kind}")
    return float(data) if kind is float else data


def _is_scalar(kind: object, data: object) -> bool:
    origin = get_origin(kind)
    if kind is float:
        return _is_number(data)
    if kind in (bool, int, str, NoneType):
        return type(data) is kind and (not isinstance(data, int) or 0 <= data < 1 << 63)
    if origin is Literal:
        return any(data == each and type(data) is type(each) for each in get_args(kind))
    if kind is not Any and not is_dataclass(kind) and origin not in (tuple, list, Mapping, dict):
        raise TypeError(f"a value of type {kind} cannot be read from JSON")
    return kind is Any


def _build_member(kinds: tuple[object, ...], data: object, null_is_nan: bool) -> Any:
    if data is None and NoneType in kinds:
        return None
    for kind in kinds:
        try:
            return _build(kind, data, null_is_nan)
        except ValueError:
            continue
    raise ValueError("no member of the union")


def _build_dataclass(cls: type, data: dict[str, object], null_is_nan: bool) -> Any:
    types = _hints(cls)
    if not (data.keys() <= types.keys() and all(name in data for name, (_, required) in types.items() if required)):
        raise ValueError("other keys")
    return cls(**{name: _build(types[name][0], item, null_is_nan) for name, item in data.items()})


@lru_cache
def _hints(cls: type) -> dict[str, tuple[object, bool]]:
    """Return the type of each field, and whether it is required."""
    hints = get_type_hints(cls)
    return {
        field.name: (hints[field.name], field.default is MISSING and field.default_factory is MISSING)
        for field in fields(cls)
        if field.init
    }


def _is_number(data: object) -> bool:
    """Return whether data is a number that a float can represent."""
    if not isinstance(data, int | float) or isinstance(data, bool):
        return False
    try:
        return math.isfinite(data)
    except OverflowError:  # an integer of more than 300 digits
        return False
