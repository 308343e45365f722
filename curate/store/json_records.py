"""Records of JSON files (one object per line, or one array of objects) as Arrow tables; numbers keep all digits."""

from __future__ import annotations

import io
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from decimal import Decimal
from typing import IO, TypeAlias, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate.errors import DataError
from curate.kernels.arrow_lists import is_list
from curate.kernels.text.json_values import dumps, is_json, serialize_values
from curate.store import arrow_values
from curate.store.column_types import MAX_EXACT_INTEGER
from curate.store.records import (
    MAX_BATCH_BYTES,
    MAX_BATCH_CELLS,
    MAX_BATCH_ROWS,
    MAX_RECORD_LENGTH,
    NOT_UTF8,
    PREVIEW_LENGTH,
    VALUE_BYTES,
    AllowedKinds,
    BadRecord,
    Batch,
    KindCounts,
    Piece,
    ReadOptions,
    check_width,
    decode_preview,
    refuse_utf16,
)

_BOM = b"\xef\xbb\xbf"
_BLOCK = 1 << 22
_MAX_DEPTH = 32  # levels of nested objects and lists; Parquet allows no more than 50 lists
_MAX_DIGITS = 76  # of a decimal
_LONG_NUMBER = r"[0-9.]{16}[0-9.eE]|[0-9][eE]-[0-9]{3}"
"""Pattern of numbers that int64 or float64 may not represent: 16 digits with a point or an exponent, or 17 digits."""

# ---------------------------------------------------------------- records


