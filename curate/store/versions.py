"""The versions of an export: which is published, which were before it, and how to go back.

A version is a folder ``export/<version>``, whole once it has its manifest; the link ``export/current`` names the
published one and is replaced by one rename. An object store has no links: there ``export/current`` is an object that
holds the version's name. A run directory that was copied with its links followed has a folder there, which is read as
the version that it is a copy of.

``export/history.json`` lists what was published, in order. A line is written before the switch, and counts only once
``current`` no longer names the version that the line replaces: so nothing has to be written after the switch. Where one
of the two is there, so is the other; if it is not, or not as it was written, what was published is not known, and
nothing that depends on it is done. A rollback to a named version then begins a new history.
``export/<version>.ids.parquet`` lists the rows of a version.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import no_follow, paths
from curate.errors import ConfigError, DataError
from curate.store import lock, manifest, parquet_io, run_directory, symlinks
from curate.store.churn import compute_churn
from curate.store.json_shape import has_shape
from curate.store.ledger import to_polars

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
    remembers: NotRequired[Mapping[str, int]]
    """Number of sketches that each entry which compares with earlier versions has of this one."""


IDS = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("source", pa.string(), nullable=False)])
"""The rows of a version."""


def version_name(fingerprint: str) -> str:
    """Return the name of the version that an export with this fingerprint has."""
    return fingerprint[:12]


def ids_path(root: Path, version: str) -> Path:
    """The file with the id and source of every row of ``version``."""
    if not _VERSION.fullmatch(version):  # it may come from a manifest, and leads nowhere else
        raise DataError(f"there is no version {version!r}", where=str(root))
    return root / f"{version}{_IDS}"


def read_ids(root: Path, version: str) -> pl.DataFrame:
    """Return the id and source of every row of ``version``.

    Raises
    ------
    DataError
        If they are missing, corrupt, or those of another version.
    """
    with _known_rows(root, version) as file:
        return to_polars(file.read(IDS.names))


def contains_row(root: Path, version: str, name: str) -> bool:
    """Return whether the row with the id ``name`` is in ``version``. Memory: a batch of ids.

    Raises
    ------
    DataError
        If the rows of the version are not known.
    """
    with _known_rows(root, version) as file:
        return any(pc.index(batch["id"], name).as_py() >= 0 for batch in file.iter_batches(columns=["id"]))


@contextmanager
def _known_rows(root: Path, version: str) -> Iterator[pq.ParquetFile]:
    """Open the file with the rows of a version, if it is what was written for it."""
    path, expected = ids_path(root, version), _rows_published(root, version)
    try:
        with paths.open_parquet(path) as file:
            made_from = (file.schema_arrow.metadata or {}).get(parquet_io.FINGERPRINT.encode(), b"")
            if version_name(made_from.decode(errors="replace")) != version or expected not in (
                None,
                file.metadata.num_rows,
            ):
                raise ValueError("it is not what was written")
            yield file
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        why = "the file is missing" if isinstance(error, FileNotFoundError) else error
        message = f"the rows of the version {version} are not known: {why}"
        raise DataError(message, where=str(path), hint=_begin(root, other_than=version)) from error


def _rows_published(root: Path, version: str) -> int | None:
    return next((line["rows"] for line in reversed(read_history(root)) if line["version"] == version), None)


def published_version(root: Path) -> str | None:
    """Return the version that ``current`` names; None if nothing was published.

    Raises
    ------
    DataError
        If ``current`` or the history is missing or corrupt, so that what is published is not known.
    """
    return _state(root)[0]


def _state(root: Path) -> tuple[str | None, list[Publication]]:
    """Return the published version, and every publication that was completed."""
    _refuse_file(root)
    version, lines = _named(root), _written(root)
    if lines is None:
        if version is not None:
            raise DataError("the list of what was published is missing", where=str(root / HISTORY), hint=_begin(root))
        return None, []
    if lines and "replaces" in lines[-1] and lines[-1]["replaces"] == version != lines[-1]["version"]:
        lines.pop()  # the switch did not follow
    if lines and version is None:
        raise DataError("what is published is missing", where=str(root / CURRENT), hint=_begin(root))
    return version, lines


def _refuse_file(root: Path) -> None:
    """Refuse a file in the place of the folder of all versions."""
    if not paths.is_object(root) and parquet_io.exists(root) and not root.is_dir():
        message, hint = "this is a file, where a folder is expected", "put the folder back in its place, or delete it"
        raise DataError(message, where=str(root), hint=f"{hint}: what was published is lost then")


def _begin(root: Path, other_than: str = "") -> str:
    """Return how to go on where what is published, or what was, is not known."""
    there = ", ".join(version for version in complete_versions(root) if version != other_than)
    again = f"publish a version again: curate rollback {root.parent} VERSION (there are: {there}); or " if there else ""
    return (
        f"restore it from a copy; or {again}delete {root / CURRENT} and {root / HISTORY}: the next run then begins a "
        "new history, and what was published before is forgotten"
    )


def _written(root: Path) -> list[Publication] | None:
    """Return the lines of the history; None if there is none.

    Raises
    ------
    DataError
        If it is not as it was written.
    """
    lines = _legible(root)
    if lines is None and parquet_io.exists(root / HISTORY):
        message = "the list of what was published is corrupt"
        raise DataError(message, where=str(root / HISTORY), hint=_begin(root))
    return lines


def _legible(root: Path) -> list[Publication] | None:
    """Return the lines of the history; None if there is none as it was written."""
    data = parquet_io.read_json(root / HISTORY)
    return list(data["publications"]) if data is not None and has_shape(data, _HISTORY) else None


def _named(root: Path) -> str | None:
    """Return the version that ``current`` names, or that it is a copy of; None if there is no ``current``.

    Raises
    ------
    DataError
        If it names no version.
    """
    link = root / CURRENT
    if not parquet_io.exists(link):
        return None
    try:
        with paths.convert_store_errors(root):
            if paths.is_object(root):
                version = link.read_text(encoding="utf-8")
            elif _is_copy(link):
                version = str((read_contents(link) or {"fingerprint": ""})["fingerprint"])[:_LENGTH]
                if not _VERSION.fullmatch(version):
                    raise _unknown_copy(root)
            else:
                with no_follow.open_parent(link) as there:
                    version = str(there.readlink())
    except (OSError, UnicodeDecodeError):  # a file, or an object that is no text
        version = ""
    if not _VERSION.fullmatch(version):
        raise DataError("this names no version", where=str(link), hint=_begin(root))
    return version


def _is_copy(current: Path) -> bool:
    """Return whether ``current`` is a folder: a link that was followed when the run directory was copied."""
    return current.is_dir() and not current.is_symlink()


def is_complete(root: Path, version: str) -> bool:
    """Whether ``version`` was written to its end."""
    return read_contents(root / version) is not None


def read_history(root: Path) -> list[Publication]:
    """Return every publication, oldest first: version, time, ``by`` (run or rollback), rows, churn against ``over``."""
    return _state(root)[1]


def complete_versions(root: Path) -> list[str]:
    """Return the whole versions on disk, in the order in which runs last published them; first any that never were.

    Where the history is not known, they are in the order of their times.
    """
    lines = enumerate(_legible(root) or ())
    last = {line["version"]: place for place, line in lines if line["by"] == "run"}
    found = [name for name in paths.list_names(root) if _VERSION.fullmatch(name) and is_complete(root, name)]
    return sorted(found, key=lambda name: (last.get(name, -1), (root / name / manifest.NAME).stat().st_mtime, name))


def read_contents(version: Path) -> dict[str, Any] | None:
    """The manifest of a version's folder: what is in it; None if there is no whole one."""
    data = parquet_io.read_json(version / manifest.NAME)
    return data if has_shape(data, _CONTENTS) else None


