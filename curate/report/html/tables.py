"""Tables of a report as HTML: what each stage did, what became of each source, and the comparison with chance."""

from __future__ import annotations

from collections.abc import Sequence

from curate.accounting import Count, sum_counts
from curate.report import sentences
from curate.report.formatting import DASH, count, seconds, share, short, size
from curate.report.html.tags import Markup, breakable, join, tag
from curate.report.report_data import Conflicts, Report, Stage

ENTRIES = 4
"""Entries with a column of their own in the table of sources; the others are summed."""


NUMBER = 30
"""Characters of a cell from which it is a text, which may be broken into lines."""


def stages(report: Report) -> Markup:
    """Rows in and out of every stage, how much of the pool is left after it, and what it cost."""
    pool = report.rows.rows_in
    head = ("Stage", "Rows in", "Kept", "Dropped", "Quarantined", "Left of the pool", "Time", "Peak memory")
    body = []
    for stage in report.stages:
        name = join(tag("strong", stage.name), _what(stage.description), _what(stage.reuse_note))
        time = "reused" if stage.reused else seconds(stage.seconds)
        cells = [*_numbers(stage.rows), _meter(stage.rows.kept, pool), time, size(stage.peak_bytes)]
        body.append((name, *cells))
    rows = report.rows
    spent = sum(stage.seconds for stage in report.stages if not stage.reused)
    peak = max((stage.peak_bytes for stage in report.stages if stage.peak_bytes is not None), default=None)
    foot = (tag("strong", "Whole run"), *_numbers(rows), share(rows.kept, pool), seconds(spent), size(peak))
    return table("Rows in = kept + dropped + quarantined, for every stage", head, body, foot)


def sources(report: Report) -> Markup | None:
    """What became of each source's rows, and which entry dropped how many; None without sources."""
    accounts = report.sources
    if not accounts:
        return None
    droppers = sorted((s for s in report.stages if s.rows.dropped), key=lambda stage: -stage.rows.dropped)
    named = [stage for stage in report.stages if stage in droppers[:ENTRIES]]
    others = [stage for stage in droppers if stage not in named]
    head = ["Source", "Rows in", "Kept", "Kept share", "Dropped"]
    head += [f"by {short(sentences.entry_name(stage.name), 28)}" for stage in named] if len(droppers) > 1 else []
    head += [f"by {count(len(others))} more"] if others else []
    head += ["Quarantined"]

    def line(name: str | Markup, members: list[str]) -> tuple[str | Markup, ...]:
        rows = sum_counts(tuple(accounts[member] for member in members))
        split = [_dropped(stage, members) for stage in named] if len(droppers) > 1 else []
        split += [sum(_dropped(stage, members) for stage in others)] if others else []
        numbers = [_zero(number) for number in (rows.dropped, *split, rows.quarantined)]
        return (name, count(rows.rows_in), count(rows.kept), _meter(rows.kept, rows.rows_in), *numbers)

    body = [line(tag("strong", short(name, 60)), members) for name, members in sentences.source_groups(report)]
    foot = line(tag("strong", "All sources"), list(accounts))
    return table("Rows in = kept + dropped + quarantined, for every source", head, body, foot)


def evidence(report: Report) -> Markup | None:
    """The selection beside a uniform one; None where nothing was measured."""
    rows = sentences.evidence(report)
    if not rows:
        return None
    head = ("Measure", "Pool", "Kept", "Uniform")
    body = [(join(tag("strong", row.name), _what(row.description)), *row.words()) for row in rows]
    return table("The pool, the rows kept, and a uniform selection of the same size", head, body, wide=True)


def clusters(report: Report, length: int) -> Markup | None:
    """Return the largest clusters, each with an example of at most ``length`` characters; None without clusters."""
    if not report.clusters:
        return None
    body = []
    for one in report.clusters:
        name = join(tag("strong", short(one.name, 80)), _what(short(" ".join(one.example.split()), length)))
        body.append((name, count(one.rows), count(one.kept), _meter(one.kept, one.rows)))
    caption = (
        f"The {count(len(body))} largest clusters, named by their most telling words, each with its most central row"
    )
    return table(caption, ("Cluster", "Rows", "Kept", "Kept share"), body, wide=True)


def conflicts(part: Conflicts) -> Markup | None:
    """The texts with different labels; None if there are none."""
    if not part.groups:
        return None
    body = [
        (short(each.text, sentences.EXCERPT), count(each.rows), sentences.of_conflict(each)) for each in part.groups
    ]
    return table(sentences.of_conflicts(part), ("Text", "Rows", "Labels, and the rows with each"), body, wide=True)


def plain(caption: str, content: tuple[Sequence[str], Sequence[Sequence[str]]]) -> Markup:
    """A table of texts."""
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
    """A table. A narrow screen shows a wide one as a list, where each cell carries its column's name."""

    def line(cells: tuple[str | Markup, ...]) -> Markup:
        first = tag("th", cells[0], scope="row")
        rest = [
            tag("td", cell, data_label=name, class_=_kind(cell)) for name, cell in zip(head[1:], cells[1:], strict=True)
        ]
        return tag("tr", first, *rest)

    whole = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *(tag("th", breakable(name), scope="col") for name in head))),
        tag("tbody", *(line(cells) for cells in body)),
        tag("tfoot", line(foot)) if foot else None,
        class_="wide" if wide or len(head) > 4 else None,
    )
    return tag("div", whole, class_="table")


def _kind(cell: str | Markup) -> str | None:
    """Return the class of a cell: of one without a number, of one with a text that needs several lines."""
    if cell == DASH:
        return "none"
    return "text" if not isinstance(cell, Markup) and len(cell) > NUMBER else None


def _numbers(rows: Count) -> tuple[str, ...]:
    return count(rows.rows_in), count(rows.kept), _zero(rows.dropped), _zero(rows.quarantined)


def _dropped(stage: Stage, members: list[str]) -> int:
    return sum(stage.sources[member].dropped for member in members if member in stage.sources)


def _what(text: str) -> Markup | None:
    return tag("span", text, class_="what") if text else None


def _zero(number: int) -> str:
    return count(number) if number else DASH


def _meter(part: int, whole: int) -> Markup:
    filled = f"width:{100 * part / whole if whole else 0:.2f}%"
    bar = tag("span", tag("span", style=filled), class_="bar", aria_hidden="true")
    return tag("span", bar, tag("span", share(part, whole)), class_="meter")
