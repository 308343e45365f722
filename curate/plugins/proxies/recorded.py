"""Proxy that reads the training log of a user's model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import orjson
import pyarrow as pa
from annotated_types import MinLen

from curate.errors import DataError
from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Matrix
from curate.plugins.interfaces import ContentPath, ExistingFiles, proxy

_TOLERANCE = 0.02
"""Allowed deviation of a row's probabilities from a sum of 1: half precision, or three decimals, of 100 classes."""


@proxy(version=1, reads={"label", "log"}, example={"files": "logs/*.jsonl"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Training log of your own model: its predictions for each row after each epoch.

    Use it for scores from training dynamics when you can log the predictions of the model that you train: they are more
    relevant than those of the small model ``logistic``.

    A line of the log has the columns ``id`` (of a row of the pool), ``epoch`` (a number; it may count steps), and
    ``probabilities`` or ``logits``, a list with one number for each class, written ``[0.2, 0.8]`` in CSV files. With
    several runs, ``run`` identifies the run. Every row in the log must occur in every epoch. A row that is not in the
    log is treated as a row without a label: its scores are NaN. Lines of rows that are not in the pool are ignored.

    References
    ----------
    Swayamdipta et al. (2020), Dataset Cartography, arXiv:2009.10795, section 2: the training dynamics of a row.
    """

    files: Annotated[str, MinLen(1), ContentPath(), ExistingFiles()]
    """Log file, or a glob pattern such as "logs/**/*.jsonl": JSONL, CSV, TSV or Parquet."""

    classes: tuple[str, ...] = ()
    """Labels in the order of the log's probabilities; by default the pool's labels, sorted."""

    def probabilities(self, lines: pa.Table) -> Matrix:
        """Return the probabilities (m, classes) float32 of m lines, normalized to sum 1.

        Raises
        ------
        DataError : if a line has another length than the others, or does not contain probabilities
        """
        column = next((name for name in ("probabilities", "logits") if name in lines.column_names), None)
        if column is None:
            raise DataError("the training log has neither a column 'probabilities' nor 'logits'")
        values = lines[column].to_pylist()
        try:
            lists = [orjson.loads(value) if isinstance(value, str) else value for value in values]
            values_by_class = np.array(lists, np.float64)
        except (ValueError, TypeError) as error:
            raise DataError(f"{column}: every line of the log needs a list with one number for each class") from error
        if values_by_class.ndim != 2:
            raise DataError(f"{column}: every line of the log needs a list with one number for each class")
        if not np.isfinite(values_by_class).all():
            raise DataError(f"{column}: a line of the log contains NaN or infinity")
        if column == "logits":
            return softmax(values_by_class)
        totals = values_by_class.sum(axis=1, keepdims=True)
        if (values_by_class < 0).any() or (np.abs(totals - 1) > _TOLERANCE).any():
            raise DataError(
                "probabilities: in a line of the log they are negative or do not sum to 1",
                hint="name the column 'logits' if it contains logits",
            )
        probabilities: Matrix = (values_by_class / totals).astype(np.float32)
        return probabilities
