"""Manifest of a stage: its inputs, counts and result, in one JSON file next to its shards.

The counts of more than ``MAX_SOURCES`` sources are in a table next to it, which is read when they are needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Generic, Literal, TypeVar, overload

import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.accounting import Count, sum_counts
from curate.errors import AccountingError, DataError
from curate.kernels.neighbors.retention import RetentionCurve
from curate.store import parquet_io
from curate.store.json_shape import has_shape, parse_dataclass

NAME = "manifest.json"
SOURCES = "sources.parquet"
MAX_SOURCES = 1_000
"""Largest number of sources whose counts are stored in the manifest itself."""

MAX_INDENTED_FILES = 10_000
"""Largest number of input files for which a manifest is indented; with more, it is a single line."""

_COUNT = {"rows_in": int, "kept": int, "dropped": int, "quarantined": int}
_RECORD = {
    **{"stage": str, "name": str, "fingerprint": str, "shards": int, "seconds": float, "peak_memory": int},
    **{"parts": dict, "facts": dict, "count": _COUNT, "sources": {str: _COUNT}},
}
"""Shape of every manifest; ``parts`` are the inputs of the step, ``facts`` its result."""

_SOURCES = pa.schema(
    [pa.field("entry", pa.string(), nullable=False), pa.field("source", pa.string(), nullable=False)]
    + [pa.field(name, pa.int64(), nullable=False) for name in _COUNT]
)
_TABLED = "sources_in_table"
_ENTRIES = "entries"


def fingerprint(inputs: Mapping[str, object]) -> str:
    """Return the sha256 of the canonical JSON of ``inputs``, which is the same on any machine."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """Base class of the results that stages store in their manifests besides counts."""


R = TypeVar("R", bound=StageResult)
R_co = TypeVar("R_co", bound=StageResult, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryAccount:
    """Account of one of several entries that run in one step."""

    name: str
    sources: Mapping[str, Count]
    seconds: float
    peak_memory: int
    """Peak memory in bytes."""

    retention: RetentionCurve | None = None
    """Number of rows that other thresholds would keep, for a selector that drops duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Generic[R_co]):
    """Record of the last completed run of a stage, or of one entry of a stage."""

    stage: str
    name: str
    fingerprint: str
    inputs: Mapping[str, Any]
    """Inputs that the fingerprint is computed from, so that a stale stage can report what changed."""

    count: Count
    sources: Mapping[str, Count] = field(default_factory=dict)
    shards: int
    seconds: float = 0.0
    peak_memory: int = 0
    """Peak memory in bytes, the maximum over the processes of the step."""

    entries: tuple[EntryAccount, ...] = ()
    """Accounts of the entries, for a step with several."""

    seals: Mapping[str, str] = field(default_factory=dict)
    """Seal of each file of the step by its path in the folder; empty in an object store."""

    result: R_co

    def is_balanced(self) -> bool:
        """Return whether every row is accounted for."""
        try:
            self.check()
        except AccountingError:
            return False
        return True

    def check(self) -> Record[R_co]:
        """Return the record itself; raise an error if a row is unaccounted for.

        Raises
        ------
        AccountingError
            The counts do not add up.
        """
        for where, count in {"": self.count, **self.sources}.items():
            if not count.is_balanced():
                raise AccountingError(
                    f"{self.stage} {self.name}: {count.rows_in:,} rows in, but {count.kept:,} kept + {count.dropped:,} "
                    f"dropped + {count.quarantined:,} quarantined" + (f" in source {where!r}" if where else "")
                )
        if self.sources and total(self.sources) != self.count:
            raise AccountingError(f"{self.stage} {self.name}: the counts of the sources do not add up to the total")
        return self


