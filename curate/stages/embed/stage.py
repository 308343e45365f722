"""The embed stage: every row's text (or its own vector) to a row of unit length, shard by shard.

Memory: one shard's texts and vectors a worker, and the sample that a fitted embedder learns from.
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
from curate.kernels.types import AnyArray, FittedState
from curate.plugins.interfaces import FidelityEmbedder, FittedEmbedder
from curate.plugins.registry import PluginSpec
from curate.pool import embedding_matrix
from curate.pool.stage_outputs import EmbedOutput
from curate.pool.training_sample import sample_values
from curate.seeds import rng_for
from curate.stages import fitted_state, guardrails
from curate.stages.base import (
    QUARANTINE,
    CompletedStages,
    Context,
    Outcome,
    Stage,
    Step,
    is_current_shard,
    plugin_errors,
    raise_if_failed,
    run_step,
)
from curate.stages.embed import vector_reuse
from curate.store import manifest, npz, parquet_io, schemas
from curate.store.inputs import Inputs
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import EmbedEntry

_SAMPLE = 50_000
"""How many rows a fitted embedder learns from, where it has no field ``sample_size``."""


_FIDELITY_SAMPLE = 5_000
"""How many rows tell how well a fitted embedder still does."""

FITTED = "fitted.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedResult(StageResult):
    """What embedding with one entry leaves in its manifest."""

    rows: tuple[int, ...]
    """Number of rows in each shard."""

    dimensions: int
    recipe: str
    """Fingerprint of how the vectors are made, whatever the pool."""

    encoded: int
    """Number of rows whose vector was made this time."""

    drift: float | None
    """How much less of the rows the fit expresses than when it was made, as a share of that."""

    model: str
    revision: str | None = None


class Embed(Stage["EmbedEntry", EmbedOutput]):
    """Texts to vectors."""

    name = "embed"
    section = "embed"
    result = EmbedResult

    def run(
        self, context: Context, done: CompletedStages, entry: EmbedEntry
    ) -> tuple[EmbedOutput, Record[EmbedResult]]:
        return embed(context, done.pool.inputs, entry)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[EmbedOutput]) -> CompletedStages:
        return replace(done, view=replace(done.pool, embed_outputs=tuple(results)))

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        return guardrails.check_quarantine(context, done.records)

    def remarks(self, record: Record[StageResult]) -> list[str]:
        if not isinstance(result := record.result, EmbedResult):
            return []
        reused = [f"{result.encoded:,} rows embedded, the others' vectors taken over"]
        return reused * (result.encoded < record.count.rows_in) + fitted_state.describe_drift(result.drift)


_READ = {"float32": "", "float16": "/2"}
"""How stored vectors are read, by precision: the end of the fingerprints that later stages see. 2: scaled to unit
length."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the embed section, and what its vectors are made with."""

    context: Context
    source: Inputs
    entry: EmbedEntry
    recipe: Mapping[str, object]
    """Everything but the pool and what is learnt from it."""

    fitted_in: Path | None = None
    """The folder of the entry whose fit is borrowed; None: its own."""

    @property
    def folder(self) -> Path:
        return self.context.folder / "embed" / self.entry.name


def _recipe(context: Context, source: Inputs, entry: EmbedEntry) -> dict[str, object]:
    plugin = entry.spec.plugin()
    with plugin_errors(entry.spec, entry.name):
        revision = entry.spec.build().revision() if plugin.traits.revision else None
    return {
        **entry.fingerprint_parts(),
        "seed": context.config.seed if plugin.traits.fits else None,
        "revision": revision,
        "columns": source.fingerprint if "column" in plugin.traits.reads else None,
    }


