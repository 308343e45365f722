"""What changed from one selection to another: rows added, removed and kept, by source, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate import no_follow
from curate.errors import ConfigError
from curate.store import manifest, versions
from curate.store.churn import Churn, compute_churn
from curate.store.ledger import RowLocation, Run, read_chosen, to_single_line


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount:
    """How many of the rows that were added (or removed) met the same fate in the run that does not have them."""

    change: str
    """``added`` or ``removed``."""

    status: str
    decided_by: str | None
    reason: str | None
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One of those rows."""

    change: str
    id: str
    source: str
    text: str | None
    """Cut off; None if the row is not in the pool any more."""

    status: str | None
    """None where no ledger tells."""

    decided_by: str | None
    reason: str | None
    relation: str | None
    """What it is to its representative: ``duplicate of``, ``represented by``; None without one."""

    representative: str | None
    kept_instead: str | None
    """The row that was kept in the end for a dropped one that has a representative; None if none was."""

    similarity: float | None

    def describe(self) -> str:
        """The fate in words."""
        fate = _words(self.status or "unknown", self.decided_by, self.reason)
        if self.representative is None:
            return fate
        near = "" if self.similarity is None else f", similarity {self.similarity:.4g}"
        fate += f"; {self.relation} {to_single_line(self.representative)}{near}"
        if self.kept_instead == self.representative:
            return fate
        instead = "no row was" if self.kept_instead is None else f"{to_single_line(self.kept_instead)} was"
        return f"{fate}, which was dropped later; {instead} kept in its place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changed from run A to run B, or from one version of a run's export to another."""

    run_a: str
    run_b: str
    churn: Churn
    rewritten: int | None
    """Kept rows whose text is another; None for versions, which keep no texts."""

    reasons: tuple[ReasonCount, ...]
    examples: tuple[Example, ...]
    missing: tuple[str, ...] = ()
    """Stages whose results are missing, for lack of which there are no reasons."""

    def summary(self) -> str:
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
            [to_single_line(name), f"{one.added:,}", f"{one.removed:,}", f"{one.kept:,}", f"{one.rate:.2%}"]
            for name, one in self.churn.sources.items()
        ]
        yield ["source", "added", "removed", "kept", "churn"], by_source
        without = {"added": self.run_a, "removed": self.run_b}
        if self.reasons:
            yield (
                ["rows", "change", "what became of them in the other run"],
                [
                    [
                        f"{one.rows:,}",
                        one.change,
                        f"{without[one.change]}: {_words(one.status, one.decided_by, one.reason)}",
                    ]
                    for one in self.reasons
                ],
            )

    def lines(self) -> Iterator[str]:
        """The examples, two lines each."""
        for one in self.examples:
            sign, without = ("+", self.run_a) if one.change == "added" else ("-", self.run_b)
            text = "(no longer in the pool)" if one.text is None else one.text
            yield f"{sign} {to_single_line(one.id)} ({to_single_line(one.source)}): {text}"
            if one.status is not None:
                yield f"    {without}: {one.describe()}"
        if self.missing:
            yield f"left out: the reasons, as {', '.join(self.missing)} is missing: run again"

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "run_a": self.run_a,
            "run_b": self.run_b,
            **self.churn.as_dict(),
            "rewritten": self.rewritten,
            "reasons": [_plain(one) for one in self.reasons],
            "examples": [_plain(one) for one in self.examples],
            "missing": list(self.missing),
        }


def diff(folder_a: Path, folder_b: Path, examples: int) -> Difference:
    """The difference between the selections of two runs, as their ledgers have them.

    ``examples``: how many of the rows added, and of those removed, are shown, spread evenly over the pool.

    Reads a shard at a time; memory: the ids of the chosen rows of both runs, some 70 bytes each.

    Raises
    ------
    ConfigError : if one of the folders holds no run, or one that has not selected yet
    """
    with no_follow.protect(folder_a, folder_b):
        return _between(folder_a, folder_b, examples)


def _between(folder_a: Path, folder_b: Path, examples: int) -> Difference:
    run_a, run_b = Run.open(folder_a), Run.open(folder_b)
    a, b = (read_chosen(run.inputs, run.folder / "select") for run in (run_a, run_b) if run.require_selection())
    both = a.join(b, on="id", suffix="_b")
    reasons, shown_rows = [], []
    for change, has, other, rows in (("added", run_b, run_a, _only(b, a)), ("removed", run_a, run_b, _only(a, b))):
        fates = other.read_outcomes(rows["id"])
        reasons += list(_reasons(change, fates))
        some = _spread(rows, examples)
        places = {row["id"]: RowLocation(row["shard"], row["row"]) for row in rows[some].to_dicts()}
        shown_rows += list(_examples(change, has, rows[some], places, (other, fates[some])))
    return Difference(
        run_a=str(folder_a),
        run_b=str(folder_b),
        churn=compute_churn(a, b),
        rewritten=len(both.filter(pl.col("hash") != pl.col("hash_b"))),
        reasons=tuple(reasons),
        examples=tuple(shown_rows),
    )


