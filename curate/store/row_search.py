"""Search for rows of a run by their line in an input file, the hash of their text, or a pattern."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import no_follow
from curate.errors import ConfigError, summarize_names
from curate.store import inputs, parquet_io, readers, redaction, schemas
from curate.store.ledger import RowLocation, Run, to_single_line

_HASH = re.compile("[0-9a-f]{32}")
_IN_FILE = re.compile(r"(.+):([0-9]{1,18})", re.DOTALL)
_AROUND = 40
"""Number of characters shown before and after a match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Row whose text matches the pattern, and its outcome."""

    id: str | None
    """Id of the row; None for a record that could not be read up to its id."""

    file: str
    line: int
    status: str
    decided_by: str | None
    reason: str | None
    text: str
    """Part of the text around the match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Rows that match a pattern."""

    matches: tuple[Match, ...]
    """First matches, in the order of the pool."""

    rows: int
    """Number of all matching rows."""


def find_row(run: Run, name: str) -> tuple[RowLocation | None, dict[str, Any] | None]:
    """Find the row given by ``FILE:LINE`` or the hash of a text, or the quarantined record of that line.

    Raises
    ------
    ConfigError
        The name matches no row, or several rows.
    """
    if _HASH.fullmatch(name):
        digest = pa.scalar(bytes.fromhex(name), pa.binary(16))
        locations = [
            RowLocation(shard, row)
            for shard, table in enumerate(run.inputs.iterate_shards(("hash",)))
            for row in pc.indices_nonzero(pc.equal(table["hash"], digest)).to_pylist()
        ]
        return (
            _single(run, locations, f"{len(locations):,} rows have the text with the hash {name}")
            if locations
            else None
        ), None
    match = _IN_FILE.fullmatch(name)
    if match is None:
        return None, None
    names = _matching_files(match[1], run.inputs.files)
    if not names:
        return None, None
    if len(names) > 1:
        raise ConfigError(f"several input files match {match[1]!r}", hint=f"use one of: {summarize_names(names)}")
    return _find_in_file(run, names[0], int(match[2]))


def _matching_files(name: str, files: Collection[str]) -> list[str]:
    """Return the input files that match a name: exactly, else relative to the current folder, else by suffix."""
    tail = f"/{name.removeprefix('./')}"
    tests: tuple[Callable[[str], bool], ...] = (
        lambda file: file == name,
        lambda file: "://" not in file and os.path.abspath(file) == os.path.abspath(name),  # noqa: PTH100 - keeps links
        lambda file: file.endswith(tail),
    )
    return next((matching for test in tests if (matching := [file for file in files if test(file)])), [])


def _find_in_file(run: Run, file: str, line: int) -> tuple[RowLocation | None, dict[str, Any] | None]:
    """Find the record that contains a line of a file."""
    bad = list(_quarantined_records(run, pc.field("file") == file))
    locations, before, after = _search_line(run, file, line)
    for record in bad:
        before, after = _nearer(np.array([record["line"]]), line, before, after)
    kind = readers.detect_format(Path(file))[0]
    wanted = line
    if before != line and kind == "json" and before:  # elements are located by their first line
        wanted = before
    elif before != line and kind in ("csv", "tsv") and after < _NOWHERE:  # rows are located by their last line
        wanted = after
    elif before != line:
        near = " and ".join(f"{each:,}" for each in (before, after) if 0 < each < _NOWHERE)
        hint = f"the nearest rows are on lines {near}" if near else ""
        raise ConfigError("there is no row on this line", where=f"{file}:{line}", hint=hint)
    if wanted != line:
        locations, _, _ = _search_line(run, file, wanted)
    if not locations:
        return None, next(record for record in bad if record["line"] == wanted)
    return _single(run, locations, f"{len(locations):,} rows are on line {wanted:,} of {file}"), None


_NOWHERE = 1 << 62


def _search_line(run: Run, file: str, line: int) -> tuple[list[RowLocation], int, int]:
    """Return the rows on a line of a file, the last line with a row up to it, and the first from it on."""
    number, shards = run.inputs.files.index(file), range(len(run.inputs.shards))
    wanted = {inputs.FILE: number, inputs.LINE: line}
    likely = [shard for shard in shards if parquet_io.may_contain(run.inputs.path(shard), wanted)]
    locations, before, after = _search_shards(run, likely, number, line)
    return (locations, before, after) if locations else _search_shards(run, shards, number, line)


def _search_shards(run: Run, shards: Iterable[int], number: int, line: int) -> tuple[list[RowLocation], int, int]:
    locations, before, after = list[RowLocation](), 0, _NOWHERE
    for shard in shards:
        table = run.inputs.read(shard, ("file", "line"))
        rows = np.flatnonzero(table["file"].to_numpy() == number)
        lines = table["line"].to_numpy()[rows]
        before, after = _nearer(lines, line, before, after)
        locations += [RowLocation(shard, row) for row in rows[lines == line].tolist()]
    return locations, before, after


def _nearer(lines: NDArray[np.int64], line: int, before: int, after: int) -> tuple[int, int]:
    """Return the last line up to ``line``, and the first from it on, of ``lines``, ``before`` and ``after``."""
    return int(lines[lines <= line].max(initial=before)), int(lines[lines >= line].min(initial=after))


def _single(run: Run, locations: list[RowLocation], message: str) -> RowLocation:
    if len(locations) > 1:
        ids = [read_id(run, location) for location in locations[:5]]
        raise ConfigError(
            message, hint=f"use one of the ids: {summarize_names(ids)}{', …' if len(locations) > len(ids) else ''}"
        )
    return locations[0]


def read_id(run: Run, location: RowLocation) -> str:
    """Return the id of the row at a location."""
    name: str = run.inputs.read(location.shard, ("id",))["id"][location.row].as_py()
    return name


def _quarantined_records(run: Run, condition: pc.Expression) -> Iterator[dict[str, Any]]:
    """Yield the quarantined records that match a condition, each with its stage."""
    for stage, paths in run.quarantine_files():
        for path in paths:
            for record in parquet_io.read(path, schemas.QUARANTINE).filter(condition).to_pylist():
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
        ``folder`` is not a run directory, or the pattern is no regular expression.
    """
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        hint = "use the RE2 syntax: github.com/google/re2/wiki/Syntax"
        raise ConfigError(f"the pattern is not a regular expression: {error}", where="--grep", hint=hint) from error
    with no_follow.protect(folder):
        return _grep(Run.open(folder), pattern, limit)


