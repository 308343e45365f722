"""The export stage: the chosen rows with their own columns, written beside the last export, which it then replaces.

The version of an export is the fingerprint of what is in it, so the same export always has the same name and the same
bytes. Memory: one output file a worker, and the ids of the chosen rows; for ``cut_repeated``, what ``cutting`` says.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import paths
from curate.accounting import Count
from curate.errors import DataError
from curate.kernels.text import pii_patterns
from curate.kernels.text.pii_patterns import Kind
from curate.plugins.registry import Spec
from curate.pool.columns import PoolColumns
from curate.pool.rows import PoolRows
from curate.stages.cluster import Clustered
from curate.stages.context import Context
from curate.stages.decontaminate.stage import Decontaminated
from curate.stages.export import mask_pii, remove_spans
from curate.stages.export.map_strings import text_columns
from curate.stages.score.stage import Scored
from curate.stages.select import published_index
from curate.stages.select.stage import Past, Selected
from curate.stages.step import Outcome, refuse_failed, running, step
from curate.store import manifest, parquet_io, versions
from curate.store.json_shape import fits
from curate.store.ledger import chosen, frame_of
from curate.store.manifest import Record
from curate.version import __version__

if TYPE_CHECKING:
    from curate.config.model import ExportConfig

_STAGING = ".incoming"
_MODEL = ("model", "revision", "dimensions")
PREFIX = "curate_"
"""Begins the name of every column that ``export.add`` adds."""

EPOCH = "epoch"
"""The column that readers of folders such as ``epoch=003`` make of their names."""


@dataclass(frozen=True, slots=True)
class Before:
    """Everything the stages before left behind."""

    rows: PoolRows
    clustered: Clustered
    scored: tuple[Scored, ...]
    selected: Selected
    records: tuple[Record, ...]
    decontaminated: Decontaminated | None = None

    @property
    def epochs(self) -> list[int]:
        """How many rows are in each epoch; empty where no epochs are planned."""
        return self.records[-1].epochs


Card = Callable[[Context, Before, Mapping[str, Any]], str]
"""Writes the dataset card; is told what was ``masked`` and ``cut``, None for what was not to be."""


def parts(context: Context, before: Before) -> dict[str, Any]:
    """What the export is made from."""
    return {
        **context.config.export.fingerprint_parts(),
        "select": before.selected.fingerprint,
        "input": before.rows.source.fingerprint,
        "cluster": before.clustered.fingerprint,
        "score": {entry.name: entry.fingerprint for entry in before.scored},
        "config": context.recipe,
        "curate": __version__,
        **({"detector": pii_patterns.VERSION} if context.config.export.mask else {}),
        **({"cutting": remove_spans.VERSION} if context.config.export.cut_repeated else {}),
    }


def export(context: Context, before: Before, card: Card) -> tuple[Path, Record]:
    """Write the version to publish, unless it is on disk, and what later runs must remember of it.

    Nothing is published here: ``versions.publish`` does that, once everything that can fail is done.

    Parameters
    ----------
    context, before
        The run, and the results of the stages before.
    card : callable
        Writes the dataset card.

    Returns
    -------
    folder : Path
        The folder of this version.
    record : Record
        The record of the stage.
    """
    root = context.folder / versions.FOLDER
    made_from = parts(context, before)
    version = manifest.fingerprint(made_from)[:12]
    record = step(
        context,
        "export",
        context.config.export.name,
        root,
        made_from,
        lambda key: _work(context, before, root / version, key, card),
        lambda _: versions.damage(root, version) or parquet_io.damage(versions.ids(root, version)),
    )
    if context.plan is None:
        _remember(context, before, version)
    return root / version, record


def _remember(context: Context, before: Before, version: str) -> None:
    """Keep sketches of what is to be published, for the entries that will compare with it."""
    rows = before.rows

    def chosen() -> NDArray[np.bool_]:
        each = [
            before.selected.read(shard, ["selected"])["selected"].to_numpy()[rows.positions(shard, rows.ids(shard))]
            for shard in range(len(rows.rows))
        ]
        return np.concatenate(each)

    columns = PoolColumns(context, rows, before.clustered, before.scored)
    published_index.write(columns, chosen, Past.of(before.records[-1]).known, version)


def _work(context: Context, before: Before, folder: Path, fingerprint: str, card: Card) -> Outcome:
    columns(context.config.export, before)
    files, peak = _whole(context, folder, fingerprint), 0
    if files is None:
        files, peak = _version(context, before, folder, fingerprint, card)
    ids = versions.ids(folder.parent, folder.name)
    rows = chosen(before.rows.source, before.selected.folder).select(versions.IDS.names).to_arrow()
    parquet_io.write(rows.cast(versions.IDS), ids, fingerprint, compression="zstd")
    sources = {
        name: Count(rows_in=count.kept, kept=count.kept)
        for name, count in before.records[-1].sources.items()
        if count.kept
    }
    written = sum(file["bytes"] for file in files)
    return Outcome(
        sources=sources,
        shards=0,
        peak_memory=peak,
        facts={"version": folder.name, "files": len(files), "bytes": written, **_told(context, files)},
    )


def _told(context: Context, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was masked and what was cut in all files; None for what was not to be."""
    config = context.config.export
    return {
        "masked": mask_pii.total((file["masked"] for file in files), config.mask) if config.mask else None,
        "cut": remove_spans.total(file["cut"] for file in files) if config.cut_repeated else None,
    }


