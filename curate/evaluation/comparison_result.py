"""What comparing selectors finds: a cell for each selector at each prune rate, and what follows from all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from curate.evaluation.contenders import UNIFORM
from curate.evaluation.metric_values import Measure
from curate.evaluation.split import ExcludedRows
from curate.report.evaluation_data import SIGNIFICANT, Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One selector at one prune rate."""

    selector: str
    rate: float
    rows: int
    """Different rows; where epochs are planned, of all of them, on average over the seeds."""

    values: Mapping[str, Estimate] = field(default_factory=dict)
    """By the name of the measure."""

    differences: Mapping[str, Estimate] = field(default_factory=dict)
    """To uniform; empty for uniform itself."""

    p: float = math.nan
    """Of the difference in the primary measure, corrected by Holm for all selectors and rates."""

    exploratory: Mapping[str, float] = field(default_factory=dict)
    """p values of the differences in the other measures with a better side, corrected by Holm for all of them, all
    selectors and all rates."""

    seeds_needed: int | None = 0
    """Number of seeds that would show the difference in the primary measure, as one of all that are compared; 0 where
    there is nothing to say, None if no number would."""

    seconds: float = math.nan
    """What one selection takes on average, filters included."""

    same_over_seeds: float = math.nan
    """The mean Jaccard index of the selections of two seeds; NaN for one seed."""

    same_when_removed: float = math.nan
    """The Jaccard index with a selection from the same rows less one in a hundred, over the rows of both."""

    untested: str = ""
    """Why there are no numbers; "" if there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The whole grid."""

    run: str
    rows: int
    """Rows to choose from."""

    test_rows: int
    held_out: bool
    """Whether the test rows were held out of the pool."""

    seeds: int
    filters: tuple[str, ...]
    selectors: tuple[str, ...]
    rates: tuple[float, ...]
    visible: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By selector: what it sees of labels and groups; of those that see something only."""

    measures: tuple[Measure, ...]
    primary: Measure
    cells: Mapping[tuple[str, float], Cell]
    """By selector and rate, uniform among them."""

    full: Mapping[str, Estimate]
    """The measures with every row chosen."""

    left: ExcludedRows
    notes: tuple[str, ...]

    @property
    def comparisons(self) -> int:
        """Number of differences to uniform in the primary measure, for which its p values are corrected."""
        return sum(1 for cell in self.cells.values() if cell.differences)

    def tested(self, rate: float) -> list[Cell]:
        """The cells of one rate with numbers, uniform last."""
        found = [self.cells[name, rate] for name in (*self.selectors, UNIFORM)]
        return [cell for cell in found if not cell.untested and not math.isnan(cell.values[self.primary.name].mean)]

    def score(self, cell: Cell) -> float:
        """The primary measure, higher = better."""
        return self.primary.sign * cell.values[self.primary.name].mean

    def gain(self, cell: Cell) -> float:
        """What the selector wins over uniform in the primary measure; negative where it loses."""
        return self.primary.sign * cell.differences[self.primary.name].mean

    def better(self, cell: Cell) -> bool:
        """Whether the selector beats uniform beyond chance."""
        return cell.p < SIGNIFICANT and self.gain(cell) > 0

    def worse(self, cell: Cell) -> bool:
        """Whether uniform beats the selector beyond chance."""
        return cell.p < SIGNIFICANT and self.gain(cell) < 0

    def rank(self, cell: Cell) -> float:
        """1 for the best of its rate; those that are alike share the mean of their ranks."""
        scores = [self.score(other) for other in self.tested(cell.rate)]
        mine = self.score(cell)
        return 1 + sum(score > mine for score in scores) + (sum(score == mine for score in scores) - 1) / 2

    def on_front(self, cell: Cell) -> bool:
        """Whether no selector is better at that rate without taking longer."""
        others = [other for other in self.tested(cell.rate) if other is not cell]
        return not any(
            (self.score(other) >= self.score(cell) and other.seconds < cell.seconds)
            or (self.score(other) > self.score(cell) and other.seconds <= cell.seconds)
            for other in others
        )

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "run": self.run,
            "rows": self.rows,
            "test_rows": self.test_rows,
            "held_out": self.held_out,
            "seeds": self.seeds,
            "filters": list(self.filters),
            "primary": self.primary.name,
            "comparisons": self.comparisons,
            "measures": {
                measure.name: {"unit": measure.column.unit, "higher_is_better": measure.column.higher_is_better}
                for measure in self.measures
            },
            "full": {name: asdict(found) for name, found in self.full.items()},
            "cells": [
                {
                    "selector": cell.selector,
                    "sees": list(self.visible.get(cell.selector, ())),
                    "prune_rate": cell.rate,
                    "rows": cell.rows,
                    "untested": cell.untested,
                    "values": {name: asdict(found) for name, found in cell.values.items()},
                    "differences": {name: asdict(found) for name, found in cell.differences.items()},
                    "p": cell.differences[self.primary.name].p if cell.differences else math.nan,
                    "p_holm": cell.p,
                    "exploratory_p_holm": dict(cell.exploratory),
                    "seeds_needed": cell.seeds_needed,
                    "rank": math.nan if cell.untested else self.rank(cell),
                    "seconds": cell.seconds,
                    "pareto": not cell.untested and self.on_front(cell),
                    "jaccard_over_seeds": cell.same_over_seeds,
                    "jaccard_without_one_percent": cell.same_when_removed,
                }
                for cell in self.cells.values()
            ],
            "left_out": asdict(self.left),
            "notes": list(self.notes),
        }