def find_damage(root: Path, version: str, *, read: bool = False) -> str:
    """What of ``version`` is missing, or of another size than its manifest says, in words; empty if nothing is.

    ``read``: or holds other bytes.
    """
    found = read_contents(root / version)
    if found is None:
        return f"{version}/{manifest.NAME} is missing or corrupt"
    there = paths.file_sizes(root / version)
    for file in found["files"]:
        if file["file"] not in there:
            return f"{version}/{file['file']} is missing"
        path = root / version / file["file"]
        if there[file["file"]] != file["bytes"] or (read and paths.hash_file(path) != file["sha256"]):
            return f"{version}/{file['file']} is not what was written"
    if CARD not in there:
        return f"{version}/{CARD} is missing"
    changed = found.get("card") not in (None, paths.hash_file(root / version / CARD))
    return f"{version}/{CARD} is not what was written" if changed else ""


def is_edited(root: Path, version: str) -> bool:
    """Whether somebody changed a file of ``version`` since it was written, or put another beside it."""
    data = read_contents(root / version)
    return data is not None and _edited(root / version, data)


def _edited(folder: Path, data: Mapping[str, Any]) -> bool:
    """Return whether a folder holds other files, or other bytes, than its manifest ``data`` lists."""
    written = {manifest.NAME: None, CARD: data.get("card"), **{file["file"]: file["sha256"] for file in data["files"]}}
    found = paths.list_files(folder)
    return any(name not in written or written[name] not in (None, paths.hash_file(folder / name)) for name in found)