class StoredCounts(Mapping[str, Count]):
    """Counts by source in a table on disk, which is read when they are first needed.

    Parameters
    ----------
    path : Path
        The table.
    entry : str
        The entry of the select section that the counts belong to; empty for the counts of the stage.
    """

    def __init__(self, path: Path, entry: str) -> None:
        self.path, self.entry = path, entry

    @cached_property
    def _table(self) -> pa.Table:
        table = parquet_io.read(self.path, _SOURCES)
        return table.filter(pc.equal(table["entry"], self.entry))

    @cached_property
    def _counts(self) -> dict[str, Count]:
        return _to_counts(self._table)

    def total(self) -> Count:
        """Return the sum of all counts."""
        return Count(**{name: pc.sum(self._table[name]).as_py() or 0 for name in _COUNT})

    def largest(self, number: int) -> list[str]:
        """Return the sources with the most input rows; ties go to the first by name."""
        order = [("rows_in", "descending"), ("source", "ascending")]
        names: list[str] = self._table.sort_by(order)["source"].slice(0, number).to_pylist()
        return names

    def subset(self, names: Collection[str]) -> dict[str, Count]:
        """Return the counts of some sources without converting those of the others."""
        table = self._table.filter(pc.is_in(self._table["source"], pa.array(names, pa.string())))
        return _to_counts(table)

    def __reduce__(self) -> tuple[object, ...]:
        return StoredCounts, (self.path, self.entry)

    def __getitem__(self, source: str) -> Count:
        return self._counts[source]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._table)


def _to_counts(table: pa.Table) -> dict[str, Count]:
    names, *counts = (table[name].to_pylist() for name in ("source", *_COUNT))
    return {name: Count(**dict(zip(_COUNT, each, strict=True))) for name, *each in zip(names, *counts, strict=True)}


def largest(sources: Mapping[str, Count], number: int) -> list[str]:
    """Return the sources with the most input rows; ties go to the first by name."""
    if isinstance(sources, StoredCounts):
        return sources.largest(number)
    return sorted(sources, key=lambda name: (-sources[name].rows_in, name))[:number]


def split_sources(sources: Mapping[str, Count], names: Collection[str]) -> tuple[dict[str, Count], Count]:
    """Return the counts of the sources ``names``, and the sum over all other sources."""
    listed = (
        sources.subset(names)
        if isinstance(sources, StoredCounts)
        else {name: sources[name] for name in names if name in sources}
    )
    return listed, total(sources) - sum_counts(listed.values())


def total(sources: Mapping[str, Count]) -> Count:
    """Return the sum of counts by source."""
    return sources.total() if isinstance(sources, StoredCounts) else sum_counts(sources.values())


def save(record: Record[R], folder: Path) -> Record[R]:
    """Write the manifest, as the last action of a stage: its presence means that the stage is complete.

    Returns
    -------
    Record
        The same record; with many sources, its counts are read from the table when they are needed.
    """
    record.check()
    tabled = len(record.sources) > MAX_SOURCES
    entries = [{**asdict(entry), "sources": {} if tabled else _as_dicts(entry.sources)} for entry in record.entries]
    table = folder / SOURCES
    if tabled and not parquet_io.is_current(table, record.fingerprint):
        counts = {"": record.sources, **{entry.name: entry.sources for entry in record.entries}}
        parquet_io.write(_to_table(counts), table, record.fingerprint, compression="zstd")
    seals = {**record.seals, **({SOURCES: _seal(table)} if tabled else {})}
    data: dict[str, Any] = {
        **{
            name: getattr(record, name) for name in ("stage", "name", "fingerprint", "shards", "seconds", "peak_memory")
        },
        "parts": record.inputs,
        "seals": seals,
        "count": asdict(record.count),
        "sources": {} if tabled else _as_dicts(record.sources),
        "facts": {**_facts(record.result), **({_ENTRIES: entries} if entries else {})},
        **({_TABLED: len(record.sources)} if tabled else {}),
    }
    files = data["facts"].get("files")
    many = isinstance(files, tuple) and len(files) > MAX_INDENTED_FILES
    parquet_io.write_json(folder / NAME, data, indent=None if many else 2)
    if not tabled:
        paths.unlink(table, missing_ok=True)
        return record
    return _with_table(record, table)


def _facts(result: StageResult) -> dict[str, object]:
    return {each.name: getattr(result, each.name) for each in fields(result)}