def embed(
    context: Context, source: Inputs, entry: EmbedEntry, fitted_in: Path | None = None
) -> tuple[EmbedOutput, Record[EmbedResult]]:
    """Run one entry of the embed section; ``fitted_in``: with what the entry in that folder has learnt, as it is."""
    making = _Entry(context, source, entry, _recipe(context, source, entry), fitted_in)
    fits = entry.spec.plugin().traits.fits
    if fits and fitted_in is not None:
        borrowed = fitted_state.load(fitted_in)
        if borrowed is None:
            raise DataError("the embedder has not been fitted", where=str(fitted_in), hint="run the embed stage first")
        record = _done(making, borrowed.fingerprint)
    elif fits:
        record = fitted_state.run_with_fit(
            context,
            making.folder / FITTED,
            lambda fit: npz.load(making.folder / FITTED, fit.fingerprint) is not None,
            manifest.fingerprint(making.recipe),
            source.text_fingerprint,
            lambda pool: _done(making, pool),
            lambda done: done.drift,
        )
    else:
        record = _done(making, None)
    result, read = record.result, _READ[entry.precision]
    done = EmbedOutput(
        entry.name, making.folder, record.fingerprint + read, result.recipe + read, result.rows, result.dimensions
    )
    return done, record


def _done(making: _Entry, fitted_on: str | None) -> Record[EmbedResult]:
    """The step, with what the embedder learnt from the pool of that fingerprint."""
    recipe = {**making.recipe, "fitted_on": fitted_on}
    source = making.source
    return run_step(
        Step(making.context, "embed", making.entry.name, making.folder, EmbedResult),
        {**recipe, "input": source.text_fingerprint, "rows": source.shards},
        lambda key: _work(making, fitted_on, manifest.fingerprint(recipe), key),
    )


