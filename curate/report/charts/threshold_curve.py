"""Draws how many rows each threshold of a de-duplication keeps, so that one can be chosen by eye."""

from __future__ import annotations

from collections.abc import Sequence

from curate.kernels.neighbors.retention import RecallSample
from curate.report.charts.bars import Figure, Trace
from curate.report.formatting import begun, count, plural, share
from curate.report.report_data import EntryRetention

_LOWEST = 0.3
"""Thresholds below are not drawn, unless the one in use is."""

_SURELY = 0.999
"""Pairs that are compared at least as often are not said to be missed."""

_BESIDE = 10
"""Hundredths from the threshold in use to those that are told beside it."""


def of_retention(number: int, part: EntryRetention) -> Figure:
    """The share of rows that each threshold keeps, and how surely two rows of that similarity are compared."""
    used = max(0, round(100 * part.threshold))
    first = max(0, min(round(100 * _LOWEST), used - _BESIDE))
    thresholds = [hundredths / 100 for hundredths in range(first, 101)]
    traces = [_line(thresholds, _shares(part)[first:], "Rows kept", "@kept", "solid")]
    notes = [f"Share of {part.entry}’s rows that no row before them is as similar to; dotted: the threshold in use."]
    if part.found and min(part.found[first:]) < _SURELY:
        traces.append(_line(thresholds, part.found[first:], "Pairs compared", "@muted", "dash"))
        notes.append(
            "Dashed: how surely two rows of that similarity are compared. Where it falls, so does what is seen: lower "
            "min_similarity and run again to see more."
        )
    if part.sample is not None:
        notes.append(missed(part.sample))
    return Figure(
        key=f"retention-{number}",
        title=title(part),
        alt=f"Rows kept by threshold on the {part.similarity}. {title(part)}.",
        note=" ".join(notes),
        height=300,
        data=traces,
        layout={
            "xaxis": {"title": {"text": begun(part.similarity)}, "showgrid": False, "range": [thresholds[0], 1]},
            "yaxis": {"tickformat": ".0%", "rangemode": "tozero", "nticks": 6},
            "shapes": [
                {
                    **{"type": "line", "x0": part.threshold, "x1": part.threshold, "y0": 0, "y1": 1, "yref": "paper"},
                    "line": {"color": "@muted", "width": 1, "dash": "dot"},
                }
            ],
        },
        wide=False,
    )


def title(part: EntryRetention) -> str:
    """What the threshold in use drops, and what one below it and one above would.

    >>> title(EntryRetention(entry="semdedup", similarity="cosine similarity", threshold=0.9, rows=200, kept=(180,) * 101))
    'semdedup: duplicates are 10 % of the rows at 0.9, 10 % at 0.8, 10 % at 1'
    """
    used = max(0, round(100 * part.threshold))
    told = [hundredths for hundredths in (used, used - _BESIDE, used + _BESIDE) if 0 <= hundredths <= 100]
    dropped = [f"{share(1 - _shares(part)[hundredths])} at {hundredths / 100:g}" for hundredths in told]
    first, _, rest = dropped[0].partition(" at ")
    return f"{part.entry}: duplicates are {', '.join([f'{first} of the rows at {rest}', *dropped[1:]])}"


def missed(sample: RecallSample) -> str:
    """How many duplicates were not compared.

    >>> missed(RecallSample(rows=1000, pairs=412, missed=9))
    '1,000 rows were compared with all others: of the 412 pairs of duplicates that they are in, 9 (2.2 %) are missed.'
    """
    found = f"{plural(sample.rows, 'row')} were compared with all others"
    if not sample.pairs:
        return f"{found}: they are in no pair of duplicates."
    told = f"{found}: of the {plural(sample.pairs, 'pair')} of duplicates that they are in, {count(sample.missed)}"
    return f"{told} ({share(sample.missed / sample.pairs)}) are missed."


def _shares(part: EntryRetention) -> list[float]:
    return [kept / max(1, part.rows) for kept in part.kept]


def _line(x: Sequence[float], y: Sequence[float], name: str, role: str, dash: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": [round(value, 5) for value in y],
        "line": {"color": role, "width": 2, "dash": dash},
        "hovertemplate": "%{x:.2f}: %{y:.1%}<extra>" + name + "</extra>",
    }
