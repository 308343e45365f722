"""What plugins return, checked here so that no driver has to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels.neighbors.retention import Retention
from curate.kernels.types import Flags, Matrix, Rows, Vector


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a pool of n were chosen, in what order, and why the others were not.

    Raises
    ------
    PluginError : if a row is chosen twice or does not exist, or an array has the wrong length
    """

    indices: Rows
    """(k,) rows, best first."""

    gain: Vector
    """(k,) float32, what each chosen row added when it was chosen, in the selector's own unit."""

    weight: Vector | None = None
    """(k,) float32 training weight of each chosen row; None = all alike."""

    reasons: tuple[str, ...] = ("not chosen",)
    """The reasons a row of this pool can be dropped for."""

    reason: NDArray[np.signedinteger] | None = None
    """(n,) index into ``reasons`` of each row; read for dropped rows only; None = all 0."""

    representative: Rows | None = None
    """(n,) the chosen row that stands for this one, -1 where none does; n + j for row j of what was published."""

    similarity: Vector | None = None
    """(n,) float32 similarity to the representative, NaN where there is none: the cosine, or what the selector says."""

    retention: Retention | None = None
    """Of a selector that drops duplicates: how many rows other thresholds would keep."""

    epochs: tuple[Rows, ...] | None = None
    """An epoch plan: the rows to train on in each epoch; ``order`` then has every row of it. None: all in every one."""

    @classmethod
    def from_epochs(cls, epochs: Sequence[Rows], gain: Vector, reasons: tuple[str, ...]) -> Selection:
        """The selection that an epoch plan makes: rows in order of first use, weighted by the epochs they are in.

        ``gain`` (n,) float32 is that of every row of the pool. A plan of one epoch is an ordinary selection.
        """
        if len(epochs) == 1:
            return cls(epochs[0], gain[epochs[0]], reasons=reasons)
        rows, first, uses = np.unique(np.concatenate(epochs), return_index=True, return_counts=True)
        by_use = np.argsort(first)
        order = rows[by_use]
        return cls(order, gain[order], uses[by_use].astype(np.float32), reasons, epochs=tuple(epochs))

    @classmethod
    def from_failed_rules(cls, failed: NDArray[np.signedinteger], reasons: Sequence[str]) -> Selection:
        """Return the rows that fail no rule, in the pool's order, with gain 0.

        ``failed`` (n,) is the index into ``reasons`` of the rule that each row fails, -1 for rows that fail none.
        """
        order = np.flatnonzero(failed < 0)
        gain = np.zeros(len(order), np.float32)
        return cls(order, gain, reasons=tuple(reasons) or ("there is no rule",), reason=np.maximum(failed, 0))

    @classmethod
    def from_representatives(
        cls, representative: Rows, similarity: Vector, gain: Vector, reason: str, retention: Retention | None = None
    ) -> Selection:
        """Return the rows that have no representative, in the pool's order.

        ``representative``, ``similarity`` and ``gain`` (n,) are those of all rows, kept or not.
        """
        order = np.flatnonzero(representative < 0)
        return cls(order, gain[order], None, (reason,), None, representative, similarity, retention)

    def check(self, n: int, budget: int | None) -> Selection:
        """The selection itself, if it is one of exactly ``budget`` rows (None = any number) from a pool of ``n``.

        The budget of an epoch plan is that of each epoch.
        """
        k = len(self.indices)
        if self.epochs is not None:
            self._check_epochs(budget)
        elif budget is not None and k != budget:
            raise PluginError(f"selection: {k} rows chosen, the budget is {budget}")
        if k and (self.indices.min() < 0 or self.indices.max() >= n):
            raise PluginError(f"selection: a chosen row is outside 0..{n - 1}")
        if len(np.unique(self.indices)) != k:
            raise PluginError("selection: a row is chosen twice")
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
        return self

    def _check_epochs(self, budget: int | None) -> None:
        for number, rows in enumerate(self.epochs or ()):
            if budget is not None and len(rows) != budget:
                raise PluginError(f"selection: {len(rows)} rows in epoch {number}, the budget of each is {budget}")
            if len(np.unique(rows)) != len(rows):
                raise PluginError(f"selection: a row is twice in epoch {number}")
        if not np.array_equal(np.unique(np.concatenate(self.epochs or (self.indices[:0],))), np.sort(self.indices)):
            raise PluginError("selection: the rows chosen are not those of the epochs")


@dataclass(frozen=True, slots=True)
class Clustering:
    """Groups of similar rows, told by their centres."""

    centroids: Matrix
    """(k, d) float32, rows of unit length."""

    facts: Mapping[str, float] = field(default_factory=dict)
    """What the fit reports (inertia, iterations, …), for the manifest and the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """How well a scorer learnt what it learns first."""

    facts: Mapping[str, float]
    """Finite numbers for the manifest, by what they are."""

    summary: str
    """The same in one sentence, for the log and the report."""


@dataclass(frozen=True, slots=True)
class MetricResult:
    """What a metric found."""

    values: Mapping[str, float]
    """One number for each column that the metric declared, in that order; NaN where it is not defined, and says why."""

    hits: Flags | None = None
    """(m,) of a metric that learns to predict labels: whether it was right on each test row."""

    notes: tuple[str, ...] = ()
    """What a reader must know: why a number is NaN, a class without a chosen row, …"""
