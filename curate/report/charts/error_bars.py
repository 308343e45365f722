"""Draws what an evaluation measured: the selection, uniform ones and every row on one axis, with what chance may do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curate.report import evaluation_text
from curate.report.charts.bars import Figure, Trace, safe
from curate.report.evaluation_data import Estimate, Evaluation, Line
from curate.report.formatting import begun, number, plus_minus, signed

_MARKS = {
    "selection": ("This selection", "@kept", "circle", 13),
    "uniform": ("Uniform", "@uniform", "diamond", 11),
    "full": ("Every row", "@muted", "square", 9),
}
"""Name, colour, shape and size; colour and shape together tell them apart, in print and for any colour vision."""

_APART = 0.26
"""Between the marks of one place, of the distance between places, where each has a height of its own."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A line of a chart: its name, an estimate for each mark, and what is written beside it."""

    name: str
    found: Mapping[str, Estimate | None]
    beside: str = ""
    """Beside all marks, which then share a height; "": each has its own, with its mean beside it."""


def of_models(found: Evaluation) -> list[Figure]:
    """What models reach, one chart for each thing that is measured; the one that the verdict goes by first."""
    lines = [line for line in found.metrics if line.learns and line.sign]
    lines.sort(key=lambda line: line.name != found.primary)
    figures: list[Figure] = []
    for of, unit in dict.fromkeys((line.quantity, line.unit) for line in lines):
        own = [line for line in lines if (line.quantity, line.unit) == (of, unit)]
        first, title = own[0].name == found.primary, begun(of.replace("_", " "))
        side = f"{'higher' if own[0].higher_is_better else 'lower'} is better"
        note = "Means over seeds; the bars are 95 % confidence intervals."
        drawn = _drawn(
            "models" if first else f"probes-{len(figures)}",
            evaluation_text.headline(found) if first else title,
            f"{note} {begun(found.tested)}." if first else note,
            f"{title}, {side}" if own[0].rate or not unit else f"{title} ({unit}), {side}",
            [_Place(_model(line), {way: getattr(line, way) for way in _MARKS}) for line in own],
            rate=own[0].rate,
        )
        figures.append(drawn)
    return figures


def of_groups(found: Evaluation) -> Figure | None:
    """The groups of test rows that lose most; None without groups."""
    groups, line = found.slices[: evaluation_text.WORST], found.line(found.sliced)
    if not groups or line is None:
        return None
    places = []
    for group in groups:
        means = {way: Estimate(getattr(group, way), math.nan, math.nan) for way in _MARKS}
        means["selection"] = Estimate(group.selection, group.lost.half_width, math.nan)
        lost = Estimate(group.lost.mean, math.nan, math.nan)
        places.append(_Place(evaluation_text.named(group), means, signed(lost, rate=line.rate)))
    full, left = (number(share, rate=line.rate) for share in (groups[0].full, groups[0].selection))
    return _drawn(
        "groups",
        f"{begun(places[0].name)} loses most: {full} with every row, {left} with this selection",
        "On groups of the test rows; beside them the selection less every row. Where the bar, the 95 % interval of "
        f"that difference, reaches the square, it may be chance, as the worst of {len(found.slices):,} often are.",
        evaluation_text.titled(line),
        places,
        rate=line.rate,
    )


def _model(line: Line) -> str:
    """What learnt: the name without what it measures."""
    return begun(line.name.removesuffix(f"_{line.quantity}").replace("_", " "))


def _drawn(key: str, title: str, note: str, axis: str, places: Sequence[_Place], *, rate: bool) -> Figure:
    """Places from top to bottom, their names on the left, and numbers in a column on the right."""
    traces: list[Trace] = []
    beside = [(float(at), place.beside) for at, place in enumerate(places) if place.beside]
    told, scale = [], 100 if rate else 1
    for row, (way, (name, role, symbol, size)) in enumerate(_MARKS.items()):
        known = [(at, place, each) for at, place in enumerate(places) if (each := place.found[way]) is not None]
        heights = [at if place.beside else at + (row - 1) * _APART for at, place, _ in known]
        words = [f"{place.name}, {name.lower()}: {plus_minus(each, rate=rate)}" for _, place, each in known]
        widths = [None if math.isnan(each.half_width) else scale * each.half_width for _, _, each in known]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [scale * each.mean for _, _, each in known],
                "y": heights,
                "text": [safe(word, 120) for word in words],
                "hovertemplate": "%{text}<extra></extra>",
                "error_x": {"type": "data", "array": widths, "color": role, "thickness": 2, "width": 5},
                "marker": {"color": role, "symbol": symbol, "size": size, "line": {"color": "@surface", "width": 1}},
            }
        )
        means = [(height, number(each.mean, rate=rate)) for height, (_, _, each) in zip(heights, known, strict=True)]
        beside += [] if places[0].beside else means
        told += words
    label = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 8, "yanchor": "middle", "showarrow": False}
    font = {"color": "@muted", "size": 12}
    return Figure(
        key=key,
        title=title,
        alt=f"{axis}. {'; '.join(told)}.",
        note=note,
        height=80 + (32 if places[0].beside else 60) * len(places),
        data=traces,
        layout={
            "margin": {"l": 6, "r": 62, "t": 10, "b": 8},
            "xaxis": {"title": {"text": safe(axis)}, "nticks": 5, "tickangle": 0, "ticksuffix": " %" if rate else ""},
            "yaxis": {
                "tickvals": list(range(len(places))),
                "ticktext": [safe(place.name, 18) for place in places],
                "range": [len(places) - 0.5, -0.5],
                "showgrid": False,
                "ticklen": 6,
            },
            "annotations": [{**label, "y": height, "text": text, "font": font} for height, text in beside],
        },
    )
