"""What changed from one run's selection to another's: rows added, removed and kept, by source, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.store.churn import Churn, churn
from curate.store.ledger import Place, Run, chosen, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """How many of the rows that were added (or removed) met the same fate in the run that does not have them."""

    change: str
    """``added`` or ``removed``."""

    status: str
    by: str | None
    reason: str | None
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One of those rows."""

    change: str
    id: str
    source: str
    text: str
    """Cut off."""

    status: str
    by: str | None
    reason: str | None
    representative: str | None
    similarity: float | None

    def why(self) -> str:
        """The fate in words."""
        stands = "" if self.representative is None else f"; {shown(self.representative)} stands for it"
        near = "" if self.similarity is None else f", similarity {self.similarity:.4g}"
        return f"{_words(self.status, self.by, self.reason)}{stands}{near}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changed from run A to run B."""

    run_a: str
    run_b: str
    churn: Churn
    rewritten: int
    """Kept rows whose text is another."""

    reasons: tuple[Reason, ...]
    examples: tuple[Example, ...]

    def sentence(self) -> str:
        """The whole difference in one line."""
        one = self.churn
        rewritten = f" ({self.rewritten:,} of them with another text)" if self.rewritten else ""
        return (
            f"{self.run_a} -> {self.run_b}: {one.added:,} rows added, {one.removed:,} removed, {one.kept:,} kept"
            f"{rewritten}; {one.rate:.2%} of the rows in either changed"
        )

    def tables(self) -> Iterator[tuple[list[str], list[list[str]]]]:
        """The header and rows of each table that has any: by source, by reason."""
        by_source = [
            [shown(name), f"{one.added:,}", f"{one.removed:,}", f"{one.kept:,}", f"{one.rate:.2%}"]
            for name, one in self.churn.sources.items()
        ]
        yield ["source", "added", "removed", "kept", "churn"], by_source
        without = {"added": self.run_a, "removed": self.run_b}
        if self.reasons:
            yield (
                ["rows", "change", "what became of them in the other run"],
                [
                    [f"{one.rows:,}", one.change, f"{without[one.change]}: {_words(one.status, one.by, one.reason)}"]
                    for one in self.reasons
                ],
            )

    def lines(self) -> Iterator[str]:
        """The examples, two lines each."""
        for one in self.examples:
            sign, without = ("+", self.run_a) if one.change == "added" else ("-", self.run_b)
            yield f"{sign} {shown(one.id)} ({shown(one.source)}): {one.text}"
            yield f"    {without}: {one.why()}"

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "run_a": self.run_a,
            "run_b": self.run_b,
            **self.churn.as_dict(),
            "rewritten": self.rewritten,
            "reasons": [_plain(one) for one in self.reasons],
            "examples": [_plain(one) for one in self.examples],
        }


def diff(folder_a: Path, folder_b: Path, examples: int) -> Difference:
    """The difference between the selections of two runs, as their ledgers have them.

    ``examples``: how many of the rows added, and of those removed, are shown, spread evenly over the pool.

    Reads a shard at a time; memory: the ids of the chosen rows of both runs, some 70 bytes each.

    Raises
    ------
    ConfigError : if one of the folders holds no run, or one that has not selected yet
    """
    run_a, run_b = Run.open(folder_a), Run.open(folder_b)
    a, b = (chosen(run.inputs, run.folder / "select") for run in (run_a, run_b) if run.selected())
    both = a.join(b, on="id", suffix="_b")
    reasons, shown_rows = [], []
    for change, has, other, rows in (("added", run_b, run_a, _only(b, a)), ("removed", run_a, run_b, _only(a, b))):
        fates = other.fates(rows["id"])
        reasons += list(_reasons(change, fates))
        spread = [place * len(rows) // examples for place in range(examples)] if examples < len(rows) else slice(None)
        shown_rows += list(_examples(change, has, rows[spread], fates[spread]))
    return Difference(
        run_a=str(folder_a),
        run_b=str(folder_b),
        churn=churn(a, b),
        rewritten=len(both.filter(pl.col("hash") != pl.col("hash_b"))),
        reasons=tuple(reasons),
        examples=tuple(shown_rows),
    )


def _only(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The rows that the others do not have, in the pool's order."""
    return rows.join(others, on="id", how="anti").sort("shard", "row")


def _reasons(change: str, fates: pl.DataFrame) -> Iterator[Reason]:
    counted = fates.group_by("status", "by", "reason").agg(pl.len().alias("rows"))
    for line in counted.sort("rows", "status", "by", "reason", descending=[True, False, False, False]).to_dicts():
        yield Reason(change=change, **line)


def _examples(change: str, run: Run, rows: pl.DataFrame, fates: pl.DataFrame) -> Iterator[Example]:
    texts = run.texts([Place(*place) for place in rows.select("shard", "row").iter_rows()])
    for row, fate, text in zip(rows.to_dicts(), fates.to_dicts(), texts, strict=True):
        told = {name: fate[name] for name in ("status", "by", "reason", "representative", "similarity")}
        yield Example(change=change, id=row["id"], source=row["source"], text=shown(text), **told)


def _words(status: str, by: str | None, reason: str | None) -> str:
    why = "" if reason is None else f": {shown(reason)}"
    return status if by is None else f"{status} by {by}{why}"


def _plain(one: Reason | Example) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}
