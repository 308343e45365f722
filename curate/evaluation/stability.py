"""How much of a choice stays the same: with another seed, and when some rows are taken away."""

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
"""The share of the rows to choose from that is taken away to see how stable a selector is."""


def jaccard_over_seeds(orders: Sequence[Rows]) -> float:
    """The mean Jaccard index of every two of the choices; NaN for one."""
    pairs = [jaccard(a, b) for a, b in combinations(orders, 2)]
    return float(np.mean(pairs)) if pairs else np.nan


def jaccard_when_removed(n: int, seed: int, before: Rows, after: Rows) -> float:
    """The Jaccard index of a choice from n rows and one from those left, over the rows that the second could take."""
    return jaccard(np.intersect1d(before, trials.remaining_rows(n, REMOVED, seed)), after)


def measure_stability(
    context: Context, rows: Split, asked: Callable[[int], tuple[SelectEntry, ...]], seeds: Sequence[int]
) -> Stability:
    """What choosing again comes to.

    Parameters
    ----------
    asked : gives what is asked of so many rows
    """
    n, first = len(open_split(rows).train), seeds[0]
    left = len(trials.remaining_rows(n, REMOVED, first))
    wanted = [ChoiceSpec(entries=asked(n), seed=seed) for seed in seeds]
    wanted += [ChoiceSpec(entries=asked(left), seed=first, removed_rate=REMOVED)]
    *orders, last = (tried.chosen.indices for tried in trials.run_trials(context, "choosing again", rows, wanted))
    return Stability(jaccard_over_seeds(orders), jaccard_when_removed(n, first, orders[0], last))
