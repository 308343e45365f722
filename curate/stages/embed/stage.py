"""Embed stage: convert the text (or the image, or the vector) of every row to a vector of unit length, shard by shard.

Memory: the texts and vectors of one shard per worker, and the sample that an embedder is fitted to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.accounting import Count
from curate.errors import DataError, PluginError
from curate.kernels.types import AnyArray, FittedState, Images, Rows
from curate.plugins.interfaces import FidelityEmbedder, FittedEmbedder, modality
from curate.plugins.language_models import Outputs
from curate.plugins.registry import PluginSpec
from curate.pool import embedding_matrix
from curate.pool.model_outputs import ModelOutput, find_output, to_arrays
from curate.pool.stage_outputs import EmbedOutput
from curate.pool.training_sample import sample_values
from curate.seeds import rng_for
from curate.stages import content_reuse, fitted_state, guardrails
from curate.stages.base import (
    QUARANTINE,
    CompletedStages,
    Context,
    Outcome,
    Stage,
    Step,
    is_current_shard,
    plugin_call,
    plugin_errors,
    raise_if_failed,
    run_step,
)
from curate.stages.model.stage import embedder_requests, embedder_steps, run_request
from curate.store import manifest, npz, parquet_io, schemas
from curate.store.inputs import Inputs
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import EmbedEntry

_SAMPLE = 50_000
"""Number of rows that an embedder is fitted to, if it has no field ``sample_size``."""


_FIDELITY_SAMPLE = 5_000
"""Number of rows on which the fidelity of a fitted embedder is measured."""

FITTED = "fitted.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedResult(StageResult):
    """Result of one entry of the embed stage, as stored in its manifest."""

    rows: tuple[int, ...]
    """Number of rows in each shard."""

    dimensions: int
    recipe: str
    """Fingerprint of the settings that produce the vectors, independent of the pool."""

    encoded: int
    """Number of rows that were embedded in this run, not reused."""

    drift: float | None
    """Relative decrease of the fidelity since the embedder was fitted."""

    model: str
    revision: str | None = None


class Embed(Stage["EmbedEntry", EmbedOutput]):
    """Stage that converts texts to vectors."""

    name = "embed"
    section = "embed"
    result = EmbedResult

    def run(
        self, context: Context, done: CompletedStages, entry: EmbedEntry
    ) -> tuple[EmbedOutput, Record[EmbedResult]]:
        return embed(context, done.pool.inputs, entry, done.pool.model_outputs)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[EmbedOutput]) -> CompletedStages:
        return replace(done, view=replace(done.pool, embed_outputs=tuple(results)))

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        return guardrails.check_quarantine(context, done.records)

    def remarks(self, record: Record[StageResult]) -> list[str]:
        if not isinstance(result := record.result, EmbedResult):
            return []
        reused = [f"{result.encoded:,} rows embedded, the vectors of the others reused"]
        return reused * (result.encoded < record.count.rows_in) + fitted_state.describe_drift(result.drift)


_READ = {"float32": "", "float16": "/2"}
"""Suffix of the fingerprints that later stages use, by precision. ``/2``: vectors are scaled to unit length when they
are read."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """Entry of the embed section, with the inputs of its vectors."""

    context: Context
    source: Inputs
    entry: EmbedEntry
    recipe: Mapping[str, object]
    """Everything that determines the vectors, except the pool and the fit to it."""

    fit_folder: Path | None = None
    """Folder of another entry whose fit is used; None for its own fit."""

    outputs: tuple[ModelOutput, ...] = ()
    """Outputs of language models that the embedder reads."""

    @property
    def folder(self) -> Path:
        return self.context.folder / "embed" / self.entry.name


def _recipe(context: Context, source: Inputs, entry: EmbedEntry, outputs: Sequence[ModelOutput]) -> dict[str, object]:
    plugin = entry.spec.plugin()
    reads_columns = "column" in plugin.traits.reads or any(not output.reads_text for output in outputs)
    with plugin_errors(entry.spec, entry.name):
        revision = entry.spec.build().revision() if plugin.traits.revision else None
    return {
        **entry.fingerprint_parts(),
        "seed": context.config.seed if plugin.traits.fits else None,
        "revision": revision,
        "columns": source.fingerprint if reads_columns else None,
        **({"outputs": [output.recipe for output in outputs]} if outputs else {}),
    }


def embed(
    context: Context,
    source: Inputs,
    entry: EmbedEntry,
    model_outputs: Sequence[ModelOutput] = (),
    *,
    fit_folder: Path | None = None,
    target: bool = False,
) -> tuple[EmbedOutput, Record[EmbedResult]]:
    """Run one entry of the embed section.

    Parameters
    ----------
    context : Context
        Context of the run.
    source : Inputs
        Input shards.
    entry : EmbedEntry
        Entry to run.
    model_outputs : sequence of ModelOutput
        Outputs of language models, among them those that the embedder reads.
    fit_folder : Path, optional
        Folder of another entry whose fit is used unchanged.
    target : bool
        Whether the rows are those of the target.
    """
    requests = embedder_requests(entry, target=target)
    outputs = tuple(find_output(model_outputs, request) for request in requests)
    work = _Entry(context, source, entry, _recipe(context, source, entry, outputs), fit_folder, outputs)
    fits = entry.spec.plugin().traits.fits
    if fits and fit_folder is not None:
        other_fit = fitted_state.load(fit_folder)
        if other_fit is None:
            message = "the embedder has not been fitted"
            raise DataError(message, where=str(fit_folder), hint="run the embed stage first")
        record = _run(work, other_fit.fingerprint)
    elif fits:
        record = fitted_state.run_with_fit(
            context,
            work.folder / FITTED,
            lambda fit: npz.load(work.folder / FITTED, fit.fingerprint) is not None,
            manifest.fingerprint(work.recipe),
            source.text_fingerprint,
            lambda pool: _run(work, pool),
            lambda result: result.drift,
        )
    else:
        record = _run(work, None)
    result, read = record.result, _READ[entry.precision]
    done = EmbedOutput(
        entry.name, work.folder, record.fingerprint + read, result.recipe + read, result.rows, result.dimensions
    )
    return done, record


def embed_other_rows(
    context: Context, source: Inputs, entry: EmbedEntry, run: Path, *, target: bool = False
) -> tuple[EmbedOutput, Record[EmbedResult]]:
    """Embed rows that are not in the pool of a run as those of the pool: with its fit, and the same language models.

    Parameters
    ----------
    context : Context
        Context of the nested run with the rows.
    source : Inputs
        Input shards of the rows.
    entry : EmbedEntry
        Entry to run.
    run : Path
        Run directory of the pool.
    target : bool
        Whether the rows are those of the target.
    """
    steps = embedder_steps(context.config, entry, target=target)
    outputs = [run_request(context, source, step, context.config.input.text)[0] for step in steps]
    return embed(context, source, entry, outputs, fit_folder=run / "embed" / entry.name, target=target)


def _run(work: _Entry, fitted_on: str | None) -> Record[EmbedResult]:
    """Run the step with the embedder fitted to the pool with this fingerprint."""
    recipe = {**work.recipe, "fitted_on": fitted_on}
    source = work.source
    return run_step(
        Step(work.context, "embed", work.entry.name, work.folder, EmbedResult),
        {**recipe, "input": source.text_fingerprint, "rows": source.shards},
        lambda key: _work(work, fitted_on, manifest.fingerprint(recipe), key),
    )


def _work(work: _Entry, fitted_on: str | None, recipe: str, fingerprint: str) -> Outcome[EmbedResult]:
    context, source, entry, folder = work.context, work.source, work.entry, work.folder
    state: fitted_state.StateFile | None = None
    drift: float | None = None
    if fitted_on is not None:
        state, drift = _load_or_fit(work, fitted_on)
    model = {"model": str(dict(entry.spec.fields).get("model", entry.spec.name))}
    if work.recipe["revision"] is not None:
        model["revision"] = str(work.recipe["revision"])
    keys = [manifest.fingerprint({"recipe": recipe, "rows": digest}) for digest in source.digests]
    changed = [
        number for number, key in enumerate(keys) if not is_current_shard(parquet_io.shard_path(folder, number), key)
    ]
    reads_content = _input_column(entry.spec)[0] in ("text", "image")
    reused = None
    if reads_content:
        reused = content_reuse.collect(
            context,
            folder,
            recipe,
            fingerprint,
            changed,
            len(keys),
            lambda shard: source.read(shard, ["hash"])["hash"],
        )
    metadata = tuple({**model, "recipe": recipe}.items())
    tasks = [
        _Task(entry.spec, entry.precision, source, number, state, reused, folder, key, metadata, work.outputs)
        for number, key in enumerate(keys)
    ]
    done, failed, peak = context.map(f"embedding with {entry.name}", _embed_shard, tasks, source.shards)
    raise_if_failed(failed)
    dimensions = {item.dimensions for item in done if item.dimensions}
    if len(dimensions) != 1:
        problem = f"vectors have different lengths: {sorted(dimensions)}" if dimensions else "every row was quarantined"
        raise DataError(f"embed {entry.name}: {problem}", hint=f"see the reasons in {folder / QUARANTINE}")
    content_reuse.forget(folder)
    seen = sum((item.seen for item in done), Counter[str]())
    bad = sum((item.bad for item in done), Counter[str]())
    encoded = sum(item.encoded for item in done)
    if encoded < source.rows:
        context.progress.note(
            f"embed {entry.name}: {encoded:,} of {source.rows:,} rows embedded, the vectors of the others reused"
        )
    result = EmbedResult(
        rows=tuple(item.rows for item in done),
        dimensions=dimensions.pop(),
        recipe=recipe,
        encoded=encoded,
        drift=drift,
        model=model["model"],
        revision=model.get("revision"),
    )
    sources = {name: Count(rows_in=n, kept=n - bad[name], quarantined=bad[name]) for name, n in sorted(seen.items())}
    return Outcome(sources=sources, shards=len(done), peak_memory=peak, result=result)


# ---------------------------------------------------------------- fitting


def _load_or_fit(work: _Entry, fitted_on: str) -> tuple[fitted_state.StateFile, float | None]:
    """Return the embedder's fit to the pool with this fingerprint, fitting it if needed, and its drift."""
    if work.fit_folder is not None:
        return fitted_state.StateFile(work.fit_folder / FITTED, fitted_on), None
    folder = work.folder
    recipe, pool = manifest.fingerprint(work.recipe), work.source.text_fingerprint
    state = fitted_state.StateFile(folder / FITTED, fitted_state.fingerprint(recipe, fitted_on))
    fit = fitted_state.load(folder)
    fitted = npz.load(state.path, state.fingerprint)
    if fitted is None or fit is None or fit.fingerprint != state.fingerprint:
        paths.unlink(folder / fitted_state.NAME, missing_ok=True)
        if fitted is None:
            fitted = _fit(work, state)
        fit = fitted_state.Fit(recipe=recipe, pool=pool, fidelity=_measure_fidelity(work, fitted))
        fitted_state.save(folder, fit)
        return state, 0.0
    if fitted_on == pool:
        return state, 0.0
    return state, fitted_state.compute_drift(fit, _measure_fidelity(work, fitted))


