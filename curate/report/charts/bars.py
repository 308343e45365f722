"""Draws the charts of a report, as plain dictionaries that plotly.js reads.

A colour is written as a role (``@kept``), which the page resolves from its style sheet, so that charts follow the
colour scheme. Names that come from the data are escaped, as plotly.js reads some HTML in them.
"""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.report import sentences, statistics
from curate.report.formatting import count, plural, share, short, value
from curate.report.report_data import Histogram, Neighbors, Shares

Trace = dict[str, Any]

GROUPS = 15
"""Groups drawn one by one; the smaller ones are summed."""


LINE = 36
"""Characters of a line of an axis title: as many as a chart on a phone has room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One way to look at a figure: the traces that are shown."""

    label: str
    shown: list[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart with its words."""

    key: str
    title: str
    """What it shows: the finding where there is one."""

    alt: str
    """The same for those who do not see it, with the numbers."""

    note: str
    """How to read it."""

    height: int
    data: list[Trace]
    layout: dict[str, object]
    views: list[View] = field(default_factory=list)
    rows: dict[str, object] = field(default_factory=dict)
    """What the card beside a map's point shows, column by column."""

    wide: bool = True


def safe(text: str, length: int = 60) -> str:
    """A name that plotly.js writes as it is."""
    return html.escape(short(text, length), quote=False)


def of_scores(key: str, score: Histogram) -> Figure:
    """One score: kept and dropped rows as bars, a uniform selection as a line; each adds up to 100 %."""
    centres, widths = (score.edges[:-1] + score.edges[1:]) / 2, np.diff(score.edges)
    name = score.name + (f" ({score.unit})" if score.unit else "")
    words = sentences.axis(score)
    notes = [f"Share of each group’s rows by {name}{f'; {words}' if words else ''}."]
    if score.outside:
        notes.append(f"{plural(score.outside, 'value')} beyond the axis counted at its ends.")
    if score.missing:
        notes.append(f"{plural(score.missing, 'row')} without a value left out.")
    if score.fit_note:
        notes.append(f"Learnt from {score.fit_note}.")
    kept, dropped, uniform = score.medians
    return Figure(
        key=key,
        title=sentences.of_scores(score),
        alt=f"Histogram of {name}. Medians: kept {value(kept)}, dropped {value(dropped)}, uniform {value(uniform)}.",
        note=" ".join(notes),
        height=300,
        data=[
            _bars(centres, widths, score.dropped, "Dropped", "@rest-soft"),
            _bars(centres, widths, score.kept, "Kept", "@kept-soft"),
            _steps(score.edges, score.uniform, "Uniform", "@uniform"),
        ],
        layout={
            "barmode": "overlay",
            "bargap": 0,
            "xaxis": {"title": {"text": _lines(score.name, score.unit, words)}, "showgrid": False},
            "yaxis": {"ticksuffix": " %", "rangemode": "tozero", "nticks": 5},
        },
        wide=False,
    )


def of_shares(number: int, part: Shares) -> Figure:
    """Draw groups by their share: the pool as a broad bar, the selection as a narrow one in front, uniform as a mark.

    Groups beyond the largest are summed in the note: as a bar they would set the scale of all.
    """
    order = np.argsort(-part.before, kind="stable")
    first, rest = (order, order[:0]) if len(order) <= GROUPS + 1 else (order[:GROUPS], order[GROUPS:])
    names = [_named(part, int(i)) for i in first]
    sets = [100 * sentences.fractions(each) for each in (part.before, part.after, part.uniform)]
    pool, kept, uniform = (each[first].tolist() for each in sets)
    places = list(range(len(names)))
    hover = [safe(name, 120) for name in names]
    traces: list[Trace] = [
        _lying(places, pool, hover, "Pool", "@rest-soft", 0.78),
        _lying(places, kept, hover, "Kept", "@kept", 0.4),
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Uniform",
            "x": uniform,
            "y": places,
            "text": hover,
            "hovertemplate": "%{text}<br>Uniform: %{x:.1f} %<extra></extra>",
            "marker": {"symbol": "line-ns", "size": 17, "line": {"color": "@uniform", "width": 3}, "color": "@uniform"},
        },
    ]
    largest = int(part.before.argmax())
    told = [share(each[largest] / 100) for each in sets]
    return Figure(
        key=f"shares-{number}",
        title=sentences.of_shares(part),
        alt=(
            f"Bar chart of the {part.grouping}s’ shares. The largest, {short(_named(part, largest), 60)}: pool "
            f"{told[0]}, kept {told[1]}, uniform {told[2]}."
        ),
        note=f"Share of rows by {part.grouping}; broad bar: pool, narrow bar: kept, mark: uniform.{_others(part, rest)}",
        height=110 + 27 * len(names),
        data=traces,
        layout={
            "barmode": "overlay",
            "xaxis": {"ticksuffix": " %", "rangemode": "tozero", "nticks": 6},
            "yaxis": {
                "tickvals": places,
                "ticktext": [safe(name, 26) for name in names],
                "range": [len(names) - 0.5, -0.5],
                "showgrid": False,
                "ticklen": 6,
            },
        },
        wide=False,
    )


