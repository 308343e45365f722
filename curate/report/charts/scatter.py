"""Draws the map of the pool: a sample in the plane, coloured by what was kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.report import sentences
from curate.report.charts.bars import Figure, Trace, View
from curate.report.formatting import count, plural, short
from curate.report.report_data import PoolMap, Report

ENTRIES = 6
"""Entries with a colour of their own; the others share one."""

SNIPPET = 280
"""Characters of a text that the card beside a dot shows."""


def of_map(report: Report, part: PoolMap, text: int = SNIPPET) -> Figure:
    """Draw the sample in the plane, with three ways to color it; texts have at most ``text`` characters."""
    length = min(SNIPPET, text)
    entries = _entries(part)
    other = "other entries"
    fate = np.array(["" if kept else by for kept, by in zip(part.kept, part.dropped_by, strict=True)], dtype=object)
    named = np.array([name if name in ("", *entries) else other for name in fate], dtype=object)
    traces = [
        _points(part, ~part.kept, "Dropped", "@rest", "circle", 5, 0.6),
        _points(part, part.kept, "Kept", "@kept", "circle", 7, 0.95),
        _points(part, ~part.uniform, "Not chosen", "@rest", "circle", 5, 0.6),
        _points(part, part.uniform, "Chosen uniformly", "@uniform", "circle", 7, 0.95),
        _points(part, part.kept, "Kept", "@rest", "circle", 5, 0.5),
    ]
    symbols = ("circle", "diamond", "square", "triangle-up", "cross", "star", "x")
    shown_entries = [*entries, *([other] if (named == other).any() else [])]
    for number, entry in enumerate(shown_entries):
        traces.append(_points(part, named == entry, entry, f"@c{number + 1}", symbols[number], 7, 0.9))
    views = [
        View(label="This selection", shown=[i in (0, 1) for i in range(len(traces))]),
        View(label="Uniform", shown=[i in (2, 3) for i in range(len(traces))]),
    ]
    if shown_entries:
        views.append(View(label="What dropped them", shown=[i >= 4 for i in range(len(traces))]))
    axis = {"visible": False, "fixedrange": False}
    drawn = len(part.ids)
    return Figure(
        key="map",
        title=sentences.of_map(report),
        alt=(
            f"Map of {plural(drawn, 'row')} of the pool, similar rows close together: {count(int(part.kept.sum()))} "
            f"are kept, {count(int(part.uniform.sum()))} are in a uniform selection of the same size."
        ),
        note=(
            f"Each dot is a row, similar rows lie close together (t-SNE of the embeddings). Shown: "
            f"{'all' if drawn == part.pool_rows else 'a sample of'} {plural(drawn, 'row')}"
            f"{'' if drawn == part.pool_rows else f' from {count(part.pool_rows)}'}. Point at a dot to read the row."
        ),
        height=560,
        data=traces,
        layout={"xaxis": axis, "yaxis": axis, "hovermode": "closest", "dragmode": "pan"},
        views=views,
        rows={
            "id": [short(each, min(80, length)) for each in part.ids],
            "text": [short(" ".join(each[: 2 * length].split()), length) for each in part.texts],
            "fate": [
                "Kept" if kept else f"Dropped by {by}" for kept, by in zip(part.kept, part.dropped_by, strict=True)
            ],
            "kept": part.kept,
            "uniform": part.uniform,
            "reason": [short(each, min(160, length)) for each in part.reasons],
            "cluster": [short(each, min(60, length)) for each in part.clusters],
            "source": [short(each, min(60, length)) for each in part.sources],
        },
    )


def _entries(part: PoolMap) -> list[str]:
    """The entries that dropped most of the sample, in the order they are first met."""
    names = [by for kept, by in zip(part.kept, part.dropped_by, strict=True) if not kept]
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    most = sorted(counts, key=lambda name: -counts[name])[:ENTRIES]
    return [name for name in counts if name in most]


def _points(
    part: PoolMap, rows: NDArray[np.bool_], name: str, colour: str, symbol: str, size: int, alpha: float
) -> Trace:
    index = np.flatnonzero(rows)
    places = part.positions[index].astype(np.float64).round(4)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{short(name, 40)} ({count(len(index))})",
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "customdata": index.tolist(),
        "hoverinfo": "none",
        "marker": {"color": colour, "size": size, "symbol": symbol, "opacity": alpha, "line": {"width": 0}},
    }