def _work(making: _Entry, fitted_on: str | None, recipe: str, fingerprint: str) -> Outcome[EmbedResult]:
    context, source, entry, folder = making.context, making.source, making.entry, making.folder
    state: fitted_state.StateFile | None = None
    drift: float | None = None
    if fitted_on is not None:
        state, drift = _fitted(making, fitted_on)
    model = {"model": str(dict(entry.spec.fields).get("model", entry.spec.name))}
    if making.recipe["revision"] is not None:
        model["revision"] = str(making.recipe["revision"])
    keys = [manifest.fingerprint({"recipe": recipe, "rows": digest}) for digest in source.digests]
    changed = [
        number for number, key in enumerate(keys) if not is_current_shard(parquet_io.shard_path(folder, number), key)
    ]
    reads_text = _wanted(entry.spec)[0] == "text"
    reused = vector_reuse.collect(context, source, folder, recipe, fingerprint, changed) if reads_text else None
    told = tuple({**model, "recipe": recipe}.items())
    tasks = [
        _Task(entry.spec, entry.precision, source, number, state, reused, folder, key, told)
        for number, key in enumerate(keys)
    ]
    done, failed, peak = context.map(f"embedding with {entry.name}", _encode, tasks, source.shards)
    raise_if_failed(failed)
    dimensions = {item.dimensions for item in done if item.dimensions}
    if len(dimensions) != 1:
        what = f"of different lengths: {sorted(dimensions)}" if dimensions else "none: every row was set aside"
        raise DataError(f"embed {entry.name}: vectors {what}", hint=f"see {folder / QUARANTINE} for the reasons")
    vector_reuse.forget(folder)
    seen = sum((item.seen for item in done), Counter[str]())
    bad = sum((item.bad for item in done), Counter[str]())
    encoded = sum(item.encoded for item in done)
    if encoded < source.rows:
        context.progress.note(
            f"embed {entry.name}: {encoded:,} of {source.rows:,} rows embedded, the others taken over"
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


def _fitted(making: _Entry, fitted_on: str) -> tuple[fitted_state.StateFile, float | None]:
    """What the embedder learnt from the pool of that fingerprint, today's if it is no other; and its drift since."""
    if making.fitted_in is not None:
        return fitted_state.StateFile(making.fitted_in / FITTED, fitted_on), None
    folder = making.folder
    recipe, pool = manifest.fingerprint(making.recipe), making.source.text_fingerprint
    state = fitted_state.StateFile(folder / FITTED, fitted_state.fingerprint(recipe, fitted_on))
    fit = fitted_state.load(folder)
    learnt = npz.load(state.path, state.fingerprint)
    if learnt is None or fit is None or fit.fingerprint != state.fingerprint:
        paths.unlink(folder / fitted_state.NAME, missing_ok=True)
        if learnt is None:
            learnt = _fit(making, state)
        fit = fitted_state.Fit(recipe=recipe, pool=pool, fidelity=_fidelity(making, learnt))
        fitted_state.save(folder, fit)
        return state, 0.0
    if fitted_on == pool:
        return state, 0.0
    return state, fitted_state.compute_drift(fit, _fidelity(making, learnt))


def _fit(making: _Entry, state: fitted_state.StateFile) -> FittedState:
    """Let the embedder learn from a seeded sample of the pool and save what it learnt."""
    entry = making.entry
    plugin: FittedEmbedder = entry.spec.build()
    rng = rng_for(making.context.config.seed, f"embed/{entry.name}")
    size = dict(entry.spec.fields).get("sample_size", _SAMPLE)
    texts = _sample(making, f"fitting {entry.name}", size, rng)
    with plugin_errors(entry.spec, entry.name):
        learnt = plugin.fit(texts, rng)
    npz.save(state.path, state.fingerprint, learnt)
    return learnt


def _fidelity(making: _Entry, learnt: FittedState) -> float | None:
    """The mean share of a row that the fitted embedder expresses, over a seeded sample; None if it cannot tell."""
    entry = making.entry
    if not entry.spec.plugin().traits.fidelity:
        return None
    with plugin_errors(entry.spec, entry.name):
        fitted: FidelityEmbedder = entry.spec.build().restore(learnt)
    rng = rng_for(making.context.config.seed, f"fidelity/{entry.name}")
    texts = _sample(making, f"measuring the drift of {entry.name}", _FIDELITY_SAMPLE, rng)
    with plugin_errors(entry.spec, entry.name):
        return float(np.mean(fitted.fidelity(texts), dtype=np.float64))


def _sample(making: _Entry, what: str, size: int, rng: np.random.Generator) -> list[str] | pa.ChunkedArray:
    """A seeded sample of the pool's rows, in their order: texts, or the values of the column the embedder reads."""
    role, column = _wanted(making.entry.spec)
    return sample_values(making.context.progress, making.source, what, size, rng, role, column or "")


def _wanted(spec: PluginSpec) -> tuple[str | None, str | None]:
    """The role or the column that the embedder reads."""
    if "column" not in spec.plugin().traits.reads:
        return "text", None
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


@dataclass(frozen=True, slots=True)
class _Done:
    rows: int
    encoded: int
    """Rows whose vector was made just now."""

    dimensions: int
    seen: Counter[str]
    bad: Counter[str]


def _encode(task: _Task) -> _Done:
    path = parquet_io.shard_path(task.folder, task.shard)
    aside = parquet_io.shard_path(task.folder / QUARANTINE, task.shard)
    table = task.source.read(task.shard, ["id", "hash", "source"])
    origin = table["source"].to_pylist()
    if is_current_shard(path, task.fingerprint):
        kept = parquet_io.read(path, ["id"])["id"]
        lost = np.flatnonzero(pc.invert(pc.is_in(table["id"], kept)).to_numpy(zero_copy_only=False))
        width = parquet_io.read_schema(path).field("embedding").type.list_size
        if not len(lost) or is_current_shard(aside, task.fingerprint):
            return _Done(len(kept), 0, width, Counter(origin), Counter(origin[row] for row in lost))
    role, column = _wanted(task.spec)
    units, reasons, encoded = _of_texts(task, table["hash"]) if role == "text" else _of_column(task, role, column)
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
        where = task.source.read(task.shard, ["file", "line", "text"]).take(rows).to_pylist()
        entries = [
            {
                "id": table["id"][row].as_py(),
                "source": origin[row],
                "file": task.source.files[place["file"]],
                "line": place["line"],
                "reason": reasons[row],
                "record": place["text"],
            }
            for row, place in zip(rows, where, strict=True)
        ]
        parquet_io.write(pa.Table.from_pylist(entries, schemas.QUARANTINE), aside, task.fingerprint, compression="zstd")
    else:
        paths.unlink(aside, missing_ok=True)
    parquet_io.write(schemas.check(shard, schema, str(path)), path, task.fingerprint)
    return _Done(len(keep), encoded, units.shape[1], Counter(origin), Counter(origin[row] for row in reasons))


def _of_column(task: _Task, role: str | None, column: str | None) -> tuple[AnyArray, dict[int, str], int]:
    """Return the vectors of the shard's rows that a column holds, and what is wrong with some of them.

    Returns
    -------
    units : ndarray
        (m, d) as they are stored.
    wrong : dict
        Reasons, by row.
    encoded : int
        Number of rows.
    """
    values = task.source.read(task.shard, [role] if role else [], [column] if column else [])[0]
    units, wrong = _encoded(task, values)
    ragged: dict[int, str] = {}
    if not pa.types.is_fixed_size_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), -1).to_numpy()
        for row in np.flatnonzero(lengths != units.shape[1]):
            reason = f"its vector has {lengths[row]} values, the others {units.shape[1]}"
            ragged[int(row)] = "it has no vector" if lengths[row] < 0 else reason
    return units, wrong | ragged, len(values)


