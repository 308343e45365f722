"""Reasons for which rows were quarantined, most frequent first, for messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from curate.kernels.text.pii_patterns import PiiKind
from curate.store import parquet_io, redaction
from curate.store.ledger import to_polars

_MOST = 3
_EXCERPT = 60
"""Characters of a record that are shown."""

_PARTICULARS = r"'[^']*'|\S*\d\S*"
"""Names and numbers in a reason, which differ between rows that are quarantined for the same one."""


def summarize_reasons(files: Sequence[Path], kinds: Collection[PiiKind]) -> str:
    """Return the most frequent reasons, each with its number of rows and the place and beginning of one of them.

    Reasons that differ in names and numbers only are counted as one. Memory: the reasons of one file.

    Parameters
    ----------
    files : sequence of Path
        Parquet files of quarantined rows.
    kinds : collection of str
        Personal data that no record is quoted with.

    Returns
    -------
    str
        Such as ``150 × has the id of a.jsonl:1 (a.jsonl:2: {"id": …)``; "" if there are no rows.
    """
    counts = [_counted(path).with_columns(path=pl.lit(number, pl.Int64)) for number, path in enumerate(files)]
    if not counts:
        return ""
    first = [pl.first("reason"), pl.first("file"), pl.first("line"), pl.first("row"), pl.first("path")]
    merged = pl.concat(counts).group_by("key", maintain_order=True).agg(pl.sum("rows"), *first)
    most = merged.sort("rows", descending=True, maintain_order=True).head(_MOST)
    told = [_shown(line, files[line["path"]], kinds) for line in most.to_dicts()]
    rest = int(merged["rows"].sum()) - int(most["rows"].sum())
    return "; ".join([*told, *([f"{rest:,} for other reasons"] if rest else [])])


def _counted(path: Path) -> pl.DataFrame:
    frame = to_polars(parquet_io.read(path, ["reason", "file", "line"])).with_row_index("row")
    key = pl.col("reason").str.replace_all(_PARTICULARS, "…").alias("key")
    first = [pl.first("reason"), pl.first("file"), pl.first("line"), pl.first("row")]
    return frame.group_by(key, maintain_order=True).agg(pl.len().cast(pl.Int64).alias("rows"), *first)


def _shown(line: dict[str, object], path: Path, kinds: Collection[PiiKind]) -> str:
    record = parquet_io.read(path, ["record"])["record"][line["row"]].as_py()
    excerpt = "" if record is None else " ".join(redaction.redact(record, kinds).split())
    if len(excerpt) > _EXCERPT:
        excerpt = excerpt[: _EXCERPT - 1] + "…"
    place = f"{line['file']}:{line['line']}"
    return f"{line['rows']:,} × {line['reason']} ({place}{f': {excerpt}' if excerpt else ''})"
