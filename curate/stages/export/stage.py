"""Export stage: write the chosen rows with their columns as a new version next to the published one.

The version of an export is the fingerprint of its content, so the same export always has the same name and the same
bytes. Memory: one output file a worker, and the ids of the chosen rows; for ``remove_repeated_spans``, what
``remove_spans`` documents.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.accounting import Count
from curate.config.template_syntax import TextPath
from curate.errors import DataError
from curate.kernels.text import pii_patterns
from curate.kernels.text.pii_patterns import PiiKind
from curate.plugins.registry import PluginSpec
from curate.pool.view import PoolView
from curate.report.report_data import MaskedPii, RemovedSpans
from curate.stages.base import (
    CompletedStages,
    Context,
    Forecast,
    Outcome,
    PlannedStep,
    Stage,
    Step,
    plugin_call,
    raise_if_failed,
    run_step,
)
from curate.stages.column_names import EPOCH, PREFIX
from curate.stages.embed.stage import EmbedResult
from curate.stages.export import image_column, mask_pii, remove_spans
from curate.stages.export.map_strings import text_paths
from curate.stages.report import card_contents
from curate.stages.select import published_index
from curate.store import manifest, parquet_io, versions
from curate.store.json_shape import parse_dataclass
from curate.store.ledger import SelectResult, read_chosen, to_polars
from curate.store.manifest import Record, StageResult
from curate.version import __version__

if TYPE_CHECKING:
    from curate.config.model import ExportConfig, RunConfig

_File: TypeAlias = dict[str, Any]
"""Data file as listed in the manifest of a version: its path, rows, bytes, sha256, and counts of changed text."""

_STAGING = ".incoming"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult(StageResult):
    """Result of the export stage, as stored in its manifest."""

    version: str
    files: int
    bytes: int
    masked: MaskedPii | None
    """Counts of masked text; None without masking."""

    cut: RemovedSpans | None
    """Counts of removed spans; None without removal."""


class Export(Stage["ExportConfig", Path]):
    """Stage that writes the chosen rows in files for trainers."""

    name = versions.FOLDER
    section = "export"
    result = ExportResult
    has_single_step = True
    extra_outputs = (remove_spans.FOLDER,)

    def run(self, context: Context, done: CompletedStages, entry: ExportConfig) -> tuple[Path, Record[ExportResult]]:
        return export(context, done)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[Path]) -> CompletedStages:
        return replace(done, export=results[0])

    def forecast(self, config: RunConfig, step: PlannedStep, before: Forecast) -> tuple[list[PlannedStep], Forecast]:
        return [replace(step, rows=before.rows, epochs=config.select[-1].epochs)], before

    def count_written_bytes(self, config: RunConfig, step: PlannedStep, last: Record[StageResult], folder: Path) -> int:
        return last.result.bytes if isinstance(last.result, ExportResult) else 0


def fingerprint_inputs(context: Context, pool: PoolView) -> dict[str, object]:
    """Return the inputs of the fingerprint of the export."""
    return {
        **context.config.export.fingerprint_parts(),
        "select": pool.select_output.fingerprint,
        "input": pool.inputs.fingerprint,
        "cluster": pool.cluster_output.fingerprint,
        "score": {entry.name: entry.fingerprint for entry in pool.score_outputs},
        "config": context.recipe,
        "curate": __version__,
        **({"detector": pii_patterns.PII_VERSION} if context.config.export.mask_pii else {}),
        **({"cutting": remove_spans.VERSION} if context.config.export.remove_repeated_spans else {}),
    }


def export(context: Context, done: CompletedStages) -> tuple[Path, Record[ExportResult]]:
    """Write the version to publish unless it is on disk, and the sketches that later runs compare with.

    Nothing is published here: ``versions.publish`` does that, after everything that can fail.

    Parameters
    ----------
    context, done
        Context of the run, and the completed stages.

    Returns
    -------
    folder : Path
        Folder of this version.
    record : Record
        Record of the stage.
    """
    root, pool = context.folder / versions.FOLDER, done.pool
    inputs = fingerprint_inputs(context, pool)
    version = versions.version_name(manifest.fingerprint(inputs))
    record = run_step(
        Step(
            context, "export", context.config.export.name, root, ExportResult, (versions.ids_path(root, version).name,)
        ),
        inputs,
        lambda key: _work(context, done, root / version, key),
        lambda _: versions.find_damage(root, version, read=context.verify),
    )
    if context.plan is None:  # keep sketches of the rows to publish, for entries that will compare with them
        published_index.write(context, pool, lambda: pool.kept, pool.select_output.compared_versions, version)
    return root / version, record


def _work(context: Context, done: CompletedStages, folder: Path, fingerprint: str) -> Outcome[ExportResult]:
    pool = done.pool
    files, peak = _intact_files(context, folder, fingerprint), 0
    if files is None:
        files, peak = _version(context, done, folder, fingerprint)
    ids = versions.ids_path(folder.parent, folder.name)
    rows = read_chosen(pool.inputs, pool.select_output.folder).select(versions.IDS.names).to_arrow()
    parquet_io.write(rows.cast(versions.IDS), ids, fingerprint, compression="zstd")
    sources = {
        name: Count(rows_in=count.kept, kept=count.kept)
        for name, count in done.records[-1].sources.items()
        if count.kept
    }
    written = sum(file["bytes"] for file in files)
    return Outcome(
        sources=sources,
        shards=0,
        peak_memory=peak,
        result=ExportResult(
            version=folder.name,
            files=len(files),
            bytes=written,
            masked=_count_masked(context, files),
            cut=_count_removed(context, files),
        ),
    )


def _count_masked(context: Context, files: Sequence[_File]) -> MaskedPii | None:
    """Return the counts of masked text in all files; None without masking."""
    kinds = context.config.export.mask_pii
    return MaskedPii(**mask_pii.total((file["masked"] for file in files), kinds)) if kinds else None


def _count_removed(context: Context, files: Sequence[_File]) -> RemovedSpans | None:
    """Return the counts of removed spans in all files; None without removal."""
    if not context.config.export.remove_repeated_spans:
        return None
    return RemovedSpans(**remove_spans.total(file["cut"] for file in files))


def _intact_files(context: Context, folder: Path, fingerprint: str) -> list[_File] | None:
    """Return the files of an intact earlier version with the same content, as after reverting a change; else None."""
    if versions.find_damage(folder.parent, folder.name, read=True):
        return None
    contents = versions.read_contents(folder)
    if contents is None or contents["fingerprint"] != fingerprint:
        return None
    config = context.config.export
    expected = [
        (key, kind)
        for key, kind, on in (
            ("masked", MaskedPii, config.mask_pii),
            ("cut", RemovedSpans, config.remove_repeated_spans),
        )
        if on
    ]
    if any(parse_dataclass(kind, file.get(key)) is None for file in contents["files"] for key, kind in expected):
        return None
    return list(contents["files"])


def _version(context: Context, done: CompletedStages, folder: Path, fingerprint: str) -> tuple[list[_File], int]:
    """Write the files of a version, with the manifest last.

    They replace those of a damaged version one by one, which readers need not notice: the same name represents
    the same bytes.

    Returns
    -------
    files : list[_File]
        Files as listed in the manifest of the version.
    peak_memory : int
        Peak memory in bytes.
    """
    pool = done.pool
    if versions.is_edited(folder.parent, folder.name):
        backup = versions.back_up_edited(folder.parent, folder.name)
        context.progress.warn(f"{folder} was edited after it was written; the edited files are kept in {backup}")
    if min_words := context.config.export.remove_repeated_spans:
        remove_spans.find(context, pool.inputs, pool.select_output, min_words)
    typed = context.config.export.spec.plugin().traits.schema
    staging = folder.parent / _STAGING
    paths.remove_directory(staging)
    tasks = list(_tasks(context, pool, folder if typed else staging))
    files, failed, peak = context.map("exporting", _write, tasks, [task.stop - task.start for task in tasks])
    raise_if_failed(failed)
    if not typed:
        files = _move_to_version(staging, folder, files)
    files = [{key: file[key] for key in file if key != "empty_columns"} for file in files]
    readme = folder / versions.CARD
    first_folder = data_folder(pool, 0 if pool.select_output.epochs else None)
    exported = card_contents.ExportSummary(
        first_folder,
        columns(context.config.export, pool),
        _count_masked(context, files),
        _count_removed(context, files),
    )
    parquet_io.write_text(readme, card_contents.render_card(context, done, exported))
    parquet_io.write_json(folder / manifest.NAME, _manifest(context, done, fingerprint, files, paths.hash_file(readme)))
    return files, peak


def _move_to_version(staging: Path, folder: Path, files: Sequence[_File]) -> list[_File]:
    """Move files whose format does not store column types to their final paths in a version.

    The first file of each folder is swapped with the file in which the fewest columns have no value, if that has
    fewer: readers infer the types from the first file, and fail on values in a column that is all null there.
    """
    placed = []
    for _, group in itertools.groupby(files, lambda file: Path(file["file"]).parent):
        ordered = list(group)
        names = [file["file"] for file in ordered]
        best = min(range(len(ordered)), key=lambda number: (ordered[number]["empty_columns"], number))
        ordered[0], ordered[best] = ordered[best], ordered[0]
        for name, file in zip(names, ordered, strict=True):
            paths.move(staging / file["file"], folder / name)
            placed.append({**file, "file": name})
        if not paths.is_object(folder):
            parquet_io.sync_folder((folder / names[0]).parent)
    paths.remove_directory(staging)
    return placed


def _tasks(context: Context, pool: PoolView, folder: Path) -> Iterator[_Task]:
    """Yield a task for each file; each epoch has a separate folder."""
    config = context.config.export
    suffix, per_file = config.spec.build().suffix, config.rows_per_file
    for epoch, rows in _rows_by_epoch(pool).items():
        total = sum(rows)
        files = -(-total // per_file)
        for number in range(files):
            yield _Task(
                config.spec,
                pool,
                epoch,
                rows,
                number * per_file,
                min(total, (number + 1) * per_file),
                tuple(config.add),
                image_column.column_name(pool.inputs) if config.image else None,
                config.mask_pii,
                context.folder / remove_spans.FOLDER if config.remove_repeated_spans else None,
                tuple(text_paths(context.config.input)) if config.mask_pii or config.remove_repeated_spans else (),
                folder,
                f"{data_folder(pool, epoch)}/train-{number:05d}-of-{files:05d}{suffix}",
            )


def data_folder(pool: PoolView, epoch: int | None) -> str:
    """Return the folder in a version for the files of an epoch; of all rows if ``epoch`` is None."""
    if epoch is None:
        return versions.DATA
    return f"{versions.DATA}/{EPOCH}={epoch:0{max(3, len(str(len(pool.select_output.epochs) - 1)))}d}"


def _rows_by_epoch(pool: PoolView) -> dict[int | None, tuple[int, ...]]:
    """Return the number of rows of each shard by epoch; under None if no epochs are planned."""
    epochs = len(pool.select_output.epochs)
    column = "epochs" if epochs else "selected"
    read = (pool.select_output.read(shard, [column])[column] for shard in range(len(pool.inputs.shards)))
    if not epochs:
        return {None: tuple(int(pc.sum(selected).as_py() or 0) for selected in read)}
    counts = [np.bincount(pc.list_flatten(each).to_numpy(), minlength=epochs).tolist() for each in read]
    return dict(enumerate(zip(*counts, strict=True)))


def _manifest(
    context: Context, done: CompletedStages, fingerprint: str, files: Sequence[_File], card_sha256: str
) -> dict[str, object]:
    """Return the manifest of a version: its content and origin, without times and host names, to be reproducible."""
    selected, pool = done.record_of("select", SelectResult), done.pool
    changed = {"masked": _count_masked(context, files), "cut": _count_removed(context, files)}
    return {
        "curate": __version__,
        "fingerprint": fingerprint,
        "rows": selected.count.kept,
        **({"epochs": list(pool.select_output.epochs)} if pool.select_output.epochs else {}),
        "tokens": {"kept": selected.result.tokens_kept, "counted": pool.inputs.tokens},
        "files": list(files),
        **{key: asdict(counts) for key, counts in changed.items() if counts is not None},
        "card": card_sha256,
        "accounting": [{"stage": record.stage, "name": record.name, **asdict(record.count)} for record in done.records],
        **_count_by_source(selected.sources),
        "input": dict(done.records[0].inputs["files"]),
        "embed": {
            record.name: _model(record.result) for record in done.records if isinstance(record.result, EmbedResult)
        },
        "plugins": {local.path: local.sha256 for local in context.config.plugins},
        "config": context.recipe,
    }


def _model(result: EmbedResult) -> dict[str, object]:
    revision = {} if result.revision is None else {"revision": result.revision}
    return {"model": result.model, **revision, "dimensions": result.dimensions}


def _count_by_source(sources: Mapping[str, Count]) -> dict[str, object]:
    """Return the counts of the largest sources, and one count for all others beyond the limit of a manifest."""
    listed, others = manifest.split_sources(sources, manifest.largest(sources, manifest.MAX_SOURCES))
    counts: dict[str, object] = {"sources": {name: asdict(listed[name]) for name in sorted(listed)}}
    if more := len(sources) - len(listed):
        counts["other_sources"] = {"sources": more, **asdict(others)}
    return counts


# ---------------------------------------------------------------- one file


@dataclass(frozen=True, slots=True)
class _Task:
    spec: PluginSpec
    pool: PoolView
    epoch: int | None
    """Epoch of the rows; None for all chosen rows."""

    rows: tuple[int, ...]
    """Number of rows of the epoch in each shard."""

    start: int
    """Number of the first row of this file, counted over all shards."""

    stop: int
    add: tuple[str, ...]
    image: str | None
    """Column of images to export as bytes; None for none."""

    mask: tuple[PiiKind, ...]
    cuts: Path | None
    """Folder of the spans to remove; None without removal."""

    text_paths: tuple[TextPath, ...]
    """Paths to the strings that are masked and cut."""

    folder: Path
    file: str
    """Path of the file in the folder."""


def _write(task: _Task) -> _File:
    tables: list[pa.Table] = []
    nulls: list[list[str] | None] = []
    cuts: list[remove_spans.Counts] = []
    seen = 0
    for shard, count in enumerate(task.rows):
        first, last = max(task.start - seen, 0), min(task.stop - seen, count)
        if first < last:
            table, row_nulls, cut = _read_chosen(task, shard, first, last)
            tables.append(table)
            nulls += row_nulls
            cuts.append(cut)
        seen += count
    table = pa.concat_tables(tables)
    text_counts: dict[str, object] = {} if task.cuts is None else {"cut": remove_spans.total(cuts)}
    if task.mask:
        table, text_counts["masked"] = mask_pii.mask(table, task.text_paths, task.mask)
    metadata = task.pool.inputs.schema.metadata
    if task.image is not None:
        metadata = image_column.describe(metadata, task.image)
    table = table.replace_schema_metadata(metadata)
    path = task.folder / task.file
    with parquet_io.write_atomically(path, keep_name=True) as partial:
        with plugin_call(task.spec, task.spec.name):
            try:
                more = {"nulls": nulls} if task.spec.plugin().traits.nulls else {}
                task.spec.build().write(table, partial, **more)
            except OSError as error:
                hint = "check the free space and the permissions of the run directory"
                message = f"cannot write the export: {error.strerror or error}"
                raise DataError(message, where=str(path), hint=hint) from error
        written = {"bytes": partial.stat().st_size, "sha256": paths.hash_file(partial)}
    empty = sum(column.null_count == len(column) for column in table.columns)
    return {"file": task.file, "rows": len(table), **written, **text_counts, "empty_columns": empty}


def _read_chosen(
    task: _Task, shard: int, first: int, last: int
) -> tuple[pa.Table, list[list[str] | None], remove_spans.Counts]:
    """Return the chosen rows of a shard from ``first`` to ``last`` (exclusive).

    Returns
    -------
    table : pa.Table
        Chosen rows.
    nulls : list[list[str] | None]
        For each row of a JSON file, the columns that are written as explicit nulls; None for other rows.
    cut : remove_spans.Counts
        Counts of the spans removed from the rows.
    """
    source, pool = task.pool.inputs, task.pool
    ledger = pool.select_output.read(shard)
    mask = ledger["selected"] if task.epoch is None else _is_in_epoch(ledger, task.epoch)
    table, cut = source.read(shard, (), tuple(source.columns)), remove_spans.total(())
    if task.cuts is not None:
        rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))[first:last]
        table, cut = remove_spans.cut(table, task.text_paths, parquet_io.shard_path(task.cuts, shard), rows.tolist())
    if task.image is not None:
        rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))[first:last]
        images = image_column.read_images(source, shard, rows)
    nulls = source.read(shard, ("nulls",))
    table, ledger, nulls = (each.filter(mask).slice(first, last - first) for each in (table, ledger, nulls))
    if task.image is not None:
        table = table.set_column(table.column_names.index(task.image), task.image, images)
    for name in ("id", "rank", "gain", "weight"):
        if name in task.add:
            table = table.append_column(PREFIX + name, ledger[name])
    if "cluster" in task.add or "scores" in task.add:
        ids = pool.shard(shard).ids
        take = pc.index_in(ledger["id"], ids)
        if "cluster" in task.add:
            table = table.append_column(f"{PREFIX}cluster", pool.cluster_output.read(shard)["cluster"].take(take))
        for entry in pool.score_outputs if "scores" in task.add else ():
            scores = entry.read(shard).take(take)
            for column in entry.columns:
                table = table.append_column(PREFIX + column, scores[column])
    added = table.column_names[len(source.columns) :]
    return table, [None if names is None else [*names, *added] for names in nulls["nulls"].to_pylist()], cut


def _is_in_epoch(ledger: pa.Table, epoch: int) -> pa.Array:
    return to_polars(ledger.select(["epochs"]))["epochs"].list.contains(epoch).fill_null(value=False).to_arrow()


_TYPES = {"id": pa.string(), "rank": pa.int32(), "gain": pa.float32(), "weight": pa.float32(), "cluster": pa.int32()}


def columns(config: ExportConfig, pool: PoolView) -> dict[str, pa.DataType]:
    """Return the columns of the export: the input columns, then the added ones."""
    added = {PREFIX + name: kind for name, kind in _TYPES.items() if name in config.add}
    if "scores" in config.add:
        added |= {PREFIX + column: pa.float32() for entry in pool.score_outputs for column in entry.columns}
    images = {image_column.column_name(pool.inputs): image_column.TYPE} if config.image else {}
    return {**pool.inputs.columns, **images, **added}