def _fit(work: _Entry, state: fitted_state.StateFile) -> FittedState:
    """Fit the embedder to a seeded sample of the pool, and save the fitted state."""
    entry = work.entry
    plugin: FittedEmbedder = entry.spec.build()
    rng = rng_for(work.context.config.seed, f"embed/{entry.name}")
    size = dict(entry.spec.fields).get("sample_size", _SAMPLE)
    texts = _sample(work, f"fitting {entry.name}", size, rng)
    with plugin_call(entry.spec, entry.name):
        fitted = plugin.fit(texts, rng)
    npz.save(state.path, state.fingerprint, fitted)
    return fitted


def _measure_fidelity(work: _Entry, fitted: FittedState) -> float | None:
    """Return the mean fidelity of the fitted embedder on a seeded sample; None if it does not measure fidelity."""
    entry = work.entry
    if not entry.spec.plugin().traits.fidelity:
        return None
    with plugin_call(entry.spec, entry.name):
        encoder: FidelityEmbedder = entry.spec.build().restore(fitted)
    rng = rng_for(work.context.config.seed, f"fidelity/{entry.name}")
    texts = _sample(work, f"measuring the drift of {entry.name}", _FIDELITY_SAMPLE, rng)
    with plugin_call(entry.spec, entry.name):
        return float(np.mean(encoder.fidelity(texts), dtype=np.float64))


