"""Result of the evaluation of a selection as plain data, which is stored as JSON and read by the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SIGNIFICANT = 0.05
"""Significance level, for all comparisons together."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean over seeds."""

    mean: float
    half_width: float
    """Half width of the 95 % confidence interval; NaN with a single seed, or if all seeds agree."""

    p: float
    """p value of the hypothesis that the true mean is 0; NaN if it cannot be computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Value of one measure for the selection, the random baseline, and all rows."""

    name: str
    quantity: str
    """Measured quantity, such as accuracy, which several models may share."""

    unit: str
    rate: bool
    """Whether the value is a share, which is shown in percent."""

    higher_is_better: bool | None
    """Whether a higher value is better; None if the measure has no orientation."""

    learns: bool
    """Whether the measure is of a model that was trained on the selection."""

    selection: Estimate
    uniform: Estimate
    """Value for the random baseline."""

    full: Estimate | None = None
    """Value for all rows; None for a measure without a model."""

    difference: Estimate
    """Difference between the selection and the random baseline."""

    resampled: tuple[float, ...] = ()
    """Bounds of the 95 % interval of the difference by a paired bootstrap over test rows and seeds; empty if the
    outcomes of individual test rows are unknown."""

    p: float
    """p value of the difference: uncorrected for the primary metric, Holm-corrected for exploratory metrics; NaN if
    there is no test."""

    exploratory: bool
    """Whether the measure is exploratory, and not the primary one."""

    seeds_needed: int | None = 0
    """Number of seeds at which the difference would be significant; 0 if it does not apply, None if no number would
    suffice."""

    cost: Estimate | None = None
    """Difference between the selection and all rows."""

    @property
    def sign(self) -> int:
        """Orientation: 1 if higher is better, −1 if lower is better, 0 if neither."""
        return {True: 1, False: -1, None: 0}[self.higher_is_better]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Accuracy on one group of test rows."""

    grouping: str
    """Kind of the group: label, source or cluster."""

    name: str
    rows: int
    selection: float
    uniform: float
    full: float
    lost: Estimate
    """Accuracy with the selection minus accuracy with all rows."""


@dataclass(frozen=True, slots=True)
class Stability:
    """Stability of a selection."""

    over_seeds: float
    """Mean Jaccard index of the selections of two seeds; NaN for one seed."""

    when_removed: float
    """Jaccard index with a selection after removing 1 % of the rows, over the rows available to both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Evaluation of a selection."""

    run: str
    select: str
    """Fingerprint of the evaluated selection."""

    seeds: int
    rows: int
    """Number of rows in the selection."""

    pool: int
    """Number of rows in the pool."""

    tested: str
    """Description of the rows that models are trained and tested on."""

    primary: str | None
    """Name of the primary measure; None if no measure has an orientation."""

    metrics: tuple[Line, ...]
    sliced: str | None = None
    """Name of the measure in which the groups are compared; None without labels."""

    slices: tuple[Slice, ...] = ()
    """Groups of test rows, largest loss first."""

    stability: Mapping[str, Stability] = field(default_factory=dict)
    """Stability of the selection and of the random baseline (``uniform``)."""

    left_out: Mapping[str, Any] = field(default_factory=dict)
    """Excluded test rows, with the reasons."""

    notes: tuple[str, ...] = ()

    def line(self, name: str | None) -> Line | None:
        """Return the line with a name, None if there is none."""
        return next((line for line in self.metrics if line.name == name), None)
