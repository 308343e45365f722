"""Proxy stage: train a small model on the labels, and store its predictions for every row after each epoch.

A shard has the probabilities of every class (16 bits each) and a few statistics per row, from which most scores are
computed without the probabilities.

The model is trained again whenever the pool or a label changes: predictions of a model that never saw a row would be a
different quantity, and so would the scores. A row without a label (or, with a recorded proxy, without a line in the
log) is not used for training; its label is stored as -1, and its scores are NaN.

Memory: for training, the pool's embeddings (in memory within ``memory_limit``, memory-mapped beyond) and the memory
that the proxy documents; for prediction, the embeddings of one shard per worker and one row group of about 64 MiB, for
any number of classes and epochs; a recorded log is read into memory-mapped files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import paths
from curate.errors import DataError, PluginError
from curate.kernels.arrow_categories import encode_categories, unique_categories
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.stats.softmax import half_precision_logs, softmax
from curate.kernels.stats.softmax_statistics import STATISTICS, Statistic, softmax_statistics
from curate.kernels.types import AnyArray, Codes, Matrix, Vectors, freeze
from curate.paths import FileInfo
from curate.plugins.registry import PluginSpec
from curate.pool import embedding_matrix
from curate.pool.stage_outputs import TRAINED, ProxyOutput, load_proxy_state
from curate.pool.view import PoolView
from curate.seeds import rng_for
from curate.stages.base import (
    CompletedStages,
    Context,
    Outcome,
    Stage,
    Step,
    count_all_kept,
    is_current_shard,
    plugin_call,
    raise_if_failed,
    run_step,
)
from curate.stages.ingest.stage import match_files
from curate.stages.proxy import training_logs
from curate.store import manifest, npz, parquet_io, schemas
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import ProxyEntry

_ROWS = 4096

_GROUP = 64 << 20
"""Size of a row group in bytes."""

Columns = Callable[[slice], Mapping[str, AnyArray]]
"""Function from rows of a shard to the values of its columns: (m, classes) float16 or (m,) float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyResult(StageResult):
    """Result of the proxy stage, as stored in its manifest."""

    classes: int
    runs: int
    epochs: int
    unlabeled: int
    """Number of rows without a label, or without a line in the log."""

    unknown: int
    """Number of log lines about rows that are not in the pool."""

    statistics: tuple[str, ...]
    """Names of the statistics that the shards contain."""

    has_probabilities: bool
    """Whether the shards contain probabilities."""

    files: tuple[FileInfo, ...]
    """Path, stamp and sha256 of each file of a recorded log."""


class Proxy(Stage["ProxyEntry", ProxyOutput]):
    """Stage that computes the training dynamics of a small model."""

    name = "proxy"
    section = "proxy"
    result = ProxyResult
    has_single_step = True

    def run(
        self, context: Context, done: CompletedStages, entry: ProxyEntry
    ) -> tuple[ProxyOutput, Record[ProxyResult]]:
        return proxy(context, done.pool, entry)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[ProxyOutput]) -> CompletedStages:
        return replace(done, view=replace(done.pool, proxy_output=results[0]))


def proxy(context: Context, pool: PoolView, entry: ProxyEntry) -> tuple[ProxyOutput, Record[ProxyResult]]:
    """Run the proxy section."""
    folder = context.folder / "proxy"
    files = _files(context, entry, folder)
    parts = {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "log": {file["path"]: file["sha256"] for file in files},
        **pool.fingerprint_inputs(),
    }
    record = run_step(
        Step(context, "proxy", entry.name, folder, ProxyResult),
        parts,
        lambda key: _work(context, pool, entry, files, key),
    )
    result = record.result
    output = ProxyOutput(
        folder=folder,
        fingerprint=record.fingerprint,
        spec=entry.spec,
        embedding=entry.embedding,
        classes=result.classes,
        runs=result.runs,
        epochs=result.epochs,
        statistics=result.statistics,
        has_probabilities=result.has_probabilities,
    )
    return output, record


def _trains(spec: PluginSpec) -> bool:
    return "log" not in spec.plugin().traits.reads


def _files(context: Context, entry: ProxyEntry, folder: Path) -> list[FileInfo]:
    """Return the path, stamp and sha256 of each file of a recorded log; a file is read only if its stamp changed."""
    if _trains(entry.spec):
        return []
    previous = manifest.load(folder, ProxyResult)
    recorded = {} if previous is None else {file["path"]: dict(file) for file in previous.result.files}
    files = []
    for name, status in match_files("proxy.files", entry.spec.build().files).items():
        seen, old = {"path": name, **status}, recorded.get(name, {})
        if not context.verify and {key: old.get(key) for key in seen} == seen:
            files.append(old)
        else:
            paths.wait_for_clock_tick([status])
            try:
                files.append({**seen, "sha256": paths.hash_file(paths.parse_path(name))})
            except OSError as error:
                hint = "check that the file exists and can be read"
                raise DataError(f"cannot read the log: {error.strerror}", where=name, hint=hint) from error
    return files


