"""How far two selections differ: rows that are in one of them and not in the other, by id and by source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """What changed from one selection to the next."""

    added: int = 0
    removed: int = 0
    kept: int = 0
    sources: Mapping[str, Churn] = field(default_factory=dict)
    """The same for every source; an added row counts where it is now, a removed one where it was."""

    @property
    def rate(self) -> float:
        """In [0, 1]: added and removed rows, as a share of all rows that are in either selection.

        >>> Churn(added=10, removed=10, kept=90).rate
        0.18181818181818182
        """
        changed = self.added + self.removed
        return changed / (changed + self.kept) if changed else 0.0

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        counts = {"added": self.added, "removed": self.removed, "kept": self.kept, "churn_rate": self.rate}
        return counts | (
            {"sources": {name: one.as_dict() for name, one in self.sources.items()}} if self.sources else {}
        )


def compute_churn(before: pl.DataFrame, after: pl.DataFrame) -> Churn:
    """The churn between two selections, each a table of ``id`` (unique) and ``source``; memory: their ids."""
    counts = {
        "added": after.join(before, on="id", how="anti"),
        "removed": before.join(after, on="id", how="anti"),
        "kept": after.join(before, on="id", how="semi"),
    }
    by_source = {what: dict(rows.group_by("source").len().iter_rows()) for what, rows in counts.items()}
    sources = {
        name: Churn(**{what: by_source[what].get(name, 0) for what in counts})
        for name in sorted({*by_source["added"], *by_source["removed"], *by_source["kept"]})
    }
    return Churn(**{what: len(rows) for what, rows in counts.items()}, sources=sources)
