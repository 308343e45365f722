"""Why a row is in the export, or is not: where it came from, what is known of it, and what became of it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import no_follow
from curate.contamination import Hit
from curate.errors import ConfigError
from curate.store import manifest, parquet_io, redaction, row_search, schemas, versions
from curate.store.ledger import RowLocation, Run, Status, to_single_line
from curate.store.manifest import Record, StageResult

_DECONTAMINATE = "decontaminate"

_COMPARED = 5_000
"""The most ids that an unknown one is compared with, letter by letter."""


_EPOCHS = 8
"""The most epochs of a plan that are listed before the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one score column says of the row."""

    name: str
    value: float | None
    higher_is_better: bool
    unit: str

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{_number(self.value)}{unit} ({'higher' if self.higher_is_better else 'lower'} is better)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The group that the row is in."""

    number: int
    name: str | None
    centroid_similarity: float | None

    def __str__(self) -> str:
        if self.number < 0:
            return "in none"
        name = "" if self.name is None else f" ({to_single_line(self.name)})"
        return f"{self.number}{name}, similarity to its centroid {_number(self.centroid_similarity)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOutcome:
    """What became of a row, and why."""

    status: Status
    decided_by: str | None = None
    """The entry that chose, dropped or set it aside."""

    reason: str | None = None
    rank: int | None = None
    """0 is the best."""

    n_selected: int | None = None
    """How many rows were chosen."""

    gain: float | None = None
    weight: float | None = None
    epochs: tuple[int, ...] = ()
    """Those of an epoch plan that the row is in."""

    n_epochs: int = 0
    """How many are planned; 0 without a plan."""

    passed_entries: tuple[str, ...] = ()
    """The entries that left it in."""

    relation: str | None = None
    """What it is to its representative: ``duplicate of``, ``represented by``."""

    similarity: float | None = None
    """Similarity to its representative."""

    def __str__(self) -> str:
        after = f", after it passed {', '.join(self.passed_entries)}" if self.passed_entries else ""
        match self.status:
            case "chosen" if self.decided_by is not None:
                figures = f"gain {_number(self.gain)}, weight {_number(self.weight)}{self._planned()}"
                return f"chosen by {self.decided_by} at rank {self.rank} of 0 to {(self.n_selected or 1) - 1}, {figures}{after}"
            case "chosen":
                return f"chosen: no entry dropped it{after}"
            case "undecided":
                return "undecided: no rows were selected from this pool yet"
        return f"{self.status} by {self.decided_by}: {to_single_line(self.reason or 'no reason given')}{after}"

    def _planned(self) -> str:
        """``, in epochs 0, 3 and 7 of 10``."""
        if not self.epochs:
            return ""
        if len(self.epochs) == self.n_epochs:
            return f", in every one of {self.n_epochs} epochs"
        *first, last = map(str, self.epochs)
        if not first:
            return f", in epoch {last} of {self.n_epochs}"
        if len(first) >= _EPOCHS:
            return f", in {len(self.epochs)} of {self.n_epochs} epochs: {', '.join(first[:_EPOCHS])}, … and {last}"
        return f", in epochs {', '.join(first)} and {last} of {self.n_epochs}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Representative:
    """Row that another was dropped for, and what became of it."""

    id: str
    relation: str
    """What the other row is to it: ``duplicate of``, ``represented by``."""

    similarity: float | None
    text: str
    outcome: RowOutcome | None
    """None for one that was published before and is no longer in the pool; its text is then ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedRecord:
    """A record of the input that was set aside."""

    stage: str
    id: str | None
    """None for a record that could not be read as far as its id."""

    file: str
    line: int
    source: str | None
    reason: str
    record: str | None

    def __str__(self) -> str:
        return f"{to_single_line(self.file)}, line {self.line}: {to_single_line(self.reason)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything a run knows of one row."""

    run: str
    id: str
    file: str | None = None
    line: int | None = None
    source: str | None = None
    label: str | None = None
    text: str | None = None
    cluster: Cluster | None = None
    scores: tuple[Score, ...] = ()
    outcome: RowOutcome
    representatives: tuple[Representative, ...] = ()
    """The row that it was dropped for; where that was dropped later, the one that it was dropped for; and so on."""

    kept_instead: str | None = None
    """The row at the end of these that was kept; None if none was."""

    hits: tuple[Hit, ...] = ()
    """For a row that was dropped for evaluation texts: that of each set which it has most in common with."""

    quarantined: tuple[QuarantinedRecord, ...] = ()
    """Records of the input with this id that were set aside."""

    export: str | None = None
    """The version that is published."""

    exported: bool | None = None
    """Whether the row is in it; None if nothing is published."""

    missing: tuple[str, ...] = ()
    """Stages that were run again since rows were selected, so that what they say now had no part in it."""

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """The same for people."""
        pairs = list(self._pairs())
        width = max(len(title) for title, _ in pairs)
        yield to_single_line(self.id)
        for title, text in pairs:
            yield f"  {title:<{width}}  {text}"

    def _pairs(self) -> Iterator[tuple[str, str]]:
        if self.text is not None:
            yield "from", f"{to_single_line(self.file or '')}, line {self.line}"
            yield "source", to_single_line(self.source or "")
            if self.label is not None:
                yield "label", to_single_line(self.label)
            yield "text", to_single_line(self.text)
        if self.cluster is not None:
            yield "cluster", str(self.cluster)
        for score in self.scores:
            yield score.name, str(score)
        yield "fate", str(self.outcome)
        for one in self.representatives:
            near = f"{to_single_line(one.id)}, similarity {_number(one.similarity)}"
            yield one.relation, near if one.outcome is None else f"{near}: {to_single_line(one.text)}"
            yield "its fate", "published before, and no longer in the pool" if one.outcome is None else str(one.outcome)
        if self.representatives:
            yield "kept instead", "no row" if self.kept_instead is None else to_single_line(self.kept_instead)
        for hit in self.hits:
            yield "evaluation", _evaluation(hit)
        for aside in self.quarantined:
            yield "set aside", str(aside)
            if aside.record:
                yield "record", to_single_line(aside.record)
        if self.exported is not None:
            yield "published", f"{'yes' if self.exported else 'no, it is not'} in version {self.export}"
            if self.exported != (self.outcome.status == "chosen"):
                yield "", "that version was made from another selection: see curate rollback and the guard section"
        if self.missing:
            yield "left out", f"{', '.join(self.missing)}: missing, or run again since rows were selected"


