"""Comparison of selectors × prune rates × seeds with random baselines of the same size (``curate compare``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curate import pipeline
from curate.config.budget import Budget
from curate.errors import ConfigError
from curate.evaluation import (
    comparison_page,
    contenders,
    costs,
    metric_values,
    split,
    stability,
    trials,
    verdict,
    visible_groups,
)
from curate.evaluation.comparison_result import Cell, Comparison
from curate.evaluation.contenders import UNIFORM, Contender
from curate.evaluation.costs import Work
from curate.evaluation.metric_notes import epoch_plan_notes, metric_notes, seeds_only_notes
from curate.evaluation.metric_values import Measure
from curate.evaluation.split import Split, open_split
from curate.evaluation.stability import REMOVED
from curate.evaluation.trials import ChoiceSpec, TrialResult
from curate.executors.base import Executor
from curate.kernels.stats.intervals import holm
from curate.progress import Progress
from curate.report.formatting import join_words
from curate.stages.base import Context
from curate.store import parquet_io

if TYPE_CHECKING:
    from curate.config.model import MetricEntry, RunConfig, SelectEntry

RATES = (0.5, 0.7, 0.9)
"""Default prune rates."""

_WITH_LABELS = ("logistic_probe", "coverage", "redundancy")
_WITHOUT = ("density_perplexity", "coverage", "redundancy")


def compare(
    config: RunConfig,
    executor: Executor,
    progress: Progress | None = None,
    *,
    select: Sequence[str] = (),
    prune_rates: Sequence[float] = RATES,
    files: Sequence[str] = (),
    seeds: int | None = None,
    budget: float | None = None,
) -> Comparison:
    """Compare selectors on the pool of a configuration, after running its stages up to score if necessary.

    Parameters
    ----------
    config : RunConfig
        Configuration of the run.
    executor : Executor
        Where tasks run.
    progress : Progress, optional
        Receives the progress, notes and warnings.
    select : sequence of str
        Selectors to compare; see ``parse_contenders``.
    prune_rates : sequence of float
        Shares of the training rows to drop.
    files : sequence of str
        Files of test rows; by default, those of the configuration.
    seeds : int, optional
        Number of random seeds; by default, that of the configuration.
    budget : float, optional
        Maximum estimated time of all trials in seconds; unlimited by default.

    Returns
    -------
    Comparison
        Result of every selector at every prune rate.

    Raises
    ------
    ConfigError
        If a selector is unknown or takes no budget, a rate leaves no row, or the trials would exceed the budget.
    """
    config = replace(config, evaluate=contenders.apply_options(config.evaluate, files, seeds))
    filters, candidates = contenders.parse_contenders(config, select)
    default = _WITHOUT if config.input.label is None else _WITH_LABELS
    entries, skipped_notes = metric_values.choose_metrics(config, default)
    measures = metric_values.list_measures(entries)
    primary = metric_values.choose_primary(measures, config.evaluate.primary)
    if primary is None:
        raise ConfigError(
            "no metric says which of two selections is better", hint="add one to metrics, such as coverage"
        )
    context = pipeline.make_context(config, executor, progress)
    with pipeline.lock_run(context):
        pool = pipeline.build_pool(context)
        rows = split.split_pool(context, pool)
        budgets = contenders.rows_per_rate(len(open_split(rows).train), prune_rates)
        grid = _Grid(context, rows, filters, candidates, budgets)
        costs.check_budget(context, grid.works(entries), budget)
        results = grid.run(entries)
        cells = _corrected(primary, _cells(grid, results, measures, primary))
        comparison = Comparison(
            run=config.run,
            rows=len(open_split(rows).train),
            test_rows=len(open_split(rows).test),
            held_out=rows.test is None,
            seeds=config.evaluate.seeds,
            filters=tuple(entry.name for entry in filters),
            selectors=tuple(contender.name for contender in candidates),
            visible={one.name: visible_groups.list_visible(config, (*filters, one.entry)) for one in candidates},
            rates=tuple(budgets),
            measures=tuple(measures),
            primary=primary,
            cells=cells,
            full={measure.name: measure.estimate(results.full) for measure in measures},
            excluded=open_split(rows).excluded(),
            notes=(
                *skipped_notes,
                *seeds_only_notes(measures, results.full),
                *epoch_plan_notes([contender.name for contender in candidates if contender.entry.epochs > 1]),
                *_notes(results, cells, [contender.name for contender in candidates]),
            ),
        )
        parquet_io.write_json(context.folder / "compare.json", verdict.as_dict(comparison))
        parquet_io.write_text(context.folder / "compare.html", comparison_page.render(comparison))
    return comparison


@dataclass(frozen=True, slots=True)
class _Trials:
    """Trials of a grid, by selector and prune rate, with one trial per seed."""

    cells: dict[tuple[str, float], list[TrialResult]]
    baseline: dict[tuple[str, float], list[TrialResult]]
    """Random baselines for epoch plans, with as many different rows as the plan."""

    full: list[TrialResult]
    removed: dict[tuple[str, float], TrialResult]


class _Grid:
    """Grid of trials: every selector at every prune rate with every seed."""

    def __init__(
        self,
        context: Context,
        rows: Split,
        filters: tuple[SelectEntry, ...],
        candidates: tuple[Contender, ...],
        budgets: Mapping[float, int],
    ) -> None:
        self.context, self.rows, self.filters = context, rows, filters
        self.candidates, self.budgets = candidates, budgets
        self.seeds = range(context.config.seed, context.config.seed + context.config.evaluate.seeds)
        self.train = open_split(rows).train
        self.passed = len(self.train)
        """Number of rows that remain after the filters, for the seed with the fewest."""

    def run(self, metrics: Sequence[MetricEntry]) -> _Trials:
        if self.filters:
            filter_specs = [ChoiceSpec(entries=self.filters, seed=seed) for seed in self.seeds]
            self.passed = min(
                len(t.chosen.indices) for t in trials.run_trials(self.context, "filtering", self.rows, filter_specs)
            )
        specs = {position: [self._choice(*position, seed) for seed in self.seeds] for position in self.grid_positions}
        all_row_specs = [ChoiceSpec(seed=seed) for seed in self.seeds]
        flat = [*all_row_specs, *(choice for own_trials in specs.values() for choice in own_trials)]
        removed = [self._choice(*position, self.seeds[0], REMOVED) for position in specs]
        results = iter(trials.run_trials(self.context, "comparing", self.rows, flat, metrics, removed))
        full = [next(results) for _ in all_row_specs]
        cells = {position: [next(results) for _ in own_trials] for position, own_trials in specs.items()}
        repeated = dict(zip(specs, results, strict=True))
        plans = {contender.name for contender in self.candidates if contender.entry.epochs > 1}
        plan_cells = {position: own_trials for position, own_trials in cells.items() if position[0] in plans}
        baseline_specs = [
            ChoiceSpec(entries=(contenders.uniform_entry(len(one.chosen.indices)),), seed=seed)
            for own_trials in plan_cells.values()
            for one, seed in zip(own_trials, self.seeds, strict=True)
        ]
        results = iter(
            trials.run_trials(self.context, "comparing with epoch plans", self.rows, baseline_specs, metrics)
        )
        baseline = {position: [next(results) for _ in own_trials] for position, own_trials in plan_cells.items()}
        return _Trials(cells, baseline, full, repeated)

    def works(self, metrics: Sequence[MetricEntry]) -> list[Work]:
        """Return all trials of the grid, as if the filters dropped no row."""
        works = [self._work("all rows", [ChoiceSpec(seed=seed) for seed in self.seeds], metrics, len(self.train))]
        for name, rate in self.grid_positions:
            keep = self.budgets[rate]
            works.append(self._work(name, [self._choice(name, rate, seed) for seed in self.seeds], metrics, keep))
            works.append(self._work(name, [self._choice(name, rate, self.seeds[0], REMOVED)], (), keep))
        for contender in self.candidates:
            if contender.entry.epochs > 1:
                for keep in self.budgets.values():
                    max_rows = min(len(self.train), keep * contender.entry.epochs)
                    baseline_specs = [
                        ChoiceSpec(entries=(contenders.uniform_entry(max_rows),), seed=seed) for seed in self.seeds
                    ]
                    works.append(self._work(UNIFORM, baseline_specs, metrics, max_rows))
        return works

    def _work(self, name: str, specs: Sequence[ChoiceSpec], metrics: Sequence[MetricEntry], rows: int) -> Work:
        return Work(name=name, split=self.rows, choices=specs, metrics=metrics, rows=rows)

    @property
    def grid_positions(self) -> list[tuple[str, float]]:
        """Selector and prune rate of every cell that has enough rows."""
        names = [(contender.name, self.passed) for contender in self.candidates] + [(UNIFORM, len(self.train))]
        return [(name, rate) for name, available in names for rate, keep in self.budgets.items() if keep <= available]

    def _choice(self, name: str, rate: float, seed: int, removed: float = 0.0) -> ChoiceSpec:
        keep = max(1, math.floor(self.budgets[rate] * (1 - removed)))
        if name == UNIFORM:
            return ChoiceSpec(entries=(contenders.uniform_entry(keep),), seed=seed, removed_rate=removed)
        entry = next(contender.entry for contender in self.candidates if contender.name == name)
        chosen = replace(entry, budget=Budget(keep=keep))
        return ChoiceSpec(entries=(*self.filters, chosen), seed=seed, removed_rate=removed)


def _cells(
    grid: _Grid, results: _Trials, measures: Sequence[Measure], primary: Measure
) -> dict[tuple[str, float], Cell]:
    cells: dict[tuple[str, float], Cell] = {}
    comparisons = sum(1 for name, _ in results.cells if name != UNIFORM)
    for name in (*(contender.name for contender in grid.candidates), UNIFORM):
        for rate, keep in grid.budgets.items():
            if (name, rate) not in results.cells:
                reason = (
                    f"only {grid.passed:,} rows remain after the filters, fewer than the {keep:,} rows of this rate"
                )
                cells[name, rate] = Cell(selector=name, rate=rate, rows=keep, untested=reason)
                continue
            own_trials = results.cells[name, rate]
            baseline = results.baseline.get((name, rate), results.cells[UNIFORM, rate])
            differences = (
                {} if name == UNIFORM else {one.name: one.difference(own_trials, baseline) for one in measures}
            )
            orders = [trial.chosen.indices for trial in own_trials]
            cells[name, rate] = Cell(
                selector=name,
                rate=rate,
                rows=round(np.mean([len(order) for order in orders])),
                values={one.name: one.estimate(own_trials) for one in measures},
                differences=differences,
                exploratory={
                    one.name: differences[one.name].p for one in measures if differences and one.sign and one != primary
                },
                seeds_needed=0 if name == UNIFORM else primary.seeds_needed(own_trials, baseline, comparisons),
                seconds=float(np.mean([trial.chosen.seconds for trial in own_trials])),
                same_over_seeds=stability.jaccard_over_seeds(orders),
                same_when_removed=stability.jaccard_when_removed(
                    len(grid.train), grid.seeds[0], orders[0], results.removed[name, rate].chosen.indices
                ),
            )
    return cells


def _corrected(primary: Measure, cells: Mapping[tuple[str, float], Cell]) -> dict[tuple[str, float], Cell]:
    """Return the cells with p values corrected by Holm.

    Those of the primary measure are corrected for all selectors and rates; those of the others, for all selectors,
    rates and other measures.
    """
    tested = [position for position, cell in cells.items() if cell.differences]
    p = dict(
        zip(tested, holm([cells[position].differences[primary.name].p for position in tested]).tolist(), strict=True)
    )
    others = [(position, name) for position in tested for name in cells[position].exploratory]
    corrected = holm([cells[position].exploratory[name] for position, name in others]).tolist()
    exploratory: dict[tuple[str, float], dict[str, float]] = {position: {} for position in cells}
    for (position, name), one in zip(others, corrected, strict=True):
        exploratory[position][name] = one
    return {
        position: replace(cell, p=p.get(position, math.nan), exploratory=exploratory[position])
        for position, cell in cells.items()
    }


def _notes(results: _Trials, cells: Mapping[tuple[str, float], Cell], names: Sequence[str]) -> list[str]:
    """Return notes on the interpretation of the numbers."""
    lines = []
    constant = [
        name
        for name in names
        if (own_trials := [cell for cell in cells.values() if cell.selector == name and not cell.untested])
        and all(cell.same_over_seeds == 1 for cell in own_trials)
    ]
    if constant:
        verb = "selects" if len(constant) == 1 else "select"
        lines.append(
            f"{join_words(constant)} {verb} the same rows with every seed: only the random baselines and random "
            "steps in the training of models vary"
        )
    lines += dict.fromkeys(cell.untested for cell in cells.values() if cell.untested)
    return [
        *lines,
        *metric_notes({f"{name} at {rate:g}": own_trials for (name, rate), own_trials in results.cells.items()}),
    ]
