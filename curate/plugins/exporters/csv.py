"""CSV exporter: a header and one line per row, as in RFC 4180."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.csv
from pyarrow import types

from curate.errors import PluginError
from curate.kernels.text.json_values import dumps, is_binary, is_json, to_json_types
from curate.plugins.interfaces import exporter

ROWS_PER_BATCH = 8_192


def write_csv(table: pa.Table, path: Path) -> None:
    r"""Write ``table`` to ``path`` as CSV in UTF-8, with a header.

    Strings are quoted, so that an empty string (``""``) differs from a null (an empty cell). Lists, structs and maps
    are JSON texts; times and decimals are texts as in JSON Lines. In a table with one column, a null is an empty
    string, as readers skip empty lines.

    Parameters
    ----------
    table : rows to write
    path : output file

    Raises
    ------
    PluginError : if a column is binary, or has a type that JSON cannot represent

    Notes
    -----
    Cost: O(bytes) time; memory for a few thousand rows plus the table.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> write_csv(pa.table({"text": ["a\nb", "", None], "tags": [["x"], [], None]}), path)
    >>> path.read_text(encoding="utf-8")
    '"text","tags"\n"a\nb","[""x""]"\n"","[]"\n,\n'
    """
    check_types(table.schema)
    cells = pa.schema([pa.field(field.name, _cell_type(field.type)) for field in table.schema])
    with path.open("wb") as file, pyarrow.csv.CSVWriter(file, cells) as writer:
        for start in range(0, table.num_rows, ROWS_PER_BATCH):
            for rows in table.slice(start, ROWS_PER_BATCH).to_batches():
                columns = [
                    to_cells(column, name) for name, column in zip(table.column_names, rows.columns, strict=True)
                ]
                if len(columns) == 1:
                    columns = [columns[0].cast(pa.large_string()).fill_null("")]
                writer.write(pa.table(columns, cells.names).cast(cells))


def check_types(schema: pa.Schema) -> None:
    """Raise an error for the first column that CSV cannot represent.

    Raises
    ------
    PluginError : if a column is binary, or has a type that JSON cannot represent
    """
    hint = "leave the column out with export.drop, or export to parquet"
    if not schema.names:
        raise PluginError("there is no column to write", hint="keep at least one column")
    for field in schema:
        if is_binary(field.type) or types.is_fixed_size_binary(field.type):
            raise PluginError(f"column {field.name!r} is {field.type}, which CSV cannot represent", hint=hint)
        try:
            to_cells(pa.nulls(0, field.type), field.name)
        except TypeError as error:
            raise PluginError(str(error), hint=hint) from error


def to_cells(array: pa.Array, name: str) -> pa.Array:
    """Return the cells of a column: numbers, booleans and strings; nested values as JSON texts."""
    if is_json(array.type):
        return array.storage.cast(pa.large_string())
    values = to_json_types(array, name)
    if types.is_nested(values.type):
        return pa.array([None if one is None else dumps(one).decode() for one in values.to_pylist()], pa.large_string())
    if types.is_decimal(values.type):
        return values.cast(pa.string()).cast(pa.large_string())
    is_text = types.is_string(values.type) or types.is_string_view(values.type)
    return values.cast(pa.large_string()) if is_text else values


def _cell_type(kind: pa.DataType) -> pa.DataType:
    return to_cells(pa.nulls(0, kind), "").type


@exporter(version=1, types=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Csv:
    """CSV files in UTF-8, with a header.

    Use it for tools that read nothing else. Nested columns become JSON texts, and types are lost: a reader guesses them
    from the cells. Strings are quoted, so that readers that see quotes (pyarrow, DuckDB, Python 3.12) can tell an empty
    string from a null; for others, both are empty cells. Binary columns are refused. ``jsonl`` and ``parquet`` lose
    less.
    """

    suffix: ClassVar[str] = ".csv"

    def check_types(self, schema: pa.Schema) -> None:
        """Raise a PluginError for the first column that CSV cannot represent."""
        check_types(schema)

    def write(self, table: pa.Table, path: Path) -> None:
        """Write one file; the same table gives the same bytes."""
        write_csv(table, path)
