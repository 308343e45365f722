"""Manifest of a stage: what it was made from and its result, in one JSON file next to its shards.

The counts of more than ``MOST_SOURCES`` sources are in a table next to it, which is read when they are needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate.accounting import Count, sum_of
from curate.errors import AccountingError
from curate.store import parquet_io
from curate.store.json_shape import fits

NAME = "manifest.json"
SOURCES = "sources.parquet"
MOST_SOURCES = 1_000
"""Number of sources up to which a manifest holds their counts itself."""

_COUNT = {"rows_in": int, "kept": int, "dropped": int, "quarantined": int}
_RECORD = {
    **{"stage": str, "name": str, "fingerprint": str, "shards": int, "seconds": float, "peak_memory": int},
    **{"parts": dict, "facts": dict, "count": _COUNT, "sources": {str: _COUNT}},
}
_SOURCES = pa.schema(
    [pa.field("entry", pa.string(), nullable=False), pa.field("source", pa.string(), nullable=False)]
    + [pa.field(name, pa.int64(), nullable=False) for name in _COUNT]
)
_TABLED = "sources_in_table"
_FILE = {"path": str, "size": int, "sha256": str, "cuts": (None, [[int]])}
_ENTRY = {"name": str, "sources": {str: _COUNT}, "seconds": float, "peak_memory": int}
MASKED = {"rows": int, "spans": {str: int}}
"""What was masked: in how many rows, and how often each kind."""

CUT = {"rows": int, "spans": int, "words": int, "empty": int}
"""What was cut: out of how many rows, how many runs of words, of how many words; rows that have none left."""

_SET = {
    **{"name": str, "files": [{"path": str, "sha256": str}]},
    **{"texts": int, "empty": int, "short": int, "found": int, "rows": int},
}
_OF_STAGE: Mapping[str, Mapping[str, Any]] = {
    "input": {
        "parts": {"rows_per_shard": int, "files": {str: str}},
        "facts": {"files": [_FILE], "rows": [int], "columns": str, "roles": {str: str}, "tokens": str}
        | {"digests": [str]},
    },
    "embed": {"facts": {"recipe": str, "rows": [int], "dimensions": int, "drift": (None, float)}},
    "cluster": {"facts": {"recipe": str, "largest": int, "drift": (None, float)}},
    "decontaminate": {
        "facts": {"rows": int, "hits": int, "sets": [_SET]},
    },
    "select": {
        "parts": {
            "input": str,
            "entries": [{"name": str, "budget": object}],
            "embed": {str: str},
            "cluster": str,
            "score": {str: str},
        },
        "facts": {"entries": [_ENTRY], "tokens": int, "tokens_kept": int},
    },
    "export": {"facts": {"version": str, "bytes": int, "masked": (None, MASKED), "cut": (None, CUT)}},
}
"""What is read of the parts and facts of each stage."""


def fingerprint(parts: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of ``parts``: the same parts, the same fingerprint, on any machine."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One stage, or one entry of a stage, as it was last done."""

    stage: str
    name: str
    fingerprint: str
    parts: Mapping[str, Any]
    """What the fingerprint is made of, so that a stale stage can say what changed."""

    count: Count
    sources: Mapping[str, Count] = field(default_factory=dict)
    shards: int
    seconds: float = 0.0
    peak_memory: int = 0
    """Bytes; the highest of the processes that worked on it."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the stage wants told: inertia, dimension, the model's revision, …"""

    @property
    def epochs(self) -> list[int]:
        """How many rows are in each epoch that the select stage planned; empty without a plan."""
        planned: Any = self.facts.get("epochs")
        return list(planned) if fits(planned, [int]) else []

    def check(self) -> Record:
        """The record itself, if no row is unaccounted for."""
        for where, count in {"": self.count, **self.sources}.items():
            if not count.balanced():
                raise AccountingError(
                    f"{self.stage} {self.name}: {count.rows_in:,} rows in, but {count.kept:,} kept + {count.dropped:,} "
                    f"dropped + {count.quarantined:,} quarantined" + (f" in source {where!r}" if where else "")
                )
        if self.sources and total(self.sources) != self.count:
            raise AccountingError(f"{self.stage} {self.name}: the sources do not add up to the whole")
        return self


class StoredCounts(Mapping[str, Count]):
    """Counts by source in a table on disk, which is read when they are first needed.

    Parameters
    ----------
    path : Path
        The table.
    entry : str
        The entry of the select section whose counts they are; empty for those of the stage.
    """

    def __init__(self, path: Path, entry: str) -> None:
        self.path, self.entry = path, entry

    @cached_property
    def _table(self) -> pa.Table:
        table = parquet_io.read(self.path, _SOURCES)
        return table.filter(pc.equal(table["entry"], self.entry))

    @cached_property
    def _counts(self) -> dict[str, Count]:
        return _counts_of(self._table)

    def total(self) -> Count:
        """Return the sum of all counts."""
        return Count(**{name: pc.sum(self._table[name]).as_py() or 0 for name in _COUNT})

    def largest(self, number: int) -> list[str]:
        """Return the sources with the most rows in, ties to the first by name."""
        order = [("rows_in", "descending"), ("source", "ascending")]
        names: list[str] = self._table.sort_by(order)["source"].slice(0, number).to_pylist()
        return names

    def of(self, names: Collection[str]) -> dict[str, Count]:
        """Return the counts of some sources, without reading those of the others."""
        table = self._table.filter(pc.is_in(self._table["source"], pa.array(names, pa.string())))
        return _counts_of(table)

    def __reduce__(self) -> tuple[object, ...]:
        return StoredCounts, (self.path, self.entry)

    def __getitem__(self, source: str) -> Count:
        return self._counts[source]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._table)


