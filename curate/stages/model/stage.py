"""Model stage: run language models over the rows, and keep the outputs that scorers and embedders request.

Each request of each model is one step, whose rows are divided into parts; a part is one file, so a killed run goes on
where it stopped. A row whose prompt and response a model has already read, in any earlier run with the same settings,
is not read again. Memory: the model, and one part, per worker.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import PluginError
from curate.kernels.types import AnyArray
from curate.plugins.interfaces import Model, ModelEmbedder, ModelScorer
from curate.plugins.language_models import Example, GradientRequest, ModelRequest, Outputs, Request
from curate.plugins.registry import PluginSpec
from curate.pool.model_outputs import ModelOutput, Part, divide_shards, to_arrays
from curate.stages import content_reuse
from curate.stages.base import (
    CompletedStages,
    Context,
    Outcome,
    PlannedStep,
    Stage,
    Step,
    count_all_kept,
    is_current_shard,
    plugin_call,
    plugin_errors,
    raise_if_failed,
    run_step,
)
from curate.stages.cost_table import Cost
from curate.stages.model.examples import ExampleReader, hash_examples
from curate.store import manifest, parquet_io, schemas
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import EmbedEntry, ModelEntry, RunConfig, ScoreEntry
    from curate.store.inputs import Inputs

FOLDER = "model"
_BYTES_PER_TOKEN = 4
_PASSES_OF_GRADIENTS = 3
"""Time of a gradient as a multiple of that of a loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult(StageResult):
    """Result of one request of the model stage, as stored in its manifest."""

    revision: str
    """Identifier of the content of the model."""

    computed: int
    """Number of rows that the model read in this run; the outputs of the others were reused."""

    tokens: int
    """Number of tokens of all rows: for a loss or a gradient, those of the responses."""

    truncated: int
    """Number of rows that are longer than the context of the model."""

    undefined: int
    """Number of rows with an undefined output, such as the loss of an empty response."""

    reads_text: bool
    """Whether the model reads nothing but the text of a row."""


@dataclass(frozen=True, slots=True)
class ModelStep:
    """Request to one model."""

    entry: ModelEntry
    request: Request

    @property
    def name(self) -> str:
        """Name of the step, and of its folder."""
        return step_name(self.entry.name, self.request)


def step_name(model: str, request: Request) -> str:
    """Return the name of the step, and of the folder, of a request to a model."""
    return f"{model}-{request.name}"


class ModelOutputs(Stage[ModelStep, ModelOutput]):
    """Stage that runs language models over the rows."""

    name = FOLDER
    section = "model"
    result = ModelResult

    def entries(self, config: RunConfig) -> Sequence[ModelStep]:
        return requested_steps(config)

    def entry_name(self, entry: ModelStep) -> str:
        return entry.name

    def run(self, context: Context, done: CompletedStages, entry: ModelStep) -> tuple[ModelOutput, Record[ModelResult]]:
        return run_request(context, done.pool.inputs, entry, context.config.input.text)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[ModelOutput]) -> CompletedStages:
        return replace(done, view=replace(done.pool, model_outputs=tuple(results)))

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        warnings = []
        for record in done.records_of(self.name):
            if isinstance(result := record.result, ModelResult):
                rows = f"of {record.count.kept:,} rows"
                if result.truncated:
                    warnings.append(
                        f"model {record.name}: {result.truncated:,} {rows} are longer than the context, and truncated"
                    )
                if result.undefined:
                    warnings.append(
                        f"model {record.name}: {result.undefined:,} {rows} have no output, for example because the "
                        f"response is empty"
                    )
        return warnings

    def estimate_first(self, context: Context, step: PlannedStep, rows: int, bytes_per_row: float) -> Cost | None:
        """Return the cost of a step, if its model knows its speed: the time grows with the tokens."""
        model_step = next(one for one in self.entries(context.config) if one.name == step.name)
        plugin: Model = model_step.entry.spec.build()
        passes = _PASSES_OF_GRADIENTS if model_step.request.ability == "gradients" else 1
        with plugin_errors(model_step.entry.spec, model_step.entry.name):
            seconds = plugin.estimate_seconds(rows * bytes_per_row / _BYTES_PER_TOKEN * passes)
        if seconds is None:
            return None
        return Cost(seconds=seconds, memory=0, disk=round(rows * _count_bytes(model_step.request)))

    def describe(self, entry: ModelStep) -> Mapping[str, str]:
        return {entry.name: f"{entry.request.description}, by {entry.entry.spec.name}"}

    def remarks(self, record: Record[StageResult]) -> list[str]:
        if not isinstance(result := record.result, ModelResult):
            return []
        reused = [f"the model read {result.computed:,} rows, the outputs of the others were reused"]
        return [f"{result.tokens:,} tokens"] + reused * (result.computed < record.count.kept)


def _count_bytes(request: Request) -> int:
    """Return about how many bytes the outputs of a row take on disk."""
    return 4 * request.dimension + 40 if isinstance(request, GradientRequest) else 80


