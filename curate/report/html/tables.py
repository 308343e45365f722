"""HTML tables of a report: stages, sources, clusters, and the comparison with the random baseline."""

from __future__ import annotations

from collections.abc import Sequence

from curate.accounting import Count, sum_counts
from curate.report import sentences
from curate.report.formatting import DASH, count, seconds, share, short, size
from curate.report.html.tags import Markup, breakable, join, tag
from curate.report.report_data import Conflicts, Report, Stage

ENTRIES = 4
"""Maximum number of entries with a separate column in the table of sources; the others are summed."""


NUMBER = 30
"""Length above which a cell is treated as a text, which may be broken into lines."""


def stages(report: Report) -> Markup:
    """Return the table of the stages: rows in and out, remaining share of the pool, time and memory."""
    pool = report.rows.rows_in
    head = ("Stage", "Rows in", "Kept", "Dropped", "Quarantined", "Share of the pool", "Time", "Peak memory")
    body = []
    for stage in report.stages:
        name = join(tag("strong", stage.name), _subtitle(stage.description), _subtitle(stage.reuse_note))
        time = "reused" if stage.reused else seconds(stage.seconds)
        cells = [*_numbers(stage.rows), _meter(stage.rows.kept, pool), time, size(stage.peak_bytes)]
        body.append((name, *cells))
    rows = report.rows
    spent = sum(stage.seconds for stage in report.stages if not stage.reused)
    peak = max((stage.peak_bytes for stage in report.stages if stage.peak_bytes is not None), default=None)
    foot = (tag("strong", "Total"), *_numbers(rows), share(rows.kept, pool), seconds(spent), size(peak))
    return table("For every stage, rows in = kept + dropped + quarantined", head, body, foot)


def sources(report: Report) -> Markup | None:
    """Return the table of the outcomes of rows by source; None without sources."""
    accounts = report.sources
    if not accounts:
        return None
    droppers = sorted((s for s in report.stages if s.rows.dropped), key=lambda stage: -stage.rows.dropped)
    listed = [stage for stage in report.stages if stage in droppers[:ENTRIES]]
    others = [stage for stage in droppers if stage not in listed]
    head = ["Source", "Rows in", "Kept", "Share kept", "Dropped"]
    head += (
        [f"Dropped by {short(sentences.entry_name(stage.name), 28)}" for stage in listed] if len(droppers) > 1 else []
    )
    head += [f"Dropped by {count(len(others))} other entries"] if others else []
    head += ["Quarantined"]

    def line(name: str | Markup, members: list[str]) -> tuple[str | Markup, ...]:
        rows = sum_counts(tuple(accounts[member] for member in members))
        split = [_dropped(stage, members) for stage in listed] if len(droppers) > 1 else []
        split += [sum(_dropped(stage, members) for stage in others)] if others else []
        numbers = [_zero(number) for number in (rows.dropped, *split, rows.quarantined)]
        return (name, count(rows.rows_in), count(rows.kept), _meter(rows.kept, rows.rows_in), *numbers)

    body = [line(tag("strong", short(name, 60)), members) for name, members in sentences.source_groups(report)]
    foot = line(tag("strong", "All sources"), list(accounts))
    return table("For every source, rows in = kept + dropped + quarantined", head, body, foot)


def evidence(report: Report) -> Markup | None:
    """Return the comparison of the pool, the selection and the random baseline; None without measures."""
    rows = sentences.evidence(report)
    if not rows:
        return None
    head = ("Measure", "Pool", "Kept", "Random baseline")
    body = [(join(tag("strong", row.name), _subtitle(row.description)), *row.words()) for row in rows]
    return table("Pool, kept rows, and random baseline of the same size", head, body, wide=True)


def clusters(report: Report, length: int) -> Markup | None:
    """Return the largest clusters, each with an example of at most ``length`` characters; None without clusters."""
    if not report.clusters:
        return None
    body = []
    for one in report.clusters:
        name = join(tag("strong", short(one.name, 80)), _subtitle(short(" ".join(one.example.split()), length)))
        body.append((name, count(one.rows), count(one.kept), _meter(one.kept, one.rows)))
    caption = f"The {count(len(body))} largest clusters, with their most distinctive words and most central rows"
    return table(caption, ("Cluster", "Rows", "Kept", "Share kept"), body, wide=True)


def conflicts(part: Conflicts) -> Markup | None:
    """Return the table of texts with conflicting labels; None if there are none."""
    if not part.groups:
        return None
    body = [
        (short(each.text, sentences.EXCERPT), count(each.rows), sentences.describe_conflict(each))
        for each in part.groups
    ]
    return table(
        sentences.describe_conflicts(part), ("Text", "Rows", "Labels, with the ids of their rows"), body, wide=True
    )


def plain(caption: str, content: tuple[Sequence[str], Sequence[Sequence[str]]]) -> Markup:
    """Return a table of plain texts."""
    header, rows = content
    return table(caption, header, [(tag("strong", breakable(row[0])), *row[1:]) for row in rows], wide=True)


def table(
    caption: str,
    head: Sequence[str],
    body: Sequence[tuple[str | Markup, ...]],
    foot: tuple[str | Markup, ...] | None = None,
    *,
    wide: bool = False,
) -> Markup:
    """Return a table; a narrow screen shows a wide table as a list in which each cell has the name of its column."""

    def line(cells: tuple[str | Markup, ...]) -> Markup:
        first = tag("th", cells[0], scope="row")
        rest = [
            tag("td", cell, data_label=name, class_=_kind(cell)) for name, cell in zip(head[1:], cells[1:], strict=True)
        ]
        return tag("tr", first, *rest)

    element = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *(tag("th", breakable(name), scope="col") for name in head))),
        tag("tbody", *(line(cells) for cells in body)),
        tag("tfoot", line(foot)) if foot else None,
        class_="wide" if wide or len(head) > 4 else None,
    )
    return tag("div", element, class_="table")


def _kind(cell: str | Markup) -> str | None:
    """Return the CSS class of a cell: ``none`` without a number, ``text`` for a text that needs several lines."""
    if cell == DASH:
        return "none"
    return "text" if not isinstance(cell, Markup) and len(cell) > NUMBER else None


def _numbers(rows: Count) -> tuple[str, ...]:
    return count(rows.rows_in), count(rows.kept), _zero(rows.dropped), _zero(rows.quarantined)


def _dropped(stage: Stage, members: list[str]) -> int:
    return sum(stage.sources[member].dropped for member in members if member in stage.sources)


def _subtitle(text: str) -> Markup | None:
    return tag("span", text, class_="what") if text else None


def _zero(number: int) -> str:
    return count(number) if number else DASH


def _meter(part: int, total: int) -> Markup:
    filled = f"width:{100 * part / total if total else 0:.2f}%"
    bar = tag("span", tag("span", style=filled), class_="bar", aria_hidden="true")
    return tag("span", bar, tag("span", share(part, total)), class_="meter")
