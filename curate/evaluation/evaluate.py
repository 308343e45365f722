"""``curate evaluate``: a finished run's selection beside uniform ones of the same size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curate import no_follow, pipeline
from curate.evaluation import contenders, costs, metric_values, slices, split, stability, trials
from curate.evaluation.costs import Work
from curate.evaluation.estimates import replace_nan
from curate.evaluation.metric_notes import epoch_plan_notes, excluded_rows_notes, metric_notes, seeds_only_notes
from curate.evaluation.metric_values import Measure
from curate.evaluation.split import Split, SplitRows, open_split
from curate.evaluation.trials import ChoiceSpec, TrialResult
from curate.executors.base import Executor
from curate.kernels.stats.intervals import holm
from curate.pool.stage_outputs import SelectOutput
from curate.pool.view import PoolView
from curate.progress import Progress
from curate.report.evaluation_data import Evaluation, Line, Slice, Stability
from curate.stages.base import Context
from curate.stages.report import evaluation_result
from curate.store import parquet_io

if TYPE_CHECKING:
    from curate.config.model import MetricEntry, RunConfig, SelectEntry


def as_dict(found: Evaluation) -> dict[str, object]:
    """Return the evaluation as plain data."""
    return replace_nan(asdict(found))


def evaluate(
    run: Path,
    executor: Executor,
    progress: Progress | None = None,
    *,
    files: Sequence[str] = (),
    seeds: int | None = None,
    budget: float | None = None,
) -> Evaluation:
    """Evaluate the published selection of a run, and write its report anew.

    Parameters
    ----------
    run : the folder of a finished run
    files : of test rows; those of the configuration unless given
    seeds : how often what is random is repeated; as the configuration says unless given
    budget : seconds that the trials may take by the estimate that is made before them; without a limit unless given

    Raises
    ------
    ConfigError : if there is no finished run, or the trials would take more than the budget
    DataError : if nothing is left to test on
    """
    with no_follow.protect(run):
        config = _config(run, files, seeds)
    context = pipeline.make_context(config, executor, progress)
    with pipeline.lock_run(context):
        done = pipeline.load_finished(config, context.progress)
        found = _evaluated(context, done.pool, done.pool.select_output, budget)
        parquet_io.write_json(evaluation_result.evaluation_path(context.folder), as_dict(found))
        pipeline.write_report(context, done)
    return found


def _config(run: Path, files: Sequence[str], seeds: int | None) -> RunConfig:
    from curate.config.loader import load_run_config

    config = load_run_config(run)
    return replace(config, run=str(run), evaluate=contenders.apply_options(config.evaluate, files, seeds))


def _evaluated(context: Context, pool: PoolView, selected: SelectOutput, budget: float | None) -> Evaluation:
    config = context.config
    everything, tested = split.split_all(context, pool), split.split_pool(context, pool)
    entries, refused = metric_values.choose_metrics(config)
    primary = metric_values.choose_primary(metric_values.list_measures(entries), config.evaluate.primary)
    exploratory = sum(1 for measure in metric_values.list_measures(entries) if measure.sign and measure != primary)
    seeds = range(config.seed, config.seed + config.evaluate.seeds)
    published = [ChoiceSpec(ledger=selected, seed=seed) for seed in seeds]
    learning = [entry for entry in entries if entry.spec.plugin().traits.learns]
    others = [entry for entry in entries if entry not in learning]
    whole = len(open_split(everything).train)
    again = contenders.shrink_budgets(config.select, len(open_split(tested).train), whole)
    afresh = published if tested.test is not None else [ChoiceSpec(entries=again, seed=seed) for seed in seeds]
    rows = len(trials.published_rows(everything, selected).indices)
    costs.check_budget(context, _works(everything, tested, published, afresh, rows, (others, learning)), budget)
    arms = _Arms.of(context, everything, published, others, full=False)
    learnt = _Arms.of(context, tested, afresh, learning, full=True)
    lines = [*arms.lines(others, primary, exploratory), *learnt.lines(learning, primary, exploratory)]
    groups = [measure for measure in metric_values.list_measures(learning) if measure.of_labels and measure.sign]
    first = primary if primary in groups else next(iter(groups), None)
    left = open_split(tested).left()
    return Evaluation(
        run=config.run,
        select=selected.fingerprint,
        seeds=len(seeds),
        rows=len(arms.selection[0].chosen.indices),
        pool=len(pool),
        tested=_told(open_split(tested)),
        primary=None if primary is None else primary.name,
        metrics=_corrected(lines),
        sliced=None if first is None else first.name,
        slices=() if first is None else tuple(learnt.slices(first)),
        stability=_stability(context, tested, config.select, len(learnt.selection[0].chosen.indices), whole),
        left_out=asdict(left),
        notes=(
            *excluded_rows_notes(left),
            *refused,
            *epoch_plan_notes([entry.name for entry in config.select if entry.epochs > 1]),
            *seeds_only_notes(metric_values.list_measures(learning), learnt.selection),
            *metric_notes({"": [*arms.selection, *learnt.selection]}),
        ),
    )


def _works(
    everything: Split,
    tested: Split,
    published: Sequence[ChoiceSpec],
    afresh: Sequence[ChoiceSpec],
    rows: int,
    metrics: tuple[Sequence[MetricEntry], Sequence[MetricEntry]],
) -> list[Work]:
    """Return all trials of an evaluation, of which those of stability choose only.

    Parameters
    ----------
    published, afresh : the selection as it was published, and as it is tested
    rows : in the published selection
    metrics : of the choice itself, and those that learn
    """
    select, n = everything.config.select, len(open_split(everything).train)
    works = []
    for rows_of, chosen, own in ((everything, published, metrics[0]), (tested, afresh, metrics[1])):
        k = max(1, rows * len(open_split(rows_of).train) // n)
        uniform = [ChoiceSpec(entries=(contenders.uniform_entry(k),), seed=choice.seed) for choice in chosen]
        every = [ChoiceSpec(seed=choice.seed) for choice in chosen] if own is metrics[1] and own else []
        works += [
            Work(name="the selection", split=rows_of, choices=chosen, metrics=own, rows=k),
            Work(name="uniform selections", split=rows_of, choices=uniform, metrics=own, rows=k),
            Work(name="every row", split=rows_of, choices=every, metrics=own, rows=len(open_split(rows_of).train)),
        ]
    entries = contenders.shrink_budgets(select, len(open_split(tested).train), n)
    again = [ChoiceSpec(entries=entries, seed=choice.seed) for choice in published]
    again.append(replace(again[0], removed_rate=stability.REMOVED))
    return [*works, Work(name="choosing again", split=tested, choices=again, rows=k)]


def _corrected(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Return the lines with the p values of the exploratory ones corrected for their number."""
    p = holm([line.p if line.exploratory else math.nan for line in lines]).tolist()
    return tuple(replace(line, p=one) if line.exploratory else line for line, one in zip(lines, p, strict=True))