def back_up_edited(root: Path, version: str) -> Path:
    """Copy the folder of ``version``, which may hold somebody's work, to where no run writes; its new path."""
    taken = paths.list_names(root)
    name = next(name for number in itertools.count(1) if (name := f"{version}.edited-{number}") not in taken)
    try:
        for file in paths.list_files(root / version):
            paths.copy(root / version / file, root / name / file)
    except BaseException:  # half a copy would look like all of one
        paths.remove_directory(root / name)
        raise
    return root / name


# ---------------------------------------------------------------- publishing


def prepare_publication(
    root: Path,
    version: str,
    by: Literal["run", "rollback"] = "run",
    warn: Callable[[str], None] | None = None,
) -> Publication | None:
    """Return the line of the history for publishing ``version``; None if it is published and written down.

    Nothing is written: ``publish`` takes the line.

    Parameters
    ----------
    root, version, by
        The folder of the export, the version, and what publishes it.
    warn
        Called with a sentence if the rows of one of the two versions are not known.

    Returns
    -------
    dict or None
        ``version``, ``published`` (the time), ``by``, ``rows`` and ``replaces`` (the version before, or None); where
        the rows of both are known, also ``over``, ``added``, ``removed`` and ``churn_rate``.
    """
    current, lines = _state(root)
    before = lines[-1]["version"] if current == version and lines else current  # it may not be written down yet
    if before == version:
        return None
    line = _line(root, version, by, current, lines)
    if before is not None:
        try:
            changed = compute_churn(read_ids(root, before), read_ids(root, version))
        except DataError as error:
            if warn is not None:
                warn(f"{error.where}: {error.message}; how many rows the publication changes is unknown")
        else:
            line |= {"over": before, "added": changed.added, "removed": changed.removed, "churn_rate": changed.rate}
    return line


def _line(
    root: Path, version: str, by: Literal["run", "rollback"], replaces: str | None, lines: Sequence[Publication]
) -> Publication:
    line: Publication = {
        "version": version,
        "published": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
        "by": by,
        "rows": _rows(root, version),
        "replaces": replaces,
    }
    if (remembered := sketch_counts(lines, version)) is not None:  # another publication of it is no other version
        line["remembers"] = remembered
    return line


def sketch_counts(lines: Iterable[Publication], version: str) -> Mapping[str, int] | None:
    """Return how many sketches of ``version`` each entry has; None if that was not written down."""
    return next((line["remembers"] for line in lines if line["version"] == version and "remembers" in line), None)


def publish(root: Path, line: Publication, earlier: Sequence[Publication] | None = None) -> None:
    """Write down a publication, then let ``current`` name its version: a reader sees the old export or the new.

    Parameters
    ----------
    root : Path
        The folder of the versions.
    line : dict
        The publication.
    earlier : sequence of dict, optional
        Those before it; by default what the history holds.

    Raises
    ------
    DataError
        If either cannot be written; ``current`` then names what it named before.
    """
    earlier = read_history(root) if earlier is None else earlier
    parquet_io.write_json(root / HISTORY, {"publications": [*earlier, line]})
    _point(root, line["version"])


