"""Proxy that reads the training log of a user's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import orjson
import pyarrow as pa
from annotated_types import MinLen

from curate.errors import DataError
from curate.kernels.stats.softmax_statistics import Statistic
from curate.kernels.types import Matrix, Vector
from curate.plugins.interfaces import ContentPath, ExistingFiles, proxy
from curate.plugins.results import LogLines

_TOLERANCE = 0.02
"""Allowed deviation of a row's probabilities from a sum of 1: half precision, or three decimals, of 100 classes."""

_COLUMNS: Mapping[str, Statistic] = {"loss": "loss", "correct": "correct", "gradient_norm": "gradient"}
"""Columns of a log with one number per line, and the statistic of each."""


@proxy(version=2, reads={"label", "log"}, example={"files": "logs/*.jsonl"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Training log of your own model: its predictions for each row after each epoch.

    Use it for scores from training dynamics when you can log the predictions of the model that you train: they are more
    relevant than those of the small model ``logistic``.

    A line of the log has the columns ``id`` (of a row of the pool), ``epoch`` (a number; it may count steps), and at
    least one of:

    - ``probabilities`` or ``logits``: a list with one number for each class, written ``[0.2, 0.8]`` in CSV files.
    - ``loss`` (a number) and ``correct`` (true or false, 1 or 0): enough for ``training_loss``, ``forgetting`` and
      ``cartography``. They are computed from the probabilities if the log has these.
    - ``gradient_norm``: norm of the gradient of the row's loss, for ``grand``.

    With several runs, ``run`` identifies the run. Every row in the log must occur in every epoch. A row that is not in
    the log is treated as a row without a label: its scores are NaN. Lines of rows that are not in the pool are ignored.

    References
    ----------
    Swayamdipta et al. (2020), Dataset Cartography, arXiv:2009.10795, section 2: the training dynamics of a row.
    """

    files: Annotated[str, MinLen(1), ContentPath(), ExistingFiles()]
    """Log file, or a glob pattern such as "logs/**/*.jsonl": JSONL, CSV, TSV or Parquet."""

    classes: tuple[str, ...] = ()
    """Labels in the order of the log's probabilities; by default the pool's labels, sorted."""

    def read(self, lines: pa.Table) -> LogLines:
        """Return the values of m lines of the log.

        Raises
        ------
        DataError : if a line has another length than the others, or a column does not contain numbers
        """
        kind = next((name for name in ("probabilities", "logits") if name in lines.column_names), None)
        logits = None if kind is None else _read_lists(lines[kind], kind)
        statistics = {
            statistic: _read_numbers(lines[name], name)
            for name, statistic in _COLUMNS.items()
            if name in lines.column_names and (kind is None or statistic == "gradient")
        }
        if logits is None and not statistics:
            names = ", ".join(map(repr, ("probabilities", "logits", *_COLUMNS)))
            raise DataError(f"the training log has none of the columns {names}")
        return LogLines(logits, statistics)


def _read_lists(column: pa.ChunkedArray, name: str) -> Matrix:
    """Return logits, or logarithms of probabilities, (m, classes) float32."""
    needed = f"{name}: every line of the log needs a list with one number for each class"
    try:
        lists = [orjson.loads(value) if isinstance(value, str) else value for value in column.to_pylist()]
        values = np.array(lists, np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(needed) from error
    if values.ndim != 2 or values.shape[1] < 2:
        raise DataError(needed)
    if name == "logits":
        logits: Matrix = values.astype(np.float32)
        return logits
    totals = values.sum(axis=1, keepdims=True)
    if (values < 0).any() or (np.abs(totals - 1) > _TOLERANCE).any():
        raise DataError(
            "probabilities: in a line of the log they are negative or do not sum to 1",
            hint="name the column 'logits' if it contains logits",
        )
    logarithms: Matrix = np.log(np.maximum(values / totals, np.finfo(np.float32).tiny)).astype(np.float32)
    return logarithms


def _read_numbers(column: pa.ChunkedArray, name: str) -> Vector:
    """Return one number per line, (m,) float32; NaN for null."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        lowered = [
            value if value is None else {"true": "1", "false": "0"}.get(value.lower(), value)
            for value in column.to_pylist()
        ]
        column = pa.chunked_array([pa.array(lowered, pa.string())])
    try:
        values = column.cast(pa.float64()) if not pa.types.is_boolean(column.type) else column.cast(pa.int8())
    except pa.ArrowException as error:
        raise DataError(f"{name}: every line of the log needs one number: {error}") from error
    numbers: Vector = values.to_numpy(zero_copy_only=False).astype(np.float32)
    if name == "correct" and not np.isin(numbers[~np.isnan(numbers)], (0, 1)).all():
        raise DataError("correct: every line of the log needs true or false, 1 or 0")
    return numbers
