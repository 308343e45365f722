"""Result of a comparison of selectors: a cell for each selector at each prune rate, and derived quantities."""

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
    """Result of one selector at one prune rate."""

    selector: str
    rate: float
    rows: int
    """Number of distinct selected rows, averaged over seeds; for an epoch plan, over all epochs."""

    values: Mapping[str, Estimate] = field(default_factory=dict)
    """Values by the name of the measure."""

    differences: Mapping[str, Estimate] = field(default_factory=dict)
    """Differences from the random baseline by the name of the measure; empty for the baseline itself."""

    p: float = math.nan
    """p value of the difference in the primary measure, Holm-corrected for all selectors and rates."""

    exploratory: Mapping[str, float] = field(default_factory=dict)
    """p values of the differences in all other oriented measures, Holm-corrected for all selectors and rates."""

    seeds_needed: int | None = 0
    """Number of seeds at which the difference in the primary measure would be significant; 0 if it does not apply, None
    if no number of seeds would suffice."""

    seconds: float = math.nan
    """Mean time of one selection, including the filters."""

    same_over_seeds: float = math.nan
    """Mean Jaccard index of the selections of two seeds; NaN for one seed."""

    same_when_removed: float = math.nan
    """Jaccard index with a selection after removing 1 % of the rows, over the rows available to both."""

    untested: str = ""
    """Reason why there are no numbers; "" if there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Comparison of selectors over prune rates."""

    run: str
    rows: int
    """Number of rows to select from."""

    test_rows: int
    held_out: bool
    """Whether the test rows were held out from the pool."""

    seeds: int
    filters: tuple[str, ...]
    selectors: tuple[str, ...]
    rates: tuple[float, ...]
    visible: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Labels and groups that a selector reads, by selector; only selectors that read any."""

    measures: tuple[Measure, ...]
    primary: Measure
    cells: Mapping[tuple[str, float], Cell]
    """Cells by selector and rate, including the random baseline."""

    full: Mapping[str, Estimate]
    """Values for all rows, by the name of the measure."""

    excluded: ExcludedRows
    notes: tuple[str, ...]

    @property
    def comparisons(self) -> int:
        """Number of comparisons with the random baseline in the primary measure, used for the Holm correction."""
        return sum(1 for cell in self.cells.values() if cell.differences)

    def tested(self, rate: float) -> list[Cell]:
        """Return the cells of one rate that have numbers, the random baseline last."""
        cells = [self.cells[name, rate] for name in (*self.selectors, UNIFORM)]
        return [cell for cell in cells if not cell.untested and not math.isnan(cell.values[self.primary.name].mean)]

    def score(self, cell: Cell) -> float:
        """Return the value of the primary measure, with its sign turned so that higher = better."""
        return self.primary.sign * cell.values[self.primary.name].mean

    def gain(self, cell: Cell) -> float:
        """Return the gain over the random baseline in the primary measure; negative if the selector is worse."""
        return self.primary.sign * cell.differences[self.primary.name].mean

    def better(self, cell: Cell) -> bool:
        """Return whether the selector is significantly better than the random baseline."""
        return cell.p < SIGNIFICANT and self.gain(cell) > 0

    def worse(self, cell: Cell) -> bool:
        """Return whether the selector is significantly worse than the random baseline."""
        return cell.p < SIGNIFICANT and self.gain(cell) < 0

    def rank(self, cell: Cell) -> float:
        """Return the rank of a cell at its rate, 1 for the best; ties share their mean rank."""
        scores = [self.score(other) for other in self.tested(cell.rate)]
        cell_score = self.score(cell)
        better = sum(score > cell_score for score in scores)
        return 1 + better + (sum(score == cell_score for score in scores) - 1) / 2

    def on_front(self, cell: Cell) -> bool:
        """Return whether no other selector is at least as good and as fast at this rate (Pareto front)."""
        others = [other for other in self.tested(cell.rate) if other is not cell]
        return not any(
            (self.score(other) >= self.score(cell) and other.seconds < cell.seconds)
            or (self.score(other) > self.score(cell) and other.seconds <= cell.seconds)
            for other in others
        )

    def as_dict(self) -> dict[str, object]:
        """Return the comparison as plain data."""
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
            "full": {name: asdict(estimate) for name, estimate in self.full.items()},
            "cells": [
                {
                    "selector": cell.selector,
                    "sees": list(self.visible.get(cell.selector, ())),
                    "prune_rate": cell.rate,
                    "rows": cell.rows,
                    "untested": cell.untested,
                    "values": {name: asdict(estimate) for name, estimate in cell.values.items()},
                    "differences": {name: asdict(estimate) for name, estimate in cell.differences.items()},
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
            "left_out": asdict(self.excluded),
            "notes": list(self.notes),
        }