def _work(
    context: Context, pool: PoolView, entry: ProxyEntry, files: Sequence[FileInfo], fingerprint: str
) -> Outcome[ProxyResult]:
    labels_by_shard = [shard.read(("label",))["label"] for shard in pool.shards()]
    names = _classes(labels_by_shard, entry)
    labels = freeze(np.concatenate([encode_categories(values, names) for values in labels_by_shard]))
    _write_classes(context.folder / "proxy" / schemas.CLASSES_FILE, fingerprint, names)
    peak = unknown = 0
    statistics, has_probabilities = tuple[str, ...](STATISTICS), True
    if _trains(entry.spec):
        runs, epochs, peak = _train_and_predict(context, pool, entry, labels, len(names), fingerprint)
        unlabeled = int((labels < 0).sum())
    else:
        log = _write_log(context, pool, entry, labels, names, files, fingerprint)
        runs, epochs, unknown = log.runs, log.epochs, log.unknown
        statistics, has_probabilities = log.statistics, log.has_probabilities
        unlabeled = int(((labels < 0) | ~log.seen).sum())
    if unlabeled:
        log_note = "" if _trains(entry.spec) else ", or no line in the log"
        context.progress.note(f"proxy {entry.name}: {unlabeled:,} rows have no label{log_note}; their scores are NaN")
    if unknown:
        context.progress.note(f"proxy {entry.name}: {unknown:,} log lines are about rows that are not in the pool")
    return Outcome(
        sources=count_all_kept(pool.source_counts()),
        shards=len(pool.shard_sizes),
        peak_memory=peak,
        result=ProxyResult(
            classes=len(names),
            runs=runs,
            epochs=epochs,
            unlabeled=unlabeled,
            unknown=unknown,
            statistics=statistics,
            has_probabilities=has_probabilities,
            files=tuple(files),
        ),
    )


# ---------------------------------------------------------------- classes and labels


def _classes(labels: Sequence[pa.ChunkedArray], entry: ProxyEntry) -> pa.Array:
    """Return the labels that are classes: all labels of the pool, sorted, or the classes of a recorded log in order."""
    pool_labels = unique_categories(pa.concat_arrays([unique_categories(values) for values in labels]))
    classes = () if _trains(entry.spec) else entry.spec.build().classes
    if classes and (strange := sorted(set(pool_labels.to_pylist()) - set(classes))):
        message = f"proxy.classes: the list lacks the label {strange[0]!r} of the pool"
        raise DataError(message, hint="list every label")
    names = pa.array(classes, pa.string()) if classes else pool_labels
    if len(names) < 2:
        problem = f"every label is {names[0].as_py()!r}" if len(names) else "no row has a label"
        raise DataError(f"proxy {entry.name}: {problem}", hint="a proxy needs at least two classes; see input.label")
    return names


def _write_classes(path: Path, fingerprint: str, names: pa.Array) -> None:
    table = pa.table([pa.array(np.arange(len(names), dtype=np.int32)), names], schema=schemas.CLASSES)
    parquet_io.write(table, path, fingerprint)


# ---------------------------------------------------------------- trained proxy


@dataclass(frozen=True, slots=True)
class _Task:
    pool: PoolView
    spec: PluginSpec
    embedding: str | None
    number: int
    classes: int
    folder: Path
    fingerprint: str


def _train_and_predict(
    context: Context, pool: PoolView, entry: ProxyEntry, labels: Codes, classes: int, fingerprint: str
) -> tuple[int, int, int]:
    """Train the proxy if needed, write the predictions of every shard, and return runs, epochs and peak memory."""
    folder, plugin = context.folder / "proxy", entry.spec.build()
    if npz.load(folder / TRAINED, fingerprint) is None:
        context.progress.begin(f"training {entry.name}", len(labels))
        has_label = labels >= 0
        x = gather_rows(context, pool.stream_embeddings(entry.embedding), has_label)
        labels = freeze(labels[has_label])
        with plugin_call(entry.spec, entry.name):
            trained = plugin.train(x, labels, classes, rng_for(context.config.seed, f"proxy/{entry.name}"))
        context.progress.advance(len(has_label))
        npz.save(folder / TRAINED, fingerprint, trained)
        del x
    shards = range(len(pool.shard_sizes))
    tasks = [_Task(pool, entry.spec, entry.embedding, number, classes, folder, fingerprint) for number in shards]
    _, failed, peak = context.map(f"predicting with {entry.name}", _predict, tasks, pool.shard_sizes)
    raise_if_failed(failed)
    return plugin.runs, plugin.epochs, peak


def gather_rows(context: Context, vectors: Vectors, keep: NDArray[np.bool_]) -> Matrix:
    """Return the vectors of some rows, (m, d) float32: in memory within ``memory_limit``, memory-mapped beyond."""

    def blocks() -> Iterator[Matrix]:
        start = 0
        for block in vectors.blocks():
            mask = keep[start : start + len(block)]
            yield block if mask.all() else block[mask]
            start += len(block)

    kept = Vectors(int(keep.sum()), vectors.dimensions, blocks)
    return embedding_matrix.gather_vectors(kept, context.config.memory_limit, context.scratch)


