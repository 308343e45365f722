"""The versions of an export: which is published, which were before it, and how to go back.

A version is a folder ``export/<version>``, whole once it has its manifest; the link ``export/current`` names the
published one and is replaced by one rename. An object store has no links: there ``export/current`` is an object that
holds the version's name. A run directory that was copied with its links followed has a folder there, which is read as
the version that it is a copy of.

``export/history.json`` lists what was published, in order. A line is written before the switch, and counts only once
``current`` no longer names the version that the line replaces: so nothing has to be written after the switch.
``export/<version>.ids.parquet`` lists the rows of a version.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate import anchored, paths
from curate.errors import ConfigError, DataError
from curate.store import lock, manifest, parquet_io, run_directory, symlinks
from curate.store.churn import churn
from curate.store.json_shape import fits
from curate.store.ledger import frame_of

FOLDER = "export"
CURRENT = "current"
_COPIED = ".current.copied"  # a copy that was in the place of the link
HISTORY = "history.json"
CARD = "README.md"
DATA = "data"

_IDS = ".ids.parquet"
_HISTORY = {"publications": [{"version": str, "published": str, "by": str, "rows": int}]}
_CONTENTS = {"fingerprint": str, "rows": int, "files": [{"file": str, "rows": int, "bytes": int, "sha256": str}]}
_LENGTH = 12
_VERSION = re.compile(rf"[0-9a-f]{{{_LENGTH}}}")


class Publication(TypedDict):
    """Line of the publication history, as it is stored."""

    version: str
    published: str
    """Time in UTC."""

    by: Literal["run", "rollback"]
    rows: int
    replaces: NotRequired[str | None]
    """Version before, or None if there was none."""

    over: NotRequired[str]
    """Version that the numbers below compare with; they are missing where the rows of one of the two are unknown."""

    added: NotRequired[int]
    removed: NotRequired[int]
    churn_rate: NotRequired[float]


IDS = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("source", pa.string(), nullable=False)])
"""The rows of a version."""


def name_of(fingerprint: str) -> str:
    """Return the name of the version that an export with this fingerprint has."""
    return fingerprint[:12]


def ids(root: Path, version: str) -> Path:
    """The file with the id and source of every row of ``version``."""
    if not _VERSION.fullmatch(version):  # it may come from a manifest, and leads nowhere else
        raise DataError(f"there is no version {version!r}", where=str(root))
    return root / f"{version}{_IDS}"


def read_ids(root: Path, version: str) -> pl.DataFrame:
    """The id and source of every row of ``version``."""
    return frame_of(parquet_io.read(ids(root, version), IDS.names))


def holds(root: Path, version: str, name: str) -> bool | None:
    """Whether the row with the id ``name`` is in ``version``; None if that is not known. Memory: a batch of ids."""
    try:
        with paths.parquet(ids(root, version)) as file:
            return any(pc.index(batch["id"], name).as_py() >= 0 for batch in file.iter_batches(columns=["id"]))
    except FileNotFoundError:
        return None
    except (OSError, KeyError, pa.ArrowException) as error:
        hint = "the next run that publishes this version writes it again"
        raise DataError(
            f"cannot read the ids of a version: {error}", where=str(ids(root, version)), hint=hint
        ) from error


def published(root: Path) -> str | None:
    """Return the version that ``current`` names, if it is there and complete."""
    version = _named(root)
    return version if version is not None and is_whole(root, version) else None


def _named(root: Path) -> str | None:
    """Return the version that ``current`` names, or that it is a copy of, whatever became of it."""
    link = root / CURRENT
    try:
        with paths.reached(root):
            if paths.is_object(root):
                version = link.read_text(encoding="utf-8")
            elif _is_copy(link):
                version = str((contents(link) or {"fingerprint": ""})["fingerprint"])[:_LENGTH]
            else:
                with anchored.inside(link) as there:
                    version = str(there.readlink())
    except OSError:
        return None
    return version if _VERSION.fullmatch(version) else None


def _is_copy(current: Path) -> bool:
    """Return whether ``current`` is a folder: a link that was followed when the run directory was copied."""
    return current.is_dir() and not current.is_symlink()


def is_whole(root: Path, version: str) -> bool:
    """Whether ``version`` was written to its end."""
    return contents(root / version) is not None


def history(root: Path) -> list[Publication]:
    """Return every publication, oldest first: version, time, ``by`` (run or rollback), rows, churn against ``over``."""
    data = parquet_io.read_json(root / HISTORY)
    lines = list(data["publications"]) if data is not None and fits(data, _HISTORY) else []
    if lines and "replaces" in lines[-1] and lines[-1]["replaces"] == _named(root) != lines[-1]["version"]:
        lines.pop()  # the switch did not follow
    return lines


def kept(root: Path) -> list[str]:
    """The whole versions on disk, in the order in which runs last published them; first any that never were."""
    last = {line["version"]: place for place, line in enumerate(history(root)) if line["by"] == "run"}
    found = [name for name in paths.names(root) if _VERSION.fullmatch(name) and is_whole(root, name)]
    return sorted(found, key=lambda name: (last.get(name, -1), (root / name / manifest.NAME).stat().st_mtime, name))


def contents(version: Path) -> dict[str, Any] | None:
    """The manifest of a version's folder: what is in it; None if there is no whole one."""
    data = parquet_io.read_json(version / manifest.NAME)
    return data if fits(data, _CONTENTS) else None