# ---------------------------------------------------------------- requests


def requested_steps(config: RunConfig) -> list[ModelStep]:
    """Return the steps that the embedders and scorers of a configuration need, each once, in the order of the models.

    The rows of the target have steps of their own; see ``embedder_steps``.
    """
    requests = [one for entry in config.embed for one in embedder_requests(entry, target=False)]
    requests += [one for score in config.score for one in scorer_requests(score)]
    return _find_steps(config, requests)


def embedder_steps(config: RunConfig, entry: EmbedEntry, *, target: bool) -> list[ModelStep]:
    """Return the steps that an embedder needs for rows of the pool or of the target."""
    return _find_steps(config, embedder_requests(entry, target=target))


def embedder_requests(entry: EmbedEntry, *, target: bool) -> tuple[ModelRequest, ...]:
    """Return the requests of an embedder; none if it reads no model."""
    if not entry.spec.plugin().traits.reads_model:
        return ()
    plugin: ModelEmbedder = entry.spec.build()
    return plugin.requests(target=target)


def scorer_requests(entry: ScoreEntry) -> tuple[ModelRequest, ...]:
    """Return the requests of a scorer; none if it reads no model."""
    if not entry.spec.plugin().traits.reads_model:
        return ()
    plugin: ModelScorer = entry.spec.build()
    return plugin.requests()


def _find_steps(config: RunConfig, requests: Sequence[ModelRequest]) -> list[ModelStep]:
    steps = [
        ModelStep(entry, one.request)
        for number, entry in enumerate(config.model)
        for one in requests
        if one.model == entry.name or (one.model is None and number == 0)
    ]
    return list({step.name: step for step in steps}.values())


# ---------------------------------------------------------------- one request


def model_identity(entry: ModelEntry) -> dict[str, object]:
    """Return everything that determines the outputs of a model for an example, and how examples are read."""
    with plugin_errors(entry.spec, entry.name):
        plugin: Model = entry.spec.build()
        revision = plugin.revision()
    return {**entry.fingerprint_parts(), "name": None, "revision": revision}


def run_request(
    context: Context, source: Inputs, step: ModelStep, text: str | None
) -> tuple[ModelOutput, Record[ModelResult]]:
    """Run a model over all rows of the input for one request, or reuse the outputs on disk.

    Parameters
    ----------
    context : Context
        Context of the run.
    source : Inputs
        Input shards.
    step : ModelStep
        Request and model.
    text : str or None
        Column or template of the text of a row.
    """
    entry = step.entry
    identity = model_identity(entry)
    reader = ExampleReader.create(source, entry, text)
    recipe = {
        **identity,
        "request": {"class": type(step.request).__name__, **asdict(step.request)},
        "messages": reader.messages,
    }
    inputs = {
        **recipe,
        "input": source.text_fingerprint if reader.reads_text else source.fingerprint,
        "rows": source.shards,
    }
    folder = context.folder / FOLDER / step.name
    record = run_step(
        Step(context, FOLDER, step.name, folder, ModelResult),
        inputs,
        lambda key: _work(context, source, step, reader, manifest.fingerprint(recipe), key, str(identity["revision"])),
    )
    output = ModelOutput(
        entry.name,
        step.request,
        folder,
        record.fingerprint,
        manifest.fingerprint(recipe),
        tuple(source.shards),
        reader.reads_text,
    )
    return output, record


def _work(
    context: Context,
    source: Inputs,
    step: ModelStep,
    reader: ExampleReader,
    recipe: str,
    fingerprint: str,
    revision: str,
) -> Outcome[ModelResult]:
    folder, parts = context.folder / FOLDER / step.name, list(divide_shards(source.shards))
    digests = source.digests
    rows_of = [source.fingerprint if not reader.reads_text else digests[part.shard] for part in parts]
    keys = [
        manifest.fingerprint({"recipe": recipe, "rows": rows, "first": part.rows.start, "end": part.rows.stop})
        for rows, part in zip(rows_of, parts, strict=True)
    ]
    changed = [
        part.number
        for part, key in zip(parts, keys, strict=True)
        if not is_current_shard(parquet_io.shard_path(folder, part.number), key)
    ]
    reused = content_reuse.collect(
        context,
        folder,
        recipe,
        fingerprint,
        changed,
        len(parts),
        lambda number: reader.read_hashes(parts[number].shard, parts[number].rows),
    )
    tasks = [
        _Task(step.entry.spec, step.entry.name, step.request, reader, part, folder, key, recipe, reused)
        for part, key in zip(parts, keys, strict=True)
    ]
    begun = time.perf_counter()
    sizes = [part.rows.stop - part.rows.start for part in parts]
    done, failed, peak = context.map(f"running {step.name}", _run_part, tasks, sizes)
    raise_if_failed(failed)
    content_reuse.forget(folder)
    result = ModelResult(
        revision=revision,
        computed=sum(item.computed for item in done),
        tokens=sum(item.tokens for item in done),
        truncated=sum(item.truncated for item in done),
        undefined=sum(item.undefined for item in done),
        reads_text=reader.reads_text,
    )
    if result.computed:
        per_thousand = 1_000 * (time.perf_counter() - begun) / result.computed
        context.progress.note(
            f"model {step.name}: {result.computed:,} of {source.rows:,} rows read, {result.tokens:,} tokens in all "
            f"rows, {per_thousand:.3g} s per 1,000 rows"
        )
    counts = Counter[str]()
    for table in source.iterate_shards(("source",)):
        counts.update(table["source"].to_pylist())
    sources = count_all_kept(dict(sorted(counts.items())))
    return Outcome(sources=sources, shards=len(parts), peak_memory=peak, result=result)


