"""``curate compare``: selectors × prune rates × seeds, each beside uniform selections of the same size."""

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
from curate.report.formatting import listed
from curate.stages.base import Context
from curate.store import parquet_io

if TYPE_CHECKING:
    from curate.config.model import MetricEntry, RunConfig, SelectEntry

RATES = (0.5, 0.7, 0.9)
"""Prune rates, unless others are asked for."""

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
    """Compare selectors on the pool of a configuration; runs its stages up to score first, as far as they are not done.

    Parameters
    ----------
    select : as ``choices.contenders`` takes them
    prune_rates : shares of the rows to choose from that are dropped
    files : of test rows; those of the configuration unless given
    seeds : how often what is random is repeated; as the configuration says unless given
    budget : seconds that the trials may take by the estimate that is made before them; without a limit unless given

    Raises
    ------
    ConfigError : an unknown selector, one without a budget, a rate that leaves no row, more work than the budget allows
    """
    config = replace(config, evaluate=contenders.apply_options(config.evaluate, files, seeds))
    filters, candidates = contenders.parse_contenders(config, select)
    default = _WITHOUT if config.input.label is None else _WITH_LABELS
    entries, refused = metric_values.choose_metrics(config, default)
    found = metric_values.list_measures(entries)
    first = metric_values.choose_primary(found, config.evaluate.primary)
    if first is None:
        raise ConfigError("no metric says which selection is better", hint="add one to metrics, such as coverage")
    context = pipeline.make_context(config, executor, progress)
    with pipeline.lock_run(context):
        pool = pipeline.build_pool(context)
        rows = split.split_pool(context, pool)
        budgets = contenders.rows_per_rate(len(open_split(rows).train), prune_rates)
        grid = _Grid(context, rows, filters, candidates, budgets)
        costs.check_budget(context, grid.works(entries), budget)
        tried = grid.run(entries)
        cells = _corrected(first, _cells(grid, tried, found, first))
        done = Comparison(
            run=config.run,
            rows=len(open_split(rows).train),
            test_rows=len(open_split(rows).test),
            held_out=rows.test is None,
            seeds=config.evaluate.seeds,
            filters=tuple(entry.name for entry in filters),
            selectors=tuple(contender.name for contender in candidates),
            visible={one.name: visible_groups.list_visible(config, (*filters, one.entry)) for one in candidates},
            rates=tuple(budgets),
            measures=tuple(found),
            primary=first,
            cells=cells,
            full={measure.name: measure.estimate(tried.full) for measure in found},
            left=open_split(rows).left(),
            notes=(
                *refused,
                *seeds_only_notes(found, tried.full),
                *epoch_plan_notes([contender.name for contender in candidates if contender.entry.epochs > 1]),
                *_notes(tried, cells, [contender.name for contender in candidates]),
            ),
        )
        parquet_io.write_json(context.folder / "compare.json", verdict.as_dict(done))
        parquet_io.write_text(context.folder / "compare.html", comparison_page.render(done))
    return done


@dataclass(frozen=True, slots=True)
class _Trials:
    """The trials of a grid, one a seed in each place."""

    cells: dict[tuple[str, float], list[TrialResult]]
    chance: dict[tuple[str, float], list[TrialResult]]
    """Uniform selections of as many rows, where epochs are planned: of all rows of the plan."""

    full: list[TrialResult]
    removed: dict[tuple[str, float], TrialResult]


class _Grid:
    """What is tried: every selector at every rate with every seed."""

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
        """Rows that the filters leave, with the seed that leaves fewest."""

    def run(self, metrics: Sequence[MetricEntry]) -> _Trials:
        if self.filters:
            alone = [ChoiceSpec(entries=self.filters, seed=seed) for seed in self.seeds]
            self.passed = min(
                len(t.chosen.indices) for t in trials.run_trials(self.context, "filtering", self.rows, alone)
            )
        places = {place: [self._choice(*place, seed) for seed in self.seeds] for place in self.places}
        every = [ChoiceSpec(seed=seed) for seed in self.seeds]
        flat = [*every, *(choice for own in places.values() for choice in own)]
        done = iter(trials.run_trials(self.context, "comparing", self.rows, flat, metrics))
        full = [next(done) for _ in every]
        cells = {place: [next(done) for _ in own] for place, own in places.items()}
        plans = {contender.name for contender in self.candidates if contender.entry.epochs > 1}
        of_plans = {place: own for place, own in cells.items() if place[0] in plans}
        alike = [
            ChoiceSpec(entries=(contenders.uniform_entry(len(one.chosen.indices)),), seed=seed)
            for own in of_plans.values()
            for one, seed in zip(own, self.seeds, strict=True)
        ]
        done = iter(trials.run_trials(self.context, "comparing with plans", self.rows, alike, metrics))
        chance = {place: [next(done) for _ in own] for place, own in of_plans.items()}
        removed = [self._choice(*place, self.seeds[0], REMOVED) for place in places]
        without = trials.run_trials(self.context, "taking rows away", self.rows, removed)
        return _Trials(cells, chance, full, dict(zip(places, without, strict=True)))

    def works(self, metrics: Sequence[MetricEntry]) -> list[Work]:
        """Return all trials of the grid, as if the filters left every row."""
        works = [self._work("every row", [ChoiceSpec(seed=seed) for seed in self.seeds], metrics, len(self.train))]
        for name, rate in self.places:
            keep = self.budgets[rate]
            works.append(self._work(name, [self._choice(name, rate, seed) for seed in self.seeds], metrics, keep))
            works.append(self._work(name, [self._choice(name, rate, self.seeds[0], REMOVED)], (), keep))
        for contender in self.candidates:
            if contender.entry.epochs > 1:
                for keep in self.budgets.values():
                    most = min(len(self.train), keep * contender.entry.epochs)
                    alike = [ChoiceSpec(entries=(contenders.uniform_entry(most),), seed=seed) for seed in self.seeds]
                    works.append(self._work(UNIFORM, alike, metrics, most))
        return works

    def _work(self, name: str, wanted: Sequence[ChoiceSpec], metrics: Sequence[MetricEntry], rows: int) -> Work:
        return Work(name=name, split=self.rows, choices=wanted, metrics=metrics, rows=rows)

    @property
    def places(self) -> list[tuple[str, float]]:
        """Selector and rate, of those that can be tried."""
        names = [(contender.name, self.passed) for contender in self.candidates] + [(UNIFORM, len(self.train))]
        return [(name, rate) for name, there in names for rate, keep in self.budgets.items() if keep <= there]

    def _choice(self, name: str, rate: float, seed: int, removed: float = 0.0) -> ChoiceSpec:
        keep = max(1, math.floor(self.budgets[rate] * (1 - removed)))
        if name == UNIFORM:
            return ChoiceSpec(entries=(contenders.uniform_entry(keep),), seed=seed, removed_rate=removed)
        entry = next(contender.entry for contender in self.candidates if contender.name == name)
        chosen = replace(entry, budget=Budget(keep=keep))
        return ChoiceSpec(entries=(*self.filters, chosen), seed=seed, removed_rate=removed)


