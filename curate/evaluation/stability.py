"""Stability of a selection: how similar it is with another seed, and after some rows are removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from curate.config.model import SelectEntry
from curate.evaluation import trials
from curate.evaluation.estimates import jaccard
from curate.evaluation.split import Split, open_split
from curate.evaluation.trials import ChoiceSpec
from curate.kernels.types import Rows
from curate.report.evaluation_data import Stability
from curate.stages.base import Context

REMOVED = 0.01
"""Share of the training rows that is removed to measure stability."""


def jaccard_over_seeds(orders: Sequence[Rows]) -> float:
    """Return the mean Jaccard index of all pairs of selections; NaN for a single selection."""
    pairs = [jaccard(a, b) for a, b in combinations(orders, 2)]
    return float(np.mean(pairs)) if pairs else np.nan


def jaccard_when_removed(n: int, seed: int, before: Rows, after: Rows) -> float:
    """Return the Jaccard index of selections before and after removing rows, over the rows available to both."""
    return jaccard(np.intersect1d(before, trials.remaining_rows(n, REMOVED, seed)), after)


def measure_stability(
    context: Context, rows: Split, entries_for: Callable[[int], tuple[SelectEntry, ...]], seeds: Sequence[int]
) -> Stability:
    """Measure the stability of a selection by repeating it.

    Parameters
    ----------
    context : Context
        Context of the run.
    rows : Split
        Rows to select from.
    entries_for : callable
        Returns the select entries for a number of rows.
    seeds : sequence of int
        Seeds of the repetitions.
    """
    n, first = len(open_split(rows).train), seeds[0]
    remaining = len(trials.remaining_rows(n, REMOVED, first))
    specs = [ChoiceSpec(entries=entries_for(n), seed=seed) for seed in seeds]
    specs += [ChoiceSpec(entries=entries_for(remaining), seed=first, removed_rate=REMOVED)]
    *orders, last = (
        result.chosen.indices for result in trials.run_trials(context, "repeating the selection", rows, specs)
    )
    return Stability(jaccard_over_seeds(orders), jaccard_when_removed(n, first, orders[0], last))