def _sample(work: _Entry, what: str, size: int, rng: np.random.Generator) -> list[str] | pa.ChunkedArray:
    """Return a seeded sample of rows in their order: texts, or values of the column that the embedder reads."""
    role, column = _input_column(work.entry.spec)
    return sample_values(work.context.progress, work.source, what, size, rng, role, column or "")


def _input_column(spec: PluginSpec) -> tuple[str | None, str | None]:
    """Return the role or the column that the embedder reads."""
    reads = spec.plugin().traits.reads
    if "model" in reads:
        return None, None
    if "column" not in reads:
        return (modality(spec.build()) if len(reads) > 1 else next(iter(reads))), None
    column = spec.build().column
    return (None, column) if column is not None else ("vector", None)


# ---------------------------------------------------------------- one shard


@dataclass(frozen=True, slots=True)
class _Task:
    spec: PluginSpec
    precision: str
    source: Inputs
    shard: int
    state: fitted_state.StateFile | None
    reused: Path | None
    folder: Path
    fingerprint: str
    model: tuple[tuple[str, str], ...]
    outputs: tuple[ModelOutput, ...]


@dataclass(frozen=True, slots=True)
class _Done:
    rows: int
    encoded: int
    """Number of rows that were embedded now, not reused."""

    dimensions: int
    seen: Counter[str]
    bad: Counter[str]


