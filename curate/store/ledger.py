"""What became of every row of a run, read from its folder alone: found by id, one or many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.errors import ConfigError, DataError
from curate.kernels.text.pii_patterns import PiiKind
from curate.store import manifest, parquet_io, redaction, run_directory, schemas, symlinks
from curate.store.inputs import Inputs
from curate.store.json_shape import has_shape
from curate.store.manifest import Record, StageResult

Status = Literal["chosen", "dropped", "set aside", "undecided", "not in the pool"]

OUTCOME_SCHEMA = pl.Schema(
    {
        "id": pl.String(),
        "status": pl.String(),
        "decided_by": pl.String(),
        "reason": pl.String(),
        "rank": pl.Int32(),
        "gain": pl.Float32(),
        "weight": pl.Float32(),
        "epochs": pl.List(pl.Int32),
        "representative": pl.String(),
        "similarity": pl.Float32(),
    }
)
"""What became of a row; ``by`` is the select entry that dropped it, or the stage that set it aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectResult(StageResult):
    """What selecting leaves in its manifest."""

    tokens: int
    """Number of tokens of the pool."""

    tokens_kept: int
    epochs: tuple[int, ...] = ()
    """Number of rows in each epoch of an epoch plan; empty without one."""


@dataclass(frozen=True, slots=True)
class RowLocation:
    """Where a row of the pool stands."""

    shard: int
    row: int


def read_chosen(source: Inputs, folder: Path) -> pl.DataFrame:
    """The ``id``, ``source``, ``hash`` (of the text), ``shard`` and ``row`` of every row that the ledger has chosen.

    In the pool's order. Memory: a shard, and some 70 bytes a chosen row.
    """
    frames = []
    for number in range(len(source.shards)):
        ledger = parquet_io.read(parquet_io.shard_path(folder, number), ["id", "selected"])
        table = source.read(number, ("source", "hash"))
        if len(ledger) != len(table):
            told = f"the ledger has {len(ledger):,} of the shard's {len(table):,} rows"
            hint = "delete it, and the next run makes it again"
            raise DataError(told, where=str(parquet_io.shard_path(folder, number)), hint=hint)
        table = table.append_column("id", ledger["id"]).append_column("selected", ledger["selected"])
        place = {"shard": pl.lit(number, pl.Int32), "row": pl.int_range(pl.len(), dtype=pl.Int32)}
        frames.append(to_polars(table).with_columns(**place).filter("selected").drop("selected"))
    return pl.concat(frames)


