"""What a model of the user's own said of every row while it was trained, read from its log."""

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
"""How far a row's probabilities may be from a sum of 1: half precision, or three decimals, of a hundred classes."""


@proxy(version=1, reads={"label", "log"}, example={"files": "logs/*.jsonl"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The user's own training log: for each row and epoch, what the model in training said of it.

    A line of the log has the columns ``id`` (of a row of the pool), ``epoch`` (a number; it may count steps), and
    ``probabilities`` or ``logits``, a list with a number for each class, which CSV files write ``[0.2, 0.8]``. Of
    several runs, ``run`` says which. Every row that a log has must be in every epoch of it. A row that it does not
    have is one without a label: its scores are NaN. Lines of rows that are not in the pool are passed over.

    References
    ----------
    Swayamdipta et al. (2020), Dataset Cartography, arXiv:2009.10795, section 2: the training dynamics of a row.
    """

    files: Annotated[str, MinLen(1), ContentPath(), ExistingFiles()]
    """The log, or a pattern such as "logs/**/*.jsonl" for its files: JSONL, CSV, TSV or Parquet."""

    classes: tuple[str, ...] = ()
    """The labels in the order of the log's probabilities; without them, the pool's labels, sorted."""

    def probabilities(self, lines: pa.Table) -> Matrix:
        """(m, classes) float32 of m lines, each divided by its sum.

        Raises
        ------
        DataError : a line is not as long as the others, or holds no probabilities
        """
        kind = next((name for name in ("probabilities", "logits") if name in lines.column_names), None)
        if kind is None:
            raise DataError("the log has no column 'probabilities' and none 'logits'")
        values = lines[kind].to_pylist()
        try:
            lists = [orjson.loads(value) if isinstance(value, str) else value for value in values]
            given = np.array(lists, np.float64)
        except (ValueError, TypeError) as error:
            raise DataError(f"{kind}: not a list of numbers, one for each class, in every line of the log") from error
        if given.ndim != 2:
            raise DataError(f"{kind}: not a list of numbers, one for each class, in every line of the log")
        if not np.isfinite(given).all():
            raise DataError(f"{kind}: a line of the log holds NaN or infinity")
        if kind == "logits":
            return softmax(given)
        total = given.sum(axis=1, keepdims=True)
        if (given < 0).any() or (np.abs(total - 1) > _TOLERANCE).any():
            raise DataError(
                "probabilities: in a line of the log they are negative, or do not sum to 1",
                hint="call the column 'logits' if that is what it holds",
            )
        shares: Matrix = (given / total).astype(np.float32)
        return shares
