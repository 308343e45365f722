"""Masking of personal data in the text columns of a table: replacement by placeholders, with counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypedDict

import pyarrow as pa

from curate.config.template_syntax import TextPath
from curate.kernels.text.pii_patterns import PiiKind, mask_pii
from curate.stages.export.map_strings import map_strings


class Counts(TypedDict):
    """Number of masked rows and spans."""

    rows: int
    """Number of rows that were changed."""

    spans: dict[str, int]
    """Number of spans that were replaced, by kind."""


def mask(table: pa.Table, paths: Sequence[TextPath], kinds: Sequence[PiiKind]) -> tuple[pa.Table, Counts]:
    """Replace personal data in some columns of a table by placeholders.

    Every string is masked separately, at any depth of lists and structs, including the keys of maps. Numbers
    and other types stay unchanged.

    Parameters
    ----------
    paths : Sequence[TextPath]
        Columns, optionally with the steps into their lists and objects.

    Returns
    -------
    table : pa.Table
        Table with the same columns and types.
    counts : Counts
        Number of changed ``rows``, and number of replaced ``spans`` by kind.

    >>> table = pa.table({"text": ["ann@example.org", "none"], "n": [1, 2]})
    >>> masked_table, counts = mask(table, [("text",)], ["email"])
    >>> masked_table["text"].to_pylist(), counts
    (['<EMAIL>', 'none'], {'rows': 1, 'spans': {'email': 1}})
    """
    rows: set[int] = set()
    spans: Counter[PiiKind] = Counter()

    def change(row: int, text: str) -> str:
        text, counts = mask_pii(text, kinds)
        if counts:
            rows.add(row)
            spans.update(counts)
        return text

    return map_strings(table, paths, change), {"rows": len(rows), "spans": {kind: spans[kind] for kind in kinds}}


def total(counts: Iterable[Counts], kinds: Sequence[PiiKind]) -> Counts:
    """Return the sum of the counts of several tables; a row counts once for every epoch that has it."""
    counts = list(counts)
    return {
        "rows": sum(each["rows"] for each in counts),
        "spans": {kind: sum(each["spans"].get(kind, 0) for each in counts) for kind in kinds},
    }
