"""Results of plugins, validated once so that drivers need not check them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels import data_frames
from curate.kernels.neighbors.retention import Retention
from curate.kernels.types import Flags, Matrix, Numbers, Rows, Vector

if TYPE_CHECKING:
    import polars as pl

    from curate.kernels.stats.softmax_statistics import Statistic

_SHOWN = 8  # rows that a notebook shows of a selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """Columns that an annotator adds to the rows of the pool."""

    columns: Mapping[str, Sequence[Any]]
    """Values of the n rows by the suffix of the column, as Python objects of its type; None for no value."""

    warnings: tuple[str, ...] = ()
    """Warnings for the log and the report."""

    facts: Mapping[str, float] = field(default_factory=dict)
    """Findings about the pool in numbers."""


@dataclass(frozen=True, slots=True, repr=False)
class Selection:
    """Rows selected from a pool of n, in order, and the reasons why the others were dropped.

    Raises
    ------
    PluginError : if a row is selected twice or does not exist, or an array has the wrong length
    """

    indices: Rows
    """Selected rows (k,), best first."""

    gain: Vector
    """Gain of each selected row when it was selected (k,) float32, in the selector's unit."""

    weight: Vector | None = None
    """Training weight of each selected row (k,) float32; None = all equal."""

    reasons: tuple[str, ...] = ("not selected",)
    """Reasons why rows of this pool are dropped."""

    reason: NDArray[np.signedinteger] | None = None
    """Index into ``reasons`` of each row (n,); used for dropped rows only; None = all 0."""

    representative: Rows | None = None
    """Selected row that represents each dropped row (n,), -1 for none; n + j for row j of the published rows."""

    similarity: Vector | None = None
    """Similarity of each row to its representative (n,) float32, NaN for none: the cosine, or the selector's own
    measure."""

    retention: Retention | None = None
    """Number of rows that other thresholds would keep, for selectors that drop duplicates."""

    epochs: tuple[Rows, ...] | None = None
    """Epoch plan: the rows to train on in each epoch, which are all in ``indices``. None: all rows in every epoch."""

    n: int | None = None
    """Number of rows of the pool; None until the selection is checked."""

    @classmethod
    def from_epochs(cls, epochs: Sequence[Rows], gain: Vector, reasons: tuple[str, ...]) -> Selection:
        """Build the selection of an epoch plan: rows in order of first use, weighted by their number of epochs.

        A plan of one epoch gives an ordinary selection.

        Parameters
        ----------
        epochs : row indices of each epoch
        gain : (n,) float32, of every row of the pool
        reasons : reason for rows that are in no epoch
        """
        if len(epochs) == 1:
            return cls(epochs[0], gain[epochs[0]], reasons=reasons)
        rows, first, uses = np.unique(np.concatenate(epochs), return_index=True, return_counts=True)
        by_use = np.argsort(first)
        order = rows[by_use]
        return cls(order, gain[order], uses[by_use].astype(np.float32), reasons, epochs=tuple(epochs))

    @classmethod
    def from_failed_rules(cls, failed: NDArray[np.signedinteger], reasons: Sequence[str]) -> Selection:
        """Select the rows that fail no rule, in pool order, with gain 0.

        Parameters
        ----------
        failed : (n,) index into ``reasons`` of the rule that each row fails, -1 for rows that fail none
        reasons : reason of each rule
        """
        order = np.flatnonzero(failed < 0)
        gain = np.zeros(len(order), np.float32)
        return cls(order, gain, reasons=tuple(reasons) or ("no rule",), reason=np.maximum(failed, 0))

    @classmethod
    def from_representatives(
        cls, representative: Rows, similarity: Vector, gain: Vector, reason: str, retention: Retention | None = None
    ) -> Selection:
        """Select the rows that have no representative, in pool order.

        ``representative``, ``similarity`` and ``gain`` (n,) are those of all rows, selected or not.
        """
        order = np.flatnonzero(representative < 0)
        return cls(order, gain[order], None, (reason,), None, representative, similarity, retention)

    def check(self, n: int, budget: int | None) -> Selection:
        """Return the selection if it is valid for a pool of ``n`` rows and ``budget`` (None = any number of rows).

        For an epoch plan, the budget is that of each epoch.

        Raises
        ------
        PluginError : if it is not
        """
        k = len(self.indices)
        if self.epochs is not None:
            self._check_epochs(budget)
        elif budget is not None and k != budget:
            raise PluginError(f"selection: {k} rows selected, expected {budget} (the budget)")
        if k and (self.indices.min() < 0 or self.indices.max() >= n):
            raise PluginError(f"selection: a row index is outside 0..{n - 1}")
        if np.count_nonzero(_mask(self.indices, n)) != k:
            raise PluginError("selection: a row is selected twice")
        for name, array, length in (
            ("gain", self.gain, k),
            ("weight", self.weight, k),
            ("reason", self.reason, n),
            ("representative", self.representative, n),
            ("similarity", self.similarity, n),
            ("retention's nearest", None if self.retention is None else self.retention.nearest, n),
        ):
            if array is not None and array.shape != (length,):
                raise PluginError(f"selection: {name} has shape {array.shape}, expected ({length},)")
        return replace(self, n=n)

    # ------------------------------------------------------------ in a notebook

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        pool = "" if self.n is None else f" of {self.n:,}"
        first = ", ".join(map(str, self.indices[:_SHOWN].tolist()))
        return f"<Selection of {len(self):,}{pool} rows: {first}{', …' if len(self) > _SHOWN else ''}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{rank}</td><td>{row:,}</td><td>{gain:.4g}</td></tr>"
            for rank, (row, gain) in enumerate(zip(self.indices[:_SHOWN].tolist(), self.gain.tolist(), strict=False))
        )
        title = html.escape(repr(self)[1:].partition(":")[0])
        return f"<b>{title}</b><table><tr><th>rank</th><th>row</th><th>gain</th></tr>{rows}</table>"

    def take(self, data: Any) -> Any:
        """Return the selected rows of a DataFrame, table, tensor, array or list with the rows of the pool, best first.

        Raises
        ------
        PluginError : if it has another number of rows
        """
        if self.n is not None and (rows := len(data)) != self.n:
            raise PluginError(f"take: the data have {rows:,} rows, but {self.n:,} rows were selected from")
        return data_frames.take_rows(data, self.indices)

    def to_frame(self) -> pl.DataFrame:
        """Return a line for each row of the pool: its outcome, and the reason and representative of dropped rows.

        Raises
        ------
        PluginError : if the number of rows of the pool is unknown
        """
        import polars as pl

        if self.n is None:
            raise PluginError("to_frame: the number of rows is unknown", hint="call check(n, budget) first")
        rank, (gain, weights) = np.full(self.n, -1, np.int32), np.zeros((2, self.n), np.float32)
        rank[self.indices] = np.arange(len(self), dtype=np.int32)
        gain[self.indices] = self.gain
        weights[self.indices] = 1 if self.weight is None else self.weight
        is_dropped = pl.Series(rank < 0)
        code = np.zeros(self.n, np.intp) if self.reason is None else np.maximum(self.reason, 0)
        missing = np.full(self.n, -1)
        columns = {
            "row": np.arange(self.n),
            "selected": rank >= 0,
            "rank": pl.Series(rank).set(is_dropped, None),
            "gain": pl.Series(gain).set(is_dropped, None),
            "weight": pl.Series(weights).set(is_dropped, None),
            "reason": pl.Series(self.reasons).gather(code).set(~is_dropped, None),
            "representative": missing if self.representative is None else self.representative,
            "similarity": np.full(self.n, np.nan, np.float32) if self.similarity is None else self.similarity,
        }
        frame = pl.DataFrame(columns)
        known = pl.col("representative") >= 0
        return frame.with_columns(pl.when(known).then("representative"), pl.col("similarity").fill_nan(None))

    def _check_epochs(self, budget: int | None) -> None:
        for epoch, rows in enumerate(self.epochs or ()):
            if budget is not None and len(rows) != budget:
                raise PluginError(f"selection: {len(rows)} rows in epoch {epoch}, expected {budget} (the budget)")
            if len(np.unique(rows)) != len(rows):
                raise PluginError(f"selection: a row occurs twice in epoch {epoch}")
        if not np.array_equal(np.unique(np.concatenate(self.epochs or (self.indices[:0],))), np.sort(self.indices)):
            raise PluginError("selection: `indices` are not the rows of the epochs")


