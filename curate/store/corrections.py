"""Corrected labels: tables of ids and labels that people fill in with a spreadsheet, and that runs apply."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from curate import paths
from curate.errors import DataError, summarize_names
from curate.store import parquet_io, readers

ID, LABEL = "id", "label"
"""Columns of a file of corrections."""

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def escape_cell(text: str) -> str:
    """Put a quote before a text that a spreadsheet would run as a formula; ``unescape_cell`` removes it.

    >>> escape_cell("=1+1"), escape_cell("card")
    ("'=1+1", 'card')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_cell(text: str) -> str:
    """Remove the quote of ``escape_cell``.

    >>> unescape_cell("'=1+1"), unescape_cell("'n' roll")
    ('=1+1', "'n' roll")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format rows as CSV for a spreadsheet, without formulas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([escape_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


@dataclass(frozen=True, slots=True)
class Correction:
    """Corrected label of a row."""

    label: str
    line: int
    """Line of the file."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Corrected labels of a file."""

    path: Path
    by_id: Mapping[str, Correction]
    empty: int = 0
    """Number of lines without a label."""


def read(path: Path, column: str = LABEL, *, allow_empty: bool = False) -> Corrections:
    """Read corrected labels: the columns ``id`` and ``column`` of a table in any input format.

    Parameters
    ----------
    path : Path
        File to read.
    column : str
        Name of the column of labels.
    allow_empty : bool
        Whether lines without a label are counted instead of an error.

    Raises
    ------
    DataError
        The file cannot be read, is empty or lacks a column, or a line has no id, no label, or another label than an
        earlier line with the same id; the error names the line.
    """
    options = readers.ReadOptions(as_text=(ID, column), scalar_columns=(ID, column))
    batches = list(readers.read(readers.Piece(str(path), 0), options))
    by_id: dict[str, Correction] = {}
    empty = 0
    if not batches:
        if not paths.read_stamp(path)["size"]:
            raise DataError("the file is empty", where=str(path), hint=f"write the columns {ID} and {column}")
        return Corrections(path, by_id)
    names = list(dict.fromkeys(name for batch in batches for name in batch.table.column_names))
    if missing := [name for name in (ID, column) if name not in names]:
        hint = f"the file has the columns: {summarize_names(names)}"
        raise DataError(f"there is no column {missing[0]!r}", where=str(path), hint=hint)
    for batch in batches:
        if batch.bad_records:
            bad = batch.bad_records[0]
            raise DataError(f"the line {bad.reason}", where=f"{path}:{bad.line}", hint="fix the line, or remove it")
        ids, labels = (_texts(batch.table, name) for name in (ID, column))
        for name, label, line in zip(ids, labels, batch.lines, strict=True):
            where = f"{path}:{line}"
            if not label:
                if not allow_empty:
                    raise DataError("the line has no label", where=where, hint="add the label, or remove the line")
                empty += 1
                continue
            if not name:
                raise DataError("the line has no id", where=where, hint="add the id of the row, or remove the line")
            earlier = by_id.setdefault(name, Correction(label, line))
            if earlier.label != label:
                message = f"the label of {name!r} is {label!r} here, but {earlier.label!r} in line {earlier.line}"
                raise DataError(message, where=where, hint="remove one of the two lines")
    return Corrections(path, by_id, empty)


def _texts(table: pa.Table, name: str) -> list[str]:
    if name not in table.column_names:
        return [""] * len(table)
    values = table[name].cast(pa.string()).to_pylist()
    return ["" if value is None else unescape_cell(value) for value in values]


def write(path: Path, labels: Mapping[str, str]) -> None:
    """Write corrected labels by id, atomically."""
    with paths.convert_store_errors(path):
        parquet_io.write_text(path, format_table((ID, LABEL), labels.items()))


def to_labels(corrections: Corrections, kind: pa.DataType) -> pa.Array:
    """Convert corrected labels to the type of the label column, in the order of ``by_id``.

    Raises
    ------
    DataError
        A label is not a value of the type; the error names the line.
    """
    texts = [one.label for one in corrections.by_id.values()]
    try:
        return pa.array(texts, pa.string()).cast(kind)
    except pa.ArrowException:
        pass
    for one in corrections.by_id.values():
        try:
            pa.array([one.label], pa.string()).cast(kind)
        except pa.ArrowException as error:
            message = f"the label {one.label!r} is not {kind}, which is the type of the label column"
            hint = "correct it, or read the column as text: input.types: {COLUMN: string}"
            raise DataError(message, where=f"{corrections.path}:{one.line}", hint=hint) from error
    raise DataError(f"labels of type {kind} cannot be corrected", where=str(corrections.path))
