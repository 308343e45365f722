"""Notes on the interpretation of the numbers of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from curate.evaluation.metric_values import Measure
from curate.evaluation.split import ExcludedRows
from curate.evaluation.trials import TrialResult
from curate.report.formatting import count, join_words, plural, short

IDS = 3
"""Maximum number of ids listed for excluded rows."""


def seeds_only_notes(measures: Iterable[Measure], results: Sequence[TrialResult]) -> list[str]:
    """Return a note on intervals that ignore the choice of test rows, because their individual outcomes are unknown."""
    names = [measure.name for measure in measures if measure.learns and measure.hits(results) is None]
    line = f"the confidence intervals of {join_words(names)} account for the seeds, but not for the choice of test rows"
    return [line] if names else []


def epoch_plan_notes(names: Sequence[str]) -> list[str]:
    """Return a note on how epoch plans are compared."""
    verb = "plans" if len(names) == 1 else "plan"
    line = (
        f"metrics that use weights count a row once per epoch that uses it, because {join_words(list(names))} {verb} "
        "epochs; the random baseline has the same number of distinct rows"
    )
    return [line] if names else []


def metric_notes(results: Mapping[str, Sequence[TrialResult]]) -> list[str]:
    """Return the notes of metrics on trials, each kind once, as their numbers and names differ between trials.

    Parameters
    ----------
    results : mapping of str to sequence of TrialResult
        Trials by group. A note that does not apply to all groups lists its groups.
    """
    groups_of: dict[str, list[str]] = {}
    for group, trials in results.items():
        for trial in trials:
            for metric, measured in trial.measured.items():
                for note in measured.notes:
                    kind = re.sub(r"\d[\d,.]*", "some", note.partition(":")[0])
                    groups_of.setdefault(f"{metric}: {kind}", []).append(group)
    distinct = {note: list(dict.fromkeys(groups)) for note, groups in groups_of.items()}
    partial = {note: [] if len(groups) == len(results) else groups for note, groups in distinct.items()}
    return [f"{note} ({join_words(groups)})" if groups else note for note, groups in partial.items()]


def excluded_rows_notes(excluded: ExcludedRows) -> list[str]:
    """Return notes on test rows that were excluded, and why."""
    lines = []
    if excluded.overlapping:
        ids = ", ".join(short(name, 40) for name in excluded.overlapping[:IDS])
        more = f" and {count(len(excluded.overlapping) - IDS)} more" if len(excluded.overlapping) > IDS else ""
        rows = plural(len(excluded.overlapping), "test row")
        lines.append(
            f"{rows} {_be(len(excluded.overlapping))} excluded, because the pool contains the same text: {ids}{more}"
        )
    if excluded.unlabeled:
        rows = plural(excluded.unlabeled, "test row")
        lines.append(f"{rows} without a label {_be(excluded.unlabeled)} excluded from the metrics that read labels")
    if excluded.unknown:
        rows = plural(excluded.unknown, "test row")
        verb = _be(excluded.unknown)
        lines.append(f"{rows} with a label that is not in the pool {verb} excluded from the metrics that read labels")
    return lines


def _be(n: int) -> str:
    return "is" if n == 1 else "are"
