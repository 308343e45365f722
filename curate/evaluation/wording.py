"""How the numbers of an evaluation are written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from curate.evaluation.estimates import Estimate
from curate.evaluation.measures import Measure
from curate.evaluation.split import Left
from curate.evaluation.trials import Tried
from curate.plugins.kinds import MetricColumn
from curate.report.wording import DASH, count, listed, plural, short, value

IDS = 3
"""Ids named of rows that were left out."""


def is_rate(column: MetricColumn | None) -> bool:
    """Whether it is a share, which is written in per cent."""
    return column is not None and column.unit.startswith("share of ") and column.range == (0, 1)


def number(found: float, column: MetricColumn | None) -> str:
    """
    >>> share = MetricColumn(higher_is_better=True, unit="share of rows", range=(0, 1))
    >>> number(0.8971, share), number(12.5, MetricColumn(higher_is_better=None)), number(math.nan, share)
    ('89.7 %', '12.5', '–')
    """
    if math.isnan(found):
        return DASH
    return f"{100 * found:.1f} %" if is_rate(column) else value(found)


def plus_minus(found: Estimate, column: MetricColumn | None) -> str:
    """A mean, with how far chance may have moved it where that is known.

    >>> plus_minus(Estimate(0.8971, 0.0149, 0), MetricColumn(higher_is_better=True, unit="share of rows", range=(0, 1)))
    '89.7 ± 1.5 %'
    """
    if math.isnan(found.half_width):
        return number(found.mean, column)
    if is_rate(column):
        return f"{100 * found.mean:.1f} ± {100 * found.half_width:.1f} %"
    return f"{value(found.mean)} ± {value(found.half_width)}"


def signed(found: Estimate, column: MetricColumn | None) -> str:
    """A difference with its sign; of shares in percentage points.

    >>> signed(Estimate(0.096, 0.0149, 0), MetricColumn(higher_is_better=True, unit="share of rows", range=(0, 1)))
    '+9.6 ± 1.5'
    """
    told = plus_minus(found, column).removesuffix(" %").replace("-", "−")
    return f"+{told}" if found.mean > 0 else told


def points(by: float, half_width: float, column: MetricColumn, name: str) -> str:
    """By how much, in words.

    >>> points(0.096, 0.0149, MetricColumn(higher_is_better=True, unit="share of rows", range=(0, 1)), "accuracy")
    '9.6 ± 1.5 points of accuracy'
    """
    scale, unit = (100, f"points of {name}") if is_rate(column) else (1, f"in {name}")
    told = [f"{scale * part:.1f}" if scale > 1 else value(part) for part in (by, half_width)]
    return f"{' ± '.join(told)} {unit}"


def probability(p: float) -> str:
    """
    >>> probability(0.0004), probability(0.031), probability(math.nan)
    ('<0.001', '0.031', '–')
    """
    if math.isnan(p):
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def seeds_only(measures: Iterable[Measure], tried: Sequence[Tried]) -> list[str]:
    """Which intervals say nothing of the rows that happened to be tested on, as what became of each is not known."""
    names = [measure.name for measure in measures if measure.learns and measure.hits(tried) is None]
    return [f"another test set is not counted in the intervals of {listed(names)}: only the seeds are"] if names else []


def notes(tried: Mapping[str, Sequence[Tried]]) -> list[str]:
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


def left_out(left: Left) -> list[str]:
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