def _counts_of(table: pa.Table) -> dict[str, Count]:
    names, *counts = (table[name].to_pylist() for name in ("source", *_COUNT))
    return {name: Count(**dict(zip(_COUNT, each, strict=True))) for name, *each in zip(names, *counts, strict=True)}


def largest(sources: Mapping[str, Count], number: int) -> list[str]:
    """Return the sources with the most rows in, ties to the first by name."""
    if isinstance(sources, StoredCounts):
        return sources.largest(number)
    return sorted(sources, key=lambda name: (-sources[name].rows_in, name))[:number]


def divided(sources: Mapping[str, Count], names: Collection[str]) -> tuple[dict[str, Count], Count]:
    """Return the counts of the sources ``names``, and the sum of those of all others."""
    listed = (
        sources.of(names)
        if isinstance(sources, StoredCounts)
        else {name: sources[name] for name in names if name in sources}
    )
    return listed, total(sources) - sum_of(listed.values())


def total(sources: Mapping[str, Count]) -> Count:
    """Return the sum of counts by source."""
    return sources.total() if isinstance(sources, StoredCounts) else sum_of(sources.values())


def save(record: Record, folder: Path) -> Record:
    """Write the manifest: the last thing a stage does, so that its presence means the stage is complete.

    Returns
    -------
    Record
        The same record; of many sources, with counts that are read from the table when they are needed.
    """
    record.check()
    entries = record.facts.get("entries", ())
    counts = {"": record.sources, **{entry["name"]: _counted(entry["sources"]) for entry in entries}}
    data: dict[str, Any] = {one.name: getattr(record, one.name) for one in fields(record)}
    data |= {"count": asdict(record.count), "sources": {}}
    if tabled := len(record.sources) > MOST_SOURCES:
        data[_TABLED] = len(record.sources)
        if entries:
            data["facts"] = {**record.facts, "entries": [{**entry, "sources": {}} for entry in entries]}
        if not parquet_io.is_current(folder / SOURCES, record.fingerprint):
            parquet_io.write(_table_of(counts), folder / SOURCES, record.fingerprint, compression="zstd")
    else:
        data["sources"] = {name: asdict(count) for name, count in record.sources.items()}
    parquet_io.write_json(folder / NAME, data)
    if not tabled:
        (folder / SOURCES).unlink(missing_ok=True)
        return record
    stored = [{**entry, "sources": StoredCounts(folder / SOURCES, entry["name"])} for entry in entries]
    facts = {**record.facts, "entries": stored} if entries else record.facts
    return replace(record, sources=StoredCounts(folder / SOURCES, ""), facts=facts)


def _table_of(counts: Mapping[str, Mapping[str, Count]]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in _SOURCES.names}
    for entry, sources in counts.items():
        columns["entry"] += [entry] * len(sources)
        columns["source"] += sources
        for name in _COUNT:
            columns[name] += [getattr(count, name) for count in sources.values()]
    return pa.table(columns, _SOURCES)


def _counted(sources: Mapping[str, Any]) -> Mapping[str, Count]:
    """Return the counts of an entry of the select section, as its facts hold them."""
    if isinstance(sources, StoredCounts):
        return sources
    return {name: Count(**count) for name, count in sources.items()}


def load(folder: Path) -> Record | None:
    """The manifest in ``folder``; None if there is no whole one."""
    data = parquet_io.read_json(folder / NAME)
    if data is None or not fits(data, _RECORD) or not fits(data, _OF_STAGE.get(data["stage"], {})):
        return None  # written by another release, or by nobody
    try:
        data["count"] = Count(**data["count"])
        if data.pop(_TABLED, None) is None:
            data["sources"] = {source: Count(**count) for source, count in data["sources"].items()}
            return Record(**data)
        table = folder / SOURCES
        if not parquet_io.is_current(table, data["fingerprint"]):
            return None
        data["sources"] = StoredCounts(table, "")
        for entry in data["facts"].get("entries", ()):
            entry["sources"] = StoredCounts(table, entry["name"])
        return Record(**data)
    except TypeError:  # so was this: it has more keys
        return None


def lines(records: Iterable[Record]) -> list[Record]:
    """The records with every entry of the select stage as one of its own, for tables that people read."""
    told: list[Record] = []
    for record in records:
        for entry in record.facts.get("entries", ()):
            sources = _counted(entry["sources"])
            told.append(
                replace(
                    record,
                    name=entry["name"],
                    count=total(sources),
                    sources=sources,
                    seconds=entry["seconds"],
                    peak_memory=entry["peak_memory"],
                    facts={},
                )
            )
        if "entries" not in record.facts:
            told.append(record)
    return told


State = Literal["fresh", "stale", "missing"]


def compare(record: Record | None, parts: Mapping[str, Any]) -> tuple[State, str]:
    """Whether the stage on disk is what ``parts`` asks for, and if not, which parts differ."""
    if record is None:
        return "missing", "never completed"
    if record.fingerprint == fingerprint(parts):
        return "fresh", ""
    old, new = _flat(dict(record.parts)), _flat(json.loads(json.dumps(dict(parts))))
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return "stale", "; ".join(_change(key, old.get(key), new.get(key)) for key in changed[:3]) + (
        f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
    )


def _flat(parts: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in parts.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _change(key: str, old: Any, new: Any) -> str:
    short = all(len(json.dumps(value)) < 40 for value in (old, new))
    return f"{key}: {json.dumps(old)} is now {json.dumps(new)}" if short else f"{key} changed"
