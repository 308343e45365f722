"""The comparison as one page: the verdict, curves over prune rates, quality against time, and the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.evaluation import verdict
from curate.evaluation.comparison_result import Cell, Comparison
from curate.evaluation.contenders import UNIFORM
from curate.report.charts.bars import Figure, Trace, View, safe
from curate.report.formatting import begun, count, number, plural, seconds
from curate.report.html import page_frame, tables
from curate.report.html.page_frame import section
from curate.report.html.tags import Markup, tag
from curate.version import __version__

_ROLES = ("@kept", "@c2", "@c3", "@c5", "@c4", "@c7")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star", "x")
_DASHES = ("solid", "dash", "dot", "dashdot")
"""Colour (none near uniform's), symbol and dash together tell selectors apart, in print and for any colour vision."""

_OPACITY = 0.16
_CAPTION = "Mean with its 95 % confidence interval; in brackets the difference to uniform, * where it is beyond chance"


def render(found: Comparison) -> str:
    """The whole page; its bytes depend on the comparison alone."""
    drawn = [_curves(found), _front(found)] if any(found.tested(rate) for rate in found.rates) else []
    charts = {figure.key: page_frame.figure(figure) for figure in drawn}
    notes = [tag("p", f"{line}.", class_="aside") for line in verdict.about(found)[1:]]
    sections = [
        section("curves", f"{_title(found)} over prune rates", [charts.get("curves")]),
        section("grid", "Every selector at every rate", [tables.plain(_CAPTION, verdict.grid_table(found))]),
        section(
            "ranks", "Who wins where, at what cost, how stably", [tables.plain("Best first", verdict.rank_table(found))]
        ),
        section("front", "Quality against time", [charts.get("front")]),
        section("measures", "The other measures", [tables.plain("Means over seeds", verdict.measure_table(found))]),
        section("notes", "What to know", notes),
    ]
    title = f"{verdict.sentence(found)} · {found.run}"
    return page_frame.document(title, _header(found), sections, drawn, __version__)


def _header(found: Comparison) -> Markup:
    told = verdict.sentence(found)
    where = "held out" if found.held_out else "of the test files"
    tiles = [
        ("Rows to choose from", count(found.rows), f"{count(found.test_rows)} test rows {where}"),
        ("Selectors", count(len(found.selectors)), f"and {UNIFORM}, at {plural(len(found.rates), 'prune rate')}"),
        ("Seeds", count(found.seeds), "of everything that is random"),
    ]
    return tag(
        "header",
        tag("p", tag("span", "curate", class_="brand"), tag("span", found.run), class_="run"),
        tag("h1", begun(told.partition(": ")[0])),
        tag("p", f"{begun(told.partition(': ')[2])}. {begun(verdict.price(found))}.", class_="story"),
        tag("dl", *(page_frame.tile(*tile) for tile in tiles), class_="tiles"),
    )


def _title(found: Comparison) -> str:
    return begun(found.primary.name.replace("_", " "))


# ---------------------------------------------------------------- charts


def _curves(found: Comparison) -> Figure:
    """The primary measure over prune rates; a band for what chance may have moved."""
    traces: list[Trace] = []
    of: list[str] = []
    for at, name in enumerate((*found.selectors, UNIFORM)):
        cells = [cell for rate in found.rates for cell in found.tested(rate) if cell.selector == name]
        for trace in (_band(found, cells, at), _line(found, cells, at)):
            if cells and trace is not None:
                traces.append(trace)
                of.append(name)
    traces.append(_whole(found))
    of.append("")
    both = ["", UNIFORM]
    views = [
        View(label="All", shown=[own in both or "fill" not in trace for own, trace in zip(of, traces, strict=True)])
    ]
    views += [View(label=name, shown=[own in (name, *both) for own in of]) for name in found.selectors]
    return Figure(
        key="curves",
        title=f"{_title(found)} of a model that learns from what is left",
        alt="; ".join(_told(found, name) for name in (*found.selectors, UNIFORM)),
        note="Mean over seeds; the bands are 95 % confidence intervals, and the dotted line is a model that "
        "learns from every row. One selector beside uniform: press its name.",
        height=420,
        data=traces,
        layout={
            "xaxis": {"title": {"text": "Prune rate"}, "tickvals": list(found.rates), "showgrid": False},
            "yaxis": _percent(found),
        },
        views=views,
    )


def _told(found: Comparison, name: str) -> str:
    cells = [cell for rate in found.rates for cell in found.tested(rate) if cell.selector == name]
    points = [
        f"{number(cell.values[found.primary.name].mean, rate=found.primary.rate)} at {cell.rate:g}" for cell in cells
    ]
    return f"{name}: {', '.join(points) or 'not tested'}"


def _percent(found: Comparison) -> dict[str, object]:
    return {"tickformat": ".0%"} if found.primary.rate else {}


def _role(found: Comparison, at: int) -> str:
    return "@uniform" if at == len(found.selectors) else _ROLES[at % len(_ROLES)]


def _symbol(found: Comparison, at: int) -> str:
    return "line-ns" if at == len(found.selectors) else _SYMBOLS[at % len(_SYMBOLS)]


def _line(found: Comparison, cells: Sequence[Cell], at: int) -> Trace:
    name = (*found.selectors, UNIFORM)[at]
    role = _role(found, at)
    dash = "solid" if name == UNIFORM else _DASHES[at // len(_ROLES) % len(_DASHES)]
    written = [number(cell.values[found.primary.name].mean, rate=found.primary.rate) for cell in cells]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": safe(name),
        "x": [cell.rate for cell in cells],
        "y": [cell.values[found.primary.name].mean for cell in cells],
        "text": written,
        "hovertemplate": safe(name) + " at %{x}: %{text}<extra></extra>",
        "line": {"color": role, "width": 3 if name == UNIFORM else 2, "dash": dash},
        "marker": {"color": role, "symbol": _symbol(found, at), "size": 10, "line": {"color": role, "width": 2}},
    }


def _band(found: Comparison, cells: Sequence[Cell], at: int) -> Trace | None:
    values = [(cell.rate, cell.values[found.primary.name]) for cell in cells]
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
        "fillcolor": _role(found, at),
        "opacity": _OPACITY,
        "line": {"width": 0, "color": _role(found, at)},
    }


