"""What evaluating a selection found: plain data that is measured elsewhere, kept as JSON, and read by the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SIGNIFICANT = 0.05
"""The chance that is taken of a false finding among all that is compared."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds."""

    mean: float
    half_width: float
    """Of the 95 % confidence interval; NaN where the data do not allow one: one seed, or seeds that all agree."""

    p: float
    """How likely a mean as far from 0 would be if the truth were 0; NaN where that cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One number of the selection beside that of uniform ones of the same size."""

    name: str
    quantity: str
    """What it measures: accuracy, which several models may have."""

    unit: str
    rate: bool
    """Whether it is a share, which is written in per cent."""

    higher_is_better: bool | None
    """None where neither is better."""

    learns: bool
    """Whether it is of a model that learnt from the selection."""

    selection: Estimate
    uniform: Estimate
    full: Estimate | None = None
    """With every row; None for a measure of the choice itself."""

    difference: Estimate
    """The selection less uniform."""

    resampled: tuple[float, ...] = ()
    """The 95 % interval of that difference once more, by a paired bootstrap over test rows and seeds: from and to; none
    where it is not known what became of each test row."""

    p: float
    """Probability of such a difference where there is none: of the primary metric as it is, of an exploratory one
    corrected by Holm among all that are exploratory; NaN where nothing is tested."""

    exploratory: bool
    """Whether the verdict does not go by it."""

    seeds_needed: int | None = 0
    """Number of seeds that would show the difference; 0 where there is nothing to say, None if no number would."""

    cost: Estimate | None = None
    """The selection less every row."""

    @property
    def sign(self) -> int:
        """1 where a better choice has the higher number, −1 where the lower, 0 where neither is better."""
        return {True: 1, False: -1, None: 0}[self.higher_is_better]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One group of test rows."""

    grouping: str
    """label, source or cluster."""

    name: str
    rows: int
    selection: float
    uniform: float
    full: float
    lost: Estimate
    """The selection's accuracy less that with every row."""


@dataclass(frozen=True, slots=True)
class Stability:
    """How much of a choice stays the same."""

    over_seeds: float
    """The mean Jaccard index of the choices of two seeds; NaN for one seed."""

    when_removed: float
    """The Jaccard index with a choice from the same rows less one in a hundred, over the rows of both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All of it."""

    run: str
    select: str
    """The fingerprint of the selection that was evaluated."""

    seeds: int
    rows: int
    """Rows in the selection."""

    pool: int
    tested: str
    """What the learning metrics are measured on, in words."""

    primary: str | None
    """Name of the line that the verdict goes by; None if no metric has a better side."""

    metrics: tuple[Line, ...]
    sliced: str | None = None
    """The name of the line that the groups are compared in; None without labels."""

    slices: tuple[Slice, ...] = ()
    """The group that loses most first."""

    stability: Mapping[str, Stability] = field(default_factory=dict)
    """Of the selection and of uniform, by these names."""

    left_out: Mapping[str, Any] = field(default_factory=dict)
    """Test rows that are not tested on, and why."""

    notes: tuple[str, ...] = ()

    def line(self, name: str | None) -> Line | None:
        """The line of that name."""
        return next((line for line in self.metrics if line.name == name), None)
