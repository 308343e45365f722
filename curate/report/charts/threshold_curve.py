"""Chart of the share of rows that a deduplicating entry keeps at each threshold."""

from __future__ import annotations

from collections.abc import Sequence

from curate.kernels.neighbors.retention import RecallSample
from curate.report.charts.bars import Figure, Trace
from curate.report.formatting import capitalize, count, plural, share
from curate.report.report_data import EntryRetention

_LOWEST = 0.3
"""Lowest threshold that is drawn, unless the configured one is lower."""

_SURELY = 0.999
"""Probability of comparing a pair above which missed pairs are not mentioned."""

_STEP = 10
"""Distance in hundredths from the configured threshold to the others in the title."""


def draw_retention(number: int, part: EntryRetention) -> Figure:
    """Draw the share of rows that each threshold keeps, and the probability that a pair of rows is compared."""
    used = max(0, round(100 * part.threshold))
    first = max(0, min(round(100 * _LOWEST), used - _STEP))
    thresholds = [hundredths / 100 for hundredths in range(first, 101)]
    traces = [_line(thresholds, _shares(part)[first:], "Rows kept", "@kept", "solid")]
    notes = [
        f"Share of the rows read by {part.entry} that are kept at each threshold: rows without an earlier row of at "
        "least this similarity. The dotted line marks the configured threshold."
    ]
    if part.compared_rates and min(part.compared_rates[first:]) < _SURELY:
        traces.append(_line(thresholds, part.compared_rates[first:], "Probability of comparison", "@muted", "dash"))
        notes.append(
            "Dashed: probability that two rows of this similarity are compared. Where it is low, duplicates are "
            "missed; to see more of the curve, lower min_similarity and run again."
        )
    if part.sample is not None:
        notes.append(describe_missed(part.sample))
    return Figure(
        key=f"retention-{number}",
        title=title(part),
        alt=f"Share of rows kept by threshold of the {part.similarity}. {title(part)}.",
        note=" ".join(notes),
        height=300,
        data=traces,
        layout={
            "xaxis": {"title": {"text": capitalize(part.similarity)}, "showgrid": False, "range": [thresholds[0], 1]},
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
    """Return the title: the share of duplicates at the configured threshold, and at a lower and a higher one.

    >>> kept = (180,) * 101
    >>> title(EntryRetention(entry="semdedup", similarity="cosine similarity", threshold=0.9, rows=200, kept=kept))
    'semdedup: duplicates are 10 % of the rows at 0.9, 10 % at 0.8, 10 % at 1'
    """
    used = max(0, round(100 * part.threshold))
    thresholds = [hundredths for hundredths in (used, used - _STEP, used + _STEP) if 0 <= hundredths <= 100]
    dropped = [f"{share(1 - _shares(part)[hundredths])} at {hundredths / 100:g}" for hundredths in thresholds]
    first, _, rest = dropped[0].partition(" at ")
    return f"{part.entry}: duplicates are {', '.join([f'{first} of the rows at {rest}', *dropped[1:]])}"


def describe_missed(sample: RecallSample) -> str:
    """Return a sentence on the number of duplicates that were missed in a sample.

    >>> describe_missed(RecallSample(rows=1000, pairs=412, missed=9))
    'In a sample of 1,000 rows that were compared with all others, 9 of 412 pairs of duplicates (2.2 %) were missed.'
    """
    rows = f"In a sample of {plural(sample.rows, 'row')} that were compared with all others"
    if not sample.pairs:
        return f"{rows}, there are no duplicates."
    pairs = f"{count(sample.missed)} of {plural(sample.pairs, 'pair')} of duplicates"
    return f"{rows}, {pairs} ({share(sample.missed / sample.pairs)}) were missed."


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