def _whole(context: Context, folder: Path, fingerprint: str) -> list[dict[str, Any]] | None:
    """The files of a version that was written before and is still as it was, as when a change is taken back."""
    if versions.damage(folder.parent, folder.name, read=True):
        return None
    found = versions.contents(folder)
    if found is None or found["fingerprint"] != fingerprint:
        return None
    config = context.config.export
    asked = {"masked": manifest.MASKED} if config.mask else {}
    if not fits(found, {"files": [asked | ({"cut": manifest.CUT} if config.cut_repeated else {})]}):
        return None
    return list(found["files"])


def _version(
    context: Context, before: Before, folder: Path, fingerprint: str, card: Card
) -> tuple[list[dict[str, Any]], int]:
    """Write the files of a version, the manifest last.

    They replace those of a damaged version one by one, which its readers may do without noticing: the same name stands
    for the same bytes.

    Returns
    -------
    files : as the version's manifest lists them
    peak_memory : bytes
    """
    if versions.edited(folder.parent, folder.name):
        aside = versions.set_aside(folder.parent, folder.name)
        context.progress.warn(f"{folder} was edited since it was written; as it was it is kept in {aside}")
    if min_words := context.config.export.cut_repeated:
        remove_spans.find(context, before.rows.source, before.selected, min_words)
    typed = context.config.export.spec.plugin().traits.schema
    staging = folder.parent / _STAGING
    paths.remove(staging)
    tasks = list(_tasks(context, before, folder if typed else staging))
    done, failed, peak = context.map("exporting", _write, tasks, [task.stop - task.start for task in tasks])
    refuse_failed(failed)
    if not typed:
        done = _placed(staging, folder, done)
    done = [{key: file[key] for key in file if key != "empty_columns"} for file in done]
    readme = folder / versions.CARD
    parquet_io.write_text(readme, card(context, before, _told(context, done)))
    parquet_io.write_json(folder / manifest.NAME, _manifest(context, before, fingerprint, done, paths.sha256(readme)))
    return done, peak


