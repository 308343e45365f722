"""Time estimates of trials, measured on samples of the rows before any trial begins."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from curate.errors import ConfigError, CurateError
from curate.evaluation import contenders, trials
from curate.evaluation.split import Split, open_split
from curate.evaluation.trials import ChoiceSpec, ChosenRows
from curate.kernels.parallel import one_blas_thread
from curate.report.formatting import plural, seconds
from curate.seeds import rng_for
from curate.stages.base import Context
from curate.stages.select.run_selector import choose

if TYPE_CHECKING:
    from curate.config.model import MetricEntry, SelectEntry

_FEWEST, _MOST = 250, 4_000
"""Number of rows of the first sample, and maximum number of rows of a sample."""

_ENOUGH = 0.2
"""Duration in seconds after which no larger sample is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Group of planned trials."""

    name: str
    """Name of the contender, for messages."""

    split: Split
    choices: Sequence[ChoiceSpec]
    metrics: Sequence[MetricEntry] = ()
    rows: int
    """Approximate number of rows that each trial keeps."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Estimated cost of trials."""

    trials: int
    """Number of trials without a stored result."""

    seconds: float
    """Estimated time with all workers."""

    by_name: dict[str, float] = field(default_factory=dict)
    """Estimated time of each contender."""


def check_budget(context: Context, works: Sequence[Work], budget: float | None) -> None:
    """Log the estimated time of the trials, and raise an error if it exceeds the budget.

    Parameters
    ----------
    context : Context
        Context of the run.
    works : sequence of Work
        All planned trials; trials with stored results cost nothing.
    budget : float or None
        Time limit in seconds; None for no limit.

    Raises
    ------
    ConfigError
        If the estimate exceeds the budget. The hint names a number of seeds that fits, or the time of each contender.

    Notes
    -----
    Selectors and metrics are timed on samples of 250 rows, then twice as many, and so on, up to 4,000 rows or until a
    measurement takes 0.2 s. The last two times are extrapolated by a power of the number of rows (at most 2, and
    exactly 2 for selectors that declare quadratic time), or linearly if they grow more slowly than the rows. On a
    machine that becomes busy, the trials take longer; they are not stopped. No result depends on the estimate.
    """
    clock = _Clock(context)
    cost = clock.cost(works)
    for name in clock.unknown:
        context.progress.warn(f"cannot estimate the time of {name}, because it fails on a sample of the rows")
    if not cost.trials:
        return
    about = f"{plural(cost.trials, 'trial')}: about {seconds(cost.seconds)}"
    if budget is None or cost.seconds <= budget:
        context.progress.note(about if budget is None else f"{about}, within the budget of {seconds(budget)}")
        return
    raise ConfigError(f"--budget {seconds(budget)} is too little for {about}", hint=_hint(clock, works, budget))


def _hint(clock: _Clock, works: Sequence[Work], budget: float) -> str:
    """Return a hint with a number of seeds that fits the budget, or else with the time of each contender."""
    seeds = sorted({choice.seed for work in works for choice in work.choices})
    for fewer in range(len(seeds) - 1, 1, -1):
        cost = clock.cost([_first(work, seeds[:fewer]) for work in works])
        if cost.seconds <= budget:
            return f"use --seeds {fewer} (about {seconds(cost.seconds)})"
    least = clock.cost([_first(work, seeds[:2]) for work in works])
    slowest = sorted(least.by_name.items(), key=lambda item: (-item[1], item[0]))
    each = ", ".join(f"{seconds(one)} for {name}" for name, one in slowest)
    return f"raise the budget or compare less; --seeds {min(2, len(seeds))} takes about {each}"


def _first(work: Work, seeds: Sequence[int]) -> Work:
    subset = [choice for choice in work.choices if choice.seed in seeds]
    return Work(name=work.name, split=work.split, choices=subset, metrics=work.metrics, rows=work.rows)


