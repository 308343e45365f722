"""Comparison of two selections: rows added, removed and kept, by source, with reasons."""

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
from curate.store.ledger import RowLocation, Run, read_chosen, to_polars, to_single_line


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount:
    """Number of added (or removed) rows with the same outcome in the run that lacks them."""

    change: str
    """``added`` or ``removed``."""

    status: str
    decided_by: str | None
    reason: str | None
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Added or removed row."""

    change: str
    id: str
    source: str
    text: str | None
    """Beginning of the text; None if the row is no longer in the pool."""

    status: str | None
    """Outcome in the other run; None if no ledger contains it."""

    decided_by: str | None
    reason: str | None
    relation: str | None
    """Relation to its representative: ``duplicate of`` or ``represented by``; None without one."""

    representative: str | None
    kept_instead: str | None
    """Row kept in place of a dropped one that has a representative; None if no row was kept."""

    similarity: float | None

    def describe(self) -> str:
        """Return the outcome as a sentence."""
        outcome = _describe(self.status or "unknown", self.decided_by, self.reason)
        if self.representative is None:
            return outcome
        near = "" if self.similarity is None else f", similarity {self.similarity:.4g}"
        outcome += f"; {self.relation} {to_single_line(self.representative)}{near}"
        if self.kept_instead == self.representative:
            return outcome
        instead = "no row was" if self.kept_instead is None else f"{to_single_line(self.kept_instead)} was"
        return f"{outcome}, which was dropped later; {instead} kept in its place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Changes from run A to run B, or from one version of a run's export to another."""

    run_a: str
    run_b: str
    churn: Churn
    rewritten: int | None
    """Number of kept rows whose text changed; None for versions, which store no texts."""

    reasons: tuple[ReasonCount, ...]
    examples: tuple[Example, ...]
    missing: tuple[str, ...] = ()
    """Stages whose missing results leave the reasons unknown."""

    def summary(self) -> str:
        """Return the difference as one line."""
        one = self.churn
        rewritten = f" ({self.rewritten:,} of them with a changed text)" if self.rewritten else ""
        return (
            f"{self.run_a} -> {self.run_b}: {one.added:,} rows added, {one.removed:,} removed, {one.kept:,} kept"
            f"{rewritten}; {one.rate:.2%} of the rows in either run changed"
        )

    def tables(self) -> Iterator[tuple[list[str], list[list[str]]]]:
        """Yield the header and the rows of each table that has any: by source, by reason."""
        by_source = [
            [to_single_line(name), f"{one.added:,}", f"{one.removed:,}", f"{one.kept:,}", f"{one.rate:.2%}"]
            for name, one in self.churn.sources.items()
        ]
        yield ["source", "added", "removed", "kept", "churn"], by_source
        without = {"added": self.run_a, "removed": self.run_b}
        if self.reasons:
            yield (
                ["rows", "change", "outcome in the other run"],
                [
                    [
                        f"{one.rows:,}",
                        one.change,
                        f"{without[one.change]}: {_describe(one.status, one.decided_by, one.reason)}",
                    ]
                    for one in self.reasons
                ],
            )

    def lines(self) -> Iterator[str]:
        """Yield the examples, two lines each."""
        for one in self.examples:
            sign, without = ("+", self.run_a) if one.change == "added" else ("-", self.run_b)
            text = "(no longer in the pool)" if one.text is None else one.text
            yield f"{sign} {to_single_line(one.id)} ({to_single_line(one.source)}): {text}"
            if one.status is not None:
                yield f"    {without}: {one.describe()}"
        if self.missing:
            yield f"no reasons: the results of {', '.join(self.missing)} are missing; run again to restore them"

    def as_dict(self) -> dict[str, object]:
        """Return the difference as plain data."""
        return {
            "run_a": self.run_a,
            "run_b": self.run_b,
            **self.churn.as_dict(),
            "rewritten": self.rewritten,
            "reasons": [_as_dict(one) for one in self.reasons],
            "examples": [_as_dict(one) for one in self.examples],
            "missing": list(self.missing),
        }


def diff(folder_a: Path, folder_b: Path, examples: int) -> Difference:
    """Compare the selections of two runs by their ledgers.

    ``examples``: number of added rows, and of removed rows, that are shown, spread evenly over the pool.

    Reads a shard at a time; memory: the ids of the chosen rows of both runs, some 70 bytes each.

    Raises
    ------
    ConfigError
        One of the folders is not a run directory, or its run has not selected rows yet.
    """
    with no_follow.protect(folder_a, folder_b):
        return _compare_runs(folder_a, folder_b, examples)


def _compare_runs(folder_a: Path, folder_b: Path, examples: int) -> Difference:
    run_a, run_b = Run.open(folder_a), Run.open(folder_b)
    a, b = (read_chosen(run.inputs, run.folder / "select") for run in (run_a, run_b) if run.require_selection())
    both = a.join(b, on="id", suffix="_b")
    reasons, shown_rows = [], []
    for change, has, other, rows in (
        ("added", run_b, run_a, _missing_rows(b, a)),
        ("removed", run_a, run_b, _missing_rows(a, b)),
    ):
        outcomes = to_polars(other.read_outcomes(rows["id"].to_list()))
        reasons += list(_reasons(change, outcomes))
        sampled = _spread(rows, examples)
        locations = {row["id"]: RowLocation(row["shard"], row["row"]) for row in rows[sampled].to_dicts()}
        shown_rows += list(_examples(change, has, rows[sampled], locations, (other, outcomes[sampled])))
    return Difference(
        run_a=str(folder_a),
        run_b=str(folder_b),
        churn=compute_churn(a, b),
        rewritten=len(both.filter(pl.col("hash") != pl.col("hash_b"))),
        reasons=tuple(reasons),
        examples=tuple(shown_rows),
    )


