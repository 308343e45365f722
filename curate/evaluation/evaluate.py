"""Evaluation of the selection of a finished run against random baselines of the same size (``curate evaluate``)."""

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


def as_dict(evaluation: Evaluation) -> dict[str, object]:
    """Return an evaluation as plain data."""
    return replace_nan(asdict(evaluation))


def evaluate(
    run: Path,
    executor: Executor,
    progress: Progress | None = None,
    *,
    files: Sequence[str] = (),
    seeds: int | None = None,
    budget: float | None = None,
) -> Evaluation:
    """Evaluate the published selection of a run, and write its report again.

    Parameters
    ----------
    run : Path
        Directory of a finished run.
    executor : Executor
        Where tasks run.
    progress : Progress, optional
        Receives the progress, notes and warnings.
    files : sequence of str
        Files of test rows; by default, those of the configuration.
    seeds : int, optional
        Number of random seeds; by default, that of the configuration.
    budget : float, optional
        Maximum estimated time of all trials in seconds; unlimited by default.

    Returns
    -------
    Evaluation
        Result of every metric, with slices and stability.

    Raises
    ------
    ConfigError
        If there is no finished run, or the trials would exceed the budget.
    DataError
        If there are no test rows.
    """
    with no_follow.protect(run):
        config = _config(run, files, seeds)
    context = pipeline.make_context(config, executor, progress)
    with pipeline.lock_run(context):
        done = pipeline.load_finished(config, context.progress)
        evaluation = _evaluated(context, done.pool, done.pool.select_output, budget)
        parquet_io.write_json(evaluation_result.evaluation_path(context.folder), as_dict(evaluation))
        pipeline.write_report(context, done)
    return evaluation


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
    n_rows = len(open_split(everything).train)
    scaled = contenders.shrink_budgets(config.select, len(open_split(tested).train), n_rows)
    new_selections = published if tested.test is not None else [ChoiceSpec(entries=scaled, seed=seed) for seed in seeds]
    rows = len(trials.published_rows(everything, selected).indices)
    costs.check_budget(context, _works(everything, tested, published, new_selections, rows, (others, learning)), budget)
    arms = _Arms.run(context, everything, published, others, full=False)
    trained = _Arms.run(context, tested, new_selections, learning, full=True)
    lines = [*arms.lines(others, primary, exploratory), *trained.lines(learning, primary, exploratory)]
    groups = [measure for measure in metric_values.list_measures(learning) if measure.reads_labels and measure.sign]
    sliced = primary if primary in groups else next(iter(groups), None)
    excluded = open_split(tested).excluded()
    return Evaluation(
        run=config.run,
        select=selected.fingerprint,
        seeds=len(seeds),
        rows=len(arms.selection[0].chosen.indices),
        pool=len(pool),
        tested=_describe_test(open_split(tested)),
        primary=None if primary is None else primary.name,
        metrics=_corrected(lines),
        sliced=None if sliced is None else sliced.name,
        slices=() if sliced is None else tuple(trained.slices(sliced)),
        stability=_stability(context, tested, config.select, len(trained.selection[0].chosen.indices), n_rows),
        left_out=asdict(excluded),
        notes=(
            *excluded_rows_notes(excluded),
            *refused,
            *epoch_plan_notes([entry.name for entry in config.select if entry.epochs > 1]),
            *seeds_only_notes(metric_values.list_measures(learning), trained.selection),
            *metric_notes({"": [*arms.selection, *trained.selection]}),
        ),
    )


