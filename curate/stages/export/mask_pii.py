"""Personal data in the text columns of a table: replaced by placeholders, at any depth, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypedDict

import pyarrow as pa

from curate.config.template_syntax import TextPath
from curate.kernels.text.pii_patterns import PiiKind, mask_pii
from curate.stages.export.map_strings import map_strings


class Counts(TypedDict):
    """Counts of what was replaced."""

    rows: int
    """Number of rows that were changed."""

    spans: dict[str, int]
    """Number of spans that were replaced, by kind."""


def mask(table: pa.Table, paths: Sequence[TextPath], kinds: Sequence[PiiKind]) -> tuple[pa.Table, Counts]:
    """The table with placeholders for personal data in some of its columns.

    Every string is masked for itself: of a list or a struct those within, however deep, and a map's keys too. Numbers
    and other types hold no text and stay.

    Parameters
    ----------
    paths : of the columns, each alone or with the steps into its lists and objects

    Returns
    -------
    table : with the same columns and types
    counts : ``rows`` that were changed, and the ``spans`` of each kind that were replaced

    >>> table = pa.table({"text": ["ann@example.org", "none"], "n": [1, 2]})
    >>> masked_table, counts = mask(table, [("text",)], ["email"])
    >>> masked_table["text"].to_pylist(), counts
    (['<EMAIL>', 'none'], {'rows': 1, 'spans': {'email': 1}})
    """
    rows: set[int] = set()
    spans: Counter[PiiKind] = Counter()

    def change(row: int, text: str) -> str:
        text, found = mask_pii(text, kinds)
        if found:
            rows.add(row)
            spans.update(found)
        return text

    return map_strings(table, paths, change), {"rows": len(rows), "spans": {kind: spans[kind] for kind in kinds}}


def total(counts: Iterable[Counts], kinds: Sequence[PiiKind]) -> Counts:
    """The counts of several tables as those of one; a row that several epochs have counts in each."""
    counts = list(counts)
    return {
        "rows": sum(each["rows"] for each in counts),
        "spans": {kind: sum(each["spans"].get(kind, 0) for each in counts) for kind in kinds},
    }
