"""Target stage: rows of the task that the selection should serve, with vectors and labels comparable with the pool's.

The rows are read and embedded like the pool, with its fits (``target_rows``). A row without a label, or with a label
that no row of the pool has, has the class -1. A share of the rows, determined by their content, is kept for tests.
Memory: the vectors of one shard of target rows for each embed entry, and the hashes of the pool's texts.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.config.model import TARGET, to_plain
from curate.errors import DataError, summarize_names
from curate.kernels.arrow_categories import encode_categories, unique_categories
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.types import Flags
from curate.pool.stage_outputs import TargetOutput
from curate.pool.view import PoolView
from curate.stages.base import (
    CompletedStages,
    Context,
    Forecast,
    Outcome,
    PlannedStep,
    Stage,
    Step,
    count_all_kept,
    run_step,
)
from curate.stages.content_reuse import text_keys
from curate.stages.target import target_rows
from curate.store import manifest, parquet_io, schemas
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import RunConfig, TargetConfig

_VERSION = 4

_SALT = np.uint64(0x7E57)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResult(StageResult):
    """Result of the target stage, as stored in its manifest."""

    rows: int
    """Number of target rows."""

    unlabeled: int
    """Number of rows without a label."""

    unknown: int
    """Number of rows with a label that no row of the pool has."""

    unknown_labels: tuple[str, ...]
    """Some of these labels."""

    in_pool: int
    """Number of rows with the content of a row of the pool."""

    tasks: int
    """Number of tasks."""

    test: int
    """Number of rows that no selection sees."""

    content: str
    """Digest of the rows that selections see: their vectors, labels, tasks and texts."""


class Target(Stage["TargetConfig", TargetOutput]):
    """Stage that reads the rows of the task."""

    name = TARGET
    section = TARGET
    result = TargetResult
    summary = "Read and embed the rows of the task"
    has_single_step = True

    def prepare(self, context: Context) -> None:
        if context.config.target is not None:
            target_rows.check_files(context.config, context.config.target)

    def run(
        self, context: Context, done: CompletedStages, entry: TargetConfig
    ) -> tuple[TargetOutput, Record[TargetResult]]:
        return target(context, done.pool, entry)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[TargetOutput]) -> CompletedStages:
        return replace(done, view=replace(done.pool, target_output=results[0]))

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        result = done.record_of(self.name, TargetResult).result
        warnings = []
        if result.unknown:
            names = summarize_names(result.unknown_labels, 3)
            warnings.append(f"{TARGET}: no row of the pool has the label of {result.unknown:,} rows: {names}")
        if result.in_pool:
            warnings.append(
                f"{TARGET}: {result.in_pool:,} of {result.rows:,} rows are also in the pool, which favors these rows"
            )
        return warnings

    def forecast(self, config: RunConfig, step: PlannedStep, before: Forecast) -> tuple[list[PlannedStep], Forecast]:
        return [replace(step, tasks="target rows")], before


def target(context: Context, pool: PoolView, section: TargetConfig) -> tuple[TargetOutput, Record[TargetResult]]:
    """Run the target section.

    Raises
    ------
    DataError
        A file is missing, no row has a text or a vector, or no row has a label of the pool although ``label`` is set.
    """
    folder = context.folder / TARGET
    inputs = {
        "version": _VERSION,
        "label": to_plain(section.label),
        "task": section.task,
        "test_share": section.test_share,
        "rows": target_rows.fingerprint(context, section),
        "classes": None if pool.proxy_output is None else pool.proxy_output.fingerprint,
        **pool.fingerprint_inputs(),
    }
    record = run_step(
        Step(context, TARGET, TARGET, folder, TargetResult),
        inputs,
        lambda key: _work(context, pool, section, key),
    )
    return TargetOutput(folder, record.fingerprint, record.result.content, record.shards), record


def _work(context: Context, pool: PoolView, section: TargetConfig, fingerprint: str) -> Outcome[TargetResult]:
    rows = target_rows.read(context, section)
    if not len(rows):
        message = f"{TARGET}: no row has a vector of every embed entry"
        hint = f"see the reasons in {context.folder / TARGET / target_rows.FOLDER / 'embed'}, such as empty responses"
        raise DataError(message, hint=hint)
    names = tuple(entry.name for entry in rows.embed_outputs)
    schema = schemas.target({entry.name: entry.dimensions for entry in rows.embed_outputs})
    classes, tasks = _classes(pool), _tasks(rows)
    has_texts = (section.text or context.config.input.text) is not None
    pool_hashes = pool.hashes.combine_chunks()
    is_test = _hold_out(rows, tasks, section.test_share)
    if section.test_share and not is_test.any():
        context.progress.warn(f"{TARGET}: of {len(rows):,} rows, none is kept for tests")
    context.progress.begin("comparing target rows with the pool", len(rows))
    roles = ("hash", "source", *(["label"] if section.label is not None else []), *(["text"] if has_texts else []))
    unlabeled = in_pool = first = 0
    unknown: Counter[str] = Counter()
    digests: defaultdict[str, hashlib._Hash] = defaultdict(hashlib.sha256)
    for shard in rows.shards():
        table = shard.read(roles)
        is_known = pc.is_in(table["hash"], pool_hashes)
        codes = np.full(len(shard), -1, np.int32)
        if section.label is not None:
            codes = encode_categories(table["label"], classes)
            unlabeled += table["label"].null_count
            strange = table["label"].filter(pa.array(codes < 0)).drop_null()
            unknown.update(strange.to_pylist())
        task = pa.array(encode_categories(table["source"], tasks))
        in_pool += pc.sum(is_known).as_py() or 0
        vectors = [_as_lists(shard.vectors(name)) for name in names]
        shard_table = pa.table(
            [
                shard.ids,
                pa.array(codes),
                task,
                table["text"] if has_texts else pa.nulls(len(shard), pa.string()),
                is_known,
                pa.array(is_test[first : first + len(shard)]),
                *vectors,
            ],
            names=schema.names,
        )
        path = parquet_io.shard_path(context.folder / TARGET, shard.number)
        parquet_io.write(schemas.check(shard_table, schema, str(path)), path, fingerprint, dictionary=False)
        _update(digests, shard_table)
        context.progress.advance(len(shard))
        first += len(shard)
    n, test = len(rows), int(is_test.sum())
    if section.label is not None and unlabeled + unknown.total() == n:
        known = summarize_names(classes.to_pylist(), 5)
        message = f"{TARGET}.label: no row has a label of the pool in column {section.label!r}"
        raise DataError(message, hint=f"the labels of the pool are: {known}")
    labeled = "" if section.label is None else f", {n - unlabeled - unknown.total():,} with a label of the pool"
    divided = "" if section.task is None else f" of {len(tasks):,} tasks"
    kept = f", {test:,} of them for tests only" if test else ""
    context.progress.note(f"{TARGET}: {n:,} rows{divided}{labeled}{kept}")
    return Outcome(
        sources=count_all_kept(pool.source_counts()),
        shards=len(rows.shard_sizes),
        result=TargetResult(
            rows=n,
            unlabeled=unlabeled if section.label is not None else n,
            unknown=unknown.total(),
            unknown_labels=tuple(sorted(unknown))[:20],
            in_pool=in_pool,
            tasks=len(tasks),
            test=test,
            content=manifest.fingerprint({name: digest.hexdigest() for name, digest in digests.items()}),
        ),
    )


def _update(digests: Mapping[str, hashlib._Hash], table: pa.Table) -> None:
    """Add what selections see of a shard to the digest of each column, all but ids of all but the test rows."""
    seen = table.filter(pc.invert(table["test"])).combine_chunks()
    for name in seen.column_names:
        values = seen[name].combine_chunks()
        if pa.types.is_fixed_size_list(values.type):
            digests[name].update(np.ascontiguousarray(values.flatten().to_numpy()).tobytes())
        elif name not in (seen.column_names[0], "in_pool", "test"):
            digests[name].update("".join(f"{value!r}\n" for value in values.to_pylist()).encode())


def _hold_out(rows: PoolView, tasks: pa.Array, share: float) -> Flags:
    """Return the mask of the test rows: a share of the distinct contents, but none of a task without other rows."""
    keys = text_keys(rows.hashes)
    is_test: Flags = mix_bits(keys ^ _SALT) < np.uint64(share * 2.0**64)
    task = encode_categories(rows.read(("source",))["source"].combine_chunks(), tasks)
    has_others = np.isin(task, task[~is_test])
    return is_test & ~np.isin(keys, keys[~has_others])


def _classes(pool: PoolView) -> pa.Array:
    """Return the labels of the pool in the order of their numbers: those of the proxy, or sorted without a proxy."""
    if pool.proxy_output is not None:
        return pool.proxy_output.class_names()
    labels = [shard.read(("label",))["label"] for shard in pool.shards()] if "label" in pool.inputs.roles else []
    return unique_categories(pa.concat_arrays([pa.array([], pa.string()), *map(unique_categories, labels)]))


def _tasks(rows: PoolView) -> pa.Array:
    """Return the tasks of the target rows, which are read as sources, in the order of their numbers."""
    return unique_categories(
        pa.concat_arrays([unique_categories(shard.read(("source",))["source"]) for shard in rows.shards()])
    )


def _as_lists(vectors: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