def _works(
    everything: Split,
    tested: Split,
    published: Sequence[ChoiceSpec],
    new_selections: Sequence[ChoiceSpec],
    rows: int,
    metrics: tuple[Sequence[MetricEntry], Sequence[MetricEntry]],
) -> list[Work]:
    """Return all trials of an evaluation; those for stability only select rows, without metrics.

    Parameters
    ----------
    everything, tested : Split
        Rows without and with test rows.
    published, afresh : sequence of ChoiceSpec
        Published selection, and the selection that is tested.
    rows : int
        Number of rows in the published selection.
    metrics : tuple of two sequences of MetricEntry
        Metrics of the selection itself, and metrics that train a model.
    """
    select, n = everything.config.select, len(open_split(everything).train)
    works = []
    for rows_of, specs, used in ((everything, published, metrics[0]), (tested, new_selections, metrics[1])):
        k = max(1, rows * len(open_split(rows_of).train) // n)
        uniform = [ChoiceSpec(entries=(contenders.uniform_entry(k),), seed=choice.seed) for choice in specs]
        all_rows = [ChoiceSpec(seed=choice.seed) for choice in specs] if used is metrics[1] and used else []
        works += [
            Work(name="the selection", split=rows_of, choices=specs, metrics=used, rows=k),
            Work(name="random baselines", split=rows_of, choices=uniform, metrics=used, rows=k),
            Work(
                name="all rows",
                split=rows_of,
                choices=all_rows,
                metrics=used,
                rows=len(open_split(rows_of).train),
            ),
        ]
    entries = contenders.shrink_budgets(select, len(open_split(tested).train), n)
    repeated = [ChoiceSpec(entries=entries, seed=choice.seed) for choice in published]
    repeated.append(replace(repeated[0], removed_rate=stability.REMOVED))
    return [*works, Work(name="repeated selections", split=tested, choices=repeated, rows=k)]


def _corrected(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Return the lines with Holm-corrected p values of the exploratory ones."""
    p = holm([line.p if line.exploratory else math.nan for line in lines]).tolist()
    return tuple(
        replace(line, p=corrected) if line.exploratory else line for line, corrected in zip(lines, p, strict=True)
    )


def _stability(
    context: Context, rows: Split, entries: Sequence[SelectEntry], size: int, n: int
) -> dict[str, Stability]:
    """Measure the stability of the select section, and of random selections of ``size`` rows."""
    first, n_train = context.config.seed, len(open_split(rows).train)
    seeds = range(first, first + context.config.evaluate.seeds)
    return {
        "selection": stability.measure_stability(
            context, rows, lambda size_left: contenders.shrink_budgets(entries, size_left, n), seeds
        ),
        "uniform": stability.measure_stability(
            context, rows, lambda size_left: (contenders.uniform_entry(max(1, size * size_left // n_train)),), seeds
        ),
    }


def _describe_test(rows: SplitRows) -> str:
    """Return a sentence about the rows that models are trained and tested on."""
    section = rows.split.config.evaluate
    if rows.split.tests_target:
        return (
            f"models are trained on the published selection and tested on the {len(rows.test):,} test rows of the "
            "target, which no selection saw"
        )
    if rows.split.test is not None:
        return (
            f"models are trained on the published selection and tested on the {len(rows.test):,} rows of the test files"
        )
    return (
        f"{len(rows.test):,} rows ({section.holdout_rate:.0%} of the texts) were held out from the pool for testing; "
        "models are trained on a new selection from the other rows; clusters and scores were computed on all rows"
    )


@dataclass(frozen=True, slots=True)
class _Arms:
    """Trials of a selection, of random baselines of the same size, and of all rows, with one trial per seed."""

    rows: Split
    selection: list[TrialResult]
    uniform: list[TrialResult]
    full: list[TrialResult]

    @classmethod
    def run(
        cls, context: Context, rows: Split, specs: Sequence[ChoiceSpec], metrics: Sequence[MetricEntry], *, full: bool
    ) -> _Arms:
        selection = trials.run_trials(context, "measuring the selection", rows, specs, metrics)
        uniform = [
            ChoiceSpec(entries=(contenders.uniform_entry(len(result.chosen.indices)),), seed=choice.seed)
            for choice, result in zip(specs, selection, strict=True)
        ]
        all_rows = [ChoiceSpec(seed=choice.seed) for choice in specs] if full and metrics else []
        others = trials.run_trials(context, "measuring random baselines", rows, [*uniform, *all_rows], metrics)
        return cls(rows, selection, others[: len(uniform)], others[len(uniform) :])

    def lines(self, metrics: Sequence[MetricEntry], primary: Measure | None, exploratory: int) -> list[Line]:
        """Return one line per measure, with uncorrected p values."""
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
