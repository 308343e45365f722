"""Summary of the reasons why rows were quarantined, for messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from curate.kernels.text.pii_patterns import PiiKind
from curate.store import parquet_io, redaction
from curate.store.ledger import to_polars

_MAX_REASONS = 3
_EXCERPT = 60
"""Number of characters of a record that are shown."""

_PARTICULARS = r"'[^']*'|\S*\d\S*"
"""Pattern of names and numbers, which differ between rows that are quarantined for the same reason."""


def summarize_reasons(files: Sequence[Path], kinds: Collection[PiiKind]) -> str:
    """Return the most frequent reasons, each with its number of rows and the location and beginning of one row.

    Reasons that differ only in names and numbers count as one. Memory: the reasons of one file.

    Parameters
    ----------
    files : sequence of Path
        Parquet files of quarantined rows.
    kinds : collection of str
        Kinds of personal data that are masked in quoted records.

    Returns
    -------
    str
        For example ``150 × has the same id as a.jsonl:1 (a.jsonl:2: {"id": …)``; "" if there are no rows.
    """
    counts = [_count_reasons(path).with_columns(path=pl.lit(number, pl.Int64)) for number, path in enumerate(files)]
    if not counts:
        return ""
    first = [pl.first("reason"), pl.first("file"), pl.first("line"), pl.first("row"), pl.first("path")]
    merged = pl.concat(counts).group_by("key", maintain_order=True).agg(pl.sum("rows"), *first)
    most = merged.sort("rows", descending=True, maintain_order=True).head(_MAX_REASONS)
    shown = [_format_reason(line, files[line["path"]], kinds) for line in most.to_dicts()]
    rest = int(merged["rows"].sum()) - int(most["rows"].sum())
    return "; ".join([*shown, *([f"{rest:,} for other reasons"] if rest else [])])


def _count_reasons(path: Path) -> pl.DataFrame:
    frame = to_polars(parquet_io.read(path, ["reason", "file", "line"])).with_row_index("row")
    key = pl.col("reason").str.replace_all(_PARTICULARS, "…").alias("key")
    first = [pl.first("reason"), pl.first("file"), pl.first("line"), pl.first("row")]
    return frame.group_by(key, maintain_order=True).agg(pl.len().cast(pl.Int64).alias("rows"), *first)


def _format_reason(line: dict[str, object], path: Path, kinds: Collection[PiiKind]) -> str:
    record = parquet_io.read(path, ["record"])["record"][line["row"]].as_py()
    excerpt = "" if record is None else " ".join(redaction.redact(record, kinds).split())
    if len(excerpt) > _EXCERPT:
        excerpt = excerpt[: _EXCERPT - 1] + "…"
    location = f"{line['file']}:{line['line']}"
    return f"{line['rows']:,} × {line['reason']} ({location}{f': {excerpt}' if excerpt else ''})"
