"""Explanation why a row is or is not in the export: its origin, its scores and its outcome."""

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

_MAX_COMPARED = 5_000
"""Largest number of ids that an unknown id is compared with, letter by letter."""


_MAX_LISTED_EPOCHS = 8
"""Largest number of epochs of a plan that are listed before the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Value of the row in one score column."""

    name: str
    value: float | None
    higher_is_better: bool
    unit: str

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{_number(self.value)}{unit} ({'higher' if self.higher_is_better else 'lower'} is better)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Cluster of the row."""

    number: int
    name: str | None
    centroid_similarity: float | None

    def __str__(self) -> str:
        if self.number < 0:
            return "no cluster"
        name = "" if self.name is None else f" ({to_single_line(self.name)})"
        return f"{self.number}{name}, similarity to its centroid {_number(self.centroid_similarity)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOutcome:
    """Outcome of a row, and its reason."""

    status: Status
    decided_by: str | None = None
    """Entry that chose or dropped the row, or stage that quarantined it."""

    reason: str | None = None
    rank: int | None = None
    """Rank in the selection; 0 is the best."""

    n_selected: int | None = None
    """Number of rows that were chosen."""

    gain: float | None = None
    weight: float | None = None
    epochs: tuple[int, ...] = ()
    """Epochs of an epoch plan that contain the row."""

    n_epochs: int = 0
    """Number of planned epochs; 0 without a plan."""

    passed_entries: tuple[str, ...] = ()
    """Entries that kept the row before its outcome was decided."""

    relation: str | None = None
    """Relation to its representative: ``duplicate of`` or ``represented by``."""

    similarity: float | None = None
    """Similarity to its representative."""

    def __str__(self) -> str:
        after = f", after it passed {', '.join(self.passed_entries)}" if self.passed_entries else ""
        match self.status:
            case "chosen" if self.decided_by is not None:
                figures = f"gain {_number(self.gain)}, weight {_number(self.weight)}{self._planned()}"
                last = (self.n_selected or 1) - 1
                return f"chosen by {self.decided_by} at rank {self.rank} of 0 to {last}, {figures}{after}"
            case "chosen":
                return f"chosen: no entry dropped it{after}"
            case "undecided":
                return "undecided: no rows have been selected from this pool yet"
        return f"{self.status} by {self.decided_by}: {to_single_line(self.reason or 'no reason given')}{after}"

    def _planned(self) -> str:
        """Return the epochs as a phrase, such as ``, in epochs 0, 3 and 7 of 10``."""
        if not self.epochs:
            return ""
        if len(self.epochs) == self.n_epochs:
            return f", in all {self.n_epochs} epochs"
        *first, last = map(str, self.epochs)
        if not first:
            return f", in epoch {last} of {self.n_epochs}"
        if len(first) >= _MAX_LISTED_EPOCHS:
            listed = ", ".join(first[:_MAX_LISTED_EPOCHS])
            return f", in {len(self.epochs)} of {self.n_epochs} epochs: {listed}, … and {last}"
        return f", in epochs {', '.join(first)} and {last} of {self.n_epochs}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Representative:
    """Row that represents a dropped row, and its own outcome."""

    id: str
    relation: str
    """Relation of the dropped row to it: ``duplicate of`` or ``represented by``."""

    similarity: float | None
    text: str
    outcome: RowOutcome | None
    """Outcome of the representative; None for a published row that is no longer in the pool, whose text is then ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowImage:
    """Image of a row."""

    path: str | None
    """Path of its file; None for bytes in a column of the input."""

    width: int
    height: int

    def __str__(self) -> str:
        where = "bytes in the input" if self.path is None else to_single_line(self.path)
        return f"{where}, {self.width:,} × {self.height:,} pixels"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedRecord:
    """Quarantined record of the input."""

    stage: str
    id: str | None
    """Id of the record; None if the record could not be read up to its id."""

    file: str
    line: int
    source: str | None
    reason: str
    record: str | None

    def __str__(self) -> str:
        return f"{to_single_line(self.file)}, line {self.line}: {to_single_line(self.reason)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that a run directory records about one row."""

    run: str
    id: str
    file: str | None = None
    line: int | None = None
    source: str | None = None
    label: str | None = None
    corrected_from: str | None = None
    """Label before its correction, "" for none; None if it was not corrected."""

    text: str | None = None
    image: RowImage | None = None
    """Image of the row; None for a pool without images."""

    cluster: Cluster | None = None
    scores: tuple[Score, ...] = ()
    outcome: RowOutcome
    split: str | None = None
    """Split of a kept row; None without splits."""

    representatives: tuple[Representative, ...] = ()
    """Representative of the row, then the representative of that one if it was dropped later, and so on."""

    kept_instead: str | None = None
    """Kept row at the end of the representatives; None if no row was kept."""

    hits: tuple[Hit, ...] = ()
    """Most similar evaluation text of each set, for a row that was dropped for contamination."""

    quarantined: tuple[QuarantinedRecord, ...] = ()
    """Quarantined records of the input with this id."""

    export: str | None = None
    """Published version."""

    exported: bool | None = None
    """Whether the row is in the published version; None if no version is published."""

    missing: tuple[str, ...] = ()
    """Stages that ran again since the selection, so that their present results did not influence it."""

    def as_dict(self) -> dict[str, object]:
        """Return the explanation as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yield the explanation as lines of text."""
        pairs = list(self._pairs())
        width = max(len(title) for title, _ in pairs)
        yield to_single_line(self.id)
        for title, text in pairs:
            yield f"  {title:<{width}}  {text}"

    def _row(self) -> Iterator[tuple[str, str]]:
        if self.text is not None:
            yield from self._content()
        if self.cluster is not None:
            yield "cluster", str(self.cluster)

    def _pairs(self) -> Iterator[tuple[str, str]]:
        yield from self._row()
        for score in self.scores:
            yield score.name, str(score)
        yield "outcome", str(self.outcome)
        if self.split is not None:
            yield "split", self.split
        for one in self.representatives:
            near = f"{to_single_line(one.id)}, similarity {_number(one.similarity)}"
            yield one.relation, near if one.outcome is None else f"{near}: {to_single_line(one.text)}"
            yield "its outcome", "published earlier, no longer in the pool" if one.outcome is None else str(one.outcome)
        if self.representatives:
            yield "kept instead", "no row" if self.kept_instead is None else to_single_line(self.kept_instead)
        for hit in self.hits:
            yield "evaluation", _evaluation(hit)
        for record in self.quarantined:
            yield "quarantined", str(record)
            if record.record:
                yield "record", to_single_line(record.record)
        if self.exported is not None:
            yield "published", f"{'yes' if self.exported else 'no, not'} in version {self.export}"
            if self.exported != (self.outcome.status == "chosen"):
                yield "", "that version was made from another selection; see curate rollback and the guard section"
        if self.missing:
            yield "not shown", f"{', '.join(self.missing)}: missing, or run again since rows were selected"

    def _content(self) -> Iterator[tuple[str, str]]:
        yield "from", f"{to_single_line(self.file or '')}, line {self.line}"
        yield "source", to_single_line(self.source or "")
        if self.label is not None:
            was = (
                ""
                if self.corrected_from is None
                else f" (corrected, was {to_single_line(self.corrected_from) or 'none'})"
            )
            yield "label", to_single_line(self.label) + was
        if self.image is not None:
            yield "image", str(self.image)
        if self.text or self.image is None:
            yield "text", to_single_line(self.text or "")


