"""Annotate stage: add columns to the rows, which later stages use like those of the input, and which are exported.

Memory: the values of the added columns, and what the annotator needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa

from curate.errors import PluginError
from curate.plugins.batches import AnnotationBatch
from curate.plugins.interfaces import Annotator
from curate.plugins.language_models import Examples
from curate.plugins.results import Annotations
from curate.progress import RowProgress
from curate.seeds import rng_for
from curate.stages.base import (
    CompletedStages,
    Context,
    Outcome,
    Stage,
    Step,
    count_all_kept,
    plugin_call,
    run_step,
)
from curate.stages.column_names import columns_of_annotator
from curate.stages.model.examples import ExampleReader
from curate.store import parquet_io, schemas
from curate.store.inputs import AddedColumns, Inputs
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import AnnotateEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateResult(StageResult):
    """Result of one entry of the annotate stage, as stored in its manifest."""

    measured: Mapping[str, float] = field(default_factory=dict)
    """Findings of the annotator about the pool, in numbers."""

    warnings: tuple[str, ...] = ()
    """Warnings of the annotator."""


class Annotate(Stage["AnnotateEntry", AddedColumns]):
    """Stage that adds columns to the rows."""

    name = "annotate"
    section = "annotate"
    result = AnnotateResult

    def run(
        self, context: Context, done: CompletedStages, entry: AnnotateEntry
    ) -> tuple[AddedColumns, Record[AnnotateResult]]:
        return annotate(context, done.pool.inputs, entry)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[AddedColumns]) -> CompletedStages:
        return replace(done, view=replace(done.pool, inputs=replace(done.pool.inputs, added=tuple(results))))

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        results = [(record.name, record.result) for record in done.records_of(self.name)]
        return [
            f"annotate {name}: {warning}"
            for name, result in results
            if isinstance(result, AnnotateResult)
            for warning in result.warnings
        ]


def annotate(context: Context, source: Inputs, entry: AnnotateEntry) -> tuple[AddedColumns, Record[AnnotateResult]]:
    """Run one entry of the annotate section."""
    folder = context.folder / "annotate" / entry.name
    reader = ExampleReader.create(source, entry, context.config.input.text)
    inputs = {
        **entry.fingerprint_parts(),
        "seed": context.config.seed,
        "messages": reader.messages,
        **context.judge_identity(entry),
        "input": source.text_fingerprint if reader.reads_text else source.fingerprint,
        "rows": source.shards,
    }
    schema = pa.schema(list(columns_of_annotator(entry).items()))
    record = run_step(
        Step(context, "annotate", entry.name, folder, AnnotateResult),
        inputs,
        lambda key: _work(context, source, entry, reader, schema, key),
    )
    return AddedColumns(folder, record.fingerprint, schema), record


def _work(
    context: Context, source: Inputs, entry: AnnotateEntry, reader: ExampleReader, schema: pa.Schema, fingerprint: str
) -> Outcome[AnnotateResult]:
    plugin: Annotator = entry.spec.build()
    read = lru_cache(maxsize=1)(lambda shard: reader.read(shard, slice(0, source.shards[shard])))
    context.progress.begin(f"annotating with {entry.name}", source.rows)
    progress = RowProgress(context.progress, source.rows)
    rng = rng_for(context.config.seed, f"annotate/{entry.name}")
    with context.judge(entry, source.rows) as judge, plugin_call(entry.spec, entry.name):
        examples = Examples(tuple(source.shards), read)
        advance = progress.advance if judge is None else _ignore  # the judge counts its questions
        annotations: object = plugin.annotate(AnnotationBatch(examples=examples, advance=advance, judge=judge), rng)
    table = _to_table(entry, annotations, schema, source.rows)
    counts, start = Counter[str](), 0
    for number, rows in enumerate(source.shards):
        facts = source.read(number, ("id", "source"))
        counts.update(facts["source"].to_pylist())
        path = parquet_io.shard_path(context.folder / "annotate" / entry.name, number)
        full = schemas.added_columns(schema)
        shard = pa.table([facts["id"], *table.slice(start, rows).columns], names=full.names)
        parquet_io.write(schemas.check(shard, full, str(path)), path, fingerprint, compression="zstd")
        start += rows
    result = AnnotateResult()
    if isinstance(annotations, Annotations):
        result = AnnotateResult(measured=annotations.facts, warnings=annotations.warnings)
    sources = count_all_kept(dict(sorted(counts.items())))
    return Outcome(sources=sources, shards=len(source.shards), result=result)


def _ignore(share: float) -> None:
    """Ignore the progress of an annotator."""


def _to_table(entry: AnnotateEntry, annotations: object, schema: pa.Schema, rows: int) -> pa.Table:
    """Return the columns of the annotations in the types that the plugin declares.

    Raises
    ------
    PluginError
        A column is missing, or its values have another type or number.
    """
    plugin: Annotator = entry.spec.build()
    suffixes = list(plugin.columns())
    if not isinstance(annotations, Annotations) or set(annotations.columns) != set(suffixes):
        got = sorted(annotations.columns) if isinstance(annotations, Annotations) else type(annotations).__name__
        raise PluginError(f"annotator {entry.name!r} returned {got}, expected the columns {suffixes}")
    arrays = []
    for suffix, kind in zip(suffixes, schema.types, strict=True):
        values = annotations.columns[suffix]
        if len(values) != rows:
            raise PluginError(f"annotator {entry.name!r} returned {len(values)} values of {suffix!r} for {rows} rows")
        try:
            arrays.append(pa.chunked_array([pa.array(values, kind)]))
        except pa.ArrowException as error:
            raise PluginError(f"annotator {entry.name!r}: the values of {suffix!r} are no {kind}: {error}") from error
    return pa.table(arrays, schema=schema)
