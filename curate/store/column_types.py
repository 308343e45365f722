"""Narrowest type of a column that can represent its values in all input files, whatever the order of the files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate.errors import DataError
from curate.kernels.arrow_lists import is_list, split_lists, split_maps
from curate.kernels.text.json_values import is_binary, is_json
from curate.store import arrow_values

Span = tuple[int, int]
"""Smallest and largest of some integers."""

MAX_EXACT_INTEGER = 1 << 53
"""Largest absolute value up to which every integer is exact in a float64."""

_MAX_DIGITS = 76  # of a decimal256


@dataclass(slots=True)
class Cells:
    """Properties of the cells of a CSV column: whether numbers can be written back exactly as they were."""

    integers: bool = True
    """Whether every cell is an integer without leading zeros, a plus sign or a negative zero."""

    span: Span | None = None
    """Range of the cells, if all of them are integers."""

    writers: frozenset[str] = frozenset()
    """Number formats for float64 that reproduce every cell exactly."""

    def __or__(self, other: Cells) -> Cells:
        return Cells(self.integers and other.integers, _union(self.span, other.span), self.writers & other.writers)

    @property
    def kind(self) -> pa.DataType:
        """Narrowest lossless type of the cells."""
        if self.integers and self.span is not None:
            return _integer(self.span)
        return pa.float64() if self.writers else pa.string()


@dataclass(slots=True)
class Column:
    """Types of a column in some files, and the value ranges that their common type depends on."""

    kinds: dict[pa.DataType, str] = field(default_factory=dict)
    """Types other than null, each with the first file that has it."""

    spans: dict[tuple[str, pa.DataType], Span] = field(default_factory=dict)
    """Range of the values by path (``.field``, ``[]``) and type, for types whose common type depends on it."""

    cells: Cells | None = None
    """Properties of the cells of CSV and TSV files."""

    cells_file: str = ""
    """First file with a cell that is not empty."""

    from_json: set[pa.DataType] = field(default_factory=set)
    """Types in ``kinds`` that occur in JSON files."""

    def add(self, other: Column) -> None:
        """Merge the column of later files into this one."""
        for kind, file in other.kinds.items():
            self.kinds.setdefault(kind, file)
        self.from_json |= other.from_json
        for key, span in other.spans.items():
            self.spans[key] = _join_spans(self.spans.get(key), span)
        if other.cells is not None:
            self.cells_file = self.cells_file or other.cells_file
            self.cells = other.cells if self.cells is None else self.cells | other.cells

    def type(self, name: str) -> pa.DataType:
        """Return the narrowest type that can represent every value of the column ``name``.

        Lists and objects of JSON files keep their type only if all have one shape; otherwise they become JSON texts.

        Raises
        ------
        DataError
            No such type exists; the error names two files.
        """
        kinds, spans = dict(self.kinds), dict(self.spans)
        if self.cells is not None:
            kind = self.cells.kind
            if any(map(_is_text, kinds)):
                kind = pa.string()
            elif self.cells.span is not None and types.is_integer(kind):
                spans["", kind] = _join_spans(spans.get(("", kind)), self.cells.span)
            kinds.setdefault(kind, self.cells_file)
        nested = any(types.is_nested(kind) or is_json(kind) for kind in self.from_json)
        others = kinds.keys() - self.from_json
        if nested and all(map(_fits_json, others)) and not (have_same_fields(list(kinds)) and _have_join(kinds, spans)):
            return _jsons(list(filter(is_json, kinds)))
        try:
            return join(list(kinds), spans)
        except _ConflictError as error:
            raise self._conflict(name, error, kinds) from None

    def _conflict(self, name: str, error: _ConflictError, kinds: Mapping[pa.DataType, str]) -> DataError:
        files = [
            next((kinds[kind] for kind in kinds if one in _type_at(kind, error.path)), "another file")
            for one in error.kinds
        ]
        path = f"{name}{error.path}"
        return DataError(
            f"column {path!r} is {error.kinds[0]} in {files[0]} and {error.kinds[1]} in {files[1]}: {error.reason}",
            hint=f"use one type in all files, or read the column as text: input.types: {{{name}: string}}",
        )


class _ConflictError(Exception):
    def __init__(self, kinds: tuple[pa.DataType, pa.DataType], path: str, reason: str) -> None:
        super().__init__(reason)
        self.kinds, self.path, self.reason = kinds, path, reason


# ---------------------------------------------------------------- columns of one file


def describe_array(array: pa.Array, file: str, *, from_json: bool = False) -> Column:
    """Describe the values of an array of a storable type from ``file``."""
    if types.is_null(array.type):
        return Column()
    return Column({array.type: file}, dict(_spans(array, "")), from_json={array.type} if from_json else set())


def describe_cells(array: pa.StringArray, file: str) -> Column:
    """Describe the cells of a CSV or TSV file; an empty cell is null."""
    cells = array.drop_null()
    return Column(cells=_cells(cells), cells_file=file) if len(cells) else Column()


def _spans(array: pa.Array, path: str) -> Iterator[tuple[tuple[str, pa.DataType], Span]]:
    kind = array.type
    if kind in _WIDE or types.is_timestamp(kind) or types.is_duration(kind):
        numbers = array if types.is_integer(kind) else array.cast(pa.int64())
        ends = pc.min_max(numbers).as_py()
        if ends["min"] is not None:
            yield (path, kind), (ends["min"], ends["max"])
    elif types.is_struct(kind):
        for child, one in zip(array.flatten(), kind, strict=True):
            yield from _spans(child, f"{path}.{one.name}")
    elif types.is_map(kind):
        _, keys, items = split_maps(array)
        yield from _spans(keys, f"{path}.key")
        yield from _spans(items, f"{path}.value")
    elif is_list(kind) and _has_span(kind.value_type):
        yield from _spans(split_lists(array)[1], f"{path}[]")


_WIDE = (pa.int64(), pa.uint64())


def _has_span(kind: pa.DataType) -> bool:
    return bool(kind in _WIDE or types.is_temporal(kind) or types.is_nested(kind))


_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_LONG_INTEGER = r"^-?[0-9]{16,}$"
_UNUSUAL = r"[eE]|^-?0\.000|^-?[0-9]{15,}"  # the number formats differ in more than a final .0


def _cells(cells: pa.StringArray) -> Cells:
    if pc.all(pc.match_substring_regex(cells, _INTEGER)).as_py():
        numbers = [int(cell) for cell in pc.unique(cells.filter(pc.greater(pc.binary_length(cells), 18))).to_pylist()]
        short = pc.min_max(cells.filter(pc.less_equal(pc.binary_length(cells), 18)).cast(pa.int64())).as_py()
        numbers += [value for value in short.values() if value is not None]
        span = (min(numbers), max(numbers))
        exact = max(abs(end) for end in span) <= MAX_EXACT_INTEGER
        return Cells(True, span, frozenset({"shortest"}) if exact else frozenset())
    return Cells(False, None, _writers(cells))


def _writers(cells: pa.StringArray) -> frozenset[str]:
    """Return the float64 formats that reproduce every cell; some write an integer as 10, others as 10.0."""
    if not pc.all(pc.match_substring_regex(cells, _NUMBER)).as_py():
        return frozenset()
    if pc.any(pc.match_substring_regex(cells, _LONG_INTEGER)).as_py():
        return frozenset()  # beyond 2**53, or written by a program that does not use float64
    unusual = pc.match_substring_regex(cells, _UNUSUAL)
    plain = cells.filter(pc.invert(unusual))
    shortest = plain.cast(pa.float64()).cast(pa.string())
    fraction = pc.match_substring(shortest, ".")
    with_fraction = pc.if_else(fraction, shortest, pc.binary_join_element_wise(shortest, ".0", ""))
    formats = set()
    if pc.all(pc.equal(shortest, plain), min_count=0).as_py():
        formats.add("shortest")
    if pc.all(pc.equal(with_fraction, plain), min_count=0).as_py():
        formats |= {"repr", "ryu"}
    for cell in cells.filter(unusual).to_pylist():
        number = float(cell)
        if not np.isfinite(number):
            return frozenset()
        forms = {"repr": repr(number), "ryu": orjson.dumps(number).decode(), "shortest": _shortest(number)}
        formats = {writer for writer in formats if forms[writer] == cell}
    return frozenset(formats)


def _shortest(number: float) -> str:
    return str(pa.scalar(number, pa.float64()).cast(pa.string()).as_py())


# ---------------------------------------------------------------- common types


def join(kinds: Sequence[pa.DataType], spans: Mapping[tuple[str, pa.DataType], Span], path: str = "") -> pa.DataType:
    """Return the narrowest type that can represent all values of some types.

    Parameters
    ----------
    kinds : Sequence[pa.DataType]
        Storable types.
    spans : Mapping[tuple[str, pa.DataType], Span]
        Range of the values by path and type, for types whose common type depends on it.
    path : str, default ''
        Path of these types in the column.

    Raises
    ------
    _ConflictError
        No such type exists.
    """
    kinds = [kind for kind in dict.fromkeys(kinds) if not types.is_null(kind)]
    if len(kinds) < 2:
        return kinds[0] if kinds else pa.null()
    for belongs, joined in _FAMILIES:
        if all(map(belongs, kinds)):
            return joined(kinds, spans, path)
    left, right = _conflicting_pair(kinds)
    raise _ConflictError((left, right), path, "no type can represent the values of both")


def _have_join(kinds: Iterable[pa.DataType], spans: Mapping[tuple[str, pa.DataType], Span]) -> bool:
    try:
        join(list(kinds), spans)
    except _ConflictError:
        return False
    return True


def have_same_fields(kinds: Sequence[pa.DataType]) -> bool:
    """Return whether objects of these types have the same fields, at every depth.

    >>> have_same_fields([pa.struct({"a": pa.int8()}), pa.struct({"a": pa.null()}), pa.struct({"b": pa.int8()})])
    False
    """
    if all(map(types.is_struct, kinds)):
        names = [{one.name for one in kind} for kind in kinds]
        return all(each == names[0] for each in names) and all(
            have_same_fields([kind.field(name).type for kind in kinds if not types.is_null(kind.field(name).type)])
            for name in (names[0] if names else ())
        )
    lists = [kind.value_type for kind in kinds if is_list(kind)]
    return have_same_fields([kind for kind in lists if not types.is_null(kind)]) if len(lists) == len(kinds) else True


def _fits_json(kind: pa.DataType) -> bool:
    """Return whether JSON can represent all values of a type of lists and objects, or of JSON texts."""
    return is_json(kind) or (types.is_nested(kind) and all(map(_is_json_scalar, arrow_values.leaf_types(kind))))


def _is_json_scalar(kind: pa.DataType) -> bool:
    same = types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)
    return bool(same or _is_text(kind))


def _jsons(kinds: Sequence[pa.DataType], *_: object) -> pa.DataType:
    return pa.json_() if all(kind == pa.json_() for kind in kinds) else pa.json_(pa.large_string())


def _conflicting_pair(kinds: Sequence[pa.DataType]) -> tuple[pa.DataType, pa.DataType]:
    """Return two types that have no common type."""
    for left, right in itertools.combinations(kinds, 2):
        if not any(belongs(left) and belongs(right) for belongs, _ in _FAMILIES):
            return left, right
    return kinds[0], kinds[1]


def _structs(kinds: Sequence[pa.DataType], spans: Mapping[tuple[str, pa.DataType], Span], path: str) -> pa.DataType:
    orders = [tuple(one.name for one in kind) for kind in kinds]
    every = {name for order in orders for name in order}
    names = min((order for order in orders if len(order) == len(every)), default=tuple(sorted(every)))
    return pa.struct(
        [
            pa.field(
                name,
                join(
                    [kind.field(name).type for kind in kinds if kind.get_field_index(name) >= 0],
                    spans,
                    f"{path}.{name}",
                ),
            )
            for name in names
        ]
    )


def _lists(kinds: Sequence[pa.DataType], spans: Mapping[tuple[str, pa.DataType], Span], path: str) -> pa.DataType:
    values = join([kind.value_type for kind in kinds], spans, f"{path}[]")
    sizes = {kind.list_size if types.is_fixed_size_list(kind) else None for kind in kinds}
    if len(sizes) == 1 and None not in sizes:
        return pa.list_(values, sizes.pop())
    return pa.large_list(values) if any(map(types.is_large_list, kinds)) else pa.list_(values)


def _maps(kinds: Sequence[pa.DataType], spans: Mapping[tuple[str, pa.DataType], Span], path: str) -> pa.DataType:
    keys = join([kind.key_type for kind in kinds], spans, f"{path}.key")
    return pa.map_(keys, join([kind.item_type for kind in kinds], spans, f"{path}.value"))


def _texts(*_: object) -> pa.DataType:
    return pa.large_string()


def _bytes(kinds: Sequence[pa.DataType], *_: object) -> pa.DataType:
    return pa.large_binary() if any(map(types.is_large_binary, kinds)) else pa.binary()


def _numbers(kinds: Sequence[pa.DataType], spans: Mapping[tuple[str, pa.DataType], Span], path: str) -> pa.DataType:
    integers = [kind for kind in kinds if types.is_integer(kind)]
    floats = [kind for kind in kinds if types.is_floating(kind)]
    decimals = [kind for kind in kinds if types.is_decimal(kind)]
    if floats and decimals:
        raise _ConflictError((floats[0], decimals[0]), path, "a float cannot represent every decimal")
    if decimals:
        return _decimal(integers, decimals, spans, path)
    if floats and not integers:
        return max(floats, key=lambda kind: kind.bit_width)
    if floats:
        for kind in integers:
            low, high = _value_range(kind, spans, path)
            if max(-low, high) > MAX_EXACT_INTEGER:
                reason = f"a float is exact only up to 2^53, but the integers reach {low if -low > high else high}"
                raise _ConflictError((kind, floats[0]), path, reason)
        return pa.float64()
    low, high = reduce(_join_spans, (_value_range(kind, spans, path) for kind in integers))
    if any(kind in _WIDE for kind in integers):
        return _integer((low, high)) if high < 1 << 64 and (low >= 0 or high < 1 << 63) else pa.decimal128(20, 0)
    return next(kind for kind in _NARROW if _bounds(kind)[0] <= low and high <= _bounds(kind)[1])


_NARROW = (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64())


def _decimal(
    integers: Sequence[pa.DataType],
    decimals: Sequence[pa.DataType],
    spans: Mapping[tuple[str, pa.DataType], Span],
    path: str,
) -> pa.DataType:
    scale = max(kind.scale for kind in decimals)
    scale = max(scale, 0) if integers else scale
    digits = {kind: kind.precision - kind.scale for kind in decimals}
    digits |= {kind: len(str(_bounds(kind)[1])) for kind in integers}
    if max(digits.values()) + scale > _MAX_DIGITS:  # the values may have fewer digits than their type allows
        digits |= {kind: len(str(max(map(abs, _value_range(kind, spans, path))))) for kind in integers}
    precision = max(digits.values()) + scale
    if precision > _MAX_DIGITS:
        longest, finest = max(digits, key=lambda kind: digits[kind]), max(decimals, key=lambda kind: kind.scale)
        raise _ConflictError((longest, finest), path, f"a decimal has at most {_MAX_DIGITS} digits")
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _timestamps(kinds: Sequence[pa.DataType], spans: Mapping[tuple[str, pa.DataType], Span], path: str) -> pa.DataType:
    zones = {_UTC.get(kind.tz, kind.tz) for kind in kinds}
    if None in zones and len(zones) > 1:
        with_zone = next(kind for kind in kinds if kind.tz is not None)
        without = next(kind for kind in kinds if kind.tz is None)
        raise _ConflictError((without, with_zone), path, "only one of the types has a time zone")
    unit = _finest(kinds, spans, path)
    return pa.timestamp(unit, zones.pop() if len(zones) == 1 else "UTC")


_UTC = dict.fromkeys(("UTC", "utc", "+00:00", "-00:00", "+0000", "Z", "Etc/UTC", "Etc/GMT", "GMT", "Zulu"), "UTC")


def _durations(kinds: Sequence[pa.DataType], spans: Mapping[tuple[str, pa.DataType], Span], path: str) -> pa.DataType:
    return pa.duration(_finest(kinds, spans, path))


def _times(kinds: Sequence[pa.DataType], *_: object) -> pa.DataType:
    unit = max((kind.unit for kind in kinds), key=_UNITS.index)
    return pa.time64(unit) if unit in ("us", "ns") else pa.time32(unit)


_UNITS = ("s", "ms", "us", "ns")


def _finest(kinds: Sequence[pa.DataType], spans: Mapping[tuple[str, pa.DataType], Span], path: str) -> str:
    finest = max(kinds, key=lambda kind: _UNITS.index(kind.unit))
    for kind in kinds:
        factor = 1000 ** (_UNITS.index(finest.unit) - _UNITS.index(kind.unit))
        low, high = spans.get((path, kind), (0, 0))
        if not -(1 << 63) < low * factor <= high * factor < 1 << 63:
            raise _ConflictError((kind, finest), path, f"its values are out of range in units of {finest.unit}")
    return str(finest.unit)


# ---------------------------------------------------------------- helpers


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _integer(span: Span) -> pa.DataType:
    low, high = span
    if low >= -(1 << 63) and high < 1 << 63:
        return pa.int64()
    return pa.uint64() if low >= 0 and high < 1 << 64 else pa.string()


def _bounds(kind: pa.DataType) -> Span:
    info = np.iinfo(kind.to_pandas_dtype())
    return int(info.min), int(info.max)


def _value_range(kind: pa.DataType, spans: Mapping[tuple[str, pa.DataType], Span], path: str) -> Span:
    return spans.get((path, kind), (0, 0)) if kind in _WIDE else _bounds(kind)


def _union(left: Span | None, right: Span | None) -> Span | None:
    return _join_spans(left, right) if left is not None and right is not None else None


def _join_spans(left: Span | None, right: Span) -> Span:
    return right if left is None else (min(left[0], right[0]), max(left[1], right[1]))


def _type_at(kind: pa.DataType, path: str) -> Iterable[pa.DataType]:
    """Yield the type at a path of a nested type, or nothing if there is no such path."""
    for step in re.findall(r"\[\]|\.[^.\[]*", path):
        if step == "[]" and is_list(kind):
            kind = kind.value_type
        elif types.is_map(kind) and step in (".key", ".value"):
            kind = kind.key_type if step == ".key" else kind.item_type
        elif types.is_struct(kind) and kind.get_field_index(step[1:]) >= 0:
            kind = kind.field(step[1:]).type
        else:
            return
    yield kind


_FAMILIES = (
    (is_json, _jsons),
    (types.is_struct, _structs),
    (is_list, _lists),
    (types.is_map, _maps),
    (_is_text, _texts),
    (lambda kind: is_binary(kind) or types.is_fixed_size_binary(kind), _bytes),
    (lambda kind: types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind), _numbers),
    (types.is_timestamp, _timestamps),
    (types.is_duration, _durations),
    (types.is_time, _times),
)
