"""Whether data read from JSON has the shape that its readers rely on: a run folder may come from anyone."""

from __future__ import annotations

import math
from typing import Any


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
