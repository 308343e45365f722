"""Sentences and tables about memorized rows, for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.report import sentences
from curate.report.formatting import capitalize, count, plural, share, short
from curate.report.html import tables
from curate.report.html.tags import Markup, tag
from curate.report.report_data import LongTail, MemorizedRow, TailGroup


def describe_number(tail: LongTail) -> str:
    """Return a phrase on the number of memorized rows."""
    if not tail.rows:
        return f"No row has a score {tail.score}"
    of_rows = f"{plural(tail.rows, 'row')} with a label"
    if not tail.memorized:
        return f"None of {of_rows} is memorized: no {tail.score} is above {tail.threshold:g}"
    verb, other = ("is", "was") if tail.memorized == 1 else ("are", "were")
    kept = "none of them was kept" if not tail.kept else f"{count(tail.kept)} of them {other} kept"
    return (
        f"{count(tail.memorized)} of {of_rows} ({share(tail.memorized, tail.rows)}) {verb} memorized, with a "
        f"{tail.score} above {tail.threshold:g}; {kept}"
    )


def describe_cost(tail: LongTail) -> list[str]:
    """Return a phrase on the accuracy that memorized rows add to models; none if it was not measured."""
    if math.isnan(tail.cost):
        return []
    points, error = 100 * tail.cost, 100 * tail.cost_error
    cost = f"{abs(points):.2f} ± {error:.2f} percentage points"
    if abs(points) <= 2 * error:
        verdict = f"the difference of the first two, {cost}, is within two standard errors"
    elif points > 0:
        verdict = f"removing the memorized rows costs {cost} more than removing random rows"
    else:
        verdict = f"removing the memorized rows is better than removing random rows by {cost}"
    return [
        f"models trained without the memorized rows are right on {share(tail.accuracy_without_memorized)} of held-out "
        f"rows, those trained without as many random rows on {share(tail.accuracy_without_random)}, and those trained "
        f"with all rows on {share(tail.accuracy)}; {verdict}"
    ]


def section(tail: LongTail) -> list[Markup | None]:
    """Return the parts of the section about one score."""
    texts = [describe_number(tail), *describe_cost(tail)]
    parts: list[Markup | None] = [tag("p", f"{capitalize(text)}.") for text in texts]
    for kind, groups in (("Label", tail.labels), ("Cluster", tail.clusters)):
        if groups:
            parts.append(tables.plain(f"{kind}s with the most memorized rows", _groups(kind, groups)))
    if tail.examples:
        caption = "Most memorized rows: rare but correct, or mislabeled. A model cannot infer them from other rows"
        parts.append(tables.plain(caption, _examples(tail.examples)))
    return parts


def _groups(kind: str, groups: Sequence[TailGroup]) -> tuple[Sequence[str], list[Sequence[str]]]:
    head = (kind, "Memorized rows", "Rows", "Share memorized")
    return head, [
        (group.name, count(group.memorized), count(group.rows), share(group.memorized, group.rows)) for group in groups
    ]


def _examples(rows: Sequence[MemorizedRow]) -> tuple[Sequence[str], list[Sequence[str]]]:
    head = ("Row", "Text", "Label", "Memorization", "Outcome")
    return head, [
        (
            row.id,
            short(row.text, sentences.EXCERPT),
            row.label,
            f"{row.memorization:.2f} ± {row.error:.2f}",
            "kept" if row.kept else "dropped",
        )
        for row in rows
    ]
