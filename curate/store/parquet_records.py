"""Records of Parquet files: every value is checked, as the file may come from anyone."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import paths
from curate.errors import DataError
from curate.kernels.text.json_values import text_of
from curate.store import arrow_values
from curate.store.records import BATCH_BYTES, BATCH_ROWS, Bad, Batch, Piece, check_names

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Raises
    ------
    DataError : it is not one, or is cut off
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(paths.parquet(path))
            check_names(list(file.schema_arrow.names), str(path))
        except (OSError, ValueError, pa.ArrowException) as error:  # a ValueError: names that are not UTF-8
            raise DataError(f"not a complete Parquet file: {error}", where=str(path)) from error
        yield file


def row_groups(path: Path, rows_per_piece: int) -> list[tuple[int, int, int]]:
    """Cut a file into runs of row groups of about ``rows_per_piece`` rows: (row group, first row, rows) of each."""
    with opened(path) as file:
        metadata = file.metadata
    cuts: list[tuple[int, int, int]] = []
    first = start = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows >= rows_per_piece or group == metadata.num_row_groups - 1:
            cuts.append((start, first, rows))
            start, first, rows = group + 1, first + rows, 0
    return cuts


def read_parquet(path: Path, piece: Piece, as_text: Collection[str]) -> Iterator[Batch]:
    """Read the row groups of a piece; a row with a value that its type does not allow is bad.

    Parameters
    ----------
    as_text : columns to read as text, whatever their type
    """
    row = piece.first_row
    with opened(path) as file:
        kinds = {field.name: _storable(field, piece.path) for field in file.schema_arrow}
        features = _features(file.schema_arrow)
        stop = file.metadata.num_row_groups if piece.stop is None else piece.stop
        groups = range(piece.start, stop)
        for batch in file.iter_batches(_rows_at_once(file, groups), row_groups=groups):
            for part in _parts(batch):
                yield _batch(part, row, kinds, features, as_text)
                row += part.num_rows


def _storable(field: pa.Field, path: str) -> pa.DataType:
    try:
        return arrow_values.storable(field.type)
    except TypeError as error:
        raise DataError(f"column {field.name!r}: {error}", where=path, hint="leave the column out") from error


def _rows_at_once(file: pq.ParquetFile, groups: range) -> int:
    """Return the number of rows in a batch of about ``BATCH_BYTES``."""
    each = [file.metadata.row_group(group) for group in groups]
    largest = max((group.total_byte_size / max(1, group.num_rows) for group in each), default=0)
    return int(min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, largest))))


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Halve a batch until it is small enough: values that a file stores once may take much more room here."""
    if batch.nbytes <= BATCH_BYTES or batch.num_rows < 2:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _parts(batch.slice(0, half))
    yield from _parts(batch.slice(half))


def _batch(
    batch: pa.RecordBatch,
    row: int,
    kinds: dict[str, pa.DataType],
    features: dict[str, object],
    as_text: Collection[str],
) -> Batch:
    names = batch.schema.names
    table = pa.table([arrow_values.convert(batch.column(name), kinds[name]) for name in names], names=names)
    reasons = _wrong_values(table)
    rows = [row + place for place in range(len(table)) if place not in reasons]
    if reasons:
        table = table.take(pa.array([place - row for place in rows], pa.int64()))
    for place, name in enumerate(names):
        if name in as_text:
            table = table.set_column(place, name, text_of(table[name].combine_chunks()))
    bad = [Bad(row + place, row + place + 1, reason, "") for place, reason in sorted(reasons.items())]
    return Batch(table, rows, [place + 1 for place in rows], bad, features=features)


def _wrong_values(table: pa.Table) -> dict[int, str]:
    """Find the rows with a value that its type does not allow, such as text that is not UTF-8, and say why."""
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        found: dict[int, str] = {}
        for name in table.column_names:
            for row, reason in _wrong_rows(table[name].combine_chunks(), np.arange(len(table))):
                found.setdefault(row, f"column {name!r} {reason}")
        return found
    return {}


def _wrong_rows(array: pa.Array, rows: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """Find the invalid rows of an array by halving it."""
    part = array.take(pa.array(rows))
    try:
        part.validate(full=True)
    except pa.ArrowInvalid as error:
        if len(rows) == 1:
            yield int(rows[0]), "is not UTF-8" if "UTF8" in str(error) else f"holds no valid value: {error}"
            return
        half = len(rows) // 2
        yield from _wrong_rows(array, rows[:half])
        yield from _wrong_rows(array, rows[half:])


def _features(schema: pa.Schema) -> dict[str, object]:
    """Read the features of columns that Hugging Face's datasets writes into a schema's metadata."""
    try:
        data = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = data["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: one for name, one in features.items() if name in schema.names} if isinstance(features, dict) else {}
