"""``curate evaluate``: a finished run's selection beside uniform ones of the same size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import pipeline
from curate.errors import ConfigError
from curate.evaluation import choices, measures, slices, split, trials
from curate.evaluation.estimates import Estimate, nulls
from curate.evaluation.measures import Measure
from curate.evaluation.slices import Slice
from curate.evaluation.split import Left, Opened, Split, opened
from curate.evaluation.trials import Choice, Tried
from curate.evaluation.wording import left_out, notes, number, plus_minus, probability, seeds_only, signed
from curate.executors.base import Executor
from curate.kernels.intervals import holm
from curate.settings.budget import Budget
from curate.stages.columns import PoolColumns
from curate.stages.context import Context, Progress, Silent
from curate.stages.select import Selected
from curate.store import shards

if TYPE_CHECKING:
    from curate.settings.model import MetricEntry, RunConfig, SelectEntry

WORST = 10
"""Groups of test rows that are told of, those that lose most."""


@dataclass(frozen=True, slots=True)
class Line:
    """One number of the selection beside that of uniform ones of the same size."""

    measure: Measure
    selection: Estimate
    uniform: Estimate
    difference: Estimate
    p: float
    """Of the difference, corrected for the number of measures."""

    full: Estimate | None
    """The same with every row; None for a measure of the choice itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What was found."""

    run: str
    seeds: int
    rows: int
    """Rows in the published selection."""

    pool: int
    tested: str
    """What the learning metrics are measured on, in words."""

    lines: tuple[Line, ...]
    sliced: Measure | None
    """What the groups are compared in; None without labels."""

    slices: tuple[Slice, ...]
    left: Left | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        told: dict[str, Any] = {
            "run": self.run,
            "seeds": self.seeds,
            "rows": self.rows,
            "pool": self.pool,
            "tested": self.tested,
            "metrics": [
                {
                    "name": line.measure.name,
                    "unit": line.measure.column.unit,
                    "higher_is_better": line.measure.column.higher_is_better,
                    "selection": asdict(line.selection),
                    "uniform": asdict(line.uniform),
                    "difference": asdict(line.difference),
                    "p_holm": line.p,
                    "full": None if line.full is None else asdict(line.full),
                }
                for line in self.lines
            ],
            "slices": [group.as_dict() for group in self.slices],
            "left_out": None if self.left is None else asdict(self.left),
            "notes": list(self.notes),
        }
        return {key: nulls(value) for key, value in told.items()}

    def tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Headers and rows for people."""
        return [self._table(), self._groups()] if self.slices else [self._table()]

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = []
        for line in self.lines:
            column = line.measure.column
            told = (line.selection, line.uniform, line.full)
            values = ["" if each is None else plus_minus(each, column) for each in told]
            difference = signed(line.difference, column)
            rows.append([line.measure.name, *values, difference, probability(line.p), _better(line)])
        return ["metric", "selection", "uniform", "every row", "difference to uniform", "p (Holm)", ""], rows

    def _groups(self) -> tuple[list[str], list[list[str]]]:
        """The groups of test rows that lose most against every row, for people."""
        accuracy = None if self.sliced is None else self.sliced.column
        rows = [
            [
                f"{group.by} {group.name}",
                f"{group.rows:,}",
                *(number(value, accuracy) for value in (group.selection, group.uniform, group.full)),
                signed(group.lost, accuracy),
            ]
            for group in self.slices[:WORST]
        ]
        return ["group of test rows", "rows", "selection", "uniform", "every row", "difference to every row"], rows

    def said(self) -> list[str]:
        """What else a reader must know."""
        told = [f"{self.rows:,} of {self.pool:,} rows selected; {self.seeds} seeds; {self.tested}"]
        if self.left is not None:
            told += left_out(self.left)
        for by in dict.fromkeys(group.by for group in self.slices):
            found = slices.worst(self.slices, by)
            ways = {"selection": "the selection", "uniform": "uniform", "full": "every row"}
            column = None if self.sliced is None else self.sliced.column
            each = [f"{number(getattr(g, w), column)} with {ways[w]} ({g.name})" for w, g in found.items()]
            told.append(f"worst {by}: {', '.join(each)}")
        return [*told, *self.notes]


def _better(line: Line) -> str:
    """Whether the selection is better, in a word."""
    if not line.measure.sign or not line.p < 0.05:
        return ""
    return "better" if line.difference.mean * line.measure.sign > 0 else "worse"


def evaluate(
    run: Path,
    executor: Executor,
    progress: Progress | None = None,
    *,
    files: Sequence[str] = (),
    seeds: int | None = None,
) -> Evaluated:
    """Evaluate the published selection of a run.

    Parameters
    ----------
    run : the folder of a finished run
    files : of test rows; those of the configuration unless given
    seeds : how often what is random is repeated; as the configuration says unless given

    Raises
    ------
    ConfigError : if there is no finished run
    DataError : if nothing is left to test on
    """
    config = _config(run, files, seeds)
    context = Context(config, executor, progress or Silent())
    with pipeline.alone(context):
        pool, before = pipeline.finished(config, context.progress)
        told = _evaluated(context, pool, before.selected)
        shards.write_json(context.folder / split.FOLDER / "evaluate.json", told.as_dict())
    return told


