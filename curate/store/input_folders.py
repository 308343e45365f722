"""Input files of a folder: all files of known formats below it, or the shards of a saved Hugging Face dataset."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from curate import paths
from curate.errors import DataError, summarize_names
from curate.store import readers, run_directory

_STATE = "state.json"
_DICT = "dataset_dict.json"
_ABOUT = frozenset((_STATE, _DICT, "dataset_info.json", "dataset_infos.json"))
"""Files in which Hugging Face ``datasets`` describes a dataset; they are no rows."""


@dataclass(slots=True)
class FolderFiles:
    """Files of a folder."""

    files: list[str] = field(default_factory=list)
    """Files to read, in name order."""

    skipped: list[str] = field(default_factory=list)
    """Visible files of other formats."""

    splits: list[str] = field(default_factory=list)
    """Names of the splits of a saved Hugging Face dataset, if it has several."""


def list_folder(folder: str) -> FolderFiles | None:
    """List the input files of a folder; None if it is not a folder.

    Names that begin with ``.`` or ``_`` and run directories are skipped. Links are followed, each folder once.

    Raises
    ------
    DataError
        The folder has no input file, cannot be read, or lacks a shard of its dataset.
    """
    path = paths.parse_path(folder)
    if paths.is_object(path) and glob.has_magic(folder):
        return None
    with paths.convert_store_errors(path):
        if paths.is_object(path):
            if path.is_file() or not path.is_dir():
                return None
        elif not path.is_dir():
            return None
    listed = FolderFiles()
    for name in _dataset_files(path, listed) or _walk(path):
        known = Path(name).name not in _ABOUT and readers.is_known(name)
        (listed.files if known else listed.skipped).append(name)
    listed.files.sort()
    listed.skipped = sorted(name for name in listed.skipped if Path(name).name not in _ABOUT)
    if not listed.files:
        others = f"; it contains {summarize_names(list(map(os.path.basename, listed.skipped)), 5)}"
        hint = "add files that end in .jsonl, .json, .csv, .tsv, .parquet, .arrow or .feather"
        message = f"the folder has no file of a known format{others if listed.skipped else ''}"
        raise DataError(message, where=folder, hint=hint)
    return listed


def _walk(path: Path) -> Iterator[str]:
    """Yield the visible files below a folder."""
    if paths.is_object(path):
        root = str(path).rstrip("/")
        with paths.convert_store_errors(path):
            for name in sorted(paths.file_sizes(path)):
                if not any(part.startswith((".", "_")) for part in name.split("/")):
                    yield f"{root}/{name}"
        return
    if run_directory.is_run(path):
        hint = "read its published export: RUN/export/current/data"
        raise DataError("the folder is a run directory", where=str(path), hint=hint)
    yield from _walk_local(str(path), set())


def _walk_local(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    status = Path(folder).stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    names = paths.list_directory(folder)
    if _is_dataset(names):
        yield from _shards(Path(folder))
        return
    folders = set(paths.list_directory(folder, folders=True))
    for name in names:
        path = os.path.join(folder, name)  # noqa: PTH118 - for speed
        if name.startswith((".", "_")):
            continue
        if name in folders:
            if not run_directory.is_run(Path(path)):
                yield from _walk_local(path, seen)
        elif paths.is_input(path) if readers.is_known(name) else Path(path).is_file():
            yield path


# ---------------------------------------------------------------- saved datasets


def _dataset_files(path: Path, listed: FolderFiles) -> list[str]:
    """Return the shards of a dataset that Hugging Face ``datasets`` saved to a folder; none for another folder."""
    names = {one.name for one in path.iterdir()} if paths.is_object(path) else set(paths.list_directory(str(path)))
    if _DICT in names:
        splits = _read(path / _DICT).get("splits")
        if not isinstance(splits, list) or not all(isinstance(one, str) for one in splits):
            raise _broken(path / _DICT, "it lists no splits")
        listed.splits = splits if len(splits) > 1 else []
        return [name for split in splits for name in _shards(path / split)]
    return _shards(path) if _is_dataset(names) else []


def _is_dataset(names: Collection[str]) -> bool:
    return _STATE in names and "dataset_info.json" in names


def _shards(folder: Path) -> list[str]:
    state = _read(folder / _STATE)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise _broken(folder / _STATE, "it maps rows by an index file", "save it again: dataset.flatten_indices()")
    files = state.get("_data_files")
    names = [one.get("filename") for one in files if isinstance(one, dict)] if isinstance(files, list) else []
    shards = [str(folder / name) for name in names if isinstance(name, str) and name == Path(name).name]
    if not shards or len(shards) < len(names):
        raise _broken(folder / _STATE, "it lists no files")
    for name in shards:
        if not paths.parse_path(name).exists():
            raise DataError("the saved dataset lacks this file", where=name, hint=f"it is listed in {folder / _STATE}")
    return shards


def _read(path: Path) -> dict[str, object]:
    try:
        data = json.loads(paths.read_bytes(path))
    except (OSError, ValueError) as error:
        raise _broken(path, "it cannot be read") from error
    if not isinstance(data, dict):
        raise _broken(path, "it is no object")
    return data


def _broken(path: Path, problem: str, hint: str = "save the dataset again with save_to_disk") -> DataError:
    return DataError(f"the saved dataset is incomplete: {problem}", where=str(path), hint=hint)
