"""Texts and tables about splits, for the report and the dataset card."""

from __future__ import annotations

from collections.abc import Sequence

from curate.report.formatting import DASH, count, share
from curate.report.html import tables
from curate.report.html.tags import Markup, tag
from curate.report.report_data import SplitCount

METHOD = (
    "Rows that belong together are in one split. Of each split but the first, up to 1,000 rows were compared with all "
    "rows of the other splits: by 13 consecutive words, and by embeddings with a cosine of at least 0.95. The numbers "
    "after “at random” are those expected if rows were divided at random."
)


def table(splits: Sequence[SplitCount]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return the header and the rows of a table of the splits."""
    head = ("Split", "Share", "Rows", "Tokens", "Compared", "Shared words", "At random", "Similar", "At random")
    return head, [
        (
            one.name,
            f"{one.share:.4g}",
            count(one.rows),
            count(one.tokens),
            *((DASH,) * 5 if one.leak is None else _leak(one)),
        )
        for one in splits
    ]


def _leak(one: SplitCount) -> tuple[str, ...]:
    leak = one.leak
    if leak is None:
        return ()
    numbers = (leak.words, leak.random_words, leak.similar, leak.random_similar)
    return count(leak.sampled), *(share(number, leak.sampled) for number in numbers)


def sentence(splits: Sequence[SplitCount]) -> str:
    """Return a phrase with the rows of each split, and how many held-out rows resemble rows of another split.

    >>> from curate.report.report_data import Leak
    >>> leak = Leak(sampled=10, words=1, random_words=4.0, similar=0, random_similar=3.0)
    >>> train = SplitCount(name="train", share=0.9, rows=90, tokens=900, leak=None)
    >>> sentence([train, SplitCount(name="test", share=0.1, rows=10, tokens=100, leak=leak)])  # doctest: +ELLIPSIS
    '90 rows in train, 10 in test; of 10 held-out rows, 1 shares words with another split (4 at random), 0 are ...'
    """
    first, *others = splits
    sizes = [f"{count(first.rows)} rows in {first.name}", *(f"{count(one.rows)} in {one.name}" for one in others)]
    leaks = [one.leak for one in others if one.leak is not None]
    words, similar = sum(leak.words for leak in leaks), sum(leak.similar for leak in leaks)
    random_words, random_similar = (
        count(round(sum(getattr(leak, name) for leak in leaks))) for name in ("random_words", "random_similar")
    )
    return (
        f"{', '.join(sizes)}; of {count(sum(leak.sampled for leak in leaks))} held-out rows, "
        f"{count(words)} {'shares' if words == 1 else 'share'} words with another split ({random_words} at random), "
        f"{count(similar)} {'is' if similar == 1 else 'are'} similar ({random_similar})"
    )


def section(splits: Sequence[SplitCount]) -> list[Markup | None]:
    """Return the section of the report; empty without splits."""
    return (
        [tag("p", METHOD, class_="aside"), tables.plain("Splits of the selected rows", table(splits))] if splits else []
    )