def diff_published(folder: Path, examples: int) -> Difference:
    """What the published export of a run changed against the version that was published before it.

    Why a version has not a row, its ledger says. A run keeps the ledger of what it selected last: most often that of
    the published version, so that every removed row has its reason; after ``rollback`` that of the other.

    Reads a shard at a time; memory: the ids of both versions.

    Raises
    ------
    ConfigError : if there is no run, no version before this one, or one of them is not kept any more
    """
    with no_follow.protect(folder):
        return _since(folder, examples)


def _since(folder: Path, examples: int) -> Difference:
    run, root = Run.open(folder), folder / versions.FOLDER
    before, now = _published(folder)
    made = manifest.load_intact(root)
    of_ledger = None
    if made is not None and run.selection is not None and made.inputs.get("select") == run.selection.fingerprint:
        of_ledger = versions.version_name(made.fingerprint)
    a, b = versions.read_ids(root, before), versions.read_ids(root, now)
    reasons, shown_rows = [], []
    for change, other, rows in (("added", before, _not_in(b, a)), ("removed", now, _not_in(a, b))):
        some, fates = _spread(rows, examples), None
        if other == of_ledger:
            fates = run.read_outcomes(rows["id"])
            reasons += list(_reasons(change, fates))
        found = run.locate_rows(rows[some]["id"])
        shown_rows += list(_examples(change, run, rows[some], found, None if fates is None else (run, fates[some])))
    return Difference(
        run_a=str(root / before),
        run_b=str(root / now),
        churn=compute_churn(a, b),
        rewritten=None,
        reasons=tuple(reasons),
        examples=tuple(shown_rows),
        missing=() if run.selection is not None else ("select",),
    )


def _published(folder: Path) -> tuple[str, str]:
    """The version that was published before the published one, and that."""
    root = folder / versions.FOLDER
    now = versions.published_version(root)
    if now is None:
        hint = f"run: curate run {folder / 'config.yaml'}"
        raise ConfigError("nothing is published yet", where=str(folder), hint=hint)
    before = next((line["version"] for line in reversed(versions.read_history(root)) if line["version"] != now), None)
    if before is None:
        hint = "name two runs to compare them"
        raise ConfigError(f"{now} is the only version that was published", where=str(folder), hint=hint)
    if gone := next((one for one in (before, now) if not versions.ids_path(root, one).exists()), None):
        hint = "the next publication can be compared with this one"
        raise ConfigError(f"the version {gone} is not kept any more", where=str(folder), hint=hint)
    return before, now


def _only(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The rows that the others do not have, in the pool's order."""
    return _not_in(rows, others).sort("shard", "row")


def _not_in(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    return rows.join(others, on="id", how="anti", maintain_order="left")


def _spread(rows: pl.DataFrame, examples: int) -> list[int]:
    """The positions of so many rows, spread evenly."""
    shown = min(examples, len(rows))
    return [place * len(rows) // shown for place in range(shown)]


def _reasons(change: str, fates: pl.DataFrame) -> Iterator[ReasonCount]:
    counted = fates.group_by("status", "decided_by", "reason").agg(pl.len().alias("rows"))
    for line in counted.sort(
        "rows", "status", "decided_by", "reason", descending=[True, False, False, False]
    ).to_dicts():
        yield ReasonCount(change=change, **line)


def _examples(
    change: str,
    run: Run,
    rows: pl.DataFrame,
    places: Mapping[str, RowLocation],
    decided: tuple[Run, pl.DataFrame] | None,
) -> Iterator[Example]:
    """One for each row; ``places``: where it is in the pool of ``run``, if it is."""
    texts = dict(zip(places, run.texts(list(places.values())), strict=True))
    lines: list[dict[str, Any]] = [{}] * len(rows) if decided is None else decided[1].to_dicts()
    named = [line["representative"] for line in lines if line.get("representative") is not None]
    kept = decided[0].kept_instead(named) if decided is not None and named else {}
    for row, fate in zip(rows.to_dicts(), lines, strict=True):
        told = {name: fate.get(name) for name in ("status", "decided_by", "reason", "representative", "similarity")}
        told |= {"relation": None, "kept_instead": None}
        if decided is not None and fate["representative"] is not None:
            told |= {"relation": decided[0].relation(fate["decided_by"]), "kept_instead": kept[fate["representative"]]}
        text = to_single_line(texts[row["id"]]) if row["id"] in texts else None
        yield Example(change=change, id=row["id"], source=row["source"], text=text, **told)


def _words(status: str, by: str | None, reason: str | None) -> str:
    why = "" if reason is None else f": {to_single_line(reason)}"
    return status if by is None else f"{status} by {by}{why}"


def _plain(one: ReasonCount | Example) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}
