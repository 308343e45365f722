"""Outcomes of the rows of a run, looked up by id in its run directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.errors import ConfigError, DataError
from curate.kernels.text.pii_patterns import PiiKind
from curate.store import manifest, parquet_io, redaction, run_directory, schemas, symlinks
from curate.store.inputs import Inputs
from curate.store.json_shape import has_shape
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    import polars as pl

Status = Literal["chosen", "dropped", "quarantined", "undecided", "not in the pool"]

OUTCOME_SCHEMA = pa.schema(
    {
        "id": pa.large_string(),
        "status": pa.large_string(),
        "decided_by": pa.large_string(),
        "reason": pa.large_string(),
        "rank": pa.int32(),
        "gain": pa.float32(),
        "weight": pa.float32(),
        "epochs": pa.list_(pa.int32()),
        "representative": pa.large_string(),
        "similarity": pa.float32(),
    }
)
"""Outcome of a row; ``decided_by`` is the select entry that dropped it, or the stage that quarantined it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectResult(StageResult):
    """Result of the select stage, as stored in its manifest."""

    tokens: int
    """Number of tokens in the pool."""

    tokens_kept: int
    """Number of tokens in the chosen rows."""

    epochs: tuple[int, ...] = ()
    """Number of rows in each epoch of an epoch plan; empty without one."""


@dataclass(frozen=True, slots=True)
class RowLocation:
    """Location of a row of the pool: its shard, and its position in the shard."""

    shard: int
    row: int


def read_chosen(source: Inputs, folder: Path) -> pl.DataFrame:
    """Read the ``id``, ``source``, ``hash`` (of the text), ``shard`` and ``row`` of every chosen row of a ledger.

    The rows are in the pool's order. Memory: a shard, and about 70 bytes per chosen row.

    Raises
    ------
    DataError
        A shard of the ledger is missing or corrupt.
    """
    import polars as pl

    frames = []
    for number in range(len(source.shards)):
        ledger = parquet_io.read(parquet_io.shard_path(folder, number), ["id", "selected"])
        table = source.read(number, ("source", "hash"))
        if len(ledger) != len(table):
            message = f"the ledger is corrupt: it has {len(ledger):,} rows, its input shard {len(table):,}"
            hint = "delete the file and run again; the next run rewrites it"
            raise DataError(message, where=str(parquet_io.shard_path(folder, number)), hint=hint)
        table = table.append_column("id", ledger["id"]).append_column("selected", ledger["selected"])
        location = {"shard": pl.lit(number, pl.Int32), "row": pl.int_range(pl.len(), dtype=pl.Int32)}
        frames.append(to_polars(table).with_columns(**location).filter("selected").drop("selected"))
    return pl.concat(frames)