def of_neighbors(part: Neighbors) -> Figure:
    """Draw how close each row's nearest neighbor is, in the pool, the selection and a uniform one."""
    sets = [np.clip(each.astype(np.float64), -1, 1) for each in (part.before, part.after, part.uniform)]
    low = min(float(each.min()) for each in sets if len(each))
    edges = np.linspace(min(np.floor(low * 20) / 20, 0.9), 1, 51)
    pool, kept, uniform = (np.histogram(each, edges)[0] for each in sets)
    medians = [statistics.median(each) for each in sets]
    least = part.copies.similarity
    numbers = zip(("pool", "kept", "uniform"), medians, map(share, sentences.copied(part)), strict=True)
    told = "; ".join(f"{name} median {value(middle)}, {near} near-copies" for name, middle, near in numbers)
    line = {"type": "line", "x0": least, "x1": least, "y0": 0, "y1": 1, "yref": "paper"}
    label = {"x": least, "y": 1, "yref": "paper", "text": "near-copies →", "showarrow": False}
    return Figure(
        key="neighbors",
        title=sentences.of_neighbors(part),
        alt=f"Distribution of the similarity to the nearest other row: {told}.",
        note=(
            f"Cosine similarity of each row to its nearest other row{f', {part.method}' if part.method else ''}: {told}. "
            f"{sentences.of_threshold(part.copies)}."
        ),
        height=360,
        data=[
            {**_steps(edges, pool, "Pool", "@rest"), "fill": "tozeroy", "fillcolor": "@rest-fill"},
            _steps(edges, uniform, "Uniform", "@uniform"),
            {**_steps(edges, kept, "Kept", "@kept"), "fill": "tozeroy", "fillcolor": "@kept-fill"},
        ],
        layout={
            "margin": {"l": 6, "r": 10, "t": 26, "b": 8},
            "xaxis": {
                "title": {"text": "Similarity to the nearest other row"},
                "showgrid": False,
                "range": [edges[0], 1],
            },
            "yaxis": {"ticksuffix": " %", "rangemode": "tozero", "nticks": 5},
            "shapes": [{**line, "line": {"color": "@muted", "width": 1, "dash": "dot"}}],
            "annotations": [
                {**label, "xanchor": "right", "yanchor": "bottom", "font": {"color": "@muted", "size": 12}}
            ],
        },
    )


def _others(part: Shares, rest: NDArray[np.intp]) -> str:
    """Return what is said of the groups that are not drawn."""
    if not len(rest):
        return ""
    sets = [share(float(sentences.fractions(each)[rest].sum())) for each in (part.before, part.after, part.uniform)]
    others = f"The {count(len(rest))} other {part.grouping}s, not drawn, are"
    return f" {others} {sets[0]} of the pool, {sets[1]} of the rows kept and {sets[2]} of a uniform selection."


def _lines(*texts: str) -> str:
    """Return an axis title of short lines, which fits a narrow screen."""
    lines = (line for text in texts for line in textwrap.wrap(text, LINE, max_lines=2, placeholder="…"))
    return "<br>".join(safe(line, LINE) for line in lines)


def _named(part: Shares, group: int) -> str:
    """A group's name; a bare number says what it numbers."""
    name = part.names[group]
    return f"{part.grouping} {name}" if name.isdecimal() else name


def _percent(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return 100 * sentences.fractions(counts)


def _bars(x: NDArray[np.float64], width: NDArray[np.float64], counts: NDArray[np.int64], name: str, role: str) -> Trace:
    return {
        "type": "bar",
        "name": name,
        "x": x.tolist(),
        "y": _percent(counts).round(4).tolist(),
        "width": width.tolist(),
        "marker": {"color": role, "line": {"width": 0}},
        "hovertemplate": "%{x:.3g}: %{y:.1f} % of " + name.lower() + "<extra></extra>",
    }


def _steps(edges: NDArray[np.float64], counts: NDArray[np.int64], name: str, role: str) -> Trace:
    shares = _percent(counts).round(4)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": edges.tolist(),
        "y": [*shares, shares[-1]],
        "line": {"shape": "hv", "color": role, "width": 2},
        "hovertemplate": "from %{x:.3g}: %{y:.1f} % of " + name.lower() + "<extra></extra>",
    }


def _lying(places: list[int], percent: list[float], names: list[str], name: str, role: str, width: float) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": percent,
        "y": places,
        "width": width,
        "text": names,
        "textposition": "none",
        "hovertemplate": "%{text}<br>" + name + ": %{x:.1f} %<extra></extra>",
        "marker": {"color": role, "line": {"width": 0}},
    }
