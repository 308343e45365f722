"""Difference between two selections: rows that are in only one of them, by id and by source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """Number of rows that changed from one selection to the next."""

    added: int = 0
    removed: int = 0
    kept: int = 0
    sources: Mapping[str, Churn] = field(default_factory=dict)
    """Churn of each source: an added row counts for its present source, a removed one for its previous source."""

    @property
    def rate(self) -> float:
        """Added and removed rows as a share of the rows in either selection, in [0, 1].

        >>> Churn(added=10, removed=10, kept=90).rate
        0.18181818181818182
        """
        changed = self.added + self.removed
        return changed / (changed + self.kept) if changed else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return the counts as plain data."""
        counts = {"added": self.added, "removed": self.removed, "kept": self.kept, "churn_rate": self.rate}
        return counts | (
            {"sources": {name: churn.as_dict() for name, churn in self.sources.items()}} if self.sources else {}
        )


def compute_churn(before: pl.DataFrame, after: pl.DataFrame) -> Churn:
    """Compute the churn between two selections, each a table of ``id`` (unique) and ``source``. Memory: their ids."""
    counts = {
        "added": after.join(before, on="id", how="anti"),
        "removed": before.join(after, on="id", how="anti"),
        "kept": after.join(before, on="id", how="semi"),
    }
    by_source = {change: dict(rows.group_by("source").len().iter_rows()) for change, rows in counts.items()}
    sources = {
        name: Churn(**{change: by_source[change].get(name, 0) for change in counts})
        for name in sorted({*by_source["added"], *by_source["removed"], *by_source["kept"]})
    }
    return Churn(**{change: len(rows) for change, rows in counts.items()}, sources=sources)