def explain(folder: Path, name: str) -> Explanation:
    """Return the story of a row of the run in ``folder``. Memory: a shard.

    Parameters
    ----------
    name : its id; else ``FILE:LINE`` with an input file, or the hash of its text, as in ids that we made

    Raises
    ------
    ConfigError : if there is no run, or no such row, with ids that are nearly the same
    """
    with no_follow.protect(folder):
        return _explained(folder, name)


def _explained(folder: Path, name: str) -> Explanation:
    run = Run.open(folder)
    name = name.encode(errors="replace").decode()  # what no terminal can have meant is found nowhere
    place, aside = run.find_row(name), _set_aside(run, name)
    if place is None and not aside:
        place, record = row_search.find_row(run, name)
        if place is not None:
            name = row_search.read_id(run, place)
            aside = _set_aside(run, name)
        elif record is not None:
            aside = (_aside(run, record),)
            name = record["id"] or name
    if place is None and not aside:
        near = difflib.get_close_matches(name, _candidates(run, name), n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ConfigError(f"no row has the id {name!r}", where=str(folder), hint=hint)
    story = Explanation(run=str(folder), id=name, outcome=RowOutcome(status="undecided"), quarantined=aside)
    if place is None:
        return replace(story, outcome=RowOutcome(status="set aside", decided_by=aside[0].stage, reason=aside[0].reason))
    return _told(run, place, story)


def _told(run: Run, place: RowLocation, story: Explanation) -> Explanation:
    row = run.inputs.read(place.shard, ("file", "line", "source", "label", "text")).slice(place.row, 1).to_pylist()[0]
    files = dict(enumerate(run.inputs.files))
    fate, stands = _fate(run, place, story.id)
    cluster, scores = _cluster(run, place, story.id), tuple(_scores(run, place, story.id))
    chain = tuple(_representatives(run, fate, stands))
    kept = [one.id for one in chain[-1:] if one.outcome is not None and one.outcome.status == "chosen"]
    version = versions.published_version(run.folder / versions.FOLDER)
    return replace(
        story,
        file=files.get(row["file"], "an unknown file"),
        line=row["line"],
        source=row["source"],
        label=row["label"],
        text=redaction.redact(row["text"], run.mask),
        cluster=cluster,
        scores=scores,
        outcome=fate,
        representatives=chain,
        kept_instead=next(iter(kept), None),
        hits=tuple(_hits(run, place, story.id)) if fate.decided_by == _DECONTAMINATE else (),
        export=version,
        exported=None if version is None else versions.contains_row(run.folder / versions.FOLDER, version, story.id),
        missing=tuple(_missing(run)),
    )


# ---------------------------------------------------------------- what became of it


def _fate(run: Run, place: RowLocation, name: str) -> tuple[RowOutcome, str | None]:
    """Return what became of the row, and the id of the row that it was dropped for."""
    line = run.read_outcomes([name], [place.shard]).to_dicts()[0]
    entries = run.entries()
    names = [entry["name"] for entry in entries]
    if run.selection is not None and _DECONTAMINATE in run.selection.inputs:
        names.insert(0, _DECONTAMINATE)
    by: str | None = line["decided_by"]
    passed: list[str] = []
    if line["status"] == "chosen":
        by = next((entry["name"] for entry in reversed(entries) if entry["budget"] is not None), None)
        passed = [entry for entry in names if entry != by]
    elif line["status"] == "dropped" and by in names:
        passed = names[: names.index(by)]
    fate = RowOutcome(
        status=line["status"],
        decided_by=by,
        reason=line["reason"],
        rank=line["rank"],
        n_selected=None if run.selection is None else run.selection.count.kept,
        gain=_finite(line["gain"]),
        weight=_finite(line["weight"]),
        epochs=tuple(line["epochs"] or ()),
        n_epochs=0 if run.selection is None else len(run.selection.result.epochs),
        passed_entries=tuple(passed),
        relation=None if line["representative"] is None else run.relation(by),
        similarity=_finite(line["similarity"]),
    )
    return fate, line["representative"]


def _representatives(run: Run, fate: RowOutcome, name: str | None) -> Iterator[Representative]:
    """Yield the row that a dropped one was dropped for, and so on until one was chosen or none is named.

    Each was still there when the one before was dropped, so this ends; a damaged ledger is not followed in circles.
    """
    seen = set[str]()
    while name is not None and name not in seen:
        seen.add(name)
        place = run.find_row(name)
        if place is None:
            yield Representative(
                id=name, relation=fate.relation or "", similarity=fate.similarity, text="", outcome=None
            )
            return
        own, after = _fate(run, place, name)
        yield Representative(
            id=name, relation=fate.relation or "", similarity=fate.similarity, text=run.texts([place])[0], outcome=own
        )
        fate, name = own, after


# ---------------------------------------------------------------- what is known of it


def _line(path: Path, name: str, schema: pa.Schema | None = None) -> pa.Table:
    """The row's line in a shard of rows that were embedded; a table without rows for one that was not."""
    table = parquet_io.read(path, schema)
    row = pc.index(table["id"], name).as_py()
    return table.slice(max(row, 0), 1 if row >= 0 else 0)


def _cluster(run: Run, place: RowLocation, name: str) -> Cluster | None:
    record = run.cluster_record()
    if record is None:
        return None
    folder = run.folder / "cluster"
    line = _line(parquet_io.shard_path(folder, place.shard), name, schemas.CLUSTER)
    if not len(line):
        return None
    number = line["cluster"][0].as_py()
    names = parquet_io.read(folder / "centroids.parquet", pa.schema([("name", pa.string())]))["name"]
    title = names[number].as_py() if 0 <= number < len(names) else None
    similarity = _finite(line["centroid_similarity"][0].as_py())
    return Cluster(number=number, name=title, centroid_similarity=similarity)


def _scores(run: Run, place: RowLocation, name: str) -> Iterator[Score]:
    for record in run.stage_records("score"):
        path = parquet_io.shard_path(run.folder / "score" / record.name, place.shard)
        line = _line(path, name)
        facts = {key.decode(): value.decode() for key, value in (line.schema.metadata or {}).items()}
        for column in [column for column in line.column_names if column != "id"] if len(line) else ():
            yield Score(
                name=column.removeprefix("score_"),
                value=_finite(line[column][0].as_py()),
                higher_is_better=facts.get(f"curate.{column}.higher_is_better") == "True",
                unit=facts.get(f"curate.{column}.unit", ""),
            )


def _evaluation(hit: Hit) -> str:
    like = f"similarity {_number(hit.similarity)}" if hit.shared is None else f"shares {to_single_line(hit.shared)!r}"
    return (
        f"{to_single_line(hit.set)} ({to_single_line(hit.file)}, line {hit.line}), {like}: {to_single_line(hit.text)}"
    )


def _hits_record(run: Run) -> Record[StageResult] | None:
    """Return the record of the hits that the ledger was made from; None if they are missing or were made again."""
    record = manifest.load_intact(run.folder / _DECONTAMINATE)
    made = {} if run.selection is None else run.selection.inputs
    return record if record is not None and record.fingerprint == made.get(_DECONTAMINATE) else None


def _hits(run: Run, place: RowLocation, name: str) -> Iterator[Hit]:
    if _hits_record(run) is None:
        return
    table = parquet_io.read(parquet_io.shard_path(run.folder / _DECONTAMINATE, place.shard), schemas.hits(""))
    for line in table.filter(pc.equal(table["id"], name)).to_pylist():
        yield Hit(
            set=line["set"],
            file=line["evaluation_file"],
            line=line["evaluation_line"],
            similarity=_finite(line["similarity"]),
            shared=None if line["shared"] is None else redaction.redact(line["shared"], run.mask),
            text=redaction.redact(line["evaluation_text"], run.mask),
        )


def _missing(run: Run) -> Iterator[str]:
    if run.selection is None:
        if versions.published_version(run.folder / versions.FOLDER) is not None:
            yield "select"
        return
    if run.cluster_record() is None:
        yield "cluster"
    there = {record.name for record in run.stage_records("score")}
    yield from (f"score {name}" for name in run.selection.inputs["score"] if name not in there)
    if _DECONTAMINATE in run.selection.inputs and _hits_record(run) is None:
        yield _DECONTAMINATE


# ---------------------------------------------------------------- rows that were set aside, and unknown ones


def _set_aside(run: Run, name: str) -> tuple[QuarantinedRecord, ...]:
    """The quarantined records with that id; of those without one, the records that have it in them as a word."""
    word = rf"(^|[^\w-]){re.escape(name)}($|[^\w-])"
    found = []
    for stage, paths in run.quarantine_files():
        for path in paths:
            table = parquet_io.read(path, schemas.QUARANTINE)
            nameless = pc.and_(pc.is_null(table["id"]), pc.match_substring_regex(table["record"], word))
            mask = pc.or_(pc.fill_null(pc.equal(table["id"], name), False), pc.fill_null(nameless, False))
            for line in table.filter(mask).to_pylist():
                found.append(_aside(run, {"stage": stage, **line}))
    return tuple(found)


def _aside(run: Run, line: dict[str, Any]) -> QuarantinedRecord:
    record = None if line["record"] is None else redaction.redact(line["record"], run.mask)
    return QuarantinedRecord(**{**line, "record": record})


def _candidates(run: Run, name: str) -> list[str]:
    """Ids that begin or end as ``name`` does: of two that differ by one slip, one half is always the same."""
    half = (len(name) + 1) // 2
    begin, end = name[:half].lower(), name[len(name) - half :].lower()
    found: list[str] = []
    quarantined = (parquet_io.read(path, ["id"]) for _, paths in run.quarantine_files() for path in paths)
    for tables in (run.inputs.iterate_shards(("id",)), quarantined):
        for table in tables:
            ids = pc.utf8_lower(table["id"])
            mask = pc.or_(pc.starts_with(ids, begin), pc.ends_with(ids, end))
            near = [one for one in table["id"].filter(mask).to_pylist() if abs(len(one) - len(name)) <= 2]
            found += near[: _COMPARED - len(found)]
    return found


# ---------------------------------------------------------------- numbers


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
