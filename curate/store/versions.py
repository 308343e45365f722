"""Versions of an export: publishing, history and rollback.

A version is a folder ``export/<version>``, complete once it has its manifest. The link ``export/current`` points to the
published version and is replaced by one rename. An object store has no links: there ``export/current`` is an object
that contains the name of the version. A run directory that was copied with its links followed has a folder instead,
which is read as a copy of the version.

``export/history.json`` lists all publications in order. A line is written before the switch, and counts only once
``current`` no longer names the version that the line replaces, so nothing has to be written after the switch. The two
files exist together. If one is missing or corrupt, the published version is unknown, and everything that depends on it
is refused. A rollback to an explicit version then starts a new history.
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
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import no_follow, paths
from curate.errors import ConfigError, DataError
from curate.store import lock, manifest, parquet_io, run_directory, symlinks
from curate.store.churn import compute_churn
from curate.store.json_shape import has_shape
from curate.store.ledger import to_polars

if TYPE_CHECKING:
    import polars as pl

FOLDER = "export"
CURRENT = "current"
_COPIED = ".current.copied"  # a copied folder that was in place of the link
HISTORY = "history.json"
CARD = "README.md"
DATA = "data"

_IDS = ".ids.parquet"
_RUN_HINT = "pass the run directory, as set by 'run:' in the configuration"
_HISTORY = {"publications": [{"version": str, "published": str, "by": str, "rows": int}]}
_CONTENTS = {"fingerprint": str, "rows": int, "files": [{"file": str, "rows": int, "bytes": int, "sha256": str}]}
_LENGTH = 12
_VERSION = re.compile(rf"[0-9a-f]{{{_LENGTH}}}")


class Publication(TypedDict):
    """Line of the publication history, as it is stored."""

    version: str
    published: str
    """Time of the publication in UTC."""

    by: Literal["run", "rollback"]
    rows: int
    replaces: NotRequired[str | None]
    """Previous version, or None if there was none."""

    over: NotRequired[str]
    """Version that the numbers below compare with; they are missing if the rows of either version are unknown."""

    added: NotRequired[int]
    removed: NotRequired[int]
    churn_rate: NotRequired[float]
    remembers: NotRequired[Mapping[str, int]]
    """Number of sketches of this version, for each entry that compares with earlier versions."""


IDS = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("source", pa.string(), nullable=False)])
"""Schema of the list of rows of a version."""


def version_name(fingerprint: str) -> str:
    """Return the name of the version with this fingerprint."""
    return fingerprint[:12]


def ids_path(root: Path, version: str) -> Path:
    """Return the path of the list of rows of ``version``.

    Raises
    ------
    DataError
        ``version`` is not the name of a version.
    """
    if not _VERSION.fullmatch(version):  # an untrusted manifest may name another path
        raise DataError(f"there is no version {version!r}", where=str(root), hint="run: curate rollback --help")
    return root / f"{version}{_IDS}"


def read_ids(root: Path, version: str) -> pl.DataFrame:
    """Return the id and source of every row of ``version``.

    Raises
    ------
    DataError
        The list is missing, corrupt, or belongs to another version.
    """
    with _open_rows(root, version) as file:
        return to_polars(file.read(IDS.names))


def contains_row(root: Path, version: str, name: str) -> bool:
    """Return whether the row with the id ``name`` is in ``version``. Memory: a batch of ids.

    Raises
    ------
    DataError
        The rows of the version are unknown.
    """
    with _open_rows(root, version) as file:
        return any(pc.index(batch["id"], name).as_py() >= 0 for batch in file.iter_batches(columns=["id"]))


@contextmanager
def _open_rows(root: Path, version: str) -> Iterator[pq.ParquetFile]:
    """Open the list of rows of a version after checking that it belongs to the version."""
    path, expected = ids_path(root, version), _count_published_rows(root, version)
    try:
        with paths.open_parquet(path) as file:
            fingerprint = (file.schema_arrow.metadata or {}).get(parquet_io.FINGERPRINT.encode(), b"")
            if version_name(fingerprint.decode(errors="replace")) != version or expected not in (
                None,
                file.metadata.num_rows,
            ):
                raise ValueError("the file belongs to another version or is corrupt")
            yield file
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        why = "the file is missing" if isinstance(error, FileNotFoundError) else error
        message = f"the rows of the version {version} are unknown: {why}"
        raise DataError(message, where=str(path), hint=_recovery_hint(root, other_than=version)) from error


def _count_published_rows(root: Path, version: str) -> int | None:
    return next((line["rows"] for line in reversed(read_history(root)) if line["version"] == version), None)


def published_version(root: Path) -> str | None:
    """Return the version that ``current`` names; None if no version has been published.

    Raises
    ------
    DataError
        ``current`` or the history is missing or corrupt, so that the published version is unknown.
    """
    return _state(root)[0]


def _state(root: Path) -> tuple[str | None, list[Publication]]:
    """Return the published version and all completed publications."""
    _refuse_file(root)
    version, lines = _current_version(root), _load_history(root)
    if lines is None:
        if version is not None:
            raise DataError(
                "the history of publications is missing", where=str(root / HISTORY), hint=_recovery_hint(root)
            )
        return None, []
    if lines and "replaces" in lines[-1] and lines[-1]["replaces"] == version != lines[-1]["version"]:
        lines.pop()  # the switch did not happen
    if lines and version is None:
        raise DataError(
            "the link to the published version is missing", where=str(root / CURRENT), hint=_recovery_hint(root)
        )
    return version, lines


def _refuse_file(root: Path) -> None:
    """Raise an error if there is a file in place of the export folder."""
    if not paths.is_object(root) and parquet_io.exists(root) and not root.is_dir():
        message, hint = "expected a folder, found a file", "restore the folder from a backup, or delete the file"
        raise DataError(message, where=str(root), hint=f"{hint}; published versions are then lost")


def _recovery_hint(root: Path, other_than: str = "") -> str:
    """Return the remedy for an unknown published version or history."""
    versions = ", ".join(version for version in complete_versions(root) if version != other_than)
    rollback = f"publish a version again: curate rollback {root.parent} VERSION (one of: {versions}); or "
    return (
        f"restore the file from a backup; or {rollback if versions else ''}delete {root / CURRENT} and "
        f"{root / HISTORY}: the next run then starts a new history, and earlier publications are forgotten"
    )


def _load_history(root: Path) -> list[Publication] | None:
    """Return the lines of the history; None if the file is missing.

    Raises
    ------
    DataError
        The history is corrupt.
    """
    lines = _readable_history(root)
    if lines is None and parquet_io.exists(root / HISTORY):
        message = "the history of publications is corrupt"
        raise DataError(message, where=str(root / HISTORY), hint=_recovery_hint(root))
    return lines


def _readable_history(root: Path) -> list[Publication] | None:
    """Return the lines of the history; None if it is missing or corrupt."""
    data = parquet_io.read_json(root / HISTORY)
    return list(data["publications"]) if data is not None and has_shape(data, _HISTORY) else None


def _current_version(root: Path) -> str | None:
    """Return the version that ``current`` names or is a copy of; None if there is no ``current``.

    Raises
    ------
    DataError
        ``current`` names no version.
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
                with no_follow.open_parent(link) as anchor:
                    version = str(anchor.readlink())
    except (OSError, UnicodeDecodeError):  # a file, or an object that is not text
        version = ""
    if not _VERSION.fullmatch(version):
        raise DataError("the link to the published version is corrupt", where=str(link), hint=_recovery_hint(root))
    return version


