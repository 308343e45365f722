"""Export stage: write the chosen rows with their columns as a new version next to the published one.

The version of an export is the fingerprint of its content, so the same export always has the same name and the same
bytes. Memory: one output file a worker, and the ids of the chosen rows; for ``remove_repeated_spans``, what
``remove_spans`` documents.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.accounting import Count
from curate.config.model import SPLIT
from curate.kernels.text import pii_patterns
from curate.plugins.results import DataFileInfo
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
    run_step,
)
from curate.stages.embed.stage import EmbedResult
from curate.stages.export import remove_spans
from curate.stages.export.exported_columns import annotated_text_paths, kept_text_paths
from curate.stages.export.file_layout import DataFile, Part, data_folder, lay_out_files, split_rows
from curate.stages.export.file_writer import FileEntry, Measures, measure, write_files
from curate.stages.export.map_strings import text_paths
from curate.stages.export.row_reader import RowReader
from curate.stages.report import card_contents
from curate.stages.select import published_index
from curate.stages.split.stage import SplitResult
from curate.store import manifest, parquet_io, versions
from curate.store.json_shape import parse_dataclass
from curate.store.ledger import SelectResult, read_chosen
from curate.store.manifest import Record, StageResult
from curate.version import __version__

if TYPE_CHECKING:
    from curate.config.model import ExportConfig, RunConfig

_STAGING = ".incoming"
_DEALT = "dealt"
_PREFIX = "train"


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
        "split": None if pool.split_output is None else pool.split_output.fingerprint,
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
    contents, peak = _intact_contents(context, folder, fingerprint), 0
    if contents is None:
        contents, peak = _version(context, done, folder, fingerprint)
    ids = versions.ids_path(folder.parent, folder.name)
    rows = read_chosen(pool.inputs, pool.select_output.folder).select(versions.IDS.names).to_arrow()
    parquet_io.write(rows.cast(versions.IDS), ids, fingerprint, compression="zstd")
    sources = {
        name: Count(rows_in=count.kept, kept=count.kept)
        for name, count in done.records[-1].sources.items()
        if count.kept
    }
    return Outcome(
        sources=sources,
        shards=0,
        peak_memory=peak,
        result=ExportResult(
            version=folder.name,
            files=len(contents["files"]),
            bytes=sum(file["bytes"] for file in contents["files"]),
            masked=MaskedPii(**contents["masked"]) if "masked" in contents else None,
            cut=RemovedSpans(**contents["cut"]) if "cut" in contents else None,
        ),
    )


def _intact_contents(context: Context, folder: Path, fingerprint: str) -> Mapping[str, Any] | None:
    """Return the manifest of an intact version on disk with the same content, as after a reverted change; else None."""
    if versions.find_damage(folder.parent, folder.name, read=True):
        return None
    contents = versions.read_contents(folder)
    if contents is None or contents["fingerprint"] != fingerprint:
        return None
    config = context.config.export
    expected = (("masked", MaskedPii, config.mask_pii), ("cut", RemovedSpans, config.remove_repeated_spans))
    if any(on and parse_dataclass(kind, contents.get(key)) is None for key, kind, on in expected):
        return None
    return contents


def _version(context: Context, done: CompletedStages, folder: Path, fingerprint: str) -> tuple[dict[str, Any], int]:
    """Write the files of a version, with the manifest last.

    They replace those of a damaged version one by one, which readers need not notice: the same name represents
    the same bytes.

    Returns
    -------
    contents : dict
        Manifest of the version.
    peak_memory : int
        Peak memory in bytes.
    """
    pool, config = done.pool, context.config.export
    if versions.is_edited(folder.parent, folder.name):
        backup = versions.back_up_edited(folder.parent, folder.name)
        context.progress.warn(f"{folder} was edited after it was written; the edited files are kept in {backup}")
    if min_words := config.remove_repeated_spans:
        remove_spans.find(context, pool.inputs, pool.select_output, min_words)
    traits = config.spec.plugin().traits
    staging = folder.parent / _STAGING
    paths.remove_directory(staging)
    reader = RowReader(
        config,
        pool,
        (*kept_text_paths(config, context.config.input), *annotated_text_paths(context.config)),
        tuple(text_paths(context.config.input)),
        context.folder / remove_spans.FOLDER if config.remove_repeated_spans else None,
    )
    parts = _parts(pool)
    limited, exact = config.max_bytes_per_file is not None, traits.exact_nullability
    measures = measure(context, reader, parts, sizes=limited, nulls=exact)
    target = folder if traits.schema else staging
    written = write_files(context, reader, _files(config, parts, measures), target, staging / _DEALT, measures)
    entries = written.files if traits.schema else _move_to_version(staging, folder, written.files)
    paths.remove_directory(staging)
    entries = [{key: file[key] for key in file if key != "empty_columns"} for file in entries]
    entries += _write_indices(config, folder, entries, written.schema)
    masked = MaskedPii(**written.changes.masked) if config.mask_pii else None
    cut = RemovedSpans(**written.changes.cut) if config.remove_repeated_spans else None
    readme = folder / versions.CARD
    summary = card_contents.ExportSummary(parts[0].folder, written.schema, masked, cut)
    parquet_io.write_text(readme, card_contents.render_card(context, done, summary))
    contents = _manifest(context, done, fingerprint, entries, paths.hash_file(readme), masked, cut)
    parquet_io.write_json(folder / manifest.NAME, contents)
    return contents, written.peak_memory


def _move_to_version(staging: Path, folder: Path, files: Sequence[FileEntry]) -> list[FileEntry]:
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
    return placed


def _parts(pool: PoolView) -> list[Part]:
    """Return the parts of the export, each of which has separate files: one, or one for each epoch or split."""
    if (output := pool.split_output) is not None:
        shards = [pc.value_counts(output.read(shard)).to_pylist() for shard in range(len(pool.inputs.shards))]
        counts_by_name = [{one["values"]: one["counts"] for one in counts} for counts in shards]
        return [
            Part(name, data_folder(None, 0), None, name, tuple(counts.get(name, 0) for counts in counts_by_name))
            for name in output.names
        ]
    epochs = len(pool.select_output.epochs)
    column = "epochs" if epochs else "selected"
    read = (pool.select_output.read(shard, [column])[column] for shard in range(len(pool.inputs.shards)))
    if not epochs:
        rows = tuple(int(pc.sum(selected).as_py() or 0) for selected in read)
        return [Part(_PREFIX, data_folder(None, 0), None, None, rows)]
    counts = [np.bincount(pc.list_flatten(each).to_numpy(), minlength=epochs).tolist() for each in read]
    return [
        Part(_PREFIX, data_folder(epoch, epochs), epoch, None, rows)
        for epoch, rows in enumerate(zip(*counts, strict=True))
    ]


def _files(config: ExportConfig, parts: Sequence[Part], measures: Measures) -> list[DataFile]:
    """Return the files of the export, with the rows of each."""
    files: list[DataFile] = []
    has_index, limit = config.spec.plugin().traits.index, config.max_bytes_per_file
    for part in parts:
        sizes = None
        if limit is not None:
            sizes = np.concatenate([*measures.sizes[part], np.zeros(0, np.int64)])
            if config.shuffle:  # every row counts as the mean
                sizes = np.full(len(sizes), max(1, int(sizes.sum()) // max(1, len(sizes))))
        bounds = split_rows(part.total, config.rows_per_file, limit, sizes)
        files += lay_out_files(part, bounds, config.spec.build().suffix, has_index=has_index)
    return files


def _write_indices(
    config: ExportConfig, folder: Path, files: Sequence[FileEntry], schema: pa.Schema
) -> list[FileEntry]:
    """Write the index of each folder of data files, if the format has one, and return their entries."""
    entries: list[FileEntry] = []
    if not config.spec.plugin().traits.index:
        return entries
    for parent, group in itertools.groupby(files, lambda file: str(Path(file["file"]).parent)):
        described = [
            DataFileInfo(Path(file["file"]).name, file["rows"], file["bytes"], file["sha256"]) for file in group
        ]
        with plugin_call(config.spec, config.spec.name):
            texts = config.spec.build().index(described, schema)
        for name, text in texts.items():
            path = folder / parent / name
            parquet_io.write_text(path, text)
            facts = {"bytes": paths.file_size(path), "sha256": paths.hash_file(path)}
            entries.append({"file": f"{parent}/{name}", "rows": 0, **facts, "index": True})
    return entries


def _manifest(
    context: Context,
    done: CompletedStages,
    fingerprint: str,
    files: Sequence[FileEntry],
    card_sha256: str,
    masked: MaskedPii | None,
    cut: RemovedSpans | None,
) -> dict[str, Any]:
    """Return the manifest of a version: its content and origin, without times and host names, to be reproducible."""
    selected, pool = done.record_of("select", SelectResult), done.pool
    changed = {"masked": masked, "cut": cut}
    return {
        "curate": __version__,
        "fingerprint": fingerprint,
        "rows": selected.count.kept,
        **({"epochs": list(pool.select_output.epochs)} if pool.select_output.epochs else {}),
        **_count_splits(done),
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


def _count_splits(done: CompletedStages) -> dict[str, object]:
    """Return the rows and tokens of each split; nothing without splits."""
    if not done.records_of(SPLIT):
        return {}
    splits = done.record_of(SPLIT, SplitResult).result.splits
    return {"splits": {one.name: {"rows": one.rows, "tokens": one.tokens} for one in splits}}


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
