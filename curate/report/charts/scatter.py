"""Map of the pool: a two-dimensional sample, colored by the outcome of each row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.report import sentences
from curate.report.charts.bars import Figure, Trace, View
from curate.report.formatting import count, plural, short
from curate.report.report_data import PoolMap, Report

ENTRIES = 6
"""Maximum number of entries with a separate color; the others share one."""

SNIPPET = 280
"""Maximum number of characters of a text on the card next to a dot."""


def draw_map(report: Report, part: PoolMap, text: int = SNIPPET) -> Figure:
    """Draw the sample with three color schemes; texts have at most ``text`` characters."""
    length = min(SNIPPET, text)
    entries = _entries(part)
    other = "other entries"
    outcomes = ["" if kept else entry for kept, entry in zip(part.kept, part.dropped_by, strict=True)]
    groups = np.array([name if name in ("", *entries) else other for name in outcomes], dtype=object)
    traces = [
        _points(part, ~part.kept, "Dropped", "@rest", "circle", 5, 0.6),
        _points(part, part.kept, "Kept", "@kept", "circle", 7, 0.95),
        _points(part, ~part.uniform, "Dropped by the random baseline", "@rest", "circle", 5, 0.6),
        _points(part, part.uniform, "Kept by the random baseline", "@uniform", "circle", 7, 0.95),
        _points(part, part.kept, "Kept", "@rest", "circle", 5, 0.5),
    ]
    symbols = ("circle", "diamond", "square", "triangle-up", "cross", "star", "x")
    shown_entries = [*entries, *([other] if (groups == other).any() else [])]
    for number, entry in enumerate(shown_entries):
        traces.append(_points(part, groups == entry, entry, f"@c{number + 1}", symbols[number], 7, 0.9))
    views = [
        View(label="This selection", shown=[i in (0, 1) for i in range(len(traces))]),
        View(label="Random baseline", shown=[i in (2, 3) for i in range(len(traces))]),
    ]
    if shown_entries:
        views.append(View(label="Dropped by", shown=[i >= 4 for i in range(len(traces))]))
    axis = {"visible": False, "fixedrange": False}
    drawn = len(part.ids)
    return Figure(
        key="map",
        title=sentences.describe_map(report),
        alt=(
            f"Map of {plural(drawn, 'row')} of the pool with similar rows close together: "
            f"{count(int(part.kept.sum()))} are kept, {count(int(part.uniform.sum()))} are in the random baseline."
        ),
        note=(
            f"Each dot is a row, and similar rows are close together (t-SNE of the embeddings). The map shows "
            f"{'all' if drawn == part.pool_rows else 'a random sample of'} {plural(drawn, 'row')}"
            f"{'' if drawn == part.pool_rows else f' out of {count(part.pool_rows)}'}. Point at a dot to read the row."
        ),
        height=560,
        data=traces,
        layout={"xaxis": axis, "yaxis": axis, "hovermode": "closest", "dragmode": "pan"},
        views=views,
        rows={
            "id": [short(each, min(80, length)) for each in part.ids],
            "text": [short(" ".join(each[: 2 * length].split()), length) for each in part.texts],
            "outcome": [
                "Kept" if kept else f"Dropped by {entry}"
                for kept, entry in zip(part.kept, part.dropped_by, strict=True)
            ],
            "kept": part.kept,
            "uniform": part.uniform,
            "reason": [short(each, min(160, length)) for each in part.reasons],
            "cluster": [short(each, min(60, length)) for each in part.clusters],
            "source": [short(each, min(60, length)) for each in part.sources],
            **({"atlas": part.atlas, "columns": part.atlas_columns} if part.atlas else {}),
        },
    )


def _entries(part: PoolMap) -> list[str]:
    """Return the entries that dropped most rows of the sample, in the order of their first row."""
    names = [entry for kept, entry in zip(part.kept, part.dropped_by, strict=True) if not kept]
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    largest = sorted(counts, key=lambda name: -counts[name])[:ENTRIES]
    return [name for name in counts if name in largest]


def _points(
    part: PoolMap, rows: NDArray[np.bool_], name: str, color: str, symbol: str, size: int, alpha: float
) -> Trace:
    index = np.flatnonzero(rows)
    points = part.positions[index].astype(np.float64).round(4)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{short(name, 40)} ({count(len(index))})",
        "x": points[:, 0].tolist(),
        "y": points[:, 1].tolist(),
        "customdata": index.tolist(),
        "hoverinfo": "none",
        "marker": {"color": color, "size": size, "symbol": symbol, "opacity": alpha, "line": {"width": 0}},
    }