def _is_copy(current: Path) -> bool:
    """Return whether ``current`` is a folder, as after copying a run directory with its links followed."""
    return current.is_dir() and not current.is_symlink()


def is_complete(root: Path, version: str) -> bool:
    """Return whether ``version`` was written completely."""
    return read_contents(root / version) is not None


def read_history(root: Path) -> list[Publication]:
    """Return all publications, oldest first.

    Raises
    ------
    DataError
        ``current`` or the history is missing or corrupt.
    """
    return _state(root)[1]


def complete_versions(root: Path) -> list[str]:
    """Return the complete versions on disk, ordered by their last publication by a run; unpublished ones come first.

    If the history is unknown, they are ordered by time.
    """
    lines = enumerate(_readable_history(root) or ())
    last = {line["version"]: number for number, line in lines if line["by"] == "run"}
    complete = [name for name in paths.list_names(root) if _VERSION.fullmatch(name) and is_complete(root, name)]
    return sorted(complete, key=lambda name: (last.get(name, -1), (root / name / manifest.NAME).stat().st_mtime, name))


def read_contents(version: Path) -> dict[str, Any] | None:
    """Return the manifest of the folder of a version; None if it is missing or corrupt."""
    data = parquet_io.read_json(version / manifest.NAME)
    return data if has_shape(data, _CONTENTS) else None


