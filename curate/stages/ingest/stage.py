"""Input stage: read the pool's files once and write them to input shards, every row with an id and a text.

Memory: one shard per worker, and in the driver 50 bytes for every row of the pool, to find duplicate ids.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.accounting import Count
from curate.config.model import to_plain
from curate.errors import DataError, summarize_names
from curate.kernels.text.json_values import is_json
from curate.kernels.types import Hashes
from curate.paths import FileInfo
from curate.pool.view import PoolView
from curate.stages import column_names, guardrails
from curate.stages.base import QUARANTINE, CompletedStages, Context, Outcome, Stage, Step, raise_if_failed, run_step
from curate.stages.export import map_strings
from curate.stages.ingest import image_catalog, label_corrections, source_names, text_template, token_counts
from curate.stages.ingest.chat_column import resolve_text
from curate.stages.ingest.shard_writer import (
    CountMethod,
    FileCount,
    NestedColumn,
    ReadResult,
    ReadTask,
    VectorTask,
    add_features,
    add_vectors,
    read_options,
    vectors_path,
    write_shards,
)
from curate.store import input_folders, inputs, json_records, manifest, npy, parquet_io, readers, run_directory, schemas
from curate.store.column_types import Column
from curate.store.inputs import DEFAULT_SOURCE, NO_SOURCE, InputResult, Inputs
from curate.store.manifest import Record, StageResult
from curate.store.quarantine import summarize_reasons
from curate.store.records import KindCounts, Piece

if TYPE_CHECKING:
    from curate.config.model import InputConfig

_INCOMING = ".incoming"
_BYTES_PER_ROW = 500  # estimate for files whose rows only reading can count


class Ingest(Stage["InputConfig", Inputs]):
    """Stage that converts input files to shards."""

    name = "input"
    section = "input"
    result = InputResult
    summary = "Read the pool's files"
    has_single_step = True

    def run(self, context: Context, done: CompletedStages, entry: InputConfig) -> tuple[Inputs, Record[StageResult]]:
        source, record = ingest(context)
        if context.plan is None:
            column_names.check(context.config, source.columns)
        return source, record

    def extend(self, context: Context, done: CompletedStages, results: Sequence[Inputs]) -> CompletedStages:
        return replace(done, view=PoolView(results[0], context.config.memory_limit, context.scratch))

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        record = done.record_of(self.name, InputResult)
        warnings = [*guardrails.check_files(context.config, record), *guardrails.find_expanded_files(record)]
        if (corrected := record.result.corrections) is not None:
            warnings += label_corrections.describe(context.config.input, corrected)
        guardrails.check_quarantine(context, done.records)  # checked again after the embed stage
        return warnings

    def largest_groups(self, record: Record[StageResult]) -> Mapping[str, int]:
        return {"source": max((count.kept for count in record.sources.values()), default=0)}


def ingest(context: Context) -> tuple[Inputs, Record[InputResult]]:
    """Write the input shards, unless those on disk were made from the same files.

    Raises
    ------
    DataError
        A file is missing or unreadable, a column is missing or has two types, or no row has a text.
    """
    folder = context.folder / "input"
    context.progress.enter("input", "input")
    files = survey_files(context)
    images = survey_images(context, files)
    fingerprinted = fingerprint_inputs(context.config.input, files, images)

    def work(fingerprint: str) -> Outcome[InputResult]:
        outcome = _work(context, folder, files, fingerprint)
        if fingerprint_inputs(context.config.input, files, images) != fingerprinted:
            hint = "finish installing the tokenizer or writing the corrections, then run again"
            raise DataError(
                "the tokenizer or the file of corrections changed while rows were read",
                where=context.config.input.tokens or "",
                hint=hint,
            )
        return outcome

    record = run_step(Step(context, "input", "input", folder, InputResult), fingerprinted, work)
    counted = tuple({**old, **new} for old, new in zip(record.result.files, files, strict=True))
    if context.plan is None and counted != record.result.files:
        # new stamps, same bytes: update the stamps to avoid reading the files again
        record = replace(record, result=replace(record.result, files=counted))
        record = manifest.save(record, folder)
    return Inputs(folder, record.fingerprint), record


# ---------------------------------------------------------------- input files


def find_input_files(config: InputConfig) -> dict[str, FileInfo]:
    """Return the input files in name order, without duplicates, each with its stamp."""
    return match_files("input.files", *([config.files] if isinstance(config.files, str) else config.files))


def match_files(key: str, *patterns: str, folders: bool = True) -> dict[str, FileInfo]:
    """Return the files that match any of the patterns of a configuration key, in name order, with their stamps.

    Parameters
    ----------
    key : str
        Key of the configuration, for messages.
    patterns : str
        Files, patterns, and folders.
    folders : bool, default True
        Whether a folder represents its files; otherwise it is an error.

    Raises
    ------
    DataError
        A pattern matches no file.
    """
    files: dict[str, FileInfo] = {}
    for pattern in patterns:
        listed = input_folders.list_folder(pattern) if folders else None
        if listed is not None:
            files |= {name: paths.read_stamp(paths.parse_path(name)) for name in listed.files}
            continue
        matched = paths.match_files(pattern)
        if not matched:
            url = "://" in pattern
            hint = "check the name of the bucket or the URL" if url else "patterns are relative to the current folder"
            message = f"{key}: no file matches {pattern!r}"
            if not url and Path(pattern).is_dir():
                message, hint = f"{key}: {pattern!r} is a folder", "name a file"
            raise DataError(message, where="" if url else str(Path.cwd()), hint=f"{hint}; ** descends into folders")
        files |= matched
    return {path: files[path] for path in paths.unique_files(files)}


def survey_files(context: Context) -> list[FileInfo]:
    """Return the facts about each input file: its path, stamp and sha256, and the positions at which it can be split.

    A file is read only if its stamp has changed since it was last read, or the run verifies its inputs.
    """
    config = context.config.input
    previous = manifest.load(context.folder / "input", InputResult)
    before: dict[str, FileInfo] = {}
    if previous is not None and previous.inputs.get("rows_per_shard") == config.rows_per_shard:
        before = {file["path"]: dict(file) for file in previous.result.files}
    files: list[FileInfo] = []
    input_files = find_input_files(config)
    run_directory.refuse_run_files(input_files, context.folder)
    arrays = _array_paths(config, list(input_files))
    for path, status in input_files.items():
        seen = _with_stamps(path, status, arrays.get(path))
        old = before.get(path, {})
        same = not context.verify and {key: old.get(key) for key in seen} == seen
        files.append(old if same else seen)
    unread = [file for file in files if "sha256" not in file]
    if unread:
        paths.wait_for_clock_tick([*unread, *(file["vectors"] for file in unread if "vectors" in file)])
        tasks = [
            _Scan(tuple((file["path"], arrays.get(file["path"])) for file in group), config.rows_per_shard)
            for group in _group_files(unread)
        ]
        sizes = [sum(file["size"] for file in group) for group in _group_files(unread)]
        scans, _, _ = context.map("hashing input", _scan, tasks, sizes, "bytes")
        for file, scanned in zip(unread, itertools.chain.from_iterable(scans), strict=True):
            file.update(scanned)
    return files


def _array_paths(config: InputConfig, names: Sequence[str]) -> dict[str, Path]:
    """Return the array of vectors of each input file; an array for all files belongs to the first."""
    if config.vectors is None:
        return {}
    if config.vectors_file is not None:
        return {name: paths.parse_path(config.vectors_file) for name in names[:1]}
    return {name: vectors_path(paths.parse_path(name), config.vectors) for name in names}


def survey_images(context: Context, files: Sequence[FileInfo]) -> str | None:
    """Return a digest of the images that the input files name, which are read if they changed; None without images."""
    config = context.config.input
    if config.image is None:
        return None
    groups = [pieces for pieces, _ in _group_pieces(config, files)]
    options = replace(read_options(config), scalar_columns=(), template_columns=())
    return image_catalog.survey(context, files, groups, options)


def _with_stamps(path: str, status: FileInfo, array: Path | None) -> FileInfo:
    """Return the stamp of an input file and of its array of vectors; an equal stamp means equal content."""
    seen = {"path": path, **status}
    return seen | {"vectors": paths.read_stamp(array)} if array is not None else seen


def _refuse_changed(files: Sequence[FileInfo], config: InputConfig) -> None:
    """Raise an error if a file changed since it was hashed, because its rows then do not match the hash.

    A stamp may also change without the bytes, for example when a link to the file is created.
    """
    arrays = _array_paths(config, [file["path"] for file in files])
    for file in files:
        path, array = paths.parse_path(file["path"]), arrays.get(file["path"])
        seen = _with_stamps(file["path"], paths.read_stamp(path), array)
        same = all(file[key] == value for key, value in seen.items())
        if not same and not _same_bytes(file, path, array):
            hint = "write files elsewhere, move them here when they are complete, and run again"
            raise DataError("the file changed while it was read", where=file["path"], hint=hint)


def _same_bytes(file: FileInfo, path: Path, array: Path | None) -> bool:
    """Return whether an input file and its array of vectors are unchanged since they were hashed."""
    vectors: bool = array is None or paths.hash_file(array) == file["vectors_sha256"]
    return vectors and bool(paths.hash_file(path) == file["sha256"])


_FILES_AT_ONCE = 500
_BYTES_AT_ONCE = 1 << 26
"""Largest number of files and bytes that one task hashes, except for a single file: small files share a task."""


def _group_files(files: Sequence[FileInfo]) -> Iterator[list[FileInfo]]:
    group: list[FileInfo] = []
    size = 0
    for file in files:
        if group and (len(group) == _FILES_AT_ONCE or size + file["size"] > _BYTES_AT_ONCE):
            yield group
            group, size = [], 0
        group.append(file)
        size += file["size"]
    if group:
        yield group


@dataclass(frozen=True, slots=True)
class _Scan:
    files: tuple[tuple[str, Path | None], ...]
    """Path of each file, and of its array of vectors."""

    rows_per_shard: int


def _scan(task: _Scan) -> list[FileInfo]:
    return [_scan_file(name, task.rows_per_shard, array) for name, array in task.files]


def _scan_file(name: str, rows_per_shard: int, array: Path | None) -> FileInfo:
    path = paths.parse_path(name)
    try:
        with paths.convert_store_errors(path):
            sha256, cuts = readers.scan(path, rows_per_shard)
            facts: FileInfo = {"sha256": sha256, "cuts": None if cuts is None else [list(cut) for cut in cuts]}
            if array is not None:
                with paths.open_binary(array) as file:
                    facts["vectors_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise paths.unreadable_error(path, error) from error
    return facts


def fingerprint_inputs(config: InputConfig, files: Sequence[FileInfo], images: str | None = None) -> dict[str, object]:
    """Return the inputs of the fingerprint of the input shards; ``images`` is from ``survey_images``."""
    settings = ("text", "id", "label", "source", "tokens", "types", "header", "delimiter", "vectors", "rows_per_shard")
    return {
        "version": 5,
        "files": {file["path"]: file["sha256"] + file.get("vectors_sha256", "") for file in files},
        **{name: to_plain(getattr(config, name)) for name in settings},
        **({} if config.corrections is None else {"corrections": label_corrections.hash_file(config)}),
        **({} if images is None else {"image": [config.image, config.image_folder], "images": images}),
        **({"tokenizer": token_counts.revision(str(config.tokens))} if _uses_tokenizer(config, files) else {}),
    }


def _uses_tokenizer(config: InputConfig, files: Sequence[FileInfo]) -> bool:
    """Return whether a tokenizer counts the tokens."""
    return config.tokens is not None and _detect_count_method(config, list(files)) == "tokenizer"


# ---------------------------------------------------------------- reading


def _work(context: Context, folder: Path, files: list[FileInfo], fingerprint: str) -> Outcome[InputResult]:
    config = resolve_text(context.config.input, (file["path"] for file in files))
    paths.remove_directory(folder / _INCOMING)
    for obsolete in paths.list_shards(folder / QUARANTINE):
        paths.unlink(obsolete)
    _warn_of_headers(context, files)
    _note_skipped_files(context)
    counting = _detect_count_method(config, files)
    tasks = list(_tasks(config, files, counting, folder, fingerprint))
    done, _, peak = context.map("reading input", write_shards, tasks, [task.weight for task in tasks])
    repeated = _tasks_to_repeat(tasks, done)
    if repeated:
        redone, _, more = context.map(
            "reading files of several types",
            write_shards,
            list(repeated.values()),
            [task.weight for task in repeated.values()],
        )
        peak = max(peak, more)
        for number, one in zip(repeated, redone, strict=True):
            done[number] = one
    _refuse_changed(files, config)
    counts = _file_counts(done, len(files))
    schema = _schema(done)
    if len(schema):  # a pool without rows has its own error below
        types = dict(zip(schema.names, schema.types, strict=True))
        _check_columns(config, types)
        map_strings.check(context.config, types)
    _check_tokens(config, counting, files, counts)
    _check_vectors(config, files, counts)
    incoming = [path for item in done for path in item.paths]
    if config.vectors_file is not None:
        _add_vectors(context, config.vectors_file, incoming, counts, fingerprint)
    shard_paths = _number_shards(folder, incoming)
    duplicates = _make_ids_unique(folder, shard_paths, config, [file["path"] for file in files], fingerprint)
    corrected = label_corrections.apply(context, folder, shard_paths, schema, fingerprint)
    paths.remove_directory(folder / _INCOMING)
    for number, _ in duplicates:
        counts[number].rows -= 1
        counts[number].quarantined += 1
    seen = sum((item.sources for item in done), Counter[str]())
    bad = sum((item.quarantined for item in done), Counter(source for _, source in duplicates))
    sources = {
        name: Count(rows_in=rows, kept=rows - bad[name], quarantined=bad[name]) for name, rows in sorted(seen.items())
    }
    roles = {"id": config.id, "label": config.label, "source": source_names.source_column(config)}
    roles[inputs.IMAGE_DATA] = config.image
    if text_template.template_columns(config.text) is None:
        roles["text"] = config.text
    rows = [parquet_io.count_rows(path) for path in shard_paths]
    unused = _paths_without_text(config, done)
    if non_finite := sum(count.non_finite for count in counts):
        context.progress.note(f"input: {non_finite:,} NaN and Infinity literals were read as null")
    result = InputResult(
        files=tuple({**file, **count.as_dict()} for file, count in zip(files, counts, strict=True)),
        rows=tuple(rows),
        columns=str(schema.serialize().to_pybytes().hex()),
        roles={role: name for role, name in roles.items() if name is not None},
        tokens=_describe_method(counting, config),
        digests=tuple(_digest(path, config.id or inputs.ID) for path in shard_paths),
        corrections=corrected,
    )
    if not sum(rows):
        parts = [path for path in paths.list_shards(folder / QUARANTINE) if parquet_io.is_current(path, fingerprint)]
        reasons = "; ".join([summarize_reasons(parts, context.config.export.mask_pii), *unused])
        raise _no_rows_error(sum(seen.values()), files, reasons, folder)
    for message in unused:
        others = f" and {len(files) - 1:,} more files" if len(files) > 1 else ""
        context.progress.warn(f"{files[0]['path']}{others}: {message}")
    return Outcome(sources=sources, shards=len(shard_paths), peak_memory=peak, result=result)


def _no_rows_error(quarantined: int, files: Sequence[FileInfo], reasons: str, folder: Path) -> DataError:
    where = ", ".join(file["path"] for file in files[:3])
    if not quarantined:
        return DataError("there are no rows", where=where, hint="check that the files are complete")
    message = f"all {quarantined:,} rows were quarantined: {reasons}"
    return DataError(message, where=where, hint=f"fix the input; all rows with reasons are in {folder / QUARANTINE}")


def _paths_without_text(config: InputConfig, done: Sequence[ReadResult]) -> list[str]:
    """Return a message for each path of the text at which no row of the pool has a text."""
    if config.text is None:
        return []
    counts = text_template.PathCounts()
    for item in done:
        counts.add(item.path_counts)
    return text_template.describe_paths_without_text(config.text, counts)


def _tasks(
    config: InputConfig, files: Sequence[FileInfo], counting: CountMethod, folder: Path, fingerprint: str
) -> Iterator[ReadTask]:
    """Yield the tasks that read the input."""
    common = (config, counting, folder / _INCOMING, folder / QUARANTINE, fingerprint)
    for number, (pieces, weight) in enumerate(_group_pieces(config, files)):
        images = None if config.image is None else image_catalog.part_path(folder / image_catalog.FOLDER, number)
        yield ReadTask(number, pieces, weight, *common, catalog=images)


def _group_pieces(config: InputConfig, files: Sequence[FileInfo]) -> Iterator[tuple[tuple[Piece, ...], int]]:
    """Yield pieces of about ``rows_per_shard`` rows together, and their number of rows.

    Large files are split, and small files of the same format are combined.
    """
    gathered: list[Piece] = []
    weight = 0
    format_before = ""
    for index, file in enumerate(files):
        kind = readers.detect_format(Path(file["path"]))[0]
        for piece, rows in _pieces(index, file):
            if gathered and (kind != format_before or weight + rows > config.rows_per_shard):
                yield tuple(gathered), weight
                gathered, weight = [], 0
            gathered.append(piece)
            weight += rows
            format_before = kind
    if gathered:
        yield tuple(gathered), weight


def _pieces(index: int, file: FileInfo) -> Iterator[tuple[Piece, int]]:
    cuts = file["cuts"]
    if cuts is None:
        yield Piece(file["path"], index), max(1, file["size"] // _BYTES_PER_ROW)
        return
    for (start, first_row, rows), following in zip(cuts, [*cuts[1:], None], strict=True):
        yield Piece(file["path"], index, start, following[0] if following else None, first_row), rows


def _detect_count_method(config: InputConfig, files: Sequence[FileInfo]) -> CountMethod:
    if config.tokens is None:
        return "estimate"
    if token_counts.is_file(config.tokens):
        return "tokenizer"
    options = readers.ReadOptions(header=config.header, delimiter=config.delimiter)
    has_column = (config.tokens in readers.read_column_names(paths.parse_path(file["path"]), options) for file in files)
    return "column" if any(has_column) else "tokenizer"


def _warn_of_headers(context: Context, files: Sequence[FileInfo]) -> None:
    """Warn about CSV and TSV files whose header looks like data, because a header is not a row of the pool."""
    config = context.config.input
    options = readers.ReadOptions(header=config.header, delimiter=config.delimiter)
    data_names = {file["path"]: readers.find_data_in_header(paths.parse_path(file["path"]), options) for file in files}
    suspects = [(path, name) for path, name in data_names.items() if name]
    for path, name in suspects[:1]:
        more = f" (and {len(suspects) - 1:,} more files)" if len(suspects) > 1 else ""
        shown = name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…"
        context.progress.warn(
            f"{path}{more}: the header has {shown!r}, which looks like data; without a header, set input.header: false"
        )


_MAX_SHOWN = 40  # characters of a name


def _note_skipped_files(context: Context) -> None:
    """Report the files in input folders that are not read, and splits that are read together."""
    files = context.config.input.files
    for pattern in [files] if isinstance(files, str) else files:
        listed = input_folders.list_folder(pattern)
        if listed is not None and listed.skipped:
            shown = [os.fsencode(os.path.relpath(name, pattern)).decode(errors="replace") for name in listed.skipped]
            names = summarize_names(shown, _MOST_SKIPPED)
            count = len(listed.skipped)
            context.progress.note(f"input: {pattern}: skipped {count:,} files of other formats: {names}")
        if listed is not None and listed.splits:
            splits = summarize_names(listed.splits)
            context.progress.warn(
                f"input: {pattern}: all splits of the dataset are in the pool ({splits}); to read only one, set "
                f"input.files: {Path(pattern) / listed.splits[0]}"
            )


_MOST_SKIPPED = 5  # names in a message


def _check_tokens(
    config: InputConfig, counting: CountMethod, files: Sequence[FileInfo], counts: Sequence[FileCount]
) -> None:
    """Raise an error for files that lack the column of token counts, because their rows would count as 0 tokens."""
    if counting != "column":
        return
    seen = [(file["path"], count.tokens) for file, count in zip(files, counts, strict=True) if count.lines]
    without = next((path for path, has in seen if not has), None)
    if without is not None:
        with_column = next((path for path, has in seen if has), "no other file")
        raise DataError(
            f"input.tokens: the file has no column {config.tokens!r}, but {with_column} has it",
            where=without,
            hint="add the column, or set input.tokens to a tokenizer",
        )


def _describe_method(counting: CountMethod, config: InputConfig) -> str:
    if counting == "column":
        return f"as in column {config.tokens!r}"
    if counting == "tokenizer":
        return f"counted by {config.tokens}"
    return f"estimated, {token_counts.BYTES_PER_TOKEN} bytes of text each"


# ---------------------------------------------------------------- columns


def _tasks_to_repeat(tasks: Sequence[ReadTask], done: Sequence[ReadResult]) -> dict[int, ReadTask]:
    """Return the tasks to run again by number, because their columns have values of several kinds.

    The kind of most values of a JSON file is correct, and records with other kinds are quarantined. Lists and objects
    may differ: such a column is stored as JSON texts, with the values as they are in the files.
    """
    votes: dict[int, KindCounts] = {}
    for item in done:
        for number, of_piece in item.kind_counts.items():
            for path, counts in of_piece.items():
                votes.setdefault(number, {}).setdefault(path, Counter()).update(counts)
    kinds = {number: found for number, each in votes.items() if (found := json_records.find_majority_kinds(each))}
    as_json = _json_columns(done)
    kinds = {number: {name: found[name] for name in found.keys() - as_json} for number, found in kinds.items()}
    repeated = {}
    for task, item in zip(tasks, done, strict=True):
        mistyped = item.incomplete or any(kinds.get(piece.number) for piece in task.pieces)
        if mistyped or any(not all(map(is_json, _types_from_json(item, name))) for name in as_json):
            repeated[task.number] = replace(task, kinds=kinds, as_json=as_json, is_second_pass=True)
    return repeated


def _json_columns(done: Sequence[ReadResult]) -> frozenset[str]:
    """Return the columns to store as JSON texts: their lists and objects have no common type."""
    nested: dict[str, NestedColumn] = {}
    for item in done:
        for name, part in item.nested.items():
            nested.setdefault(name, NestedColumn()).add(part)
    json_columns = set()
    for name, values in nested.items():
        column = values.column
        for item in done if column.kinds else ():
            column.add(item.columns.get(name, Column()))
        if column.kinds and (values.has_scalars or is_json(column.type(name))):
            json_columns.add(name)
    return frozenset(json_columns)


def _types_from_json(item: ReadResult, name: str) -> Set[pa.DataType]:
    """Return the types of a column from JSON files in the shards of a task."""
    return item.columns[name].from_json if name in item.columns else frozenset()


def _file_counts(done: Sequence[ReadResult], files: int) -> list[FileCount]:
    counts = [FileCount() for _ in range(files)]
    for item in done:
        for number, count in item.files.items():
            counts[number].add(count)
    return counts


def _schema(done: Sequence[ReadResult]) -> pa.Schema:
    """Return the common schema of all files.

    Raises
    ------
    DataError
        No type can represent the values of two files.
    """
    columns: dict[str, Column] = {}
    features: dict[str, tuple[object, str]] = {}
    for item in done:
        for name, column in item.columns.items():
            columns.setdefault(name, Column()).add(column)
        add_features(features, item.features)
    fields = [pa.field(name, column.type(name)) for name, column in columns.items()]
    described = {name: feature for name, (feature, _) in features.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": described}})} if described else None
    return pa.schema(fields, metadata=metadata)


def _check_columns(config: InputConfig, types: Mapping[str, pa.DataType]) -> None:
    columns_of_text = text_template.template_columns(config.text)
    required = [("text", name) for name in ([config.text or ""] if columns_of_text is None else columns_of_text)]
    required += [("image", config.image)] if config.image is not None else []
    columns = {"id": config.id, "label": config.label, "source": source_names.source_column(config)}
    required += [(key, name) for key, name in columns.items() if name is not None]
    required += [("types", name) for name in config.types or ()]
    for key, name in required:
        if name not in types:
            near = difflib.get_close_matches(name, types, n=1)
            raise DataError(
                f"input.{key}: no input file has a column {name!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"use one of: {summarize_names(types)}",
            )
        if key not in ("text", "image", "types") and pa.types.is_nested(types[name]):
            message = f"input.{key}: column {name!r} is {types[name]}; it must be text or a number"
            raise DataError(message, hint="choose another column")


def _check_vectors(config: InputConfig, files: Sequence[FileInfo], counts: Sequence[FileCount]) -> None:
    names = [file["path"] for file in files]
    for name, path in _array_paths(config, names).items():
        together = config.vectors_file is not None
        extent = sum(count.extent for count in counts) if together else counts[names.index(name)].extent
        try:
            n_vectors = npy.read_shape(path)[0]
        except (OSError, ValueError, OverflowError) as error:
            hint = "write an array with one vector for every row of the file"
            raise DataError(f"cannot read the vectors: {error}", where=str(path), hint=hint) from error
        if n_vectors != extent:
            rows = f"the input files have {extent:,} rows together" if together else f"{name} has {extent:,} rows"
            hint = f"write one vector for every row of the {'files, in name order' if together else 'file'}"
            raise DataError(f"the array has {n_vectors:,} vectors, but {rows}", where=str(path), hint=hint)


def _add_vectors(
    context: Context, array: str, shards: Sequence[Path], counts: Sequence[FileCount], fingerprint: str
) -> None:
    """Add the vectors of an array for all input files to the shards."""
    offsets = tuple(itertools.accumulate((count.extent for count in counts[:-1]), initial=0))
    tasks = [VectorTask(path, paths.parse_path(array), offsets, fingerprint) for path in shards]
    _, failed, _ = context.map("adding vectors", add_vectors, tasks, [parquet_io.count_rows(path) for path in shards])
    raise_if_failed(failed)


# ---------------------------------------------------------------- ids


def _number_shards(folder: Path, incoming: Sequence[Path]) -> list[Path]:
    """Move the shards to their final paths, numbered consecutively."""
    shard_paths = [parquet_io.shard_path(folder, number) for number in range(len(incoming))]
    for path, target in zip(incoming, shard_paths, strict=True):
        paths.move(path, target)
    return shard_paths


def _make_ids_unique(
    folder: Path, shard_paths: Sequence[Path], config: InputConfig, files: Sequence[str], fingerprint: str
) -> list[tuple[int, str]]:
    """Make all ids unique: later rows with a duplicate id are quarantined; generated ids are numbered instead.

    Returns
    -------
    list of (int, str)
        File number and source of each quarantined row.
    """
    column = config.id or inputs.ID
    hashes = [_hashes(path, column) for path in shard_paths]
    everything = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
    values, counts = np.unique(everything, return_counts=True)
    suspects = values[counts > 1]
    seen: Counter[str] = Counter()
    first: dict[str, str] = {}
    bad: list[dict[str, object]] = []
    moved: list[tuple[int, str]] = []
    for path, shard_hashes in zip(shard_paths, hashes, strict=True):
        rows = np.flatnonzero(np.isin(shard_hashes, suspects)).tolist() if len(suspects) else []
        if not rows:
            continue
        table = parquet_io.read(path)
        names = inputs.as_identifiers(table[column]).to_pylist()
        repeated: dict[int, int] = {}
        for row in rows:
            if seen[names[row]]:
                repeated[row] = seen[names[row]]
            else:
                first[names[row]] = _location(table, row, files)
            seen[names[row]] += 1
        if not repeated:
            continue
        if config.id is None:
            renamed = [f"{name[:-1]}{repeated[row]}" if row in repeated else name for row, name in enumerate(names)]
            position = table.column_names.index(column)
            table = table.set_column(position, column, pa.array(renamed, pa.string()))
        else:
            entries = [_duplicate(table, row, names[row], first[names[row]], config, files) for row in repeated]
            bad += entries
            moved += [
                (table[inputs.FILE][row].as_py(), str(entry["source"]))
                for row, entry in zip(repeated, entries, strict=True)
            ]
            table = table.filter(pa.array(np.isin(np.arange(len(table)), list(repeated), invert=True)))
        parquet_io.write(table, path, fingerprint, compression="zstd")
    if bad:
        table = pa.Table.from_pylist(bad, schemas.QUARANTINE)
        parquet_io.write(table, parquet_io.shard_path(folder / QUARANTINE, 0), fingerprint, compression="zstd")
    return moved


def _hashes(path: Path, column: str) -> Hashes:
    names = inputs.as_identifiers(parquet_io.read(path, [column])[column])
    series = pl.from_arrow(names)
    return series.hash(0).to_numpy() if isinstance(series, pl.Series) else np.empty(0, np.uint64)


def _location(table: pa.Table, row: int, files: Sequence[str]) -> str:
    return f"{files[table[inputs.FILE][row].as_py()]}:{table[inputs.LINE][row].as_py()}"


def _duplicate(
    table: pa.Table, row: int, name: str, first: str, config: InputConfig, files: Sequence[str]
) -> dict[str, object]:
    source_name = source_names.source_column(config) or inputs.SOURCE
    source = inputs.as_text(table[source_name].slice(row, 1))[0].as_py() if source_name in table.column_names else None
    if config.source is None:
        source = DEFAULT_SOURCE
    text = inputs.TEXT if inputs.TEXT in table.column_names else config.text or ""
    return {
        "id": name,
        "source": NO_SOURCE if source is None else str(source),
        "file": files[table[inputs.FILE][row].as_py()],
        "line": table[inputs.LINE][row].as_py(),
        "reason": f"has the same id as {first}",
        "record": inputs.as_text(table[text].slice(row, 1))[0].as_py(),
    }


def _digest(path: Path, column: str) -> str:
    """Return a digest of the ids and texts of a shard only, so that a new label does not trigger embedding."""
    table = parquet_io.read(path, [column, inputs.HASH])
    names = inputs.as_identifiers(table[column])
    digest = hashlib.sha256(np.ascontiguousarray(pc.binary_length(names).to_numpy(), np.int32).tobytes())
    digest.update("".join(names.to_pylist()).encode())
    digest.update(b"".join(table[inputs.HASH].to_pylist()))
    return digest.hexdigest()
