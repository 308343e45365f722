"""How much of a choice stays the same: with another seed, and when some rows are taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from curate.config.model import SelectEntry
from curate.evaluation import trials
from curate.evaluation.estimates import jaccard
from curate.evaluation.split import Split, opened
from curate.evaluation.trials import Choice
from curate.kernels.types import Rows
from curate.report.evaluation_data import Stability
from curate.stages.base import Context

REMOVED = 0.01
"""The share of the rows to choose from that is taken away to see how stable a selector is."""


def over_seeds(orders: Sequence[Rows]) -> float:
    """The mean Jaccard index of every two of the choices; NaN for one."""
    pairs = [jaccard(a, b) for a, b in combinations(orders, 2)]
    return float(np.mean(pairs)) if pairs else np.nan


def when_removed(n: int, seed: int, before: Rows, after: Rows) -> float:
    """The Jaccard index of a choice from n rows and one from those left, over the rows that the second could take."""
    return jaccard(np.intersect1d(before, trials.remaining(n, REMOVED, seed)), after)


def of(
    context: Context, rows: Split, asked: Callable[[int], tuple[SelectEntry, ...]], seeds: Sequence[int]
) -> Stability:
    """What choosing again comes to.

    Parameters
    ----------
    asked : gives what is asked of so many rows
    """
    n, first = len(opened(rows).train), seeds[0]
    left = len(trials.remaining(n, REMOVED, first))
    wanted = [Choice(entries=asked(n), seed=seed) for seed in seeds]
    wanted += [Choice(entries=asked(left), seed=first, removed_rate=REMOVED)]
    *orders, last = (tried.chosen.indices for tried in trials.run(context, "choosing again", rows, wanted))
    return Stability(over_seeds(orders), when_removed(n, first, orders[0], last))