def _stability(
    context: Context, rows: Split, entries: Sequence[SelectEntry], size: int, n: int
) -> dict[str, Stability]:
    """Of the select section, and of uniform choices of ``size`` rows."""
    first, there = context.config.seed, len(open_split(rows).train)
    seeds = range(first, first + context.config.evaluate.seeds)
    return {
        "selection": stability.measure_stability(
            context, rows, lambda left: contenders.shrink_budgets(entries, left, n), seeds
        ),
        "uniform": stability.measure_stability(
            context, rows, lambda left: (contenders.uniform_entry(max(1, size * left // there)),), seeds
        ),
    }


def _told(rows: SplitRows) -> str:
    asked = rows.split.config.evaluate
    if rows.split.test is not None:
        return (
            f"models learn from the published selection and are tested on the {len(rows.test):,} rows of the test files"
        )
    return (
        f"models learn from the same selectors' choice of the other rows and are tested on the {len(rows.test):,} rows "
        f"({asked.holdout_rate:.0%} of the texts) held out of the pool, which clusters and scores have seen"
    )


@dataclass(frozen=True, slots=True)
class _Arms:
    """The trials of a selection, of uniform ones of the same size, and of every row, one a seed."""

    rows: Split
    selection: list[TrialResult]
    uniform: list[TrialResult]
    full: list[TrialResult]

    @classmethod
    def of(
        cls, context: Context, rows: Split, chosen: Sequence[ChoiceSpec], metrics: Sequence[MetricEntry], *, full: bool
    ) -> _Arms:
        selection = trials.run_trials(context, "measuring the selection", rows, chosen, metrics)
        uniform = [
            ChoiceSpec(entries=(contenders.uniform_entry(len(tried.chosen.indices)),), seed=choice.seed)
            for choice, tried in zip(chosen, selection, strict=True)
        ]
        every = [ChoiceSpec(seed=choice.seed) for choice in chosen] if full and metrics else []
        others = trials.run_trials(context, "measuring uniform selections", rows, [*uniform, *every], metrics)
        return cls(rows, selection, others[: len(uniform)], others[len(uniform) :])

    def lines(self, metrics: Sequence[MetricEntry], primary: Measure | None, exploratory: int) -> list[Line]:
        """Return the numbers of the metrics, with p values before any correction."""
        return [
            self._line(measure, measure != primary, exploratory) for measure in metric_values.list_measures(metrics)
        ]

    def _line(self, measure: Measure, exploratory: bool, comparisons: int) -> Line:
        difference = measure.difference(self.selection, self.uniform)
        needed = measure.seeds_needed(self.selection, self.uniform, comparisons if exploratory else 1)
        return Line(
            name=measure.name,
            quantity=measure.column.name or measure.entry,
            unit=measure.column.unit,
            rate=measure.rate,
            higher_is_better=measure.column.higher_is_better,
            learns=measure.learns,
            selection=measure.estimate(self.selection),
            uniform=measure.estimate(self.uniform),
            difference=difference,
            p=difference.p if measure.sign else math.nan,
            exploratory=exploratory,
            seeds_needed=needed,
            resampled=measure.resampled(self.selection, self.uniform),
            full=measure.estimate(self.full) if self.full else None,
            cost=measure.difference(self.selection, self.full) if self.full else None,
        )

    def slices(self, measure: Measure) -> list[Slice]:
        return slices.compare_slices(open_split(self.rows), measure, self.selection, self.uniform, self.full)