def _of_texts(task: _Task, hashes: pa.ChunkedArray) -> tuple[AnyArray, dict[int, str], int]:
    """Return the vectors of the shard's rows, and what is wrong with some of them; each text is encoded once.

    Texts that have a vector from an earlier run keep it.

    Returns
    -------
    units : ndarray
        (m, d) as they are stored.
    wrong : dict
        Reasons, by row.
    encoded : int
        Number of rows whose text was encoded now.
    """
    codes = hashes.combine_chunks().dictionary_encode()
    owner = codes.indices.to_numpy()
    first = np.unique(owner, return_index=True)[1]  # a row that has each text
    reused = None if task.reused is None else vector_reuse.find(task.reused, task.shard)
    place = np.full(len(first), -1)
    if reused is not None and len(reused):
        place = pc.index_in(codes.dictionary, reused["content_hash"].combine_chunks()).fill_null(-1).to_numpy()
    new = np.flatnonzero(place < 0)
    wrong: dict[int, str] = {}
    if len(new):
        texts = task.source.read(task.shard, ["text"])["text"].take(first[new]).to_pylist()
        units, reasons = _encoded(task, texts)
        wrong = {int(new[text]): reason for text, reason in reasons.items()}
    if reused is not None and len(new) < len(first):
        known = embedding_matrix.to_stored_matrix(reused["embedding"])[place]
        if len(new):
            known[new] = units
        units = known
    bad = {int(row): wrong[owner[row]] for row in np.flatnonzero(np.isin(owner, list(wrong)))}
    return units[owner], bad, int(np.isin(owner, new).sum())


def _encoded(task: _Task, values: Sequence[str] | pa.ChunkedArray) -> tuple[AnyArray, dict[int, str]]:
    """Encode texts or the values of a column, to rows of unit length; return them as stored, and what is wrong."""
    with plugin_errors(task.spec, task.spec.name):
        vectors: object = fitted_state.build_fitted(task.spec, task.state).encode(values)
    rows = len(values)
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or len(vectors) != rows or vectors.dtype != np.float32:
        got = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise PluginError(f"embedder {task.spec.name!r} gave {got}; expected float32 ({rows}, d)")
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = {int(row): "its embedding holds NaN or infinity" for row in np.flatnonzero(~np.isfinite(norms))}
    wrong |= {int(row): "its embedding is all zero" for row in np.flatnonzero(norms == 0)}
    with np.errstate(invalid="ignore", over="ignore"):
        units = (vectors / np.where(norms == 0, 1, norms)[:, None]).astype(np.float32)
    return units.astype(np.float16 if task.precision == "float16" else np.float32, copy=False), wrong