def _predict(task: _Task) -> None:
    path, shard = parquet_io.shard_path(task.folder, task.number), task.pool.shard(task.number)
    if is_current_shard(path, task.fingerprint):
        return
    plugin = task.spec.build()
    trained = load_proxy_state(task.folder / TRAINED, task.fingerprint)
    x = shard.vectors(task.embedding)
    names = parquet_io.read(task.folder / schemas.CLASSES_FILE, ["label"])["label"].combine_chunks()
    labels = encode_categories(shard.read(("label",))["label"], names)
    steps = [(run, epoch) for run in range(plugin.runs) for epoch in range(plugin.epochs)]

    def describe(rows: slice) -> list[tuple[AnyArray, Mapping[Statistic, AnyArray]]]:
        """Return the probabilities and statistics of some rows, step by step."""
        described = []
        for run, epoch in steps:
            features, weights = plugin.features(trained, x[rows], run, epoch), plugin.last_layer(trained, run, epoch)
            _check_layer(task, features, weights, len(x[rows]))
            logits = features @ weights[:-1] + weights[-1]
            norms = np.einsum("ij,ij->i", features, features) + np.float32(1)
            statistics = softmax_statistics(logits, labels[rows], norms)
            described.append((half_precision_logs(softmax(logits)), statistics))
        return described

    def columns(rows: slice) -> Mapping[str, AnyArray]:
        blocks = [slice(rows.start + one.start, rows.start + one.stop) for one in block_slices(len(x[rows]), _ROWS)]
        with plugin_call(task.spec, task.spec.name):
            parts = list(map_blocks(describe, blocks))
        values: dict[str, AnyArray] = {}
        for step, name in enumerate(schemas.probabilities(plugin.runs, plugin.epochs)):
            values[name] = np.concatenate([part[step][0] for part in parts])
        for statistic in STATISTICS:
            for step, name in enumerate(schemas.statistics(statistic, plugin.runs, plugin.epochs)):
                values[name] = np.concatenate([part[step][1][statistic] for part in parts])
        return values

    schema = schemas.proxy(plugin.runs, plugin.epochs, task.classes, STATISTICS, {"model": task.spec.name})
    _write(path, task.fingerprint, schema, shard.ids, labels, columns)


def _check_layer(task: _Task, features: Matrix, weights: Matrix, rows: int) -> None:
    """Raise a PluginError if the features and weights of a proxy do not fit."""
    expected = ((rows, weights.shape[0] - 1), (weights.shape[0], task.classes))
    if features.dtype != np.float32 or weights.dtype != np.float32 or (features.shape, weights.shape) != expected:
        got = f"features {features.dtype} {features.shape} and a last layer {weights.dtype} {weights.shape}"
        message = f"proxy {task.spec.name!r} returned {got}; expected float32 ({rows}, h) and (h + 1, {task.classes})"
        raise PluginError(message)


# ---------------------------------------------------------------- recorded proxy


def _write_log(
    context: Context,
    pool: PoolView,
    entry: ProxyEntry,
    labels: Codes,
    names: pa.Array,
    files: Sequence[FileInfo],
    fingerprint: str,
) -> training_logs.Log:
    """Write the predictions of the log for every shard."""
    folder = context.folder / "proxy"
    context.progress.begin(f"reading the log of {entry.name}", len(labels))
    logs = [paths.parse_path(file["path"]) for file in files]
    with plugin_call(entry.spec, entry.name):
        log = training_logs.read(entry.spec.build(), logs, pool.ids, len(names), context.scratch)
    known_labels = np.where(log.seen, labels, np.int32(-1))
    classes = len(names) if log.has_probabilities else None
    schema = schemas.proxy(log.runs, log.epochs, classes, log.statistics, {"model": entry.name})
    start = 0
    for shard, ids in enumerate(pool.ids.chunks):
        end = start + len(ids)
        path = parquet_io.shard_path(folder, shard)
        _write(path, fingerprint, schema, ids, known_labels[start:end], partial(log.columns, known_labels, start))
        context.progress.advance(len(ids))
        start = end
    return log


# ---------------------------------------------------------------- writing


def _write(path: Path, fingerprint: str, schema: pa.Schema, ids: pa.Array, labels: Codes, columns: Columns) -> None:
    """Write one shard, a row group at a time."""
    width = sum(2 * field.type.list_size if pa.types.is_fixed_size_list(field.type) else 4 for field in schema)

    def tables() -> Iterator[pa.Table]:
        for rows in block_slices(len(ids), max(1, _GROUP // width)):
            values = {"id": ids[rows.start : rows.stop], "label": pa.array(labels[rows])}
            values |= {name: _to_arrow(array, schema.field(name).type) for name, array in columns(rows).items()}
            if values.keys() != set(schema.names):
                raise PluginError(f"proxy: got the columns {sorted(values)}, expected {schema.names}", where=str(path))
            yield schemas.check(pa.table([values[name] for name in schema.names], schema.names), schema, str(path))

    parquet_io.write_row_groups(tables(), schema, path, fingerprint)


def _to_arrow(values: AnyArray, kind: pa.DataType) -> pa.Array:
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values == 1 if pa.types.is_boolean(kind) else values)