def _as_dicts(sources: Mapping[str, Count]) -> dict[str, dict[str, int]]:
    return {name: asdict(count) for name, count in sources.items()}


def _with_table(record: Record[R], table: Path) -> Record[R]:
    """Return the record with counts that are read from the table when needed."""
    entries = tuple(replace(entry, sources=StoredCounts(table, entry.name)) for entry in record.entries)
    return replace(record, sources=StoredCounts(table, ""), entries=entries)


def _to_table(counts: Mapping[str, Mapping[str, Count]]) -> pa.Table:
    columns: dict[str, list[object]] = {name: [] for name in _SOURCES.names}
    for entry, sources in counts.items():
        columns["entry"] += [entry] * len(sources)
        columns["source"] += sources
        for name in _COUNT:
            columns[name] += [getattr(count, name) for count in sources.values()]
    return pa.table(columns, _SOURCES)


@overload
def load(folder: Path) -> Record[StageResult] | None: ...
@overload
def load(folder: Path, result: type[R]) -> Record[R] | None: ...
def load(folder: Path, result: type[StageResult] = StageResult) -> Record[StageResult] | None:
    """Return the manifest in ``folder``; None if it is missing, corrupt, or from another release.

    Parameters
    ----------
    folder : Path
        Folder of the step.
    result : type
        Class of the step's result; by default the result is not read.
    """
    record = _parse(folder, result)
    if record is None or not isinstance(record.sources, _TabledCounts):
        return record
    record = replace(record, sources={})
    return (
        _with_table(record, folder / SOURCES) if parquet_io.is_current(folder / SOURCES, record.fingerprint) else None
    )


class _TabledCounts(dict[str, Count]):
    """Marker for counts of a manifest that are in the table next to it."""


_recent: dict[tuple[Path, type[StageResult]], tuple[bytes, Record[StageResult] | None]] = {}
"""Large manifests that this process parsed last, with the hash of each; see ``_parse``."""

_LARGE = 1 << 20
_MAX_RECENT = 4


def _parse(folder: Path, result: type[StageResult]) -> Record[StageResult] | None:
    """Return the manifest in ``folder``; a large one is not parsed again unless its bytes have changed."""
    text = parquet_io.read_bytes(folder / NAME)
    if text is None or len(text) < _LARGE:
        return _record(parquet_io.parse_json(text), result)
    digest = hashlib.sha256(text).digest()
    cached = _recent.get((folder, result))
    if cached is not None and cached[0] == digest:
        return cached[1]
    record = _record(parquet_io.parse_json(text), result)
    if len(_recent) == _MAX_RECENT:
        _recent.clear()
    _recent[folder, result] = digest, record
    return record


def _record(data: dict[str, Any] | None, result: type[StageResult]) -> Record[StageResult] | None:
    if data is None or not has_shape(data, _RECORD):
        return None
    facts = dict(data["facts"])
    entries = parse_dataclass(tuple[EntryAccount, ...], facts.pop(_ENTRIES, []))
    parsed = StageResult() if result is StageResult else parse_dataclass(result, facts)
    seals = data.get("seals", {})
    if entries is None or parsed is None or not has_shape(seals, {str: str}):
        return None
    record = Record(
        **{name: data[name] for name in ("stage", "name", "fingerprint", "shards", "seconds", "peak_memory")},
        inputs=data["parts"],
        count=Count(**data["count"]),
        sources=_TabledCounts()
        if _TABLED in data
        else {source: Count(**count) for source, count in data["sources"].items()},
        entries=entries,
        seals=seals,
        result=parsed,
    )
    return record if _TABLED in data or record.is_balanced() else None