def _placed(staging: Path, folder: Path, files: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Move files whose format does not carry the types of columns to their places in a version.

    The first file of each folder changes places with the one in which the fewest columns have no value, if that has
    fewer: readers take the types from the first file, and fail on values in a column that is null throughout it.
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
    paths.remove(staging)
    return placed


def _tasks(context: Context, before: Before, folder: Path) -> Iterator[_Task]:
    """One for each file, those of an epoch in a folder of its own."""
    config = context.config.export
    suffix, per_file = config.spec.build().suffix, config.rows_per_file
    for epoch, rows in _rows(before).items():
        total = sum(rows)
        files = -(-total // per_file)
        for number in range(files):
            yield _Task(
                config.spec,
                before,
                epoch,
                rows,
                number * per_file,
                min(total, (number + 1) * per_file),
                tuple(config.add),
                config.mask,
                context.folder / remove_spans.FOLDER if config.cut_repeated else None,
                tuple(text_columns(context.config.input)) if config.mask or config.cut_repeated else (),
                folder,
                f"{data_folder(before, epoch)}/train-{number:05d}-of-{files:05d}{suffix}",
            )


def data_folder(before: Before, epoch: int | None) -> str:
    """The folder of a version that the files of an epoch lie in; under None, where no epochs are planned."""
    if epoch is None:
        return versions.DATA
    return f"{versions.DATA}/{EPOCH}={epoch:0{max(3, len(str(len(before.epochs) - 1)))}d}"


def _rows(before: Before) -> dict[int | None, tuple[int, ...]]:
    """How many rows of each shard go into each epoch; under None, where no epochs are planned."""
    column = "epochs" if before.epochs else "selected"
    read = (before.selected.read(shard, [column])[column] for shard in range(len(before.rows.source.shards)))
    if not before.epochs:
        return {None: tuple(int(pc.sum(selected).as_py() or 0) for selected in read)}
    counts = [np.bincount(pc.list_flatten(each).to_numpy(), minlength=len(before.epochs)).tolist() for each in read]
    return dict(enumerate(zip(*counts, strict=True)))


def _manifest(
    context: Context, before: Before, fingerprint: str, files: Sequence[Mapping[str, Any]], card: str
) -> dict[str, Any]:
    """What is in the export and where it comes from; holds no time and no machine's name, so that its bytes repeat."""
    selected = before.records[-1]
    return {
        "curate": __version__,
        "fingerprint": fingerprint,
        "rows": selected.count.kept,
        **({"epochs": before.epochs} if before.epochs else {}),
        "tokens": {"kept": selected.facts["tokens_kept"], "counted": before.rows.source.tokens},
        "files": list(files),
        **{key: counts for key, counts in _told(context, files).items() if counts is not None},
        "card": card,
        "accounting": [
            {"stage": record.stage, "name": record.name, **asdict(record.count)} for record in before.records
        ],
        **_by_source(selected.sources),
        "input": dict(before.records[0].parts["files"]),
        "embed": {
            record.name: {key: record.facts[key] for key in _MODEL if key in record.facts}
            for record in before.records
            if record.stage == "embed"
        },
        "plugins": {local.path: local.sha256 for local in context.config.plugins},
        "config": context.recipe,
    }


def _by_source(sources: Mapping[str, Count]) -> dict[str, Any]:
    """Return the counts of the largest sources, and one for all others beyond as many as a manifest holds."""
    listed, others = manifest.divided(sources, manifest.largest(sources, manifest.MOST_SOURCES))
    found: dict[str, Any] = {"sources": {name: asdict(listed[name]) for name in sorted(listed)}}
    if more := len(sources) - len(listed):
        found["other_sources"] = {"sources": more, **asdict(others)}
    return found


# ---------------------------------------------------------------- one file


@dataclass(frozen=True, slots=True)
class _Task:
    spec: Spec
    before: Before
    epoch: int | None
    """Whose rows they are; None for all that are chosen."""

    rows: tuple[int, ...]
    """How many they are in each shard."""

    start: int
    """The first of them, counted over all shards, that goes into this file."""

    stop: int
    add: tuple[str, ...]
    mask: tuple[Kind, ...]
    cuts: Path | None
    """The folder that tells what is cut."""

    text_columns: tuple[str, ...]
    """Where it is masked and cut."""

    folder: Path
    file: str
    """In that folder."""


def _write(task: _Task) -> dict[str, Any]:
    tables: list[pa.Table] = []
    cuts: list[remove_spans.Counts] = []
    seen = 0
    for shard, count in enumerate(task.rows):
        first, last = max(task.start - seen, 0), min(task.stop - seen, count)
        if first < last:
            table, cut = _chosen(task, shard, first, last)
            tables.append(table)
            cuts.append(cut)
        seen += count
    table = pa.concat_tables(tables)
    told: dict[str, Any] = {} if task.cuts is None else {"cut": remove_spans.total(cuts)}
    if task.mask:
        table, told["masked"] = mask_pii.mask(table, task.text_columns, task.mask)
    table = table.replace_schema_metadata(task.before.rows.source.schema.metadata)
    path = task.folder / task.file
    with parquet_io.atomic(path) as partial:
        with running(task.spec, task.spec.name):
            try:
                task.spec.build().write(table, partial)
            except OSError as error:
                raise DataError(f"cannot write: {error.strerror or error}", where=str(path)) from error
        written = {"bytes": partial.stat().st_size, "sha256": paths.sha256(partial)}
    empty = sum(column.null_count == len(column) for column in table.columns)
    return {"file": task.file, "rows": len(table), **written, **told, "empty_columns": empty}


def _chosen(task: _Task, shard: int, first: int, last: int) -> tuple[pa.Table, remove_spans.Counts]:
    """Of the chosen rows of a shard, those from ``first`` on and before ``last``; and what was cut out of them."""
    source, before = task.before.rows.source, task.before
    ledger = before.selected.read(shard)
    mask = ledger["selected"] if task.epoch is None else _in_epoch(ledger, task.epoch)
    table, cut = source.read(shard, (), tuple(source.columns)), remove_spans.total(())
    if task.cuts is not None:
        rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))[first:last]
        table, cut = remove_spans.cut(table, task.text_columns, parquet_io.part(task.cuts, shard), rows.tolist())
    table, ledger = (each.filter(mask).slice(first, last - first) for each in (table, ledger))
    for name in ("id", "rank", "gain", "weight"):
        if name in task.add:
            table = table.append_column(PREFIX + name, ledger[name])
    if "cluster" in task.add or "scores" in task.add:
        ids = before.rows.ids(shard)
        take = pc.index_in(ledger["id"], ids)
        if "cluster" in task.add:
            table = table.append_column(f"{PREFIX}cluster", before.clustered.read(shard)["cluster"].take(take))
        for entry in before.scored if "scores" in task.add else ():
            scores = entry.read(shard).take(take)
            for column in entry.columns:
                table = table.append_column(PREFIX + column, scores[column])
    return table, cut


def _in_epoch(ledger: pa.Table, epoch: int) -> pa.Array:
    return frame_of(ledger.select(["epochs"]))["epochs"].list.contains(epoch).fill_null(value=False).to_arrow()


_TYPES = {"id": pa.string(), "rank": pa.int32(), "gain": pa.float32(), "weight": pa.float32(), "cluster": pa.int32()}


def columns(config: ExportConfig, before: Before) -> dict[str, pa.DataType]:
    """The columns of the export: the input's own, then those that are added.

    Raises
    ------
    DataError : if one that is added, or the folder of an epoch, would take the name of one of the input
    """
    own = before.rows.source.columns
    if before.epochs and EPOCH in own:
        told = f"the input has a column {EPOCH!r}, and so have the rows of a plan, from the names of its folders"
        raise DataError(told, hint="rename that column, or set epochs: 1 in the select section")
    added = {PREFIX + name: kind for name, kind in _TYPES.items() if name in config.add}
    if "scores" in config.add:
        added |= {PREFIX + column: pa.float32() for entry in before.scored for column in entry.columns}
    if taken := next((name for name in added if name in own), None):
        raise DataError(f"export.add would overwrite the input's own column {taken!r}", hint="rename that column")
    return {**own, **added}
