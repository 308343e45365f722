"""HTML page of a comparison: the verdict, curves over prune rates, quality against time, and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.evaluation import verdict
from curate.evaluation.comparison_result import Cell, Comparison
from curate.evaluation.contenders import UNIFORM
from curate.report.charts.bars import Figure, Trace, View, escape_name
from curate.report.formatting import capitalize, count, number, plural, seconds
from curate.report.html import page_frame, tables
from curate.report.html.page_frame import section
from curate.report.html.tags import Markup, tag
from curate.version import __version__

_ROLES = ("@kept", "@c2", "@c3", "@c5", "@c4", "@c7")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star", "x")
_DASHES = ("solid", "dash", "dot", "dashdot")
"""Dash styles; color, symbol and dash together distinguish selectors, also in print and for color-blind readers."""

_OPACITY = 0.16
_CAPTION = (
    "Mean with its 95 % confidence interval. In brackets: difference from uniform, the random baseline; "
    "* marks significant differences"
)

_RANKS = (
    "Selectors by mean rank, best first. Overlap: Jaccard index of two selections, 1 if they contain the same rows, "
    "0 if they share none"
)
_MEASURES = "Means over seeds; * marks significant differences from the random baseline"


def render(comparison: Comparison) -> str:
    """Return the page, which depends only on the comparison."""
    drawn = (
        [_curves(comparison), _front(comparison)] if any(comparison.tested(rate) for rate in comparison.rates) else []
    )
    charts = {figure.key: page_frame.figure(figure) for figure in drawn}
    notes = [tag("p", f"{_begin(line, comparison)}.", class_="aside") for line in verdict.about(comparison)[1:]]
    sections = [
        section("curves", f"{_title(comparison)} by prune rate", [charts.get("curves")]),
        section("grid", "All selectors at all prune rates", [tables.plain(_CAPTION, verdict.grid_table(comparison))]),
        section(
            "ranks",
            "Ranking, time and stability",
            [tables.plain(_RANKS, verdict.rank_table(comparison))],
        ),
        section("front", "Quality and time", [charts.get("front")]),
        section(
            "measures", "p values and other measures", [tables.plain(_MEASURES, verdict.measure_table(comparison))]
        ),
        section("notes", "Notes", notes),
    ]
    title = f"{verdict.sentence(comparison)} · {comparison.run}"
    return page_frame.document(title, _header(comparison), sections, drawn, __version__)


def _header(comparison: Comparison) -> Markup:
    text = verdict.sentence(comparison)
    where = "held out from the pool" if comparison.held_out else "from the test files"
    tiles = [
        ("Rows to select from", count(comparison.rows), f"{count(comparison.test_rows)} test rows {where}"),
        (
            "Selectors",
            count(len(comparison.selectors)),
            f"and the random baseline, at {plural(len(comparison.rates), 'prune rate')}",
        ),
        ("Seeds", count(comparison.seeds), "random seeds per selector and rate"),
    ]
    return tag(
        "header",
        tag("p", tag("span", "curate", class_="brand"), tag("span", comparison.run), class_="run"),
        tag("h1", capitalize(text.partition(": ")[0])),
        tag("p", f"{capitalize(text.partition(': ')[2])}. {capitalize(verdict.price(comparison))}.", class_="story"),
        tag("dl", *(page_frame.tile(*tile) for tile in tiles), class_="tiles"),
    )


def _begin(note: str, comparison: Comparison) -> str:
    return note if note.partition(" ")[0] in comparison.selectors else capitalize(note)


def _title(comparison: Comparison) -> str:
    return capitalize(comparison.primary.name.replace("_", " "))


# ---------------------------------------------------------------- charts


def _curves(comparison: Comparison) -> Figure:
    """Draw the primary measure over prune rates, with bands for the confidence intervals."""
    traces: list[Trace] = []
    owners: list[str] = []
    for index, name in enumerate((*comparison.selectors, UNIFORM)):
        cells = [cell for rate in comparison.rates for cell in comparison.tested(rate) if cell.selector == name]
        for trace in (_band(comparison, cells, index), _line(comparison, cells, index)):
            if cells and trace is not None:
                traces.append(trace)
                owners.append(name)
    traces.append(_all_rows(comparison))
    owners.append("")
    both = ["", UNIFORM]
    views = [
        View(
            label="All",
            shown=[owner in both or "fill" not in trace for owner, trace in zip(owners, traces, strict=True)],
        )
    ]
    views += [View(label=name, shown=[owner in (name, *both) for owner in owners]) for name in comparison.selectors]
    return Figure(
        key="curves",
        title=f"{_title(comparison)} by prune rate",
        alt="; ".join(_describe_points(comparison, name) for name in (*comparison.selectors, UNIFORM)),
        note="Means over seeds; the bands are 95 % confidence intervals, and the dotted line shows the value for all "
        "rows. Use the buttons to compare one selector with uniform, the random baseline.",
        height=420,
        data=traces,
        layout={
            "xaxis": {"title": {"text": "Prune rate"}, "tickvals": list(comparison.rates), "showgrid": False},
            "yaxis": _percent(comparison),
        },
        views=views,
    )


def _describe_points(comparison: Comparison, name: str) -> str:
    cells = [cell for rate in comparison.rates for cell in comparison.tested(rate) if cell.selector == name]
    points = [
        f"{number(cell.values[comparison.primary.name].mean, rate=comparison.primary.rate)} at {cell.rate:g}"
        for cell in cells
    ]
    return f"{name}: {', '.join(points) or 'not tested'}"


def _percent(comparison: Comparison) -> dict[str, object]:
    return {"tickformat": ".0%"} if comparison.primary.rate else {}


def _role(comparison: Comparison, index: int) -> str:
    return "@uniform" if index == len(comparison.selectors) else _ROLES[index % len(_ROLES)]


def _symbol(comparison: Comparison, index: int) -> str:
    return "line-ns" if index == len(comparison.selectors) else _SYMBOLS[index % len(_SYMBOLS)]


def _line(comparison: Comparison, cells: Sequence[Cell], index: int) -> Trace:
    name = (*comparison.selectors, UNIFORM)[index]
    role = _role(comparison, index)
    dash = "solid" if name == UNIFORM else _DASHES[index // len(_ROLES) % len(_DASHES)]
    labels = [number(cell.values[comparison.primary.name].mean, rate=comparison.primary.rate) for cell in cells]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escape_name(name),
        "x": [cell.rate for cell in cells],
        "y": [cell.values[comparison.primary.name].mean for cell in cells],
        "text": labels,
        "hovertemplate": escape_name(name) + " at %{x}: %{text}<extra></extra>",
        "line": {"color": role, "width": 3 if name == UNIFORM else 2, "dash": dash},
        "marker": {
            "color": role,
            "symbol": _symbol(comparison, index),
            "size": 10,
            "line": {"color": role, "width": 2},
        },
    }


def _band(comparison: Comparison, cells: Sequence[Cell], index: int) -> Trace | None:
    values = [(cell.rate, cell.values[comparison.primary.name]) for cell in cells]
    known = [(rate, value) for rate, value in values if not math.isnan(value.half_width)]
    if len(known) < 2:
        return None
    upper = [value.mean + value.half_width for _, value in known]
    lower = [value.mean - value.half_width for _, value in known]
    rates = [rate for rate, _ in known]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "",
        "showlegend": False,
        "hoverinfo": "skip",
        "x": rates + rates[::-1],
        "y": upper + lower[::-1],
        "fill": "toself",
        "fillcolor": _role(comparison, index),
        "opacity": _OPACITY,
        "line": {"width": 0, "color": _role(comparison, index)},
    }


def _all_rows(comparison: Comparison) -> Trace:
    """Draw the value for all rows as a horizontal line."""
    mean = comparison.full[comparison.primary.name].mean
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "All rows",
        "x": [comparison.rates[0], comparison.rates[-1]],
        "y": [mean, mean],
        "hovertemplate": f"all rows: {number(mean, rate=comparison.primary.rate)}<extra></extra>",
        "line": {"color": "@muted", "width": 2, "dash": "dot"},
    }


def _front(comparison: Comparison) -> Figure:
    """Draw quality against the time of one selection, one view per prune rate; a line joins the Pareto front."""
    traces: list[Trace] = []
    owners: list[float] = []
    for rate in comparison.rates:
        cells = comparison.tested(rate)
        best = sorted((cell for cell in cells if comparison.on_front(cell)), key=lambda cell: cell.seconds)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front: no selector is better and faster",
                "x": [_time(cell) for cell in best],
                "y": [cell.values[comparison.primary.name].mean for cell in best],
                "hoverinfo": "skip",
                "line": {"shape": "hv", "color": "@muted", "width": 1, "dash": "dash"},
            }
        )
        traces += [_point(comparison, cell) for cell in cells]
        owners += [rate] * (1 + len(cells))
    views = [View(label=f"prune rate {rate:g}", shown=[owner == rate for owner in owners]) for rate in comparison.rates]
    fronts = [
        f"at {rate:g}: {', '.join(cell.selector for cell in comparison.tested(rate) if comparison.on_front(cell))}"
        for rate in comparison.rates
    ]
    return Figure(
        key="front",
        title=f"{_title(comparison)} and time of a selection",
        alt=f"Selectors on the Pareto front of quality and time: {'; '.join(fronts)}.",
        note="Horizontal: time of one selection on one core, including filters. Vertical: mean over seeds, with 95 % "
        "confidence intervals.",
        height=400,
        data=traces,
        layout={
            "xaxis": {"title": {"text": "Seconds (logarithmic)"}, "type": "log", "dtick": 1},
            "yaxis": _percent(comparison),
        },
        views=views if len(views) > 1 else [],
    )


def _time(cell: Cell) -> float:
    return max(cell.seconds, 1e-3)


def _point(comparison: Comparison, cell: Cell) -> Trace:
    index = (*comparison.selectors, UNIFORM).index(cell.selector)
    value, role = cell.values[comparison.primary.name], _role(comparison, index)
    text = f"{number(value.mean, rate=comparison.primary.rate)} in {seconds(cell.seconds)}"
    half_width = None if math.isnan(value.half_width) else value.half_width
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape_name(cell.selector),
        "x": [_time(cell)],
        "y": [value.mean],
        "hovertemplate": f"{escape_name(cell.selector)}: {text}<extra></extra>",
        "error_y": {"type": "data", "array": [half_width], "color": role, "thickness": 1, "width": 4},
        "marker": {
            "color": role,
            "symbol": _symbol(comparison, index),
            "size": 13,
            "line": {"color": role, "width": 2},
        },
    }