def seal(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """Return the seals of the files of a step by their paths in its folder; in an object store, they are empty.

    Parameters
    ----------
    folder : Path
        The folder of the step.
    patterns : sequence of str
        Patterns of the names of its files; files whose names begin with a dot are ignored.

    Raises
    ------
    DataError
        A file cannot be read.
    """
    names = (PurePosixPath(name) for name in paths.list_files(folder))
    matching = [name for name in names if any(_matches(name, PurePosixPath(each)) for each in patterns)]
    return {str(name): _seal(folder / name) for name in matching if str(name) not in (NAME, SOURCES)}


def _matches(name: PurePosixPath, pattern: PurePosixPath) -> bool:
    return len(name.parts) == len(pattern.parts) and not name.name.startswith(".") and name.match(str(pattern))


def find_broken_files(record: Record[StageResult], folder: Path) -> dict[str, str]:
    """Return the problem of each missing or corrupt file of a step, by its path in the folder."""
    sizes, problems = paths.file_sizes(folder), {}
    for name, sealed in record.seals.items():
        path = folder / name
        if name not in sizes:
            problems[name] = f"{name} is missing" if not parquet_io.exists(path) else f"{name} is not a file"
        elif _seal(path) != sealed:  # empty for an object, which is always complete
            problems[name] = f"{name} is corrupt"
    return problems


def _seal(path: Path) -> str:
    if paths.is_object(path):
        return ""
    try:
        return parquet_io.seal(path)
    except OSError as error:
        hint = "check the permissions of the file and the disk"
        raise DataError(f"cannot read the file: {error.strerror}", where=str(path), hint=hint) from error


@overload
def load_intact(folder: Path) -> Record[StageResult] | None: ...
@overload
def load_intact(folder: Path, result: type[R]) -> Record[R] | None: ...
def load_intact(folder: Path, result: type[StageResult] = StageResult) -> Record[StageResult] | None:
    """Return the manifest in ``folder`` after checking the files of the step; None if the step has not run.

    Raises
    ------
    DataError
        The manifest or a file of the step is missing or corrupt.
    """
    record = load(folder, result)
    hint = "run again: missing and corrupt files are rewritten"
    if record is None:
        if problem := explain_unreadable(folder):
            where = folder / problem.partition(" ")[0]
            raise DataError(f"cannot read the result of the step: {problem}", where=str(where), hint=hint)
        return None
    for name, problem in find_broken_files(record, folder).items():
        raise DataError(f"cannot read the result of the step: {problem}", where=str(folder / name), hint=hint)
    return record


def expand_entries(records: Iterable[Record[StageResult]]) -> list[Record[StageResult]]:
    """Return the records with one record for each entry of a step with several, as displayed in tables."""
    expanded: list[Record[StageResult]] = []
    for record in records:
        expanded += [
            replace(
                record,
                name=entry.name,
                count=total(entry.sources),
                sources=entry.sources,
                seconds=entry.seconds,
                peak_memory=entry.peak_memory,
                entries=(),
                result=StageResult(),
            )
            for entry in record.entries
        ] or [record]
    return expanded


def explain_unreadable(folder: Path) -> str:
    """Return the reason why an existing manifest cannot be read, as a phrase; "" if there is no manifest."""
    if not parquet_io.exists(folder / NAME):
        return ""
    data = parquet_io.read_json(folder / NAME)
    if data is not None and _TABLED in data and not parquet_io.is_current(folder / SOURCES, str(data["fingerprint"])):
        return f"{SOURCES} is missing, corrupt, or does not belong to {NAME}"
    return f"{NAME} is corrupt, or from another release"


State = Literal["fresh", "stale", "missing"]


def compare(record: Record[R] | None, inputs: Mapping[str, object]) -> tuple[State, str]:
    """Return whether the step on disk was made from ``inputs``, and which of them differ if it was not."""
    if record is None:
        return "missing", "never completed"
    if record.fingerprint == fingerprint(inputs):
        return "fresh", ""
    old, new = _flat(dict(record.inputs)), _flat(json.loads(json.dumps(dict(inputs))))
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return "stale", "; ".join(_change(key, old.get(key), new.get(key)) for key in changed[:3]) + (
        f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
    )


def _flat(parts: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in parts.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _change(key: str, old: object, new: object) -> str:
    short = all(len(json.dumps(value)) < 40 for value in (old, new))
    return f"{key}: {json.dumps(old)} is now {json.dumps(new)}" if short else f"{key} changed"
