"""What a reader must know of the numbers of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from curate.evaluation.metric_values import Measure
from curate.evaluation.split import ExcludedRows
from curate.evaluation.trials import TrialResult
from curate.report.formatting import count, listed, plural, short

IDS = 3
"""Ids named of rows that were left out."""


def seeds_only_notes(measures: Iterable[Measure], tried: Sequence[TrialResult]) -> list[str]:
    """Which intervals say nothing of the rows that happened to be tested on, as what became of each is not known."""
    names = [measure.name for measure in measures if measure.learns and measure.hits(tried) is None]
    return [f"another test set is not counted in the intervals of {listed(names)}: only the seeds are"] if names else []


def epoch_plan_notes(names: Sequence[str]) -> list[str]:
    """How selectors that plan epochs are judged."""
    what = "plans" if len(names) == 1 else "plan"
    counted = "where a metric weighs rows, each counts as often as epochs use it"
    told = f"{listed(list(names))} {what} epochs: {counted}; uniform beside it has as many different rows"
    return [told] if names else []


def metric_notes(tried: Mapping[str, Sequence[TrialResult]]) -> list[str]:
    """What metrics noted of trials, each kind of note once: numbers and names in it differ from trial to trial.

    Parameters
    ----------
    tried : by the name of what was tried, which is told unless it is everything
    """
    found: dict[str, list[str]] = {}
    for where, each in tried.items():
        for trial in each:
            for metric, measured in trial.measured.items():
                for note in measured.notes:
                    kind = re.sub(r"\d[\d,.]*", "some", note.partition(":")[0])
                    found.setdefault(f"{metric}: {kind}", []).append(where)
    told = {note: list(dict.fromkeys(where)) for note, where in found.items()}
    some = {note: [] if len(where) == len(tried) else where for note, where in told.items()}
    return [f"{note} ({listed(where)})" if where else note for note, where in some.items()]


def excluded_rows_notes(left: ExcludedRows) -> list[str]:
    """Which test rows were not tested on, and why."""
    told = []
    if left.overlapping:
        some = ", ".join(short(name, 40) for name in left.overlapping[:IDS])
        more = f" and {count(len(left.overlapping) - IDS)} more" if len(left.overlapping) > IDS else ""
        told.append(f"{plural(len(left.overlapping), 'test row')} left out, in the pool too: {some}{more}")
    if left.unlabelled:
        told.append(f"{plural(left.unlabelled, 'test row')} without a label, left out by metrics that read labels")
    if left.unknown:
        told.append(
            f"{plural(left.unknown, 'test row')} with a label that the pool does not have, left out by the same"
        )
    return told