def damage(root: Path, version: str, *, read: bool = False) -> str:
    """What of ``version`` is gone, or of another size than its manifest says, in words; empty if nothing is.

    ``read``: or holds other bytes.
    """
    found = contents(root / version)
    if found is None:
        return f"{version}/{manifest.NAME} is gone or not whole"
    there = paths.sizes(root / version)
    for file in found["files"]:
        if file["file"] not in there:
            return f"{version}/{file['file']} is gone"
        path = root / version / file["file"]
        if there[file["file"]] != file["bytes"] or (read and paths.sha256(path) != file["sha256"]):
            return f"{version}/{file['file']} is not what was written"
    if CARD not in there:
        return f"{version}/{CARD} is gone"
    changed = read and found.get("card") not in (None, paths.sha256(root / version / CARD))
    return f"{version}/{CARD} is not what was written" if changed else ""


def edited(root: Path, version: str) -> bool:
    """Whether somebody changed a file of ``version`` since it was written, or put another beside it."""
    data = contents(root / version)
    return data is not None and _edited(root / version, data)


def _edited(folder: Path, data: Mapping[str, Any]) -> bool:
    """Return whether a folder holds other files, or other bytes, than its manifest ``data`` lists."""
    written = {manifest.NAME: None, CARD: data.get("card"), **{file["file"]: file["sha256"] for file in data["files"]}}
    found = paths.files(folder)
    return any(name not in written or written[name] not in (None, paths.sha256(folder / name)) for name in found)


def set_aside(root: Path, version: str) -> Path:
    """Copy the folder of ``version``, which may hold somebody's work, to where no run writes; its new path."""
    taken = paths.names(root)
    name = next(name for number in itertools.count(1) if (name := f"{version}.edited-{number}") not in taken)
    try:
        for file in paths.files(root / version):
            paths.copy(root / version / file, root / name / file)
    except BaseException:  # half a copy would look like all of one
        paths.remove(root / name)
        raise
    return root / name


# ---------------------------------------------------------------- publishing


def publication(root: Path, version: str, by: Literal["run", "rollback"] = "run") -> Publication | None:
    """Return the line of the history for publishing ``version``; None if it is published and written down.

    Nothing is written: ``publish`` takes the line.

    Returns
    -------
    dict or None
        ``version``, ``published`` (the time), ``by``, ``rows`` and ``replaces`` (the version before, or None); where
        the rows of both are known, also ``over``, ``added``, ``removed`` and ``churn_rate``.
    """
    before, lines = published(root), history(root)
    if before == version:
        before = lines[-1]["version"] if lines else None  # another one, if it is not written down yet
    if before == version:
        return None
    line: Publication = {
        "version": version,
        "published": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
        "by": by,
        "rows": _rows(root, version),
        "replaces": _named(root),
    }
    if before is not None and {ids(root, one).name for one in (before, version)} <= paths.names(root):
        changed = churn(read_ids(root, before), read_ids(root, version))
        line |= {"over": before, "added": changed.added, "removed": changed.removed, "churn_rate": changed.rate}
    return line


def publish(root: Path, line: Publication) -> None:
    """Write down a publication, then let ``current`` name its version: a reader sees the old export or the new.

    Raises
    ------
    DataError
        If either cannot be written; ``current`` then names what it named before.
    """
    parquet_io.write_json(root / HISTORY, {"publications": [*history(root), line]})
    _point(root, line["version"])


def _rows(root: Path, version: str) -> int:
    return int((contents(root / version) or {})["rows"])


def _point(root: Path, version: str) -> None:
    if published(root) == version:
        return
    if paths.is_object(root):
        parquet_io.write_text(root / CURRENT, version)
        return
    try:
        with anchored.folder(root) as there:
            fresh = there / f".{os.getpid()}.partial.{CURRENT}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(version)
            if _is_copy(root / CURRENT):
                _refuse_unknown_copy(root)
                paths.remove(root / _COPIED)
                (there / CURRENT).replace(there / _COPIED)  # no rename puts a link in the place of a folder
            fresh.replace(there / CURRENT)
    except OSError as error:
        raise DataError(f"cannot publish: {error.strerror}", where=str(root / CURRENT)) from error


def _refuse_unknown_copy(root: Path) -> None:
    """Refuse to replace a folder ``current`` that is not what a version of this run holds.

    Raises
    ------
    DataError
        With the remedy.
    """
    version = _named(root)
    data = contents(root / CURRENT)
    if version is None or data is None or _edited(root / CURRENT, data):
        message = "this is a folder, where a link is expected, and it is no unchanged copy of a version"
        hint = "move it elsewhere, or delete it, and run again"
        raise DataError(message, where=str(root / CURRENT), hint=hint)