@dataclass(frozen=True, slots=True)
class Run:
    """A handle on a run folder."""

    folder: Path
    inputs: Inputs
    selection: Record[SelectResult] | None
    """The select stage's record; None if it has not run on this pool."""

    mask: tuple[PiiKind, ...] = ()
    """The kinds of personal data that no text is quoted with."""

    @classmethod
    def open(cls, folder: Path) -> Run:
        """The run in ``folder``.

        Raises
        ------
        ConfigError : if there is none
        """
        symlinks.refuse_links(folder)
        read = manifest.load_intact(folder / "input")
        if read is None and run_directory.is_run(folder):
            hint = f"run: curate run {folder / 'config.yaml'}"
            raise DataError("the input was not read, or is missing", where=str(folder / "input"), hint=hint)
        if read is None or read.stage != "input":
            hint = "name the folder that 'run:' in the configuration says"
            raise ConfigError("there is no run in this folder", where=str(folder), hint=hint)
        selection = manifest.load_intact(folder / "select", SelectResult)
        if selection is not None and not _of_input(selection, read.fingerprint):
            selection = None
        return cls(folder, Inputs(folder / "input", read.fingerprint), selection, redaction.read(folder))

    def require_selection(self) -> Record[SelectResult]:
        """The select stage's record.

        Raises
        ------
        ConfigError : if it has not run on this pool
        """
        if self.selection is None:
            hint = f"run: curate run {self.folder / 'config.yaml'}"
            raise ConfigError("no rows were selected from this pool yet", where=str(self.folder), hint=hint)
        return self.selection

    def entries(self) -> list[dict[str, Any]]:
        """The entries of the select section as the ledger was made with."""
        return [] if self.selection is None else list(self.selection.inputs["entries"])

    def stage_records(self, stage: Literal["embed", "score"]) -> list[Record[StageResult]]:
        """The entries of a stage that the ledger was made from, but for those that were made again since."""
        made = {} if self.selection is None else self.selection.inputs[stage]
        there = paths.list_names(self.folder / stage)
        records = [(name, manifest.load_intact(self.folder / stage / name)) for name in made if name in there]
        return [one for name, one in records if one is not None and (one.name, one.fingerprint) == (name, made[name])]

    def cluster_record(self) -> Record[StageResult] | None:
        """The cluster stage that the ledger was made from; None if it was made again since."""
        record = manifest.load_intact(self.folder / "cluster")
        if record is None or self.selection is None or record.fingerprint != self.selection.inputs["cluster"]:
            return None
        return record

    # ---------------------------------------------------------------- finding rows

    def find_row(self, name: str) -> RowLocation | None:
        """Where the row with that id stands; ids are read a shard at a time until it is found."""
        for shard, table in enumerate(self.inputs.iterate_shards(("id",))):
            row = pc.index(table["id"], name).as_py()
            if row >= 0:
                return RowLocation(shard, row)
        return None

    def locate_rows(self, names: pl.Series) -> dict[str, RowLocation]:
        """Where the rows with these ids stand, those that are in the pool; ids are read a shard at a time."""
        found: dict[str, RowLocation] = {}
        wanted = pa.array(names.to_list(), pa.string())
        for shard, table in enumerate(self.inputs.iterate_shards(("id",))):
            for row in pc.indices_nonzero(pc.is_in(table["id"], wanted)).to_pylist():
                found[table["id"][row].as_py()] = RowLocation(shard, row)
        return found

    def quarantine_files(self) -> list[tuple[str, list[Path]]]:
        """The quarantine files of each stage that has any, by its name."""
        files = paths.list_shards(self.inputs.folder / "quarantine")
        found = [("input", [path for path in files if parquet_io.is_current(path, self.inputs.fingerprint)])]
        for record in self.stage_records("embed"):
            folder = self.folder / "embed" / record.name
            beside = [(path, folder / path.name) for path in paths.list_shards(folder / "quarantine")]
            own = [path for path, shard in beside if parquet_io.is_current(path, parquet_io.read_fingerprint(shard))]
            found.append((f"embed {record.name}", own))
        return [(stage, files) for stage, files in found if files]

    def read_outcomes(self, ids: Iterable[str], where: Sequence[int] | None = None) -> pl.DataFrame:
        """What became of the rows with these ids, a line each (``FATES``), in the order given.

        Memory: the ids, and what the ledger says of them. ``where``: look into these shards of the ledger only.
        """
        wanted = pl.DataFrame({"id": list(ids)}, {"id": pl.String})
        aside = {
            stage: _collected(paths, schemas.QUARANTINE, wanted)
            .select("id", pl.lit(stage).alias("decided_by"), "reason")
            .unique("id")
            for stage, paths in self.quarantine_files()
        }
        unread = aside.pop("input", None)
        tables = [_settled(table, "set aside") for table in aside.values()]
        if self.selection is not None:
            numbers = range(len(self.inputs.shards)) if where is None else where
            paths = [parquet_io.shard_path(self.folder / "select", number) for number in numbers]
            ledger = _collected(paths, schemas.SELECT, wanted).rename({"dropped_by": "decided_by"})
            status = pl.when("selected").then(pl.lit("chosen")).otherwise(pl.lit("dropped"))
            tables.append(_settled(ledger.with_columns(status=status)))
        else:
            found = [
                to_polars(table).join(wanted, on="id", how="semi") for table in self.inputs.iterate_shards(("id",))
            ]
            tables.append(_settled(pl.concat(found), "undecided"))
        if unread is not None:
            tables.append(_settled(unread, "set aside"))
        first = pl.concat(tables).unique("id", keep="first", maintain_order=True)
        nowhere = pl.col("status").fill_null("not in the pool")
        return wanted.join(first, on="id", how="left", maintain_order="left").with_columns(nowhere)

    def relation(self, entry: str | None) -> str:
        """Return what a row that an entry dropped is to its representative."""
        return relation(next((one["budget"] for one in self.entries() if one["name"] == entry), None))

    def kept_instead(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Follow rows to those that were chosen in their place.

        Parameters
        ----------
        ids : iterable of str
            Ids of representatives.

        Returns
        -------
        dict
            The chosen row at the end of each one's representatives, itself if it was chosen; None if none was.
        """
        names = list(dict.fromkeys(ids))
        known: dict[str, dict[str, Any]] = {}
        unknown = set(names)
        while unknown:
            lines = self.read_outcomes(sorted(unknown)).to_dicts()
            known |= {line["id"]: line for line in lines}
            unknown = {line["representative"] for line in lines} - known.keys() - {None}
        return {name: follow_chain(name, known) for name in names}

    def texts(self, places: Sequence[RowLocation]) -> list[str]:
        """The texts of some rows as they may be shown, in the order given, reading one shard at a time."""
        texts: dict[RowLocation, str] = {}
        for shard in sorted({place.shard for place in places}):
            column = self.inputs.read(shard, ("text",))["text"]
            mine = {place: column[place.row].as_py() for place in places if place.shard == shard}
            texts |= {place: redaction.redact(text, self.mask) for place, text in mine.items()}
        return [texts[place] for place in places]


def relation(budget: object) -> str:
    """Return what a dropped row is to its representative, from the budget of the entry that dropped it.

    A filter, which has no budget, names the row of which another is a duplicate; a selector with a budget names the row
    that covers another.

    >>> relation(None), relation({"keep": 10})
    ('duplicate of', 'represented by')
    """
    return "duplicate of" if budget is None else "represented by"


def follow_chain(name: str, lines: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the row that was chosen in place of another, itself if it was chosen; None if none was.

    Parameters
    ----------
    name : str
        Id of the row.
    lines : mapping
        ``status`` and ``representative`` of rows, by id.

    Examples
    --------
    >>> dropped = {"status": "dropped", "representative": "b"}
    >>> chosen = {"status": "chosen", "representative": None}
    >>> follow_chain("a", {"a": dropped, "b": chosen}), follow_chain("a", {"a": dropped})
    ('b', None)
    """
    at, seen = name, set[str]()
    while at in lines and at not in seen:
        if lines[at]["status"] == "chosen":
            return at
        seen.add(at)
        at = lines[at]["representative"] or ""
    return None


def _of_input(selection: Record[SelectResult], fingerprint: str) -> bool:
    """Return whether a ledger is one of the input shards with that fingerprint, and says what it was made from."""
    return has_shape(dict(selection.inputs), _INPUTS) and selection.inputs["input"] == fingerprint


_INPUTS = {
    "input": str,
    "entries": [{"name": str, "budget": object}],
    "embed": {str: str},
    "cluster": str,
    "score": {str: str},
}


def _collected(paths: list[Path], schema: pa.Schema, wanted: pl.DataFrame) -> pl.DataFrame:
    """The lines of these shards with the ids wanted, read a shard at a time."""
    return pl.concat(to_polars(parquet_io.read(path, schema)).join(wanted, on="id", how="semi") for path in paths)


def _settled(found: pl.DataFrame, status: Status | None = None) -> pl.DataFrame:
    """The table with exactly the columns of ``FATES``."""
    if status is not None:
        found = found.with_columns(status=pl.lit(status))
    missing = [pl.lit(None, kind).alias(name) for name, kind in OUTCOME_SCHEMA.items() if name not in found.columns]
    return found.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in OUTCOME_SCHEMA.items())


def to_polars(table: pa.Table) -> pl.DataFrame:
    """The Arrow table as a Polars one."""
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


# ---------------------------------------------------------------- for people


def to_single_line(text: str, limit: int = 240) -> str:
    """The text on one line, cut off, and with nothing in it that a terminal would obey."""
    line = " ".join(text[: 4 * limit].split())
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line[:limit])
    return plain if len(line) <= limit and len(text) <= 4 * limit else f"{plain}…"