def diff_published(folder: Path, examples: int) -> Difference:
    """Compare the published export of a run with the version that was published before it.

    The reason why a version lacks a row is in its ledger. A run keeps only the ledger of its last selection: usually
    that of the published version, so that every removed row has a reason; after ``rollback`` that of the other version.

    Reads a shard at a time; memory: the ids of both versions.

    Raises
    ------
    ConfigError
        There is no run or no previous version, or one of the two versions was deleted.
    """
    with no_follow.protect(folder):
        return _compare_versions(folder, examples)


def _compare_versions(folder: Path, examples: int) -> Difference:
    run, root = Run.open(folder), folder / versions.FOLDER
    previous, current = _published_versions(folder)
    exported = manifest.load_intact(root)
    of_ledger = None
    if (
        exported is not None
        and run.selection is not None
        and exported.inputs.get("select") == run.selection.fingerprint
    ):
        of_ledger = versions.version_name(exported.fingerprint)
    a, b = versions.read_ids(root, previous), versions.read_ids(root, current)
    reasons, shown_rows = [], []
    for change, other, rows in (("added", previous, _rows_not_in(b, a)), ("removed", current, _rows_not_in(a, b))):
        sampled, outcomes = _spread(rows, examples), None
        if other == of_ledger:
            outcomes = to_polars(run.read_outcomes(rows["id"].to_list()))
            reasons += list(_reasons(change, outcomes))
        locations = run.locate_rows(rows[sampled]["id"])
        shown_rows += list(
            _examples(change, run, rows[sampled], locations, None if outcomes is None else (run, outcomes[sampled]))
        )
    return Difference(
        run_a=str(root / previous),
        run_b=str(root / current),
        churn=compute_churn(a, b),
        rewritten=None,
        reasons=tuple(reasons),
        examples=tuple(shown_rows),
        missing=() if run.selection is not None else ("select",),
    )


def _published_versions(folder: Path) -> tuple[str, str]:
    """Return the previously published version and the published one."""
    root = folder / versions.FOLDER
    current = versions.published_version(root)
    if current is None:
        hint = f"run: curate run {folder / 'config.yaml'}"
        raise ConfigError("no export has been published yet", where=str(folder), hint=hint)
    previous = next(
        (line["version"] for line in reversed(versions.read_history(root)) if line["version"] != current), None
    )
    if previous is None:
        hint = "pass a second run to compare with it"
        raise ConfigError(f"{current} is the only published version", where=str(folder), hint=hint)
    if deleted := next((one for one in (previous, current) if not versions.ids_path(root, one).exists()), None):
        hint = "compare again after the next publication, or raise export.keep_versions to keep more versions"
        raise ConfigError(f"the version {deleted} was deleted", where=str(folder), hint=hint)
    return previous, current


def _missing_rows(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that the others lack, in the pool's order."""
    return _rows_not_in(rows, others).sort("shard", "row")


def _rows_not_in(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    return rows.join(others, on="id", how="anti", maintain_order="left")


def _spread(rows: pl.DataFrame, examples: int) -> list[int]:
    """Return the positions of some rows, spread evenly."""
    shown = min(examples, len(rows))
    return [number * len(rows) // shown for number in range(shown)]


def _reasons(change: str, outcomes: pl.DataFrame) -> Iterator[ReasonCount]:
    counted = outcomes.group_by("status", "decided_by", "reason").agg(pl.len().alias("rows"))
    for line in counted.sort(
        "rows", "status", "decided_by", "reason", descending=[True, False, False, False]
    ).to_dicts():
        yield ReasonCount(change=change, **line)


def _examples(
    change: str,
    run: Run,
    rows: pl.DataFrame,
    locations: Mapping[str, RowLocation],
    ledger: tuple[Run, pl.DataFrame] | None,
) -> Iterator[Example]:
    """Yield an example for each row; ``locations``: locations in the pool of ``run`` of the rows that it contains."""
    texts = dict(zip(locations, run.texts(list(locations.values())), strict=True))
    lines: list[dict[str, Any]] = [{}] * len(rows) if ledger is None else ledger[1].to_dicts()
    representatives = [line["representative"] for line in lines if line.get("representative") is not None]
    kept = ledger[0].kept_instead(representatives) if ledger is not None and representatives else {}
    for row, outcome in zip(rows.to_dicts(), lines, strict=True):
        fields = {
            name: outcome.get(name) for name in ("status", "decided_by", "reason", "representative", "similarity")
        }
        fields |= {"relation": None, "kept_instead": None}
        if ledger is not None and outcome["representative"] is not None:
            fields |= {
                "relation": ledger[0].relation(outcome["decided_by"]),
                "kept_instead": kept[outcome["representative"]],
            }
        text = to_single_line(texts[row["id"]]) if row["id"] in texts else None
        yield Example(change=change, id=row["id"], source=row["source"], text=text, **fields)


def _describe(status: str, decided_by: str | None, reason: str | None) -> str:
    why = "" if reason is None else f": {to_single_line(reason)}"
    return status if decided_by is None else f"{status} by {decided_by}{why}"


def _as_dict(one: ReasonCount | Example) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}