def find_damage(root: Path, version: str, *, read: bool = False) -> str:
    """Return the first problem of ``version`` as a phrase: a missing file or a wrong size; "" if there is none.

    With ``read``, compare the checksums of the files, too.
    """
    contents = read_contents(root / version)
    if contents is None:
        return f"{version}/{manifest.NAME} is missing or corrupt"
    sizes = paths.file_sizes(root / version)
    for file in contents["files"]:
        if file["file"] not in sizes:
            return f"{version}/{file['file']} is missing"
        path = root / version / file["file"]
        if sizes[file["file"]] != file["bytes"] or (read and paths.hash_file(path) != file["sha256"]):
            return f"{version}/{file['file']} is corrupt"
    if CARD not in sizes:
        return f"{version}/{CARD} is missing"
    changed = contents.get("card") not in (None, paths.hash_file(root / version / CARD))
    return f"{version}/{CARD} is corrupt" if changed else ""


def is_edited(root: Path, version: str) -> bool:
    """Return whether a file of ``version`` was changed or added since it was written."""
    data = read_contents(root / version)
    return data is not None and _has_edits(root / version, data)


def _has_edits(folder: Path, data: Mapping[str, Any]) -> bool:
    """Return whether a folder contains other files, or other bytes, than its manifest ``data`` lists."""
    written = {manifest.NAME: None, CARD: data.get("card"), **{file["file"]: file["sha256"] for file in data["files"]}}
    contents = paths.list_files(folder)
    return any(name not in written or written[name] not in (None, paths.hash_file(folder / name)) for name in contents)


def back_up_edited(root: Path, version: str) -> Path:
    """Copy the folder of an edited ``version`` to a new folder that no run overwrites; return its path."""
    taken = paths.list_names(root)
    name = next(name for number in itertools.count(1) if (name := f"{version}.edited-{number}") not in taken)
    try:
        for file in paths.list_files(root / version):
            paths.copy(root / version / file, root / name / file)
    except BaseException:  # a partial copy would look like a complete one
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
    """Return the history line for publishing ``version``; None if it is already published and recorded.

    Nothing is written; pass the line to ``publish``.

    Parameters
    ----------
    root, version, by
        Folder of the export, the version, and the command that publishes it.
    warn
        Called with a message if the rows of one of the two versions are unknown.

    Returns
    -------
    dict or None
        ``version``, ``published`` (the time), ``by``, ``rows`` and ``replaces`` (the previous version, or None); if
        the rows of both are known, also ``over``, ``added``, ``removed`` and ``churn_rate``.
    """
    current, lines = _state(root)
    before = lines[-1]["version"] if current == version and lines else current  # it may not be recorded yet
    if before == version:
        return None
    line = _line(root, version, by, current, lines)
    if before is not None:
        try:
            changed = compute_churn(read_ids(root, before), read_ids(root, version))
        except DataError as error:
            if warn is not None:
                warn(f"{error.where}: {error.message}; cannot count the rows that the publication changes")
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
    if (remembered := sketch_counts(lines, version)) is not None:  # keep the counts of an earlier publication
        line["remembers"] = remembered
    return line


def sketch_counts(lines: Iterable[Publication], version: str) -> Mapping[str, int] | None:
    """Return the number of sketches of ``version`` by entry; None if it was not recorded."""
    return next((line["remembers"] for line in lines if line["version"] == version and "remembers" in line), None)