@dataclass(frozen=True, slots=True)
class Run:
    """Handle on a run directory."""

    folder: Path
    inputs: Inputs
    selection: Record[SelectResult] | None
    """Record of the select stage; None if it has not run on this pool."""

    mask: tuple[PiiKind, ...] = ()
    """Kinds of personal data that are masked in quoted texts."""

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open the run in ``folder``.

        Raises
        ------
        ConfigError
            ``folder`` is not a run directory.
        DataError
            The input shards are missing or corrupt.
        """
        symlinks.refuse_links(folder)
        read = manifest.load_intact(folder / "input")
        if read is None and run_directory.is_run(folder):
            hint = f"run: curate run {folder / 'config.yaml'}"
            message = "the input shards are missing: the input has not been read, or was deleted"
            raise DataError(message, where=str(folder / "input"), hint=hint)
        if read is None or read.stage != "input":
            hint = "pass the run directory, as set by 'run:' in the configuration"
            raise ConfigError("this folder is not a run directory", where=str(folder), hint=hint)
        selection = manifest.load_intact(folder / "select", SelectResult)
        if selection is not None and not _matches_input(selection, read.fingerprint):
            selection = None
        return cls(folder, Inputs(folder / "input", read.fingerprint), selection, redaction.read(folder))

    def require_selection(self) -> Record[SelectResult]:
        """Return the record of the select stage.

        Raises
        ------
        ConfigError
            The stage has not run on this pool.
        """
        if self.selection is None:
            hint = f"run: curate run {self.folder / 'config.yaml'}"
            raise ConfigError("no rows have been selected from this pool yet", where=str(self.folder), hint=hint)
        return self.selection

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of the select section that built the ledger."""
        return [] if self.selection is None else list(self.selection.inputs["entries"])

    def stage_records(self, stage: Literal["embed", "score"]) -> list[Record[StageResult]]:
        """Return the records of a stage that the ledger was built from, except for entries that ran again since."""
        fingerprints = {} if self.selection is None else self.selection.inputs[stage]
        existing = paths.list_names(self.folder / stage)
        records = [
            (name, manifest.load_intact(self.folder / stage / name)) for name in fingerprints if name in existing
        ]
        return [
            one
            for name, one in records
            if one is not None and (one.name, one.fingerprint) == (name, fingerprints[name])
        ]

    def cluster_record(self) -> Record[StageResult] | None:
        """Return the record of the cluster stage that the ledger was built from; None if the stage ran again since."""
        record = manifest.load_intact(self.folder / "cluster")
        if record is None or self.selection is None or record.fingerprint != self.selection.inputs["cluster"]:
            return None
        return record

    # ---------------------------------------------------------------- rows

    def find_row(self, name: str) -> RowLocation | None:
        """Return the location of the row with this id; None if there is none. Reads one shard of ids at a time."""
        for shard, table in enumerate(self.inputs.iterate_shards(("id",))):
            row = pc.index(table["id"], name).as_py()
            if row >= 0:
                return RowLocation(shard, row)
        return None

    def locate_rows(self, names: pl.Series) -> dict[str, RowLocation]:
        """Return the locations of those ids that are in the pool. Reads one shard of ids at a time."""
        locations: dict[str, RowLocation] = {}
        requested = pa.array(names.to_list(), pa.string())
        for shard, table in enumerate(self.inputs.iterate_shards(("id",))):
            for row in pc.indices_nonzero(pc.is_in(table["id"], requested)).to_pylist():
                locations[table["id"][row].as_py()] = RowLocation(shard, row)
        return locations

    def quarantine_files(self) -> list[tuple[str, list[Path]]]:
        """Return the quarantine files of each stage that has any, with the name of the stage."""
        files = paths.list_shards(self.inputs.folder / "quarantine")
        by_stage = [("input", [path for path in files if parquet_io.is_current(path, self.inputs.fingerprint)])]
        for record in self.stage_records("embed"):
            folder = self.folder / "embed" / record.name
            pairs = [(path, folder / path.name) for path in paths.list_shards(folder / "quarantine")]
            current = [path for path, shard in pairs if parquet_io.is_current(path, parquet_io.read_fingerprint(shard))]
            by_stage.append((f"embed {record.name}", current))
        return [(stage, files) for stage, files in by_stage if files]

    def read_outcomes(self, ids: Sequence[str], shards: Sequence[int] | None = None) -> pa.Table:
        """Return the outcomes of the rows with these ids, one line each (``OUTCOME_SCHEMA``), in the order of ``ids``.

        Memory: the ids and their lines of the ledger. ``shards``: numbers of the ledger shards to read; all by default.
        """
        requested = pa.array(ids, pa.large_string())
        unread: list[pa.Table] = []
        tables: list[pa.Table] = []
        for stage, files in self.quarantine_files():
            lines = _read_lines(files, schemas.QUARANTINE, requested)
            (unread if stage == "input" else tables).extend(
                _with_columns(one.select(["id", "reason"]), "quarantined", decided_by=stage) for one in lines
            )
        if self.selection is not None:
            numbers = range(len(self.inputs.shards)) if shards is None else shards
            files = [parquet_io.shard_path(self.folder / "select", number) for number in numbers]
            for one in _read_lines(files, schemas.SELECT, requested):
                status = pc.if_else(one["selected"], "chosen", "dropped")
                tables.append(_with_columns(one, status, decided_by=one["dropped_by"]))
        else:
            pool = (_filter(table, requested) for table in self.inputs.iterate_shards(("id",)))
            tables.extend(_with_columns(one, "undecided") for one in pool)
        every = pa.concat_tables([*tables, *unread, OUTCOME_SCHEMA.empty_table()]).combine_chunks()
        outcomes = every.take(pc.index_in(requested, every["id"])).set_column(0, "id", requested)  # first line of each
        return outcomes.set_column(1, "status", outcomes["status"].fill_null("not in the pool"))

    def relation(self, entry: str | None) -> str:
        """Return the relation of a row that an entry dropped to its representative."""
        return relation(next((one["budget"] for one in self.entries() if one["name"] == entry), None))

    def kept_instead(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Map representatives to the rows that were chosen in their place.

        Parameters
        ----------
        ids : iterable of str
            Ids of representatives.

        Returns
        -------
        dict
            Chosen row at the end of each chain of representatives, the row itself if it was chosen; None if none was.
        """
        names = list(dict.fromkeys(ids))
        lines_by_id: dict[str, dict[str, Any]] = {}
        missing_ids = set(names)
        while missing_ids:
            lines = self.read_outcomes(sorted(missing_ids)).to_pylist()
            lines_by_id |= {line["id"]: line for line in lines}
            missing_ids = {line["representative"] for line in lines} - lines_by_id.keys() - {None}
        return {name: follow_chain(name, lines_by_id) for name in names}

    def texts(self, locations: Sequence[RowLocation]) -> list[str]:
        """Return the masked texts of some rows, or the paths of their images, in the order of their locations.

        Reads one shard at a time.
        """
        texts: dict[RowLocation, str] = {}
        for shard in sorted({location.shard for location in locations}):
            table = self.inputs.read(shard, ("text", *(["image"] if self.inputs.has_images else [])))
            for location in locations:
                if location.shard == shard:
                    row = table.slice(location.row, 1).to_pylist()[0]
                    texts[location] = redaction.redact(row["text"], self.mask) or row.get("image", {}).get("path") or ""
        return [texts[location] for location in locations]


def relation(budget: object) -> str:
    """Return the relation of a dropped row to its representative, given the budget of the entry that dropped it.

    A filter has no budget: its representative is the kept duplicate. The representative of a selector with a budget is
    the row that covers the dropped one.

    >>> relation(None), relation({"keep": 10})
    ('duplicate of', 'represented by')
    """
    return "duplicate of" if budget is None else "represented by"


def follow_chain(name: str, lines: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the row that was chosen in place of another, or the row itself if it was chosen; None if none was.

    Parameters
    ----------
    name : str
        Id of the row.
    lines : mapping
        ``status`` and ``representative`` of rows by id.

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


def _matches_input(selection: Record[SelectResult], fingerprint: str) -> bool:
    """Return whether a ledger was built from the input shards with this fingerprint and lists its inputs."""
    return has_shape(dict(selection.inputs), _INPUTS) and selection.inputs["input"] == fingerprint


_INPUTS = {
    "input": str,
    "entries": [{"name": str, "budget": object}],
    "embed": {str: str},
    "cluster": str,
    "score": {str: str},
}


def _read_lines(paths: Sequence[Path], schema: pa.Schema, requested: pa.Array) -> Iterator[pa.Table]:
    """Read the lines of these shards with the requested ids, one shard at a time."""
    return (_filter(parquet_io.read(path, schema), requested) for path in paths)


def _filter(table: pa.Table, requested: pa.Array) -> pa.Table:
    """Return the rows with the requested ids."""
    return table.filter(pc.is_in(table["id"].cast(requested.type), requested))


def _with_columns(table: pa.Table, status: Status | pa.ChunkedArray, **columns: object) -> pa.Table:
    """Return the table with exactly the columns of ``OUTCOME_SCHEMA``; null where it has none."""
    values = {**dict(zip(table.column_names, table.columns, strict=True)), "status": status, **columns}
    arrays = [_column(values.get(field.name), field.type, len(table)) for field in OUTCOME_SCHEMA]
    return pa.table(arrays, OUTCOME_SCHEMA)


def _column(values: object, kind: pa.DataType, n: int) -> pa.ChunkedArray | pa.Array:
    """Return values as a column of n rows; a single value, or None, in all of them."""
    if isinstance(values, pa.ChunkedArray | pa.Array):
        return values.cast(kind)
    return pa.repeat(pa.scalar(values, kind), n)


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Convert an Arrow table to a Polars data frame."""
    import polars as pl

    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


# ---------------------------------------------------------------- text output


def to_single_line(text: str, limit: int = 240) -> str:
    """Return the text on one line, cut off at ``limit`` characters, with control characters replaced."""
    line = " ".join(text[: 4 * limit].split())
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line[:limit])
    return plain if len(line) <= limit and len(text) <= 4 * limit else f"{plain}…"
