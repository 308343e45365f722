"""What a stage was made from and what came of it, in one JSON file beside its shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from curate.errors import AccountingError
from curate.store import shards
from curate.store.shapes import fits

NAME = "manifest.json"

_COUNT = {"rows_in": int, "kept": int, "dropped": int, "quarantined": int}
_RECORD = {
    **{"stage": str, "name": str, "fingerprint": str, "shards": int, "seconds": float, "peak_memory": int},
    **{"parts": dict, "facts": dict, "count": _COUNT, "sources": {str: _COUNT}},
}
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
class Count:
    """Rows in = kept + dropped + quarantined."""

    rows_in: int = 0
    kept: int = 0
    dropped: int = 0
    quarantined: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            rows_in=self.rows_in + other.rows_in,
            kept=self.kept + other.kept,
            dropped=self.dropped + other.dropped,
            quarantined=self.quarantined + other.quarantined,
        )

    def balanced(self) -> bool:
        return self.rows_in == self.kept + self.dropped + self.quarantined


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
        if self.sources and sum_of(self.sources.values()) != self.count:
            raise AccountingError(f"{self.stage} {self.name}: the sources do not add up to the whole")
        return self


def sum_of(counts: Iterable[Count]) -> Count:
    """The counts added up."""
    total = Count()
    for count in counts:
        total = total + count
    return total


def save(record: Record, folder: Path) -> None:
    """Write the manifest: the last thing a stage does, so that its presence means the stage is whole."""
    shards.write_json(folder / NAME, asdict(record.check()))


def load(folder: Path) -> Record | None:
    """The manifest in ``folder``; None if there is no whole one."""
    data = shards.read_json(folder / NAME)
    if data is None or not fits(data, _RECORD) or not fits(data, _OF_STAGE.get(data["stage"], {})):
        return None  # written by another release, or by nobody
    try:
        data["count"] = Count(**data["count"])
        data["sources"] = {source: Count(**count) for source, count in data["sources"].items()}
        return Record(**data)
    except TypeError:  # so was this: it has more keys
        return None


def lines(records: Iterable[Record]) -> list[Record]:
    """The records with every entry of the select stage as one of its own, for tables that people read."""
    told: list[Record] = []
    for record in records:
        for entry in record.facts.get("entries", ()):
            sources = {name: Count(**count) for name, count in entry["sources"].items()}
            told.append(
                replace(
                    record,
                    name=entry["name"],
                    count=sum_of(sources.values()),
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