def publish(root: Path, line: Publication, earlier: Sequence[Publication] | None = None) -> None:
    """Record a publication, then switch ``current`` to its version: readers see either the old or the new export.

    Parameters
    ----------
    root : Path
        Folder of the versions.
    line : dict
        Publication to record.
    earlier : sequence of dict, optional
        Earlier publications; by default those in the history.

    Raises
    ------
    DataError
        A file cannot be written; ``current`` then stays unchanged.
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
        with no_follow.open_directory(root) as anchor:
            fresh = anchor / f".{os.getpid()}.partial.{CURRENT}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(version)
            if _is_copy(root / CURRENT):
                _refuse_unknown_copy(root)
                paths.remove_directory(root / _COPIED)
                (anchor / CURRENT).replace(anchor / _COPIED)  # a rename cannot replace a folder by a link
            fresh.replace(anchor / CURRENT)
    except OSError as error:
        hint = "check the free space and the permissions of the folder, then run again"
        raise DataError(f"cannot publish: {error.strerror}", where=str(root / CURRENT), hint=hint) from error


def _refuse_unknown_copy(root: Path) -> None:
    """Raise an error if the folder ``current`` is not an unchanged copy of a version.

    Raises
    ------
    DataError
        The folder is no unchanged copy.
    """
    data = read_contents(root / CURRENT)
    if data is None or not _VERSION.match(data["fingerprint"]) or _has_edits(root / CURRENT, data):
        raise _unknown_copy(root)


def _unknown_copy(root: Path) -> DataError:
    message = "expected a link, found a folder that is not an unchanged copy of a version"
    versions = ", ".join(complete_versions(root))
    hint = f"move it elsewhere or delete it, then publish a version again: curate rollback {root.parent} VERSION"
    return DataError(message, where=str(root / CURRENT), hint=f"{hint} (one of: {versions})")


def delete_old_versions(root: Path, keep: int, warn: Callable[[str], None]) -> None:
    """Flush the switch to disk, then delete the versions that were replaced ``keep`` or more publications ago.

    The published version and the ``keep`` versions before it stay, because they may still be read. Leftovers of killed
    runs are deleted. An edited version is first copied to a folder that no run
    overwrites, and ``warn`` is called.
    """
    if not paths.is_object(root):
        parquet_io.sync_folder(root)
        paths.remove_directory(root / _COPIED)
    last = {line["version"]: number for number, line in enumerate(read_history(root))}  # including rollbacks
    older = sorted(
        set(complete_versions(root)) - {published_version(root)}, key=lambda version: (last.get(version, -1), version)
    )
    for version in older[: max(0, len(older) - keep)]:
        if is_edited(root, version):
            warn(f"{root / version} was edited after it was written; it is kept in {back_up_edited(root, version)}")
        paths.unlink(root / version / manifest.NAME)  # first, so that a partly deleted version never looks complete
    complete, names = complete_versions(root), paths.list_names(root)
    for version in list(dict.fromkeys(line["version"] for line in reversed(read_history(root))))[:keep]:
        if version not in complete and f"{version}{_IDS}" in names:
            warn(f"{root / version} is missing or corrupt: the version is lost, and a rollback to it is impossible")
    for name in names:
        if _VERSION.fullmatch(name) and name not in complete:
            paths.remove_directory(root / name)
        elif _VERSION.fullmatch(name.removesuffix(_IDS)) and name.endswith(_IDS) and name[: -len(_IDS)] not in complete:
            paths.unlink(root / name)


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedExport:
    """Published version of a run, by its permanent name: later publications and rollbacks do not change it."""

    run: str
    version: str
    rows: int
    path: str
    """Absolute path or URL of the folder of the version."""

    files: tuple[str, ...]
    """Absolute paths or URLs of the data files, in order."""

    def as_dict(self) -> dict[str, object]:
        """Return the fields as plain data."""
        return asdict(self)


def resolve_published(run: Path) -> PublishedExport:
    """Return the published version of a run.

    Raises
    ------
    ConfigError
        No version is published in this folder.
    DataError
        A file of the version is missing or has the wrong size.
    """
    with no_follow.protect(run), paths.convert_store_errors(run):
        symlinks.refuse_links(run)
        root = run / FOLDER
        version = published_version(root)
        data = None if version is None else read_contents(root / version)
        if version is None or data is None:
            raise ConfigError("no export is published here", where=str(run), hint=_RUN_HINT)
        if problem := find_damage(root, version):
            hint = "run again to rewrite it, or go back to another version: curate rollback"
            raise DataError(f"the published version is damaged: {problem}", where=str(root), hint=hint)
    folder = (run if paths.is_object(run) else run.resolve()) / FOLDER / version
    files = tuple(str(folder / file["file"]) for file in data["files"] if not file.get("index"))
    return PublishedExport(run=str(run), version=version, rows=data["rows"], path=str(folder), files=files)


# ---------------------------------------------------------------- rollback


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Result of a rollback: the published version and the one it replaced."""

    run: str
    published: str
    rows: int
    previous: str

    def as_dict(self) -> dict[str, object]:
        """Return the fields as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.previous:
            return f"{self.run}: published {self.published} again ({self.rows:,} rows); a new history begins"
        if self.published == self.previous:
            return f"{self.run}: {self.published} ({self.rows:,} rows) is already the published version"
        return f"{self.run}: published {self.published} again ({self.rows:,} rows), in place of {self.previous}"


def rollback(
    run: Path, version: str | None, note: Callable[[str], None], warn: Callable[[str], None] | None = None
) -> Rollback:
    """Publish the previous version of a run again, or the given version.

    Raises
    ------
    ConfigError
        There is no such version; the error lists the existing versions.
    DataError
        The version is damaged, or the published version is unknown and no version is given.
    LockedError
        A run is in progress.
    """
    with no_follow.protect(run):
        return _roll_back(run, version, note, warn or note)


def _roll_back(run: Path, version: str | None, note: Callable[[str], None], warn: Callable[[str], None]) -> Rollback:
    symlinks.refuse_links(run)
    root = run / FOLDER
    _refuse_file(root)
    if not run_directory.is_run(run) or not paths.list_names(root):
        raise ConfigError("no export is published here", where=str(run), hint=_RUN_HINT)
    with lock.acquire(run, note):
        restarted = None if version is None else _remaining_history(root)
        previous = "" if restarted is not None else published_version(root) or ""
        versions = complete_versions(root)
        if not versions:
            where, hint = str(root / (previous or CURRENT)), "run again: the next run writes the version again"
            raise DataError("no complete version is left", where=where, hint=hint)
        earlier = versions[: versions.index(previous)] if previous in versions else versions
        chosen = version or (earlier[-1] if earlier else None)
        target = version or next((each for each in reversed(_names(root)) if each != previous), None)
        folders = {name for name in paths.list_names(root) if _VERSION.fullmatch(name)}
        if chosen not in versions and target in folders and not is_complete(root, target):
            problem = find_damage(root, target)
            hint = "restore it from a backup, or pass another version: the next publication deletes this one"
            raise DataError(f"cannot roll back: {problem}", where=str(root / target), hint=hint)
        if chosen is None and previous and previous not in _names(root):
            message = f"the history lacks the published version {previous}, so the version before it is unknown"
            hint = f"pass one of these versions, oldest first: {_describe_versions(root, versions)}"
            raise DataError(message, where=str(root / HISTORY), hint=hint)
        if chosen not in versions:
            message = f"there is no version {version!r}" if version else "no version before the published one is kept"
            if not version and target not in (None, *folders) and f"{target}{_IDS}" in paths.list_names(root):
                message = f"{message}: {root}/{target} is missing, the version is lost"
            hint = f"pass one of these versions, oldest first: {_describe_versions(root, versions)}"
            raise ConfigError(message, where=str(root / CURRENT), hint=hint)
        if problem := find_damage(root, chosen, read=True):
            raise DataError(
                f"cannot roll back: {problem}",
                where=str(root),
                hint="restore it from a backup, or pass another version: this one is lost",
            )
        if restarted is not None:
            publish(root, _line(root, chosen, "rollback", None, restarted), restarted)
        elif line := prepare_publication(root, chosen, "rollback", warn):
            publish(root, line)
            if not paths.is_object(root):
                with suppress(OSError):  # the version is already published
                    parquet_io.sync_folder(root)
    return Rollback(run=str(run), published=chosen, rows=_rows(root, chosen), previous=previous)


def _names(root: Path) -> list[str]:
    """Return all published versions in order, as far as they are known."""
    return [line["version"] for line in _readable_history(root) or () if _VERSION.fullmatch(line["version"])]


def _remaining_history(root: Path) -> list[Publication] | None:
    """Return the readable part of the history if the published version is unknown; None if it is known."""
    try:
        _state(root)
    except DataError:
        return _readable_history(root) or []
    return None


def _describe_versions(root: Path, versions: list[str]) -> str:
    remaining = _remaining_history(root)
    lines = read_history(root) if remaining is None else remaining
    last = {line["version"]: line for line in lines if line["by"] == "run"}
    current = published_version(root) if remaining is None else None
    descriptions = []
    for version in versions:
        notes = [f"{last[version]['rows']:,} rows, {last[version]['published']}"] if version in last else []
        notes += ["published now"] if version == current else []
        descriptions.append(f"{version} ({', '.join(notes) or 'never published'})")
    return "; ".join(descriptions)
