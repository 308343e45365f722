"""Table of docs/reference/cost.md, from the results of benchmarks/every_selector.py in docs/cost/selectors.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from plugin_families import page_of

from curate.plugins import registry

RESULTS = Path(__file__).parent / "cost" / "selectors.json"
SHORT = 0.05
"""Time in seconds for the largest pool below which most of the time is startup."""

Line = Mapping[str, Any]


def results() -> dict[str, Any] | None:
    """Load the measurements; None if there are none."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None


def by_selector(found: Mapping[str, Any]) -> dict[str, dict[int, Line]]:
    """Return the measurements of each existing selector, by the number of rows."""
    lines: dict[str, dict[int, Line]] = {}
    for line in found["measured"]:
        if line["selector"] in registry.names("selector"):
            lines.setdefault(line["selector"], {})[line["rows"]] = line
    return lines


def exponent(lines: Sequence[Line]) -> float:
    """Return the slope of log time over log rows: 1 for linear time, 2 for quadratic time; NaN if it is unknown.

    >>> exponent([{"rows": 10, "seconds": 1}, {"rows": 100, "seconds": 100}, {"rows": 1000, "skipped": "…"}])
    2.0
    """
    points = sorted((line["rows"], line["seconds"]) for line in lines if "seconds" in line)
    if len(points) < 2 or points[-1][1] < SHORT:
        return math.nan
    rows, seconds = zip(*points, strict=True)
    return round(linear_regression([math.log(n) for n in rows], [math.log(s) for s in seconds]).slope, 2)


def conditions(found: Mapping[str, Any] | None) -> str:
    """Return sentences on the conditions of the measurements."""
    if found is None:
        return "Nothing has been measured yet.\n"
    done = [line for line in found["measured"] if "seconds" in line]
    sizes = sorted({line["rows"] for line in done})
    held = {n: median(line["before_mib"] for line in done if line["rows"] == n) for n in sizes}
    pools = ", ".join(f"{held[n]:,.0f} MiB for {n:,} rows" for n in sizes)
    machines = [line["machine"] for line in done]
    versions = {f"Python {one['python']}" for one in machines} | {
        f"{package} {one['versions'][package]}" for one in machines for package in ("numpy", "scipy", "scikit-learn")
    }
    libraries = {library for one in machines for library in one["libraries"]}
    return (
        f"Each selector keeps {100 * found['keep_rate']:g} % of the rows, whose embeddings have {found['dimensions']} "
        f"dimensions. The peak is that of the process, including interpreter, libraries and pool, which take about "
        f"{pools}. Measured with "
        f"{', '.join(sorted(versions) + sorted(libraries))}.\n"
    )


def selectors(found: Mapping[str, Any] | None) -> str:
    """Return the table of seconds and peak memory of each selector by size, with the exponent; the fastest first."""
    if found is None:
        return ""
    lines = by_selector(found)
    sizes = sorted({rows for each in lines.values() for rows in each})
    header = ["selector", *(f"{n:,} rows" for n in sizes), "exponent", "quadratic"]
    rows = []
    for name, each in sorted(lines.items(), key=lambda pair: _last_measured(pair[1]), reverse=True):
        power = exponent(list(each.values()))
        growth = ["—" if math.isnan(power) else f"{power:.2f}", "yes" if _quadratic(name) else ""]
        rows.append(
            [f"[`{name}`](../plugins/{page_of('selector', name)})", *(_cell(each.get(n)) for n in sizes), *growth]
        )
    table = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in table)


def _last_measured(each: Mapping[int, Line]) -> tuple[int, float]:
    """Return the size of the largest measured pool, and the negative time on it."""
    return max(((rows, -line["seconds"]) for rows, line in each.items() if "seconds" in line), default=(0, 0.0))


def _quadratic(name: str) -> bool:
    return registry.get("selector", name).traits.quadratic


def _cell(line: Line | None) -> str:
    if line is None:
        return ""
    if "skipped" in line:
        return f"— ({line['skipped']})"
    seconds = line["seconds"]
    return f"{seconds:,.{3 if seconds < 1 else 1 if seconds < 100 else 0}f} s, {line['peak_mib']:,} MiB"
