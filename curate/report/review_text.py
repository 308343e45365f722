"""Section of the report with the labels to review."""

from __future__ import annotations

from collections.abc import Sequence

from curate.report.formatting import count, join_words, plural, share, short, value
from curate.report.html import tables
from curate.report.html.tags import Markup, tag
from curate.report.report_data import LabelNoise, Review, ReviewNeighbor, ReviewRow


def sentence(part: Review) -> str:
    """Return sentences on the order of the rows and the origin of the suggestions.

    >>> sentence(Review(scores=("aum", "-el2n"), listed=2, ranked=90, suggested_by="their neighbors", rows=()))
    'The 2 rows of the lowest mean rank by aum and el2n, of 90 with these scores. Suggested labels are those of ...'
    """
    names = join_words([name.removeprefix("-") for name in part.scores])
    ranked = (
        f"The {count(part.listed)} rows of the lowest mean rank by {names}, of {count(part.ranked)} with these scores"
    )
    if part.listed == 1:
        ranked = f"The row of the lowest mean rank by {names}, of {count(part.ranked)} with these scores"
    return f"{ranked}. Suggested labels are those of {part.suggested_by}."


def describe_noise(noise: LabelNoise) -> str:
    """Return a sentence on the estimated number of wrong labels.

    >>> describe_noise(LabelNoise(labels=200, errors=10, confusions=()))
    'About 10 of 200 labels (5 %) are estimated to be wrong.'
    """
    number = f"{count(noise.errors)} of {plural(noise.labels, 'label')}"
    return f"About {number} ({share(noise.errors, noise.labels)}) are estimated to be wrong."


def confusions(noise: LabelNoise) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return the header and the rows of a table of the most frequent confusions."""
    head = ("Label", "Right label", "Rows, estimated", "Share of the rows with this right label")
    return head, [(one.label, one.true, count(one.rows), share(one.share)) for one in noise.confusions]


def section(part: Review | None, text: int) -> list[Markup | None]:
    """Return the section of the report; empty without a list."""
    if part is None or not part.rows:
        return []
    how = (
        "To correct labels, fill in the column corrected_label of review.csv in the run directory, and run curate "
        "relabel with this file."
    )
    n_shown = len(part.rows)
    note = f"{count(n_shown)} of {count(part.listed)}; all are in review.csv" if n_shown < part.listed else ""
    articles = tag("div", *(_row(row, part.scores, text) for row in part.rows), class_="examples")
    summary = tag("summary", tag("span", plural(n_shown, "row")), tag("small", note) if note else None)
    noise = part.noise
    estimate = "" if noise is None else f"{describe_noise(noise)} "
    return [
        tag("p", f"{estimate}{sentence(part)} {how}", class_="aside"),
        tables.plain("Labels that are confused most, as estimated by confident learning", confusions(noise))
        if noise is not None and noise.confusions
        else None,
        tag("details", summary, articles, open=""),
    ]


def _row(row: ReviewRow, scores: Sequence[str], text: int) -> Markup:
    ranks = ", ".join(f"{rank:,g} by {name.removeprefix('-')}" for name, rank in zip(scores, row.ranks, strict=True))
    return tag(
        "article",
        tag("p", "label ", tag("b", short(row.label or "none", 80)), *_suggestion(row), class_="reason"),
        tag("blockquote", short(row.text, text), dir="auto") if row.text else None,
        tag("ol", *(_neighbor(one, min(text, 160)) for one in row.neighbors)) if row.neighbors else None,
        tag(
            "dl",
            *(
                tag("div", tag("dt", name), tag("dd", fact))
                for name, fact in (("id", short(row.id, 80)), ("rank", ranks))
            ),
        ),
        class_="dropped",
    )


def _suggestion(row: ReviewRow) -> list[str | Markup]:
    if row.suggestion is None:
        return []
    verb = ", confirmed as " if row.suggestion == row.label else ", suggested "
    sure = "" if row.confidence is None else f" ({value(row.confidence)})"
    return [verb, tag("b", short(row.suggestion, 80)), sure]


def _neighbor(one: ReviewNeighbor, text: int) -> Markup:
    return tag(
        "li",
        tag("b", short(one.label, 80)),
        f" ({value(one.similarity)}) ",
        tag("span", short(one.text, text), dir="auto"),
    )