# ---------------------------------------------------------------- one part


@dataclass(frozen=True, slots=True)
class _Task:
    spec: PluginSpec
    name: str
    request: Request
    reader: ExampleReader
    part: Part
    folder: Path
    fingerprint: str
    recipe: str
    reused: Path | None

    @property
    def path(self) -> Path:
        return parquet_io.shard_path(self.folder, self.part.number)


@dataclass(frozen=True, slots=True)
class _Done:
    computed: int
    tokens: int = 0
    truncated: int = 0
    undefined: int = 0


def _run_part(task: _Task) -> _Done:
    if is_current_shard(task.path, task.fingerprint):
        return _count(parquet_io.read(task.path), 0)
    examples = task.reader.read(task.part.shard, task.part.rows)
    codes = hash_examples(examples).dictionary_encode()
    owner = codes.indices.to_numpy()
    first = np.unique(owner, return_index=True)[1]  # a row with each content
    stored = None if task.reused is None else content_reuse.find(task.reused, task.part.number)
    positions = np.full(len(first), -1)
    if stored is not None and len(stored):
        hashes = stored["content_hash"].combine_chunks()
        positions = pc.index_in(codes.dictionary, hashes).fill_null(-1).to_numpy()
    new = np.flatnonzero(positions < 0)
    tables: list[pa.Table] = []
    order = np.empty(len(first), np.intp)
    if len(new):
        outputs = compute_outputs(task.spec, task.name, [examples[row] for row in first[new]], task.request)
        tables.append(_to_table(outputs))
        order[new] = np.arange(len(new))
    if stored is not None and len(new) < len(first):
        old = np.flatnonzero(positions >= 0)
        known = stored.drop_columns("content_hash").take(positions[old])
        tables.append(known.cast(tables[0].schema) if tables else known)
        order[old] = len(new) + np.arange(len(old))
    contents = pa.concat_tables(tables)
    ids = task.reader.source.read(task.part.shard, ["id"])["id"]
    table = contents.take(order[owner])
    table = table.add_column(0, "content_hash", codes.dictionary.take(codes.indices))
    table = table.add_column(
        0, "id", ids.slice(task.part.rows.start, task.part.rows.stop - task.part.rows.start).combine_chunks()
    )
    schema = schemas.model_outputs({name: table[name].type for name in contents.column_names}, task.recipe)
    table = schemas.check(table.select(schema.names), schema, str(task.path))
    parquet_io.write(table, task.path, task.fingerprint, dictionary=False)
    return _count(table, int(np.isin(owner, new).sum()))


def _count(table: pa.Table, computed: int) -> _Done:
    """Count the tokens, the truncated rows, and the rows without an output."""
    undefined = np.zeros(len(table), np.bool_)
    for name, values in to_arrays(table.drop_columns(["id", "content_hash"])).items():
        if values.dtype.kind == "f" and name not in ("quantiles", "first_loss"):
            undefined |= np.isnan(values.reshape(len(table), -1)).any(axis=1)
    counted = {
        name: int(pc.sum(table[name]).as_py() or 0) for name in ("tokens", "truncated") if name in table.schema.names
    }
    return _Done(computed, counted.get("tokens", 0), counted.get("truncated", 0), int(undefined.sum()))


def compute_outputs(spec: PluginSpec, name: str, examples: Sequence[Example], request: Request) -> Outputs:
    """Run a model on examples, and check its outputs.

    Raises
    ------
    PluginError
        The model does not return arrays with a line for each example.
    """
    with plugin_call(spec, name):
        plugin: Model = spec.build()
        outputs: object = plugin.run(examples, request, lambda _: None)
    if not isinstance(outputs, Mapping):
        raise PluginError(f"model {spec.name!r} returned {type(outputs).__name__}, expected a mapping of arrays")
    for column, values in outputs.items():
        if not isinstance(values, np.ndarray) or values.shape[:1] != (len(examples),) or values.ndim > 2:
            got = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
            raise PluginError(f"model {spec.name!r} returned {got} in {column!r}, expected {len(examples)} rows")
    return outputs


def _to_table(outputs: Outputs) -> pa.Table:
    return pa.table({name: _to_arrow(values) for name, values in outputs.items()})


def _to_arrow(values: AnyArray) -> pa.Array:
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])
    return pa.array(values)