def read_lines(file: IO[bytes], piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    """Read a file with one object per line."""
    if piece.start:
        file.seek(piece.start)
    return _batches(_lines(file, piece), piece, options)


def read_json(file: IO[bytes], piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    """Read a file that is either an array of objects or has one object per line."""
    blank_lines, begins = 0, b""
    while not begins and (block := file.read(_BLOCK)):
        refuse_utf16(block, piece.path)
        block = block.removeprefix(_BOM)
        begins = block.lstrip()
        blank_lines += block.count(b"\n", 0, len(block) - len(begins))
    rest = _PrefixedFile(begins, file)
    if begins.startswith(b"{") and _is_cut_off(begins.partition(b"\n")[0]):
        hint = (
            "extract the list of records: jq -c '.data[]' FILE > FILE.jsonl, with the key of the list in place of data"
        )
        raise DataError(
            "the file is a single JSON object, not an array or one object per line", where=piece.path, hint=hint
        )
    if not begins.startswith(b"["):
        return _batches(_lines(rest, piece, first=blank_lines), piece, options)
    return _batches(_elements(rest, piece.path, blank_lines + 1), piece, options)


def _is_cut_off(line: bytes) -> bool:
    """Return whether a JSON value continues after this line."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return error.pos >= len(line.rstrip())
    return False


class _PrefixedFile:
    """File of which some bytes were read before."""

    def __init__(self, before: bytes, file: IO[bytes]) -> None:
        self._before, self._file = before, file

    def read(self, size: int) -> bytes:
        before, self._before = self._before[:size], self._before[size:]
        return before or self._file.read(size)

    def readline(self, limit: int) -> bytes:
        end = self._before.find(b"\n", 0, limit) + 1
        if not end and len(self._before) < limit:
            before, self._before = self._before, b""
            return before + self._file.readline(limit - len(before))
        end = end or limit
        line, self._before = self._before[:end], self._before[end:]
        return line


_Value: TypeAlias = "bool | int | float | str | Decimal | list[_Value] | dict[str, _Value] | None"
"""Value of a record: parsed JSON, with decimals for numbers that float64 cannot represent."""

RawRecord = tuple[int, bytes, str]
"""Number of a line, its content, and the reason why it cannot be read; "" if it has not been parsed yet."""


def _lines(file: IO[bytes] | _PrefixedFile, piece: Piece, first: int = 0) -> Iterator[RawRecord]:
    position, line = piece.start, piece.first_row + first
    while raw := file.readline(MAX_RECORD_LENGTH):
        if piece.stop is not None and position >= piece.stop:
            break
        if not position:
            refuse_utf16(raw, piece.path)
        position += len(raw)
        line += 1
        if len(raw) == MAX_RECORD_LENGTH and (rest := _skip_line(file)):
            position += rest
            yield line, raw[: PREVIEW_LENGTH - 1] + "…".encode(), f"is longer than {MAX_RECORD_LENGTH:,} bytes"
            continue
        text = raw.removeprefix(_BOM).strip() if line == 1 else raw.strip()
        if text:
            yield line, text, ""


def _skip_line(file: IO[bytes] | _PrefixedFile) -> int:
    """Skip to the end of the line; return the number of skipped bytes."""
    skipped = 0
    while more := file.readline(_BLOCK):
        skipped += len(more)
        if more.endswith(b"\n"):
            break
    return skipped


def _elements(file: _PrefixedFile, path: str, line: int) -> Iterator[RawRecord]:
    """Yield the elements of an array, each with the line on which it begins."""
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)  # only the end of each value is of interest
    scan = _Scanner(file, path, line)
    scan.expect("[")
    if scan.peek() == "]":
        scan.expect("]")
    else:
        while True:
            scan.peek()
            begins = scan.line
            yield begins, scan.value(decoder).encode(errors="surrogatepass"), ""
            if scan.peek() == "]":
                scan.expect("]")
                break
            scan.expect(",")
    if scan.peek():
        raise scan.error("the file continues after the end of the array")


class _Scanner:
    """Scanner over the text of a JSON file, a few megabytes at a time."""

    def __init__(self, file: _PrefixedFile, path: str, line: int) -> None:
        self._file, self._path, self.line = file, path, line
        self._bytes, self._text, self._at = b"", "", 0

    def error(self, message: str) -> DataError:
        hint = "fix the file, or convert it to JSON Lines, where only bad lines are lost: jq -c '.[]' FILE > FILE.jsonl"
        return DataError(f"cannot parse JSON: {message}", where=f"{self._path}:{self.line}", hint=hint)

    def peek(self) -> str:
        """Skip white space and return the next character, "" at the end of the file."""
        while True:
            rest = _SPACE.match(self._text, self._at)
            end = rest.end() if rest else self._at
            self.line += self._text.count("\n", self._at, end)
            self._at = end
            if end < len(self._text):
                return self._text[end]
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Skip white space and the given character; raise an error on any other character."""
        if (actual := self.peek()) != character:
            raise self.error(f"expected {character!r}, got {actual!r}" if actual else "the file ends within the array")
        self._at += 1

    def value(self, decoder: json.JSONDecoder) -> str:
        """Return the text of the next value."""
        self.peek()
        while True:
            try:
                _, end = decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise self.error("an element is nested too deeply") from None
            except ValueError as error:
                if len(self._text) - self._at > MAX_RECORD_LENGTH:
                    raise self.error(f"an element does not end within {MAX_RECORD_LENGTH:,} characters") from error
                if self._more():
                    continue
                raise self.error(str(error).partition(": line")[0]) from error
            if end == len(self._text) and self._more():  # a number may go on
                continue
            text = self._text[self._at : end]
            self.line += text.count("\n")
            self._at = end
            return text

    def _more(self) -> bool:
        """Read another block: as much as is buffered, at most about the longest record. Return False at the end."""
        buffered = len(self._text) - self._at
        block = self._file.read(max(_BLOCK, min(buffered, MAX_RECORD_LENGTH - buffered)))
        if not block:
            return False
        data = self._bytes + block
        cut = len(data)
        while cut and data[cut - 1] & 0xC0 == 0x80 and len(data) - cut < 3:  # within a character
            cut -= 1
        cut -= bool(cut and data[cut - 1] >= 0xC0)
        try:
            text = data[:cut].decode()
        except UnicodeDecodeError:
            raise self.error("the file is not UTF-8") from None
        self._text, self._at, self._bytes = self._text[self._at :] + text, 0, data[cut:]
        return True


_SPACE = re.compile(r"[ \t\r\n]*")


# ---------------------------------------------------------------- batches


def _batches(records: Iterable[RawRecord], piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    raws: list[RawRecord] = []
    size = 0
    for raw in records:
        text = raw[1]
        more = len(text) + VALUE_BYTES * (text.count(b",") + text.count(b"{") + text.count(b"["))
        if raws and (len(raws) == MAX_BATCH_ROWS or size + more > MAX_BATCH_BYTES):
            yield from _batch(raws, piece, options)
            raws, size = [], 0
        raws.append(raw)
        size += more
    if raws:
        yield from _batch(raws, piece, options)


def _batch(raws: Sequence[RawRecord], piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    """Parse records into one batch, or several if they have too many columns for one."""
    long = _have_long_numbers([text for _, text, _ in raws])
    exact = _Exact()
    records: list[dict[str, _Value]] = []
    good: list[RawRecord] = []
    bad: list[BadRecord] = []
    for (line, text, wrong), long_number in zip(raws, long, strict=True):
        record, reason = ({}, wrong) if wrong else _parse(text, exact, long_number=long_number)
        if reason:
            bad.append(BadRecord(line - 1, line, reason, decode_preview(text)))
        else:
            records.append(record)
            good.append((line, text, ""))
    for record in records:
        for name in options.as_text:
            if name in record:
                record[name] = _to_text(record[name])
    width, as_json = _width(records, options, f"{piece.path}, lines {raws[0][0]:,} to {raws[-1][0]:,}")
    options = replace(options, as_json=as_json)
    rows_at_once = max(1, MAX_BATCH_CELLS // max(1, width))
    for start in range(0, max(1, len(records)), rows_at_once):
        stop = start + rows_at_once
        last = stop >= len(records)
        ends = math.inf if last else good[stop][0]
        now = [one for one in bad if one.line < ends]
        bad = bad[len(now) :]
        yield _build_batch(records[start:stop], good[start:stop], now, piece, options, exact.non_finite if last else 0)


def parse_valid(
    data: bytes, piece: Piece, as_text: Collection[str]
) -> tuple[list[dict[str, _Value]], list[int]] | None:
    """Return the records of a file with one object per line, and their lines; None if any cannot be read."""
    exact = _Exact()
    records, lines = [], []
    for line, text, wrong in _lines(io.BytesIO(data), piece):
        record, reason = ({}, wrong) if wrong else _parse(text, exact, long_number=_LONG.search(text) is not None)
        if reason or exact.non_finite:
            return None
        for name in as_text:
            if name in record:
                record[name] = _to_text(record[name])
        records.append(record)
        lines.append(line)
    return (records, lines) if any(records) or not records else None


def batch_of_valid(records: Sequence[dict[str, _Value]], lines: list[int], options: ReadOptions) -> Batch | None:
    """Return records as a batch with columns in the order of their keys; None if a column has no common type."""
    arrays = _arrays(records, options)
    table = _table(arrays)
    if isinstance(table, str):
        return None
    rows = [line - 1 for line in lines]
    nested = _nested(arrays, options)
    return Batch(table, rows, lines, [], nulls=_nulls(records), nested=nested, texts=_texts(records, nested, options))


def _have_long_numbers(texts: list[bytes]) -> list[bool]:
    if sum(map(len, texts)) < _FEW_BYTES:  # for Arrow the expression would be compiled again
        return [_LONG.search(text) is not None for text in texts]
    long: list[bool] = pc.match_substring_regex(pa.array(texts, pa.large_binary()), _LONG_NUMBER).to_pylist()
    return long


_LONG = re.compile(_LONG_NUMBER.encode())
_FEW_BYTES = 1 << 12


def _build_batch(
    records: Sequence[dict[str, _Value]],
    good: Sequence[RawRecord],
    bad: list[BadRecord],
    piece: Piece,
    options: ReadOptions,
    non_finite: int,
) -> Batch:
    arrays = _arrays(records, options)
    nested = _nested(arrays, options)
    table, votes = _table(arrays), count_kinds(records, nested)
    if isinstance(table, str) or options.kinds:
        reasons = _wrong_kinds(records, {**find_majority_kinds(votes), **options.kinds})
        bad += [
            BadRecord(line - 1, line, reason, decode_preview(text))
            for (line, text, _), reason in zip(good, reasons, strict=True)
            if reason
        ]
        bad.sort(key=_line)
        records = [record for record, reason in zip(records, reasons, strict=True) if not reason]
        good = [raw for raw, reason in zip(good, reasons, strict=True) if not reason]
        table = _table(_arrays(records, options))
    if good and not any(records):  # a table without a column has no rows
        bad = sorted(
            [*bad, *(BadRecord(line - 1, line, "is an empty object", decode_preview(text)) for line, text, _ in good)],
            key=_line,
        )
        good, records = [], []
    if isinstance(table, str):
        raise DataError(
            f"column {table!r} has numbers that together need more than {_MAX_DIGITS} digits",
            where=f"{piece.path}, lines {good[0][0]:,} to {good[-1][0]:,}",
            hint=f"read the column as text: input.types: {{{table}: string}}",
        )
    lines = [line for line, _, _ in good]
    rows = [line - 1 for line in lines]
    return Batch(
        table,
        rows,
        lines,
        bad,
        kind_counts=votes,
        non_finite=non_finite,
        nulls=_nulls(records),
        nested=nested,
        texts=_texts(records, nested, options),
    )


def _line(bad: BadRecord) -> int:
    return bad.line


def _width(records: Iterable[dict[str, _Value]], options: ReadOptions, where: str) -> tuple[int, frozenset[str]]:
    """Count the columns of some records, including the fields of objects, and find those to store as JSON texts.

    Returns
    -------
    width : int
        Number of columns.
    as_json : frozenset[str]
        Columns with lists or objects of several shapes, and those that ``options`` reads as JSON texts.

    Raises
    ------
    DataError
        There are too many columns.
    """
    by_column: dict[str, list[_Value]] = {}
    for record in records:
        for name, value in record.items():
            values = by_column.setdefault(name, [])
            if value is not None:
                values.append(value)
    width, as_json = 0, set(options.as_json)
    for name, values in by_column.items():
        fields: int | None = 1
        if name not in as_json and not {dict, list}.isdisjoint(map(type, values)):
            fields = _fields(values)
            if fields is None and name not in options.scalar_columns:
                as_json.add(name)
        width += fields or 1
    check_width(width, where)
    return width, frozenset(as_json)


def _fields(values: Sequence[_Value]) -> int | None:
    """Count the columns of the Arrow type of some non-null values; return None if the type would change a value.

    Objects keep their keys only if all have the same keys, at least one. Numbers are unchanged if they are integers, or
    floats and integers that a float can represent.
    """
    kinds = set(map(type, values))
    if kinds == {dict}:
        return _fields_of_objects(cast("Sequence[dict[str, _Value]]", values))
    if kinds == {list}:
        lists = cast("Sequence[list[_Value]]", values)
        return _fields([inner for each in lists for inner in each if inner is not None])
    return 1 if _have_one_type(values, kinds) else None


def _fields_of_objects(objects: Sequence[dict[str, _Value]]) -> int | None:
    names = objects[0].keys()
    if not names or any(each.keys() != names for each in objects):
        return None
    total = 0
    for name in names:
        fields = _fields([inner for each in objects if (inner := each[name]) is not None])
        if fields is None:
            return None
        total += max(1, fields)
    return total


def _have_one_type(values: Sequence[_Value], kinds: Set[type]) -> bool:
    """Return whether scalars of some Python types have one Arrow type that JSON Lines reproduces exactly."""
    if Decimal in kinds:
        return kinds <= {int, Decimal} and not any(isinstance(one, Decimal) and "." in f"{one:f}" for one in values)
    if kinds == {int, float}:
        return not any(isinstance(one, int) and abs(one) > MAX_EXACT_INTEGER for one in values)
    return len(kinds) < 2 and not kinds & {dict, list}


def _parse(text: bytes, exact: _Exact, *, long_number: bool) -> tuple[dict[str, _Value], str]:
    """Return the record on a line, and the reason why it cannot be read ("" if it can)."""
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if not _SPECIAL_NUMBER.search(text):
            return {}, f"does not parse: {error.msg}" if _is_utf8(text) else NOT_UTF8
        record, reason = exact.loads(text, valid=False)
    else:
        same = not long_number or orjson.dumps(record).replace(b" ", b"") == text.replace(b" ", b"")
        record, reason = (record, "") if same else exact.loads(text, valid=True)
    if reason:
        return {}, reason
    if isinstance(record, list):
        return {}, "is a JSON array, not an object; a file that is one array must be named .json"
    if not isinstance(record, dict):
        return {}, "is not a JSON object"
    return record, _too_deep(record, text)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


_SPECIAL_NUMBER = re.compile(rb"NaN|Infinity|[0-9][eE]\+?[0-9]{3}|[0-9]{300}")


class _Exact:
    """JSON parser that reads numbers beyond float64 as decimals, and NaN and infinities as null."""

    def __init__(self) -> None:
        self.non_finite = 0
        self._decoder = json.JSONDecoder(parse_int=_integer, parse_float=_fraction, parse_constant=self._constant)

    def loads(self, text: bytes, *, valid: bool) -> tuple[object, str]:
        """Return the value of a text, and the reason why it cannot be read ("" if it can).

        ``valid``: the text is known to be JSON.
        """
        before = self.non_finite
        try:
            value = self._decoder.decode(text.decode())
            if not valid:
                json.dumps(value, ensure_ascii=False, default=str).encode()  # no lone surrogates
        except _NumberError as error:
            reason = str(error)
        except RecursionError:
            reason = f"is nested more than {_MAX_DEPTH} levels deep"
        except ValueError as error:
            reason = f"does not parse: {error.msg}" if isinstance(error, json.JSONDecodeError) else NOT_UTF8
        else:
            return value, ""
        self.non_finite = before
        return None, reason

    def _constant(self, _: str) -> None:
        self.non_finite += 1


class _NumberError(Exception):
    def __init__(self, digits: str) -> None:
        shown = digits if len(digits) < 40 else f"{digits[:20]}…{digits[-10:]}"
        super().__init__(f"has the number {shown}, which needs more than the {_MAX_DIGITS} digits of a decimal")


def _integer(digits: str) -> int | Decimal:
    if len(digits.lstrip("-")) > _MAX_DIGITS:
        raise _NumberError(digits)
    number = int(digits)
    return number if -(1 << 63) <= number < 1 << 63 else Decimal(number)


def _fraction(digits: str) -> float | Decimal:
    """Return a float64 if it has the same value when written with as many digits, otherwise a decimal."""
    number = float(digits)
    if repr(number) == digits:
        return number
    exact = Decimal(digits)
    mantissa = digits.lower().partition("e")[0].replace(".", "")
    digits_needed = len(mantissa.lstrip("-0").rstrip("0")) or 1
    vanished = number == 0 and exact != 0
    if (
        math.isfinite(number)
        and not vanished
        and (digits_needed <= 15 or Decimal(f"{number:.{digits_needed - 1}e}") == exact)
    ):
        return number
    size = max(exact.adjusted() + 1, 0) + max(-int(exact.as_tuple().exponent), 0)
    if size > _MAX_DIGITS:
        raise _NumberError(digits)
    return exact


def _too_deep(record: dict[str, _Value], text: bytes) -> str:
    """Return the reason why Parquet cannot represent a record; "" if it can."""
    if text.count(b"[") + text.count(b"{") <= _MAX_DEPTH:
        return ""
    level: list[list[_Value] | dict[str, _Value]] = [record]
    for _ in range(_MAX_DEPTH):
        inner = (one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer))
        level = [one for one in inner if isinstance(one, dict | list)]
        if not level:
            return ""
    return f"is nested more than {_MAX_DEPTH} levels deep"


def _to_text(value: _Value) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return dumps(value).decode() if not isinstance(value, Decimal) else format(value, "f")


# ---------------------------------------------------------------- tables


def _arrays(records: Sequence[dict[str, _Value]], options: ReadOptions) -> dict[str, pa.Array | None]:
    """Build an array for every key; None where no type can represent all values."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: _array([record.get(name) for record in records], name, options) for name in names}


def _table(arrays: Mapping[str, pa.Array | None]) -> pa.Table | str:
    """Return arrays as a table, or the name of the first array that is None."""
    missing = next((name for name, array in arrays.items() if array is None), None)
    return pa.table(list(arrays.values()), names=list(arrays)) if missing is None else missing


def _nested(arrays: Mapping[str, pa.Array | None], options: ReadOptions) -> dict[str, pa.Array | None]:
    """Return the arrays of lists, objects and JSON texts; None for other values."""
    columns = {name: array for name, array in arrays.items() if name not in options.scalar_columns}
    return {
        name: array if array is not None and (types.is_nested(array.type) or is_json(array.type)) else None
        for name, array in columns.items()
        if array is None or not types.is_null(array.type)
    }


def _texts(
    records: Sequence[dict[str, _Value]], nested: Mapping[str, pa.Array | None], options: ReadOptions
) -> dict[str, pa.Array]:
    """Return the lists and objects of the columns that text templates use, as JSON texts."""
    names = [name for name, array in nested.items() if array is not None and name in options.template_columns]
    return {name: serialize_values(record.get(name) for record in records) for name in names}


def _nulls(records: Iterable[dict[str, _Value]]) -> pa.Array:
    """Return the keys whose value is null in each record, (n,) lists."""
    names = [
        [name for name, value in record.items() if value is None] if None in record.values() else ()
        for record in records
    ]
    return pa.array(names, pa.list_(pa.string()))


def _array(values: Sequence[_Value], name: str, options: ReadOptions) -> pa.Array | None:
    if name in options.as_json:
        return serialize_values(values)
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) > 1 and not kinds <= {int, float, Decimal}:
        return None  # next to floats, Arrow would read true as 1.0
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError):
        try:  # next to decimals, Arrow ignores the digits of integers
            array = pa.array(list(map(_with_decimals, values)))
        except (pa.ArrowException, OverflowError, ValueError):
            if kinds in ({list}, {dict}):  # mixed values inside: keep only that they are lists or objects
                inner = pa.list_(pa.null()) if kinds == {list} else pa.struct({"…": pa.null()})
                return pa.array([value if value is None else type(value)() for value in values], inner)
            return None
        if not _has_decimal(array.type):
            return None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if types.is_decimal(array.type) and array.type.scale == 0:
        ends = pc.min_max(array).as_py()
        if ends["min"] is not None and ends["min"] >= 0 and ends["max"] < 1 << 64:
            array = array.cast(pa.uint64())
    array = arrow_values.to_storable(array)
    if types.is_nested(array.type) and name not in options.scalar_columns:
        array = arrow_values.convert(
            array, _with_smallest_order(array.type, [value for value in values if value is not None])
        )
    return array


def _with_smallest_order(kind: pa.DataType, values: Sequence[_Value]) -> pa.DataType:
    """Return the type of some values with the fields of its objects in the smallest of their orders."""
    if types.is_struct(kind) and values:
        objects = cast("Sequence[dict[str, _Value]]", values)
        names = min(set(map(tuple, objects)))
        inner = {name: [value for each in objects if (value := each[name]) is not None] for name in names}
        return pa.struct([pa.field(name, _with_smallest_order(kind.field(name).type, inner[name])) for name in names])
    if is_list(kind):
        lists = cast("Sequence[list[_Value]]", values)
        return pa.list_(
            _with_smallest_order(kind.value_type, [value for each in lists for value in each if value is not None])
        )
    return kind


def _with_decimals(value: _Value) -> _Value:
    """Replace every integer in a value with a decimal."""
    if isinstance(value, dict):
        return {name: _with_decimals(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return list(map(_with_decimals, value))
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _has_decimal(kind: pa.DataType) -> bool:
    return any(map(types.is_decimal, arrow_values.leaf_types(kind)))


# ---------------------------------------------------------------- kinds of values


INTEGER, BIG, NUMBER = "an integer", "a number with more digits than a float has", "a number"
_NUMBERS = {INTEGER, BIG, NUMBER}
_NAMES = {str: "text", bool: "a boolean", list: "a list", dict: "an object", float: NUMBER, int: INTEGER}
NESTED = "lists or objects"
"""Kind of all values of a column that contains lists or objects, which may differ."""


def _kind_of(value: _Value) -> str:
    if isinstance(value, Decimal):
        return BIG
    if isinstance(value, int) and not -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER:
        return BIG
    return _NAMES[type(value)]


def count_kinds(records: Iterable[Mapping[str, _Value]], nested: Mapping[str, object]) -> KindCounts:
    """Count the kinds of the values in every column of some records.

    Parameters
    ----------
    nested : Mapping[str, object]
        Arrays of the columns with lists or objects; None for others.
    """
    votes: KindCounts = {name: Counter({NESTED: 1}) for name, array in nested.items() if array is not None}
    values: dict[str, list[_Value]] = {}
    for record in records:
        for name, value in record.items():
            if value is not None and name not in votes:
                values.setdefault(name, []).append(value)
    for name, each in values.items():
        kinds = Counter(map(type, each))
        if Decimal in kinds or any(
            isinstance(value, int) and not -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER for value in each
        ):
            votes[name] = Counter(map(_kind_of, each))
        else:
            votes[name] = Counter({_NAMES[kind]: count for kind, count in kinds.items()})
    return votes


def find_majority_kinds(votes: KindCounts) -> AllowedKinds:
    """Return the columns with values of several kinds, each with the kinds of most of its values.

    Integers count as floats unless they are too big for them. A column with lists or objects may have any kinds.
    """
    by_column: dict[str, Collection[str]] = {}
    for path, counts in votes.items():
        seen = +counts
        if seen[NESTED]:
            continue
        families = Counter({"a number": sum(seen[kind] for kind in _NUMBERS)})
        families.update({kind: count for kind, count in seen.items() if kind not in _NUMBERS})
        families = +families
        if len(families) < 2 and not (seen[BIG] and seen[NUMBER]):
            continue
        family = min(families, key=lambda kind: (-families[kind], kind))
        kinds = {family} if family != "a number" else {INTEGER, BIG if seen[BIG] > seen[NUMBER] else NUMBER}
        by_column[path] = kinds
    return by_column


def _wrong_kinds(records: Sequence[Mapping[str, _Value]], kinds: AllowedKinds) -> list[str]:
    """Return, for every record, which of its values has an unusual kind; "" if none has."""
    reasons = []
    for record in records:
        wrong = next((name for name in kinds if _is_wrong(record.get(name), kinds[name])), None)
        usual = max(kinds[wrong], key=lambda kind: kind != INTEGER) if wrong is not None else ""
        reason = "" if wrong is None else f"column {wrong!r} is {_kind_of(record[wrong])}"
        reasons.append(f"{reason}, but {usual} in most records of the file" if reason else "")
    return reasons


def _is_wrong(value: _Value, kinds: Collection[str]) -> bool:
    return value is not None and _kind_of(value) not in kinds