def _rows(root: Path, version: str) -> int:
    return int((read_contents(root / version) or {})["rows"])


def _point(root: Path, version: str) -> None:
    if paths.is_object(root):
        parquet_io.write_text(root / CURRENT, version)
        return
    try:
        with no_follow.open_directory(root) as there:
            fresh = there / f".{os.getpid()}.partial.{CURRENT}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(version)
            if _is_copy(root / CURRENT):
                _refuse_unknown_copy(root)
                paths.remove_directory(root / _COPIED)
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
    data = read_contents(root / CURRENT)
    if data is None or not _VERSION.match(data["fingerprint"]) or _edited(root / CURRENT, data):
        raise _unknown_copy(root)


def _unknown_copy(root: Path) -> DataError:
    message = "this is a folder, where a link is expected, and it is no unchanged copy of a version"
    there = ", ".join(complete_versions(root))
    hint = f"move it elsewhere or delete it, then publish a version again: curate rollback {root.parent} VERSION"
    return DataError(message, where=str(root / CURRENT), hint=f"{hint} (there are: {there})")


def delete_old_versions(root: Path, keep: int, warn: Callable[[str], None]) -> None:
    """Make the switch survive a power cut, then delete versions that were replaced ``keep`` publications ago or more.

    The published version stays, and so do the ``keep`` that were published before it, as they may still be read. What
    killed runs left goes. A version that was edited is copied to where no run
    writes, and ``warn`` is called.
    """
    if not paths.is_object(root):
        parquet_io.sync_folder(root)
        paths.remove_directory(root / _COPIED)
    last = {line["version"]: place for place, line in enumerate(read_history(root))}  # by a rollback, too
    older = sorted(
        set(complete_versions(root)) - {published_version(root)}, key=lambda version: (last.get(version, -1), version)
    )
    for version in older[: max(0, len(older) - keep)]:
        if is_edited(root, version):
            warn(f"{root / version} was edited since it was written; it is kept in {back_up_edited(root, version)}")
        paths.unlink(root / version / manifest.NAME)  # first, so that a half-deleted one never looks whole
    whole, there = complete_versions(root), paths.list_names(root)
    for version in list(dict.fromkeys(line["version"] for line in reversed(read_history(root))))[:keep]:
        if version not in whole and f"{version}{_IDS}" in there:
            warn(f"{root / version} is missing or corrupt: it is lost, and nobody can go back to it")
    for name in there:
        if _VERSION.fullmatch(name) and name not in whole:
            paths.remove_directory(root / name)
        elif _VERSION.fullmatch(name.removesuffix(_IDS)) and name.endswith(_IDS) and name[: -len(_IDS)] not in whole:
            paths.unlink(root / name)


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedExport:
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


def resolve_published(run: Path) -> PublishedExport:
    """Return the published version of a run, looked up once.

    Raises
    ------
    ConfigError
        Nothing is published in this folder.
    DataError
        A file of the version is missing, or of another size than was written.
    """
    with no_follow.protect(run), paths.convert_store_errors(run):
        symlinks.refuse_links(run)
        root = run / FOLDER
        version = published_version(root)
        data = None if version is None else read_contents(root / version)
        if version is None or data is None:
            raise ConfigError("nothing is published here", where=str(run), hint="name the folder that 'run:' says")
        if wrong := find_damage(root, version):
            raise DataError(f"the published version is damaged: {wrong}", where=str(root), hint="run again")
    folder = (run if paths.is_object(run) else run.resolve()) / FOLDER / version
    files = tuple(str(folder / file["file"]) for file in data["files"])
    return PublishedExport(run=str(run), version=version, rows=data["rows"], path=str(folder), files=files)


