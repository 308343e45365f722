"""Bar and line charts of a report, as plain dictionaries for plotly.js.

Colors are written as roles (``@kept``), which the page resolves from its style sheet, so that charts follow the color
scheme. Names from the data are escaped, because plotly.js interprets some HTML.
"""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.report import sentences, statistics
from curate.report.formatting import capitalize, count, plural, share, short, value
from curate.report.report_data import Histogram, Neighbors, Shares

Trace = dict[str, Any]

GROUPS = 15
"""Maximum number of groups that are drawn; the smaller ones are summed in the note."""


LINE = 36
"""Maximum number of characters in a line of an axis title, so that it fits on a phone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """View of a figure, which shows some of its traces."""

    label: str
    shown: list[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Chart with its title and texts."""

    key: str
    title: str
    """Title, which states the result if there is one."""

    alt: str
    """Alternative text with the numbers, for screen readers."""

    note: str
    """Explanation of the chart."""

    height: int
    data: list[Trace]
    layout: dict[str, object]
    views: list[View] = field(default_factory=list)
    rows: dict[str, object] = field(default_factory=dict)
    """Columns of the card that the map shows next to a point."""

    wide: bool = True


def escape_name(text: str, length: int = 60) -> str:
    """Escape and shorten a name for plotly.js."""
    return html.escape(short(text, length), quote=False)


def draw_score(key: str, score: Histogram) -> Figure:
    """Draw a score: kept and dropped rows as bars, the random baseline as a line, each normalized to 100 %."""
    centers, widths = (score.edges[:-1] + score.edges[1:]) / 2, np.diff(score.edges)
    name = score.name + (f" ({score.unit})" if score.unit else "")
    words = sentences.describe_axis(score)
    notes = [f"Distribution of {name}{f'; {words}' if words else ''}. Each set of rows adds up to 100 %."]
    if score.outside:
        notes.append(f"{plural(score.outside, 'value')} outside the axis are counted in the outermost bins.")
    if score.missing:
        notes.append(f"{plural(score.missing, 'row')} without a value {_are(score.missing)} not shown.")
    if score.fit_note:
        notes.append(f"The scorer was fitted to {score.fit_note}.")
    kept, dropped, uniform = score.medians
    return Figure(
        key=key,
        title=sentences.describe_score(score),
        alt=(
            f"Histogram of {name}. Medians: kept {value(kept)}, dropped {value(dropped)}, random baseline "
            f"{value(uniform)}."
        ),
        note=" ".join(notes),
        height=300,
        data=[
            _bars(centers, widths, score.dropped, "Dropped", "@rest-soft"),
            _bars(centers, widths, score.kept, "Kept", "@kept-soft"),
            _steps(score.edges, score.uniform, "Random baseline", "@uniform"),
        ],
        layout={
            "barmode": "overlay",
            "bargap": 0,
            "xaxis": {"title": {"text": _lines(score.name, score.unit, words)}, "showgrid": False},
            "yaxis": {"ticksuffix": " %", "rangemode": "tozero", "nticks": 5},
        },
        wide=False,
    )


def draw_shares(number: int, part: Shares) -> Figure:
    """Draw the shares of groups: the pool as a wide bar, the selection as a narrow one, the baseline as a mark.

    Only the largest groups are drawn; the note contains the sum of the others, which would dominate the scale.
    """
    order = np.argsort(-part.before, kind="stable")
    first, rest = (order, order[:0]) if len(order) <= GROUPS + 1 else (order[:GROUPS], order[GROUPS:])
    names = [_group_name(part, int(i)) for i in first]
    sets = [100 * sentences.fractions(each) for each in (part.before, part.after, part.uniform)]
    pool, kept, uniform = (each[first].tolist() for each in sets)
    positions = list(range(len(names)))
    hover = [escape_name(name, 120) for name in names]
    traces: list[Trace] = [
        _horizontal_bars(positions, pool, hover, "Pool", "@rest-soft", 0.78),
        _horizontal_bars(positions, kept, hover, "Kept", "@kept", 0.4),
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Random baseline",
            "x": uniform,
            "y": positions,
            "text": hover,
            "hovertemplate": "%{text}<br>Random baseline: %{x:.1f} %<extra></extra>",
            "marker": {"symbol": "line-ns", "size": 17, "line": {"color": "@uniform", "width": 3}, "color": "@uniform"},
        },
    ]
    largest = int(part.before.argmax())
    shares = [share(each[largest] / 100) for each in sets]
    return Figure(
        key=f"shares-{number}",
        title=sentences.describe_shares(part),
        alt=(
            f"Bar chart of the {part.grouping}s’ shares. The largest, {short(_group_name(part, largest), 60)}: pool "
            f"{shares[0]}, kept {shares[1]}, random baseline {shares[2]}."
        ),
        note=(
            f"Share of rows by {part.grouping}. Wide bar: pool; narrow bar: kept rows; mark: random baseline."
            f"{_others(part, rest)}"
        ),
        height=110 + 27 * len(names),
        data=traces,
        layout={
            "barmode": "overlay",
            "xaxis": {"ticksuffix": " %", "rangemode": "tozero", "nticks": 6},
            "yaxis": {
                "tickvals": positions,
                "ticktext": [escape_name(name, 26) for name in names],
                "range": [len(names) - 0.5, -0.5],
                "showgrid": False,
                "ticklen": 6,
            },
        },
        wide=False,
    )