def _grep(run: Run, pattern: str, limit: int) -> SearchResult:
    matches: list[Match] = []
    rows, files = 0, run.inputs.files
    for shard, table in enumerate(run.inputs.iterate_shards(("id", "file", "line", "text"))):
        matching = table.filter(pc.match_substring_regex(table["text"], pattern))
        rows += len(matching)
        page = matching.slice(0, limit - len(matches)).to_pylist()
        outcomes = run.read_outcomes([row["id"] for row in page], [shard]).to_pylist() if page else []
        for row, outcome in zip(page, outcomes, strict=True):
            text = _excerpt(redaction.redact(row["text"], run.mask), pattern)
            fields = {key: outcome[key] for key in ("status", "decided_by", "reason")}
            matches.append(Match(id=row["id"], file=files[row["file"]], line=row["line"], text=text, **fields))
    for record in _quarantined_records(run, pc.match_substring_regex(pc.field("record"), pattern)):
        if any(match.id == record["id"] and match.line == record["line"] for match in matches):
            continue  # was read, but could not be embedded
        rows += 1
        if len(matches) < limit:
            text = _excerpt(redaction.redact(record["record"], run.mask), pattern)
            fields = {"status": "quarantined", "decided_by": record["stage"], "reason": record["reason"]}
            matches.append(Match(id=record["id"], file=record["file"], line=record["line"], text=text, **fields))
    return SearchResult(matches=tuple(matches), rows=rows)


def _excerpt(text: str, pattern: str) -> str:
    """Return the text around the first match on one line; its beginning if the match is masked."""
    try:
        match = re.search(pattern, text)
    except re.error:  # RE2 has a slightly different syntax
        match = None
    start = max(0, match.start() - _AROUND) if match else 0
    end = (match.end() if match else start) + _AROUND
    cut = to_single_line(text[start : min(end, start + 4 * _AROUND)])
    return f"{'...' if start else ''}{cut}{'...' if end < len(text) else ''}"