def forget(root: Path, keep: int, warn: Callable[[str], None]) -> None:
    """Make the switch survive a power cut, then delete versions that were replaced ``keep`` publications ago or more.

    The published version stays, and so do the ``keep`` that were published before it, as they may still be read. What
    killed runs left goes. A version that was edited is copied to where no run
    writes, and ``warn`` is called.
    """
    if not paths.is_object(root):
        parquet_io.sync_folder(root)
        paths.remove(root / _COPIED)
    last = {line["version"]: place for place, line in enumerate(history(root))}  # by a rollback, too
    older = sorted(set(kept(root)) - {published(root)}, key=lambda version: (last.get(version, -1), version))
    for version in older[: max(0, len(older) - keep)]:
        if edited(root, version):
            warn(f"{root / version} was edited since it was written; it is kept in {set_aside(root, version)}")
        paths.unlink(root / version / manifest.NAME)  # first, so that a half-deleted one never looks whole
    whole = kept(root)
    for name in paths.names(root):
        if _VERSION.fullmatch(name) and name not in whole:
            paths.remove(root / name)
        elif _VERSION.fullmatch(name.removesuffix(_IDS)) and name.endswith(_IDS) and name[: -len(_IDS)] not in whole:
            paths.unlink(root / name)


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The version that a run has published, by its own name: a later publication or rollback changes none of it."""

    run: str
    version: str
    rows: int
    path: str
    """Folder of the version, absolute, or its URL."""

    files: tuple[str, ...]
    """Data files in order, absolute, or their URLs."""

    def as_dict(self) -> dict[str, object]:
        """Return the same as plain data."""
        return asdict(self)


def resolved(run: Path) -> Published:
    """Return the published version of a run, looked up once.

    Raises
    ------
    ConfigError
        Nothing is published in this folder.
    DataError
        A file of the version is missing, or of another size than was written.
    """
    with anchored.within(run), paths.reached(run):
        symlinks.refuse(run)
        root = run / FOLDER
        version = published(root)
        data = None if version is None else contents(root / version)
        if version is None or data is None:
            raise ConfigError("nothing is published here", where=str(run), hint="name the folder that 'run:' says")
        if wrong := damage(root, version):
            raise DataError(f"the published version is damaged: {wrong}", where=str(root), hint="run again")
    folder = (run if paths.is_object(run) else run.resolve()) / FOLDER / version
    files = tuple(str(folder / file["file"]) for file in data["files"])
    return Published(run=str(run), version=version, rows=data["rows"], path=str(folder), files=files)


# ---------------------------------------------------------------- going back


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What was published in place of what."""

    run: str
    published: str
    rows: int
    before: str

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        return asdict(self)

    def __str__(self) -> str:
        if self.published == self.before:
            return f"{self.run}: {self.published} ({self.rows:,} rows) is the published version already"
        return f"{self.run}: published {self.published} again ({self.rows:,} rows), in place of {self.before}"


def rollback(run: Path, version: str | None, note: Callable[[str], None]) -> Rollback:
    """Publish the version that a run published before the current one, or the one named.

    Raises
    ------
    ConfigError : if there is no such version, with those that there are
    DataError : if it is not as it was written
    LockedError : if a run is under way
    """
    with anchored.within(run):
        return _rolled_back(run, version, note)


def _rolled_back(run: Path, version: str | None, note: Callable[[str], None]) -> Rollback:
    symlinks.refuse(run)
    root = run / FOLDER
    if published(root) is None or not run_directory.is_run(run):
        raise ConfigError("nothing is published here", where=str(run), hint="name the folder that 'run:' says")
    with lock.held(run, note):
        before, versions = published(root) or "", kept(root)
        earlier = versions[: versions.index(before)] if before in versions else versions
        chosen = version or (earlier[-1] if earlier else None)
        if chosen not in versions:
            told = f"there is no version {version!r}" if version else "no version before the published one is kept"
            raise ConfigError(told, where=str(run), hint=f"there are, oldest first: {_listed(root, versions)}")
        if wrong := damage(root, chosen, read=True):
            raise DataError(f"cannot go back: {wrong}", where=str(root), hint="name another version, or run again")
        if line := publication(root, chosen, "rollback"):
            publish(root, line)
            if not paths.is_object(root):
                with suppress(OSError):  # the switch is done
                    parquet_io.sync_folder(root)
    return Rollback(run=str(run), published=chosen, rows=_rows(root, chosen), before=before)


def _listed(root: Path, versions: list[str]) -> str:
    last = {line["version"]: line for line in history(root) if line["by"] == "run"}
    current = published(root)
    named = []
    for version in versions:
        told = [f"{last[version]['rows']:,} rows, {last[version]['published']}"] if version in last else []
        told += ["published now"] if version == current else []
        named.append(f"{version} ({', '.join(told) or 'never published'})")
    return "; ".join(named)
