"""Rows of a run by their place in an input file, by the hash of their text, or by a pattern in it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import no_follow
from curate.errors import ConfigError, summarize_names
from curate.store import parquet_io, readers, redaction, schemas
from curate.store.ledger import RowLocation, Run, to_single_line

_HASH = re.compile("[0-9a-f]{32}")
_IN_FILE = re.compile(r"(.+):([0-9]{1,18})", re.DOTALL)
_AROUND = 40
"""Characters before and after a match that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A row whose text has the pattern in it, and what became of it."""

    id: str | None
    """None for a record that could not be read as far as its id."""

    file: str
    line: int
    status: str
    decided_by: str | None
    reason: str | None
    text: str
    """The part of it around the match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Rows with a pattern."""

    matches: tuple[Match, ...]
    """The first of them, in the order of the pool."""

    rows: int
    """Number of all."""


def find_row(run: Run, name: str) -> tuple[RowLocation | None, dict[str, Any] | None]:
    """Find the row that ``FILE:LINE`` or the hash of a text names, or the quarantined record of that line.

    Raises
    ------
    ConfigError : no row is there, or several are
    """
    if _HASH.fullmatch(name):
        wanted = pa.scalar(bytes.fromhex(name), pa.binary(16))
        places = [
            RowLocation(shard, row)
            for shard, table in enumerate(run.inputs.iterate_shards(("hash",)))
            for row in pc.indices_nonzero(pc.equal(table["hash"], wanted)).to_pylist()
        ]
        return (
            _single(run, places, f"{len(places):,} rows have the text with the hash {name}") if places else None
        ), None
    match = _IN_FILE.fullmatch(name)
    if match is None:
        return None, None
    names = _files_named(match[1], run.inputs.files)
    if not names:
        return None, None
    if len(names) > 1:
        raise ConfigError(f"several input files are called {match[1]!r}", hint=f"name one: {summarize_names(names)}")
    return _in_file(run, names[0], int(match[2]))


def _files_named(name: str, files: Collection[str]) -> list[str]:
    """Return the input files that a name means: in full, else relative to the current folder, else by their ends."""
    tail = f"/{name.removeprefix('./')}"
    tests: tuple[Callable[[str], bool], ...] = (
        lambda file: file == name,
        lambda file: "://" not in file and os.path.abspath(file) == os.path.abspath(name),  # noqa: PTH100 - keeps links
        lambda file: file.endswith(tail),
    )
    return next((found for test in tests if (found := [file for file in files if test(file)])), [])


def _in_file(run: Run, file: str, line: int) -> tuple[RowLocation | None, dict[str, Any] | None]:
    """Find the record that a line of a file is in."""
    bad = list(_quarantined(run, pc.field("file") == file))
    known = [np.array([record["line"] for record in bad], np.int64)]
    known += [table["line"].to_numpy()[rows] for _, table, rows in _of_file(run, file)]
    before, after = (int(edge) for edge in _nearest(np.concatenate(known), line))
    kind = readers.detect_format(Path(file))[0]
    if before != line and kind == "json" and before:  # whose elements are known by the line that they begin on
        line = before
    elif before != line and kind in ("csv", "tsv") and after < _NOWHERE:  # whose rows are, by that they end on
        line = after
    elif before != line:
        near = " and ".join(f"{each:,}" for each in (before, after) if 0 < each < _NOWHERE)
        hint = f"the nearest are on {near}" if near else ""
        raise ConfigError("no row is on this line", where=f"{file}:{line}", hint=hint)
    places = [
        RowLocation(shard, row)
        for shard, table, rows in _of_file(run, file)
        for row in rows[table["line"].to_numpy()[rows] == line].tolist()
    ]
    if not places:
        return None, next(record for record in bad if record["line"] == line)
    return _single(run, places, f"{len(places):,} rows are on line {line:,} of {file}"), None


_NOWHERE = 1 << 62


def _nearest(lines: NDArray[np.int64], line: int) -> tuple[np.int64, np.int64]:
    """Return the last of some lines up to one, and the first from it on."""
    return lines[lines <= line].max(initial=0), lines[lines >= line].min(initial=_NOWHERE)


def _of_file(run: Run, file: str) -> Iterator[tuple[int, pa.Table, NDArray[np.intp]]]:
    """Yield each shard with rows of a file, and which they are."""
    number = run.inputs.files.index(file)
    for shard, table in enumerate(run.inputs.iterate_shards(("file", "line"))):
        rows = np.flatnonzero(table["file"].to_numpy() == number)
        if len(rows):
            yield shard, table, rows


def _single(run: Run, places: list[RowLocation], message: str) -> RowLocation:
    if len(places) > 1:
        ids = [read_id(run, place) for place in places[:5]]
        raise ConfigError(message, hint=f"name one: {summarize_names(ids)}{', …' if len(places) > len(ids) else ''}")
    return places[0]


def read_id(run: Run, place: RowLocation) -> str:
    """Return the id of the row at a place."""
    name: str = run.inputs.read(place.shard, ("id",))["id"][place.row].as_py()
    return name


def _quarantined(run: Run, which: pc.Expression) -> Iterator[dict[str, Any]]:
    """Yield the records that were quarantined, each with the stage that did."""
    for stage, paths in run.quarantine_files():
        for path in paths:
            for record in parquet_io.read(path, schemas.QUARANTINE).filter(which).to_pylist():
                yield {"stage": stage, **record}


def grep(folder: Path, pattern: str, limit: int) -> SearchResult:
    """Find the rows of a run whose text matches a regular expression. Memory: a shard.

    Parameters
    ----------
    folder : Path
        The run directory.
    pattern : str
        Regular expression in the syntax of RE2.
    limit : int
        Most rows that are returned.

    Raises
    ------
    ConfigError
        There is no run, or the pattern is no regular expression.
    """
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"not a regular expression: {error}", where="--grep") from error
    with no_follow.protect(folder):
        return _grepped(Run.open(folder), pattern, limit)


def _grepped(run: Run, pattern: str, limit: int) -> SearchResult:
    matches: list[Match] = []
    rows, files = 0, run.inputs.files
    for shard, table in enumerate(run.inputs.iterate_shards(("id", "file", "line", "text"))):
        found = table.filter(pc.match_substring_regex(table["text"], pattern))
        rows += len(found)
        own = found.slice(0, limit - len(matches)).to_pylist()
        fates = run.read_outcomes([one["id"] for one in own], [shard]).to_dicts() if own else []
        for one, fate in zip(own, fates, strict=True):
            text = _excerpt(redaction.redact(one["text"], run.mask), pattern)
            what = {key: fate[key] for key in ("status", "decided_by", "reason")}
            matches.append(Match(id=one["id"], file=files[one["file"]], line=one["line"], text=text, **what))
    for record in _quarantined(run, pc.match_substring_regex(pc.field("record"), pattern)):
        if any(match.id == record["id"] and match.line == record["line"] for match in matches):
            continue  # one that was read, and not embedded
        rows += 1
        if len(matches) < limit:
            text = _excerpt(redaction.redact(record["record"], run.mask), pattern)
            what = {"status": "set aside", "decided_by": record["stage"], "reason": record["reason"]}
            matches.append(Match(id=record["id"], file=record["file"], line=record["line"], text=text, **what))
    return SearchResult(matches=tuple(matches), rows=rows)


def _excerpt(text: str, pattern: str) -> str:
    """Return the text around the first match, on one line; its beginning if there is none, as where it is masked."""
    try:
        match = re.search(pattern, text)
    except re.error:  # of which RE2 has another syntax
        match = None
    start = max(0, match.start() - _AROUND) if match else 0
    end = (match.end() if match else start) + _AROUND
    cut = to_single_line(text[start : min(end, start + 4 * _AROUND)])
    return f"{'...' if start else ''}{cut}{'...' if end < len(text) else ''}"