def _whole(found: Comparison) -> Trace:
    mean = found.full[found.primary.name].mean
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Every row",
        "x": [found.rates[0], found.rates[-1]],
        "y": [mean, mean],
        "hovertemplate": f"every row: {number(mean, rate=found.primary.rate)}<extra></extra>",
        "line": {"color": "@muted", "width": 2, "dash": "dot"},
    }


def _front(found: Comparison) -> Figure:
    """Quality against what one selection takes, a view for each rate; the front is joined by a line."""
    traces: list[Trace] = []
    of: list[float] = []
    for rate in found.rates:
        cells = found.tested(rate)
        best = sorted((cell for cell in cells if found.on_front(cell)), key=lambda cell: cell.seconds)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "No selector is better without taking longer",
                "x": [_time(cell) for cell in best],
                "y": [cell.values[found.primary.name].mean for cell in best],
                "hoverinfo": "skip",
                "line": {"shape": "hv", "color": "@muted", "width": 1, "dash": "dash"},
            }
        )
        traces += [_point(found, cell) for cell in cells]
        of += [rate] * (1 + len(cells))
    views = [View(label=f"prune {rate:g}", shown=[own == rate for own in of]) for rate in found.rates]
    fronts = [
        f"at {rate:g}: {', '.join(cell.selector for cell in found.tested(rate) if found.on_front(cell))}"
        for rate in found.rates
    ]
    return Figure(
        key="front",
        title="What a selection takes, and what it gives",
        alt=f"Selectors that none beats without taking longer: {'; '.join(fronts)}.",
        note="Seconds of one selection on one core, filters included, against the mean over seeds; vertical bars are "
        "95 % confidence intervals.",
        height=400,
        data=traces,
        layout={
            "xaxis": {"title": {"text": "Seconds, each step ten times the last"}, "type": "log", "dtick": 1},
            "yaxis": _percent(found),
        },
        views=views if len(views) > 1 else [],
    )


def _time(cell: Cell) -> float:
    return max(cell.seconds, 1e-3)


def _point(found: Comparison, cell: Cell) -> Trace:
    at = (*found.selectors, UNIFORM).index(cell.selector)
    value, role = cell.values[found.primary.name], _role(found, at)
    told = f"{number(value.mean, rate=found.primary.rate)} in {seconds(cell.seconds)}"
    half_width = None if math.isnan(value.half_width) else value.half_width
    return {
        "type": "scatter",
        "mode": "markers",
        "name": safe(cell.selector),
        "x": [_time(cell)],
        "y": [value.mean],
        "hovertemplate": f"{safe(cell.selector)}: {told}<extra></extra>",
        "error_y": {"type": "data", "array": [half_width], "color": role, "thickness": 1, "width": 4},
        "marker": {
            "color": role,
            "symbol": _symbol(found, at),
            "size": 13,
            "line": {"color": role, "width": 2},
        },
    }