def draw_neighbors(part: Neighbors) -> Figure:
    """Draw the similarity of each row to its nearest neighbor, in the pool, the selection and the random baseline."""
    sets = [np.clip(each.astype(np.float64), -1, 1) for each in (part.before, part.after, part.uniform)]
    low = min(float(each.min()) for each in sets if len(each))
    edges = np.linspace(min(np.floor(low * 20) / 20, 0.9), 1, 51)
    pool, kept, uniform = (np.histogram(each, edges)[0] for each in sets)
    medians = [statistics.median(each) for each in sets]
    least = part.copies.similarity
    numbers = zip(
        ("pool", "kept", "random baseline"), medians, map(share, sentences.near_duplicate_shares(part)), strict=True
    )
    medians_text = "; ".join(
        f"{name}: median {value(middle)}, {near} near-duplicates" for name, middle, near in numbers
    )
    line = {"type": "line", "x0": least, "x1": least, "y0": 0, "y1": 1, "yref": "paper"}
    label = {"x": least, "y": 1, "yref": "paper", "text": "near-duplicates →", "showarrow": False}
    return Figure(
        key="neighbors",
        title=sentences.describe_neighbors(part),
        alt=f"Distribution of the similarity to the nearest neighbor. {medians_text}.",
        note=(
            f"Cosine similarity of each row to its nearest neighbor{f', {part.method}' if part.method else ''}. "
            f"{capitalize(medians_text)}. {sentences.describe_threshold(part.copies)}."
        ),
        height=360,
        data=[
            {**_steps(edges, pool, "Pool", "@rest"), "fill": "tozeroy", "fillcolor": "@rest-fill"},
            _steps(edges, uniform, "Random baseline", "@uniform"),
            {**_steps(edges, kept, "Kept", "@kept"), "fill": "tozeroy", "fillcolor": "@kept-fill"},
        ],
        layout={
            "margin": {"l": 6, "r": 10, "t": 26, "b": 8},
            "xaxis": {
                "title": {"text": "Similarity to the nearest neighbor"},
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
    """Return a sentence on the groups that are not drawn."""
    if not len(rest):
        return ""
    sets = [share(float(sentences.fractions(each)[rest].sum())) for each in (part.before, part.after, part.uniform)]
    others = f"The {count(len(rest))} other {part.grouping}s, not drawn, are"
    return f" {others} {sets[0]} of the pool, {sets[1]} of the kept rows and {sets[2]} of the random baseline."


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _lines(*texts: str) -> str:
    """Return an axis title in short lines that fit on a narrow screen."""
    lines = (line for text in texts for line in textwrap.wrap(text, LINE, max_lines=2, placeholder="…"))
    return "<br>".join(escape_name(line, LINE) for line in lines)


def _group_name(part: Shares, group: int) -> str:
    """Return the name of a group, with its kind if the name is a number."""
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


def _horizontal_bars(
    positions: list[int], percent: list[float], names: list[str], name: str, role: str, width: float
) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": percent,
        "y": positions,
        "width": width,
        "text": names,
        "textposition": "none",
        "hovertemplate": "%{text}<br>" + name + ": %{x:.1f} %<extra></extra>",
        "marker": {"color": role, "line": {"width": 0}},
    }
