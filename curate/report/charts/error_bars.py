"""Charts of an evaluation: the selection, the random baseline and all rows on one axis, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curate.report import evaluation_text
from curate.report.charts.bars import Figure, Trace, escape_name
from curate.report.evaluation_data import Estimate, Evaluation, Line
from curate.report.formatting import capitalize, number, plus_minus, signed

_MARKS = {
    "selection": ("This selection", "@kept", "circle", 13),
    "uniform": ("Random baseline", "@uniform", "diamond", 11),
    "full": ("All rows", "@muted", "square", 9),
}
"""Name, color, shape and size; color and shape distinguish the marks, also in print and for color-blind readers."""

_APART = 0.26
"""Vertical distance between the marks of a line, as a share of the distance between lines."""


@dataclass(frozen=True, slots=True)
class _ChartLine:
    """Line of a chart: its name, an estimate for each mark, and a label."""

    name: str
    estimates: Mapping[str, Estimate | None]
    label: str = ""
    """Label of the line, whose marks then share a height; with "", each mark has its height and its mean as label."""


def draw_models(evaluation: Evaluation) -> list[Figure]:
    """Draw the results of models, one chart per measured quantity, the primary one first."""
    lines = [line for line in evaluation.metrics if line.learns and line.sign]
    lines.sort(key=lambda line: line.name != evaluation.primary)
    figures: list[Figure] = []
    for quantity, unit in dict.fromkeys((line.quantity, line.unit) for line in lines):
        same = [line for line in lines if (line.quantity, line.unit) == (quantity, unit)]
        first, title = same[0].name == evaluation.primary, capitalize(quantity.replace("_", " "))
        side = f"{'higher' if same[0].higher_is_better else 'lower'} is better"
        note = "Means over seeds; the bars are 95 % confidence intervals."
        drawn = _draw(
            "models" if first else f"probes-{len(figures)}",
            evaluation_text.headline(evaluation) if first else title,
            f"{note} {capitalize(evaluation.tested)}." if first else note,
            f"{title}, {side}" if same[0].rate or not unit else f"{title} ({unit}), {side}",
            [_ChartLine(_model(line), {name: getattr(line, name) for name in _MARKS}) for line in same],
            rate=same[0].rate,
        )
        figures.append(drawn)
    return figures


def draw_groups(evaluation: Evaluation) -> Figure | None:
    """Draw the groups of test rows with the largest loss; None without groups."""
    groups, line = evaluation.slices[: evaluation_text.WORST], evaluation.line(evaluation.sliced)
    if not groups or line is None:
        return None
    chart_lines = []
    for group in groups:
        means = {name: Estimate(getattr(group, name), math.nan, math.nan) for name in _MARKS}
        means["selection"] = Estimate(group.selection, group.lost.half_width, math.nan)
        lost = Estimate(group.lost.mean, math.nan, math.nan)
        chart_lines.append(_ChartLine(evaluation_text.group_name(group), means, signed(lost, rate=line.rate)))
    full, selected = (number(share, rate=line.rate) for share in (groups[0].full, groups[0].selection))
    return _draw(
        "groups",
        f"Largest loss: {chart_lines[0].name}, with {full} for all rows and {selected} for this selection",
        "Groups of test rows with the largest loss. Right: difference between the selection and all rows; the bars are "
        "95 % intervals of this difference. A bar that reaches the square is not significant; the largest of "
        f"{len(evaluation.slices):,} differences is often large by chance.",
        evaluation_text.title(line),
        chart_lines,
        rate=line.rate,
    )


def _model(line: Line) -> str:
    """Return the name of the model: the name of the line without the measured quantity."""
    return capitalize(line.name.removesuffix(f"_{line.quantity}").replace("_", " "))


def _draw(key: str, title: str, note: str, axis: str, lines: Sequence[_ChartLine], *, rate: bool) -> Figure:
    """Draw lines from top to bottom, with their names on the left and numbers on the right."""
    traces: list[Trace] = []
    labels = [(float(position), line.label) for position, line in enumerate(lines) if line.label]
    descriptions, scale = [], 100 if rate else 1
    for row, (attribute, (name, role, symbol, size)) in enumerate(_MARKS.items()):
        known = [
            (position, line, each)
            for position, line in enumerate(lines)
            if (each := line.estimates[attribute]) is not None
        ]
        heights = [position if line.label else position + (row - 1) * _APART for position, line, _ in known]
        texts = [f"{line.name}, {name.lower()}: {plus_minus(each, rate=rate)}" for _, line, each in known]
        widths = [None if math.isnan(each.half_width) else scale * each.half_width for _, _, each in known]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [scale * each.mean for _, _, each in known],
                "y": heights,
                "text": [escape_name(text, 120) for text in texts],
                "hovertemplate": "%{text}<extra></extra>",
                "error_x": {"type": "data", "array": widths, "color": role, "thickness": 2, "width": 5},
                "marker": {"color": role, "symbol": symbol, "size": size, "line": {"color": "@surface", "width": 1}},
            }
        )
        means = [(height, number(each.mean, rate=rate)) for height, (_, _, each) in zip(heights, known, strict=True)]
        labels += [] if lines[0].label else means
        descriptions += texts
    label = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 8, "yanchor": "middle", "showarrow": False}
    font = {"color": "@muted", "size": 12}
    return Figure(
        key=key,
        title=title,
        alt=f"{axis}. {'; '.join(descriptions)}.",
        note=note,
        height=80 + (32 if lines[0].label else 60) * len(lines),
        data=traces,
        layout={
            "margin": {"l": 6, "r": 62, "t": 10, "b": 8},
            "xaxis": {
                "title": {"text": escape_name(axis)},
                "nticks": 5,
                "tickangle": 0,
                "ticksuffix": " %" if rate else "",
            },
            "yaxis": {
                "tickvals": list(range(len(lines))),
                "ticktext": [escape_name(line.name, 18) for line in lines],
                "range": [len(lines) - 0.5, -0.5],
                "showgrid": False,
                "ticklen": 6,
            },
            "annotations": [{**label, "y": height, "text": text, "font": font} for height, text in labels],
        },
    )