def _cells(grid: _Grid, tried: _Trials, found: Sequence[Measure], primary: Measure) -> dict[tuple[str, float], Cell]:
    cells: dict[tuple[str, float], Cell] = {}
    comparisons = sum(1 for name, _ in tried.cells if name != UNIFORM)
    for name in (*(contender.name for contender in grid.candidates), UNIFORM):
        for rate, keep in grid.budgets.items():
            if (name, rate) not in tried.cells:
                why = f"the filters leave {grid.passed:,} rows, fewer than the {keep:,} of this rate"
                cells[name, rate] = Cell(selector=name, rate=rate, rows=keep, untested=why)
                continue
            own = tried.cells[name, rate]
            chance = tried.chance.get((name, rate), tried.cells[UNIFORM, rate])
            differences = {} if name == UNIFORM else {one.name: one.difference(own, chance) for one in found}
            orders = [trial.chosen.indices for trial in own]
            cells[name, rate] = Cell(
                selector=name,
                rate=rate,
                rows=round(np.mean([len(order) for order in orders])),
                values={one.name: one.estimate(own) for one in found},
                differences=differences,
                exploratory={
                    one.name: differences[one.name].p for one in found if differences and one.sign and one != primary
                },
                seeds_needed=0 if name == UNIFORM else primary.seeds_needed(own, chance, comparisons),
                seconds=float(np.mean([trial.chosen.seconds for trial in own])),
                same_over_seeds=stability.jaccard_over_seeds(orders),
                same_when_removed=stability.jaccard_when_removed(
                    len(grid.train), grid.seeds[0], orders[0], tried.removed[name, rate].chosen.indices
                ),
            )
    return cells


def _corrected(primary: Measure, cells: Mapping[tuple[str, float], Cell]) -> dict[tuple[str, float], Cell]:
    """Return the cells with p values corrected by Holm.

    Those of the primary measure are corrected for all selectors and rates; those of the others, for all selectors,
    rates and other measures.
    """
    tested = [place for place, cell in cells.items() if cell.differences]
    p = dict(zip(tested, holm([cells[place].differences[primary.name].p for place in tested]).tolist(), strict=True))
    others = [(place, name) for place in tested for name in cells[place].exploratory]
    corrected = holm([cells[place].exploratory[name] for place, name in others]).tolist()
    exploratory: dict[tuple[str, float], dict[str, float]] = {place: {} for place in cells}
    for (place, name), one in zip(others, corrected, strict=True):
        exploratory[place][name] = one
    return {
        place: replace(cell, p=p.get(place, math.nan), exploratory=exploratory[place]) for place, cell in cells.items()
    }


def _notes(tried: _Trials, cells: Mapping[tuple[str, float], Cell], names: Sequence[str]) -> list[str]:
    """What a reader must know of the numbers."""
    told = []
    alike = [
        name
        for name in names
        if (own := [cell for cell in cells.values() if cell.selector == name and not cell.untested])
        and all(cell.same_over_seeds == 1 for cell in own)
    ]
    if alike:
        what = "makes" if len(alike) == 1 else "make"
        told.append(
            f"{listed(alike)} {what} the same choice with every seed: what varies is the model that learns from it, "
            "if it draws, and the uniform selections beside it"
        )
    told += dict.fromkeys(cell.untested for cell in cells.values() if cell.untested)
    return [*told, *metric_notes({f"{name} at {rate:g}": own for (name, rate), own in tried.cells.items()})]