def _config(run: Path, files: Sequence[str], seeds: int | None) -> RunConfig:
    from curate.settings.config import load

    path = run / "config.yaml"
    if not path.exists():
        raise ConfigError("there is no run here", where=str(run), hint="run: curate run CONFIG")
    config = load(path)
    return replace(config, run=str(run), evaluate=choices.asked(config.evaluate, files, seeds))


def _evaluated(context: Context, pool: PoolColumns, selected: Selected) -> Evaluated:
    config = context.config
    everything, tested = split.whole(context, pool), split.tested(context, pool)
    entries, refused = measures.chosen(config)
    seeds = range(config.seed, config.seed + config.evaluate.seeds)
    published = [Choice(ledger=selected, seed=seed) for seed in seeds]
    learning = [entry for entry in entries if entry.spec.plugin().traits.learns]
    others = [entry for entry in entries if entry not in learning]
    arms = _Arms.of(context, everything, published, others, full=False)
    lines = arms.lines(others)
    if tested.test is None:
        published = [Choice(entries=_again(opened(tested), pool.n, config.select), seed=seed) for seed in seeds]
    learnt = _Arms.of(context, tested, published, learning, full=True)
    lines += learnt.lines(learning)
    p = holm([line.difference.p if line.measure.sign else math.nan for line in lines]).tolist()
    first = next((measure for measure in measures.of(learning) if measure.of_labels and measure.sign), None)
    return Evaluated(
        run=config.run,
        seeds=len(seeds),
        rows=len(arms.selection[0].chosen.order),
        pool=pool.n,
        tested=_told(opened(tested)),
        lines=tuple(replace(line, p=corrected) for line, corrected in zip(lines, p, strict=True)),
        sliced=first,
        slices=() if first is None else tuple(learnt.slices(first)),
        left=opened(tested).left(),
        notes=(
            *refused,
            *seeds_only(measures.of(learning), learnt.selection),
            *notes({"": [*arms.selection, *learnt.selection]}),
        ),
    )


def _told(rows: Opened) -> str:
    asked = rows.split.config.evaluate
    if rows.split.test is not None:
        return (
            f"models learn from the published selection and are tested on the {len(rows.test):,} rows of the test files"
        )
    return (
        f"models learn from the same selectors' choice of the other rows and are tested on the {len(rows.test):,} rows "
        f"({asked.holdout_rate:.0%} of the texts) held out of the pool, which clusters and scores have seen"
    )


def _again(rows: Opened, n: int, entries: Sequence[SelectEntry]) -> tuple[SelectEntry, ...]:
    """The select section for fewer rows: a number of rows or tokens shrinks with them."""

    def shrunk(entry: SelectEntry) -> SelectEntry:
        budget = entry.budget
        for key in ("keep", "keep_tokens"):
            if budget is not None and (number := getattr(budget, key)) is not None:
                return replace(entry, budget=Budget(**{key: max(1, number * len(rows.train) // n)}))
        return entry

    return tuple(shrunk(entry) for entry in entries)


@dataclass(frozen=True, slots=True)
class _Arms:
    """The trials of a selection, of uniform ones of the same size, and of every row, one a seed."""

    rows: Split
    selection: list[Tried]
    uniform: list[Tried]
    full: list[Tried]

    @classmethod
    def of(
        cls, context: Context, rows: Split, chosen: Sequence[Choice], metrics: Sequence[MetricEntry], *, full: bool
    ) -> _Arms:
        selection = trials.run(context, "measuring the selection", rows, chosen, metrics)
        uniform = [
            Choice(entries=(choices.uniform(len(tried.chosen.order)),), seed=choice.seed)
            for choice, tried in zip(chosen, selection, strict=True)
        ]
        every = [Choice(seed=choice.seed) for choice in chosen] if full and metrics else []
        others = trials.run(context, "measuring uniform selections", rows, [*uniform, *every], metrics)
        return cls(rows, selection, others[: len(uniform)], others[len(uniform) :])

    def lines(self, metrics: Sequence[MetricEntry]) -> list[Line]:
        return [
            Line(
                measure,
                measure.estimate(self.selection),
                measure.estimate(self.uniform),
                measure.difference(self.selection, self.uniform),
                math.nan,
                measure.estimate(self.full) if self.full else None,
            )
            for measure in measures.of(metrics)
        ]

    def slices(self, measure: Measure) -> list[Slice]:
        return slices.of(opened(self.rows), measure, self.selection, self.uniform, self.full)