def explain(folder: Path, name: str) -> Explanation:
    """Return the explanation of a row of the run in ``folder``. Memory: a shard.

    Parameters
    ----------
    name : str
        Its id, ``FILE:LINE`` with an input file, or the hash of its text, as in generated ids.

    Raises
    ------
    ConfigError
        There is no run or no such row; the error suggests similar ids.
    """
    with no_follow.protect(folder):
        return _explain(folder, name)


def _explain(folder: Path, name: str) -> Explanation:
    run = Run.open(folder)
    name = name.encode(errors="replace").decode()  # lone surrogates match no id
    location, quarantined = run.find_row(name), _quarantined_records(run, name)
    if location is None and not quarantined:
        location, record = row_search.find_row(run, name)
        if location is not None:
            name = row_search.read_id(run, location)
            quarantined = _quarantined_records(run, name)
        elif record is not None:
            quarantined = (_to_quarantined(run, record),)
            name = record["id"] or name
    if location is None and not quarantined:
        near = difflib.get_close_matches(name, _candidates(run, name), n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ConfigError(f"no row has the id {name!r}", where=str(folder), hint=hint or _ID_HINT)
    explanation = Explanation(run=str(folder), id=name, outcome=RowOutcome(status="undecided"), quarantined=quarantined)
    if location is None:
        return replace(
            explanation,
            outcome=RowOutcome(status="quarantined", decided_by=quarantined[0].stage, reason=quarantined[0].reason),
        )
    return _explain_row(run, location, explanation)


_ID_HINT = "pass the id of a row, FILE:LINE, or the hash of a text; curate explain RUN --grep PATTERN searches texts"


def _explain_row(run: Run, location: RowLocation, explanation: Explanation) -> Explanation:
    row = (
        run.inputs.read(
            location.shard,
            ("file", "line", "source", "label", "text", *(["image"] if run.inputs.has_images else [])),
        )
        .slice(location.row, 1)
        .to_pylist()[0]
    )
    files = dict(enumerate(run.inputs.files))
    outcome, representative = _outcome(run, location, explanation.id)
    cluster, scores = _cluster(run, location, explanation.id), tuple(_scores(run, location, explanation.id))
    chain = tuple(_representatives(run, outcome, representative))
    kept = [one.id for one in chain[-1:] if one.outcome is not None and one.outcome.status == "chosen"]
    version = versions.published_version(run.folder / versions.FOLDER)
    return replace(
        explanation,
        file=files.get(row["file"], "an unknown file"),
        line=row["line"],
        source=row["source"],
        label=row["label"],
        corrected_from=_corrected_from(run, explanation.id),
        text=redaction.redact(row["text"], run.mask),
        image=RowImage(**{name: row["image"][name] for name in ("path", "width", "height")})
        if "image" in row
        else None,
        cluster=cluster,
        scores=scores,
        outcome=outcome,
        split=_split(run, location, explanation.id),
        representatives=chain,
        kept_instead=next(iter(kept), None),
        hits=tuple(_hits(run, location, explanation.id)) if outcome.decided_by == _DECONTAMINATE else (),
        export=version,
        exported=None
        if version is None
        else versions.contains_row(run.folder / versions.FOLDER, version, explanation.id),
        missing=tuple(_missing(run)),
    )


def _corrected_from(run: Run, name: str) -> str | None:
    """Return the label of the row before its correction, "" for none; None if it was not corrected."""
    path = run.inputs.folder / schemas.CORRECTIONS_FILE
    if not parquet_io.is_current(path, run.inputs.fingerprint):
        return None
    line = _line(path, name, schemas.CORRECTIONS)
    return (line["before"][0].as_py() or "") if len(line) else None


# ---------------------------------------------------------------- outcomes


def _outcome(run: Run, location: RowLocation, name: str) -> tuple[RowOutcome, str | None]:
    """Return the outcome of the row, and the id of its representative."""
    line = run.read_outcomes([name], [location.shard]).to_pylist()[0]
    entries = run.entries()
    names = [entry["name"] for entry in entries]
    if run.selection is not None and _DECONTAMINATE in run.selection.inputs:
        names.insert(0, _DECONTAMINATE)
    decided_by: str | None = line["decided_by"]
    passed: list[str] = []
    if line["status"] == "chosen":
        decided_by = next((entry["name"] for entry in reversed(entries) if entry["budget"] is not None), None)
        passed = [entry for entry in names if entry != decided_by]
    elif line["status"] == "dropped" and decided_by in names:
        passed = names[: names.index(decided_by)]
    outcome = RowOutcome(
        status=line["status"],
        decided_by=decided_by,
        reason=line["reason"],
        rank=line["rank"],
        n_selected=None if run.selection is None else run.selection.count.kept,
        gain=_finite(line["gain"]),
        weight=_finite(line["weight"]),
        epochs=tuple(line["epochs"] or ()),
        n_epochs=0 if run.selection is None else len(run.selection.result.epochs),
        passed_entries=tuple(passed),
        relation=None if line["representative"] is None else run.relation(decided_by),
        similarity=_finite(line["similarity"]),
    )
    return outcome, line["representative"]


def _representatives(run: Run, outcome: RowOutcome, name: str | None) -> Iterator[Representative]:
    """Yield the representative of a dropped row, then that of the representative, until a row was chosen.

    Each representative outlived the row before, so the chain ends; in a damaged ledger, a cycle is followed only once.
    """
    seen = set[str]()
    while name is not None and name not in seen:
        seen.add(name)
        location = run.find_row(name)
        if location is None:
            yield Representative(
                id=name, relation=outcome.relation or "", similarity=outcome.similarity, text="", outcome=None
            )
            return
        outcome_after, after = _outcome(run, location, name)
        yield Representative(
            id=name,
            relation=outcome.relation or "",
            similarity=outcome.similarity,
            text=run.texts([location])[0],
            outcome=outcome_after,
        )
        outcome, name = outcome_after, after


# ---------------------------------------------------------------- clusters, scores and hits


def _line(path: Path, name: str, schema: pa.Schema | None = None) -> pa.Table:
    """Return the row's line in a shard of embedded rows; an empty table if the row was not embedded."""
    table = parquet_io.read(path, schema)
    row = pc.index(table["id"], name).as_py()
    return table.slice(max(row, 0), 1 if row >= 0 else 0)


def _cluster(run: Run, location: RowLocation, name: str) -> Cluster | None:
    record = run.cluster_record()
    if record is None:
        return None
    folder = run.folder / "cluster"
    line = _line(parquet_io.shard_path(folder, location.shard), name, schemas.CLUSTER)
    if not len(line):
        return None
    number = line["cluster"][0].as_py()
    names = parquet_io.read(folder / "centroids.parquet", pa.schema([("name", pa.string())]))["name"]
    title = names[number].as_py() if 0 <= number < len(names) else None
    similarity = _finite(line["centroid_similarity"][0].as_py())
    return Cluster(number=number, name=title, centroid_similarity=similarity)


def _split(run: Run, location: RowLocation, name: str) -> str | None:
    """Return the split of the row; None if rows were not divided, or have been selected again since."""
    record = manifest.load_intact(run.folder / "split")
    if record is None or run.selection is None or record.inputs.get("select") != run.selection.fingerprint:
        return None
    line = _line(parquet_io.shard_path(run.folder / "split", location.shard), name, schemas.SPLIT)
    split: str | None = line["split"][0].as_py() if len(line) else None
    return split


def _scores(run: Run, location: RowLocation, name: str) -> Iterator[Score]:
    for record in run.stage_records("score"):
        path = parquet_io.shard_path(run.folder / "score" / record.name, location.shard)
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
    """Return the record of the hits that the ledger was built from; None if it is missing or was replaced."""
    record = manifest.load_intact(run.folder / _DECONTAMINATE)
    inputs = {} if run.selection is None else run.selection.inputs
    return record if record is not None and record.fingerprint == inputs.get(_DECONTAMINATE) else None


def _hits(run: Run, location: RowLocation, name: str) -> Iterator[Hit]:
    if _hits_record(run) is None:
        return
    table = parquet_io.read(parquet_io.shard_path(run.folder / _DECONTAMINATE, location.shard), schemas.hits(""))
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
    score_names = {record.name for record in run.stage_records("score")}
    yield from (f"score {name}" for name in run.selection.inputs["score"] if name not in score_names)
    if _DECONTAMINATE in run.selection.inputs and _hits_record(run) is None:
        yield _DECONTAMINATE


# ---------------------------------------------------------------- quarantined rows and unknown ids


def _quarantined_records(run: Run, name: str) -> tuple[QuarantinedRecord, ...]:
    """Return the quarantined records with this id; without an id, those that contain it as a word."""
    word = rf"(^|[^\w-]){re.escape(name)}($|[^\w-])"
    records = []
    for stage, paths in run.quarantine_files():
        for path in paths:
            table = parquet_io.read(path, schemas.QUARANTINE)
            nameless = pc.and_(pc.is_null(table["id"]), pc.match_substring_regex(table["record"], word))
            mask = pc.or_(pc.fill_null(pc.equal(table["id"], name), False), pc.fill_null(nameless, False))
            for line in table.filter(mask).to_pylist():
                records.append(_to_quarantined(run, {"stage": stage, **line}))
    return tuple(records)


def _to_quarantined(run: Run, line: dict[str, Any]) -> QuarantinedRecord:
    record = None if line["record"] is None else redaction.redact(line["record"], run.mask)
    return QuarantinedRecord(**{**line, "record": record})


def _candidates(run: Run, name: str) -> list[str]:
    """Return ids that share the first or the second half of ``name``: ids with one typo always share a half."""
    half = (len(name) + 1) // 2
    begin, end = name[:half].lower(), name[len(name) - half :].lower()
    records: list[str] = []
    quarantined = (parquet_io.read(path, ["id"]) for _, paths in run.quarantine_files() for path in paths)
    for tables in (run.inputs.iterate_shards(("id",)), quarantined):
        for table in tables:
            ids = pc.utf8_lower(table["id"])
            mask = pc.or_(pc.starts_with(ids, begin), pc.ends_with(ids, end))
            near = [one for one in table["id"].filter(mask).to_pylist() if abs(len(one) - len(name)) <= 2]
            records += near[: _MAX_COMPARED - len(records)]
    return records


# ---------------------------------------------------------------- numbers


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