def _embed_shard(task: _Task) -> _Done:
    path = parquet_io.shard_path(task.folder, task.shard)
    quarantine_path = parquet_io.shard_path(task.folder / QUARANTINE, task.shard)
    table = task.source.read(task.shard, ["id", "hash", "source"])
    origin = table["source"].to_pylist()
    if is_current_shard(path, task.fingerprint):
        kept = parquet_io.read(path, ["id"])["id"]
        lost = np.flatnonzero(pc.invert(pc.is_in(table["id"], kept)).to_numpy(zero_copy_only=False))
        width = parquet_io.read_schema(path).field("embedding").type.list_size
        if not len(lost) or is_current_shard(quarantine_path, task.fingerprint):
            return _Done(len(kept), 0, width, Counter(origin), Counter(origin[row] for row in lost))
    role, column = _input_column(task.spec)
    if task.outputs:
        outputs = tuple(to_arrays(output.read(task.shard)) for output in task.outputs)
        units, reasons = _encode_values(task, outputs, len(table))
        encoded = len(table)
    elif role in ("text", "image"):
        units, reasons, encoded = _encode_contents(task, role, table["hash"])
    else:
        units, reasons, encoded = _encode_column(task, role, column)
    keep = np.setdiff1d(np.arange(len(table)), np.fromiter(reasons, int, len(reasons)))
    schema = schemas.embed(units.shape[1], task.precision, dict(task.model))
    flat = units[keep].ravel() if reasons else units.ravel()
    shard = pa.table(
        [
            table["id"].take(keep),
            table["hash"].take(keep),
            pa.FixedSizeListArray.from_arrays(pa.array(flat), units.shape[1]),
        ],
        names=schema.names,
    )
    if reasons:
        rows = sorted(reasons)
        locations = task.source.read(task.shard, ["file", "line", "text"]).take(rows).to_pylist()
        entries = [
            {
                "id": table["id"][row].as_py(),
                "source": origin[row],
                "file": task.source.files[location["file"]],
                "line": location["line"],
                "reason": reasons[row],
                "record": location["text"],
            }
            for row, location in zip(rows, locations, strict=True)
        ]
        parquet_io.write(
            pa.Table.from_pylist(entries, schemas.QUARANTINE), quarantine_path, task.fingerprint, compression="zstd"
        )
    else:
        paths.unlink(quarantine_path, missing_ok=True)
    table = schemas.check(shard, schema, str(path))
    parquet_io.write(table, path, task.fingerprint, dictionary=False)  # read five times faster than with a dictionary
    return _Done(len(keep), encoded, units.shape[1], Counter(origin), Counter(origin[row] for row in reasons))