class _Clock:
    """Timer of selectors and metrics, each of which is measured once, on first use."""

    def __init__(self, context: Context) -> None:
        self._workers = context.executor.workers
        self._curves: dict[object, Callable[[int], float]] = {}
        self.unknown: list[str] = []

    def cost(self, works: Sequence[Work]) -> Cost:
        """Return the cost of all trials; a trial that several groups share counts for the first group."""
        seen: set[object] = set()
        number, total, by_name = 0, 0.0, dict[str, float]()
        for work in works:
            for choice, choosing, metrics, key in trials.list_missing(work.split, work.choices, work.metrics):
                if key in seen:
                    continue
                seen.add(key)
                number += 1
                taken = sum(self._measuring(work, entry) for entry in metrics)
                taken += self._choosing(work, choice) if choosing else 0.0
                by_name[work.name] = by_name.get(work.name, 0.0) + taken
                total += taken
        at_once = max(1, min(self._workers, number))
        return Cost(number, total / at_once, {name: taken / at_once for name, taken in by_name.items()})

    def _choosing(self, work: Work, choice: ChoiceSpec) -> float:
        if not choice.entries or choice.ledger is not None:
            return 0.0
        n = len(open_split(work.split).train)
        key = ("choose", *(entry.name for entry in choice.entries), work.split.holdout_rate)
        if key not in self._curves:
            quadratic = any(entry.spec.plugin().traits.quadratic for entry in choice.entries)

            def timed(size: int) -> float:
                return _time_choosing(work.split, contenders.shrink_budgets(choice.entries, size, n), size, choice.seed)

            self._curves[key] = self._curve(work.name, timed, n, quadratic=quadratic)
        return self._curves[key](n)

    def _measuring(self, work: Work, entry: MetricEntry) -> float:
        n = len(open_split(work.split).train)
        key = ("measure", entry.name, work.split.holdout_rate, work.split.test is None)
        if key not in self._curves:
            order = rng_for(0, "evaluate/costs").permutation(n)

            def timed(size: int) -> float:
                begun = time.perf_counter()
                trials.measure(open_split(work.split), ChosenRows(order[:size], None, 0.0), entry, 0)
                return time.perf_counter() - begun

            self._curves[key] = self._curve(entry.name, timed, n)
        return self._curves[key](work.rows)

    def _curve(
        self, name: str, timed: Callable[[int], float], n: int, *, quadratic: bool = False
    ) -> Callable[[int], float]:
        """Return a function from a number of rows to seconds, measured on samples of n rows."""
        sizes = [size for size in (_FEWEST << step for step in range(20)) if size < min(n, _MOST)] or [n]
        try:
            with one_blas_thread():
                timed(sizes[0])  # the first call also imports modules and reads data
                points = []
                for size in sizes:
                    points.append((size, timed(size)))
                    if len(points) > 1 and points[-1][1] > _ENOUGH:
                        break
        except CurateError:
            self.unknown.append(name)
            return lambda rows: 0.0  # noqa: ARG005
        return lambda rows: extrapolate(points[-2:], rows, quadratic=quadratic)


def extrapolate(points: Sequence[tuple[int, float]], rows: int, *, quadratic: bool = False) -> float:
    """Return the estimated seconds for a number of rows, from one or two measurements with fewer rows.

    >>> extrapolate([(100, 1.0), (200, 4.0)], 400), extrapolate([(100, 1.0), (200, 1.5)], 400)
    (16.0, 2.5)
    >>> extrapolate([(100, 1.0)], 400), extrapolate([(100, 1.0)], 400, quadratic=True)
    (4.0, 16.0)
    """
    (x, y), (z, t) = points[0], points[-1]
    if rows <= z:
        return float(np.interp(rows, [x, z], [y, t]))
    power = math.log(max(t, 1e-9) / max(y, 1e-9)) / math.log(z / x) if z > x else 1.0
    if quadratic or power > 1:
        return float(t * (rows / z) ** (2.0 if quadratic else min(power, 2.0)))
    slope = (t - y) / (z - x) if z > x else t / z
    return t + max(0.0, slope) * (rows - z)


def _time_choosing(split: Split, entries: Sequence[SelectEntry], size: int, seed: int) -> float:
    """Return the time of running the entries one after the other on a sample of the rows, in seconds."""
    pool, train = open_split(split).pool, open_split(split).train.positions
    rows = np.sort(rng_for(0, "evaluate/costs").permutation(len(train))[:size])
    for entry in entries:
        if "embedding" in entry.spec.plugin().traits.reads:
            pool.embeddings(entry.embedding)
    begun = time.perf_counter()
    for entry in entries:
        one = entry
        if entry.budget is not None and (entry.budget.keep or entry.budget.keep_tokens):
            one = replace(
                entry, budget=replace(entry.budget, at_most=True)
            )  # a sample may have too few rows after the filters
        rows = np.sort(rows[choose(pool, train[rows], one, seed).indices])
    return time.perf_counter() - begun