def _mask(rows: Rows, n: int) -> Flags:
    """Return which of n rows are among ``rows``."""
    mask = np.zeros(n, np.bool_)
    mask[rows] = True
    return mask


@dataclass(frozen=True, slots=True)
class Clustering:
    """Groups of similar rows, described by their centroids."""

    centroids: Matrix
    """Centroids (k, d) float32, rows of unit length."""

    facts: Mapping[str, float] = field(default_factory=dict)
    """Statistics of the fit (inertia, iterations, …), for the manifest and the report."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of the complete pool with findings about them, from a scorer with ``within="corpus"``."""

    values: NDArray[np.float32]
    """Scores (n,), or (n, m) for a scorer that declares m columns."""

    _: KW_ONLY

    warnings: tuple[str, ...] = ()
    """Reasons to distrust the scores, with a remedy, for the log and the report."""

    facts: Mapping[str, float] = field(default_factory=dict)
    """Finite numbers by name, for the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """Quality of a fitted scorer."""

    facts: Mapping[str, float]
    """Finite numbers by name, for the manifest."""

    summary: str
    """Summary in one sentence, for the log and the report."""


@dataclass(frozen=True, slots=True)
class LogLines:
    """Values of m lines of a training log; a line that lacks one has NaN."""

    logits: Matrix | None
    """Logits, or logarithms of probabilities, (m, classes) float32; None for a log without them."""

    statistics: Mapping[Statistic, Vector]
    """Logged statistics, (m,) float32 each."""


@dataclass(frozen=True, slots=True)
class MetricResult:
    """Result of a metric."""

    values: Mapping[str, float]
    """One number for each column that the metric declared, in that order; NaN if undefined, with a note that explains
    why."""

    hits: Flags | None = None
    """Whether the prediction for each test row was correct (m,), for metrics that learn to predict labels."""

    notes: tuple[str, ...] = ()
    """Notes for the reader: why a number is NaN, a class without a selected row, …"""

    parts: Mapping[str, Numbers] | None = None
    """Contribution of each part of the rows that the selection is compared with, (g,) float64 for each value, whose
    mean is the value; for its sampling error."""


@dataclass(frozen=True, slots=True)
class DataFileInfo:
    """File that an exporter wrote."""

    name: str
    rows: int
    bytes: int
    sha256: str
