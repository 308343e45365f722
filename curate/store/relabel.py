"""Answers to a list of labels to review: they are checked against the run, and added to its file of corrections."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate import no_follow, paths
from curate.errors import ConfigError, DataError
from curate.store import corrections
from curate.store.ledger import Run, to_single_line

ANSWER = "corrected_label"
"""Column of the answers, next to ``id``."""

_MOST_NAMED = 5  # ids and labels in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabeling:
    """Outcome of the answers."""

    path: str
    """File of corrections, which the next run reads."""

    corrected: int
    """Number of rows that get another label."""

    confirmed: int
    """Number of rows whose answer is the label that they have."""

    unanswered: int
    """Number of lines without an answer."""

    unknown: tuple[str, ...]
    """Answered ids that are not in the pool; their answers are ignored."""

    new_labels: tuple[str, ...]
    """Labels that no row of the pool has."""

    total: int
    """Number of corrections in the file."""

    def as_dict(self) -> dict[str, object]:
        """Return the outcome as plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the outcome as lines of text."""
        labels = "label" if self.corrected == 1 else "labels"
        answers = f"{self.corrected:,} {labels} corrected, {self.confirmed:,} confirmed, {self.unanswered:,} unanswered"
        lines = [f"{self.path}: {answers}; {self.total:,} corrections in the file"]
        if self.new_labels:
            lines.append(f"new labels, which no row has: {_join(self.new_labels)}")
        if self.unknown:
            lines.append(f"ignored, as their ids are not in the pool: {_join(self.unknown)}")
        return lines


def _join(names: tuple[str, ...]) -> str:
    listed = ", ".join(to_single_line(repr(name)) for name in names[:_MOST_NAMED])
    return listed if len(names) <= _MOST_NAMED else f"{listed} and {len(names) - _MOST_NAMED:,} more"


def relabel(folder: Path, answers: Path, target: Path) -> Relabeling:
    """Add the answers to the file of corrections. Memory: the answers, and a shard of ids and labels.

    Parameters
    ----------
    folder : Path
        Run directory.
    answers : Path
        Table with the columns ``id`` and ``corrected_label``, such as the ``review.csv`` of the run; lines without an
        answer are skipped.
    target : Path
        File of corrections, which is written atomically; an answer replaces an earlier correction of the row.

    Raises
    ------
    ConfigError
        There is no run, or its input has no labels.
    DataError
        A file cannot be read, an id has two answers, no id is in the pool, or an answer does not have the type of the
        label column. The file of corrections is unchanged.
    """
    with no_follow.protect(folder):
        run = Run.open(folder)
        column = run.inputs.roles.get("label")
        if column is None:
            raise ConfigError("the input has no labels", where=str(folder), hint="set input.label, and run again")
        table = corrections.read(answers, ANSWER, allow_empty=True)
        corrections.to_labels(table, run.inputs.columns[column])
        current, known = _read_labels(run, list(table.by_id))
    before = {name: one.label for name, one in corrections.read(target).by_id.items()} if target.exists() else {}
    unknown = tuple(name for name in table.by_id if name not in current)
    if table.by_id and len(unknown) == len(table.by_id):
        message = f"no id is in the pool of {folder}, such as {unknown[0]!r}"
        hint = "pass the answers to the list of this run; spreadsheets may change ids, such as 007 to 7"
        raise DataError(message, where=str(answers), hint=hint)
    merged, confirmed = dict(before), 0
    for name, answer in table.by_id.items():
        if name not in current:
            continue
        confirmed += current[name] == answer.label
        if current[name] != answer.label or name in before:
            merged[name] = answer.label
    if merged != before:
        corrections.write(target, merged)
    return Relabeling(
        path=str(target),
        corrected=len(table.by_id) - len(unknown) - confirmed,
        confirmed=confirmed,
        unanswered=table.empty,
        unknown=unknown,
        new_labels=tuple(sorted({one.label for name, one in table.by_id.items() if name in current} - known)),
        total=len(merged),
    )


def _read_labels(run: Run, names: list[str]) -> tuple[dict[str, str | None], set[str | None]]:
    """Return the labels of the rows with these ids that are in the pool, and all labels of the pool."""
    requested = pa.array(names, pa.string())
    current: dict[str, str | None] = {}
    known: set[str | None] = set()
    for table in run.inputs.iterate_shards(("id", "label")):
        known |= set(pc.unique(table["label"]).to_pylist())
        rows = table.filter(pc.is_in(table["id"], requested))
        current |= dict(zip(rows["id"].to_pylist(), rows["label"].to_pylist(), strict=True))
    return current, known


def find_target(name: str | None, where: str) -> Path:
    """Return the path of the file of corrections that a configuration names.

    Raises
    ------
    ConfigError
        It names none.
    """
    if name is None:
        hint = (
            "add the line `corrections: corrections.csv` to the section input of your configuration, and pass that file"
        )
        raise ConfigError("input.corrections is not set, so runs would not read the answers", where=where, hint=hint)
    return paths.parse_path(name)