def _encode_column(task: _Task, role: str | None, column: str | None) -> tuple[AnyArray, dict[int, str], int]:
    """Return the vectors of the shard's rows from a column, and the reasons for quarantined rows.

    Returns
    -------
    units : ndarray
        Vectors as they are stored, shape (m, d).
    wrong : dict
        Reasons for quarantined rows, by row.
    encoded : int
        Number of rows.
    """
    values = task.source.read(task.shard, [role] if role else [], [column] if column else [])[0]
    units, wrong = _encode_values(task, values, len(values))
    ragged: dict[int, str] = {}
    if not pa.types.is_fixed_size_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), -1).to_numpy()
        for row in np.flatnonzero(lengths != units.shape[1]):
            reason = f"its vector has {lengths[row]} values, the others have {units.shape[1]}"
            ragged[int(row)] = "it has no vector" if lengths[row] < 0 else reason
    return units, wrong | ragged, len(values)


def _encode_contents(task: _Task, role: str, hashes: pa.ChunkedArray) -> tuple[AnyArray, dict[int, str], int]:
    """Return the vectors of the shard's rows, and the reasons for quarantined rows; each text is encoded once.

    Vectors from an earlier run are reused.

    Returns
    -------
    units : ndarray
        Vectors as they are stored, shape (m, d).
    wrong : dict
        Reasons for quarantined rows, by row.
    encoded : int
        Number of rows whose text was encoded now.
    """
    codes = hashes.combine_chunks().dictionary_encode()
    owner = codes.indices.to_numpy()
    first = np.unique(owner, return_index=True)[1]  # a row that has each text
    reused = None if task.reused is None else content_reuse.find(task.reused, task.shard)
    positions = np.full(len(first), -1)
    if reused is not None and len(reused):
        positions = pc.index_in(codes.dictionary, reused["content_hash"].combine_chunks()).fill_null(-1).to_numpy()
    new = np.flatnonzero(positions < 0)
    wrong: dict[int, str] = {}
    if len(new):
        units, reasons = _encode_values(task, _read_contents(task, role, first[new]), len(new))
        wrong = {int(new[text]): reason for text, reason in reasons.items()}
    if reused is not None and len(new) < len(first):
        vectors = embedding_matrix.to_stored_matrix(reused["embedding"])[positions]
        if len(new):
            vectors[new] = units
        units = vectors
    bad = {int(row): wrong[owner[row]] for row in np.flatnonzero(np.isin(owner, list(wrong)))}
    return units[owner], bad, int(np.isin(owner, new).sum())


def _read_contents(task: _Task, role: str, rows: Rows) -> list[str] | Images:
    """Return the texts or images of some rows of the shard."""
    if role == "image":
        return task.source.read_images(task.shard).take(rows)
    texts: list[str] = task.source.read(task.shard, ["text"])["text"].take(rows).to_pylist()
    return texts


def _encode_values(
    task: _Task, values: Sequence[str] | Images | pa.ChunkedArray | tuple[Outputs, ...], rows: int
) -> tuple[AnyArray, dict[int, str]]:
    """Encode the values of some rows to unit vectors; return them as stored, and the reasons for quarantined rows."""
    with plugin_call(task.spec, task.spec.name):
        vectors: object = fitted_state.build_fitted(task.spec, task.state).encode(values)
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or len(vectors) != rows or vectors.dtype != np.float32:
        got = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise PluginError(f"embedder {task.spec.name!r} returned {got}, expected float32 ({rows}, d)")
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = {int(row): "its embedding has NaN or infinite values" for row in np.flatnonzero(~np.isfinite(norms))}
    wrong |= {int(row): "its embedding is all zero" for row in np.flatnonzero(norms == 0)}
    with np.errstate(invalid="ignore", over="ignore"):
        units = (vectors / np.where(norms == 0, 1, norms)[:, None]).astype(np.float32)
    return units.astype(np.float16 if task.precision == "float16" else np.float32, copy=False), wrong