# ---------------------------------------------------------------- going back


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What was published in place of what."""

    run: str
    published: str
    rows: int
    previous: str

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.previous:
            return f"{self.run}: published {self.published} again ({self.rows:,} rows); the history begins again"
        if self.published == self.previous:
            return f"{self.run}: {self.published} ({self.rows:,} rows) is the published version already"
        return f"{self.run}: published {self.published} again ({self.rows:,} rows), in place of {self.previous}"


def rollback(
    run: Path, version: str | None, note: Callable[[str], None], warn: Callable[[str], None] | None = None
) -> Rollback:
    """Publish the version that a run published before the current one, or the one named.

    Raises
    ------
    ConfigError : if there is no such version, with those that there are
    DataError : if it is not as it was written, or what was published is not known and no version is named
    LockedError : if a run is under way
    """
    with no_follow.protect(run):
        return _rolled_back(run, version, note, warn or note)


def _rolled_back(run: Path, version: str | None, note: Callable[[str], None], warn: Callable[[str], None]) -> Rollback:
    symlinks.refuse_links(run)
    root = run / FOLDER
    _refuse_file(root)
    if not run_directory.is_run(run) or not paths.list_names(root):
        raise ConfigError("nothing is published here", where=str(run), hint="name the folder that 'run:' says")
    with lock.acquire(run, note):
        begun_anew = None if version is None else _left(root)
        before = "" if begun_anew is not None else published_version(root) or ""
        versions = complete_versions(root)
        if not versions:
            where, hint = str(root / (before or CURRENT)), "run again: it is made again"
            raise DataError("no version is whole", where=where, hint=hint)
        earlier = versions[: versions.index(before)] if before in versions else versions
        chosen = version or (earlier[-1] if earlier else None)
        wanted = version or next((each for each in reversed(_names(root)) if each != before), None)
        there = {name for name in paths.list_names(root) if _VERSION.fullmatch(name)}
        if chosen not in versions and wanted in there and not is_complete(root, wanted):
            wrong = find_damage(root, wanted)
            hint = (
                "restore it from a copy, or name another version: this one is lost, and the next publication deletes it"
            )
            raise DataError(f"cannot go back: {wrong}", where=str(root / wanted), hint=hint)
        if chosen is None and before and before not in _names(root):
            told = f"it lacks the published version {before}: what was published before that is unknown"
            hint = f"name another version; there are, oldest first: {_listed(root, versions)}"
            raise DataError(told, where=str(root / HISTORY), hint=hint)
        if chosen not in versions:
            told = f"there is no version {version!r}" if version else "no version before the published one is kept"
            if not version and wanted not in (None, *there) and f"{wanted}{_IDS}" in paths.list_names(root):
                told = f"{told}: {root}/{wanted} is missing, and is lost"
            hint = f"name another version; there are, oldest first: {_listed(root, versions)}"
            raise ConfigError(told, where=str(root / CURRENT), hint=hint)
        if wrong := find_damage(root, chosen, read=True):
            raise DataError(
                f"cannot go back: {wrong}",
                where=str(root),
                hint="restore it from a copy, or name another version: this one is lost",
            )
        if begun_anew is not None:
            publish(root, _line(root, chosen, "rollback", None, begun_anew), begun_anew)
        elif line := prepare_publication(root, chosen, "rollback", warn):
            publish(root, line)
            if not paths.is_object(root):
                with suppress(OSError):  # the switch is done
                    parquet_io.sync_folder(root)
    return Rollback(run=str(run), published=chosen, rows=_rows(root, chosen), previous=before)


def _names(root: Path) -> list[str]:
    """Return every version that was published, in order, as far as that is known."""
    return [line["version"] for line in _legible(root) or () if _VERSION.fullmatch(line["version"])]


def _left(root: Path) -> list[Publication] | None:
    """Return what is still known of the history, if what is published is not known; None if it is."""
    try:
        _state(root)
    except DataError:
        return _legible(root) or []
    return None


def _listed(root: Path, versions: list[str]) -> str:
    left = _left(root)
    last = {line["version"]: line for line in (read_history(root) if left is None else left) if line["by"] == "run"}
    current = published_version(root) if left is None else None
    named = []
    for version in versions:
        told = [f"{last[version]['rows']:,} rows, {last[version]['published']}"] if version in last else []
        told += ["published now"] if version == current else []
        named.append(f"{version} ({', '.join(told) or 'never published'})")
    return "; ".join(named)
