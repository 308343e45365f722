"""The embed stage: every row's text (or its own vector) to a row of unit length, shard by shard.

Memory: one shard's texts and vectors a worker, and the sample that a fitted embedder learns from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import DataError, PluginError
from curate.plugins.pool import Matrix
from curate.plugins.registry import Spec
from curate.seeds import rng_for
from curate.stages.context import Context
from curate.stages.step import QUARANTINE, Outcome, current, refuse_failed, running, step
from curate.store import schemas, shards
from curate.store.inputs import Inputs
from curate.store.manifest import Count, Record

if TYPE_CHECKING:
    from curate.settings.model import EmbedEntry

_SAMPLE = 50_000
"""How many rows a fitted embedder learns from, where it has no field ``sample_size``."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A handle on one entry's shards."""

    name: str
    folder: Path
    fingerprint: str
    rows: tuple[int, ...]
    """The rows of each shard: those of the input shard less those set aside."""

    dimensions: int

    @property
    def paths(self) -> list[Path]:
        return [shards.part(self.folder, number) for number in range(len(self.rows))]


def parts(context: Context, source: Inputs, entry: EmbedEntry) -> dict[str, Any]:
    """What an entry's shards are made from."""
    plugin = entry.spec.plugin()
    reads_column = "column" in plugin.traits.reads
    built: Any = entry.spec.build()
    with running(entry.spec, entry.name):
        revision = built.revision() if hasattr(built, "revision") else None
    return {
        **entry.fingerprint_parts(),
        "seed": context.config.seed if hasattr(built, "fit") else None,
        "revision": revision,
        "input": source.fingerprint if reads_column else source.text_fingerprint,
        "rows": source.shards,
    }


def embed(context: Context, source: Inputs, entry: EmbedEntry) -> tuple[Embedded, Record]:
    """Run one entry of the embed section."""
    folder = context.folder / "embed" / entry.name
    made_from = parts(context, source, entry)
    record = step(
        context, "embed", entry.name, folder, made_from, lambda key: _work(context, source, entry, folder, key)
    )
    facts = record.facts
    return Embedded(entry.name, folder, record.fingerprint, tuple(facts["rows"]), facts["dimensions"]), record


def _work(context: Context, source: Inputs, entry: EmbedEntry, folder: Path, fingerprint: str) -> Outcome:
    plugin: Any = entry.spec.build()
    state: Path | None = None
    if hasattr(plugin, "fit"):
        state = folder / "fitted.npz"
        _fit(context, source, entry, plugin, state, fingerprint)
    model = {"model": str(getattr(plugin, "model", entry.spec.name))}
    if hasattr(plugin, "revision"):
        with running(entry.spec, entry.name):
            model["revision"] = plugin.revision()
    tasks = [
        _Task(entry.spec, entry.precision, source, number, state, folder, fingerprint, tuple(model.items()))
        for number in range(len(source.shards))
    ]
    done, failed, peak = context.map(f"embedding with {entry.name}", _encode, tasks, source.shards)
    refuse_failed(failed)
    dimensions = {item.dimensions for item in done if item.dimensions}
    if len(dimensions) != 1:
        what = f"of different lengths: {sorted(dimensions)}" if dimensions else "none: every row was set aside"
        raise DataError(f"embed {entry.name}: vectors {what}", hint=f"see {folder / QUARANTINE} for the reasons")
    seen = sum((item.seen for item in done), Counter[str]())
    bad = sum((item.bad for item in done), Counter[str]())
    sources = {name: Count(rows_in=n, kept=n - bad[name], quarantined=bad[name]) for name, n in sorted(seen.items())}
    facts = {"rows": [item.rows for item in done], "dimensions": dimensions.pop(), **model}
    return Outcome(sources=sources, shards=len(done), peak_memory=peak, facts=facts)


# ---------------------------------------------------------------- fitting


def _fit(context: Context, source: Inputs, entry: EmbedEntry, plugin: Any, state: Path, fingerprint: str) -> None:
    """Let the embedder learn from a seeded sample of the pool and save what it learnt."""
    if state.exists() and _state(state, fingerprint) is not None:
        return
    size = min(getattr(plugin, "sample_size", _SAMPLE), source.rows)
    rng = rng_for(context.config.seed, f"embed/{entry.name}")
    chosen = np.sort(rng.choice(source.rows, size, replace=False))
    role, column = _wanted(plugin, entry.spec)
    context.progress.begin(f"fitting {entry.name} on {size:,} rows", size)
    sample: list[pa.Array] = []
    start = 0
    for number, rows in enumerate(source.shards):
        mine = chosen[(chosen >= start) & (chosen < start + rows)] - start
        if len(mine):
            table = source.read(number, [role] if role else [], [column] if column else [])
            sample.append(table[0].take(mine))
            context.progress.advance(len(mine))
        start += rows
    values = pa.chunked_array([chunk for item in sample for chunk in item.chunks])
    with running(entry.spec, entry.name):
        learnt: dict[str, Any] = plugin.fit(values.to_pylist() if role == "text" else values, rng)
    with shards.atomic(state) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **learnt, curate_fingerprint=np.array(fingerprint))


def _state(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """What a fitted embedder learnt; None if the file is not whole or was made from something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError):
        return None
    return arrays if str(arrays.pop("curate_fingerprint", "")) == fingerprint else None


@lru_cache(maxsize=2)
def _encoder(spec: Spec, state: Path | None, fingerprint: str) -> Any:
    """The embedder, built once a process."""
    plugin = spec.build()
    if state is None:
        return plugin
    learnt = _state(state, fingerprint)
    if learnt is None:
        raise DataError("the fitted embedder is not whole", where=str(state), hint="run the embed stage again")
    with running(spec, spec.name):
        return plugin.fitted(learnt)


def _wanted(plugin: Any, spec: Spec) -> tuple[str | None, str | None]:
    """The role or the column that the embedder reads."""
    if "column" not in spec.plugin().traits.reads:
        return "text", None
    return (None, plugin.column) if plugin.column is not None else ("vector", None)


# ---------------------------------------------------------------- one shard


@dataclass(frozen=True, slots=True)
class _Task:
    spec: Spec
    precision: str
    source: Inputs
    shard: int
    state: Path | None
    folder: Path
    fingerprint: str
    model: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Done:
    rows: int
    dimensions: int
    seen: Counter[str]
    bad: Counter[str]


def _encode(task: _Task) -> _Done:
    path = shards.part(task.folder, task.shard)
    aside = shards.part(task.folder / QUARANTINE, task.shard)
    table = task.source.read(task.shard, ["id", "hash", "source"])
    origin = table["source"].to_pylist()
    if current(path, task.fingerprint):
        kept = shards.read(path, ["id"])["id"]
        lost = np.flatnonzero(pc.invert(pc.is_in(table["id"], kept)).to_numpy(zero_copy_only=False))
        width = shards.schema(path).field("embedding").type.list_size
        return _Done(len(kept), width, Counter(origin), Counter(origin[row] for row in lost))
    vectors, reasons = _vectors(task, table["hash"])
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    for row in np.flatnonzero(~np.isfinite(norms)):
        reasons.setdefault(int(row), "its embedding holds NaN or infinity")
    for row in np.flatnonzero(norms == 0):
        reasons.setdefault(int(row), "its embedding is all zero")
    keep = np.setdiff1d(np.arange(len(table)), np.fromiter(reasons, int, len(reasons)))
    unit = (vectors[keep] / norms[keep, None]).astype(np.float32)
    schema = schemas.embed(vectors.shape[1], task.precision, dict(task.model))
    flat = unit.ravel().astype(np.float16 if task.precision == "float16" else np.float32)
    shard = pa.table(
        [
            table["id"].take(keep),
            table["hash"].take(keep),
            pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1]),
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
        shards.write(pa.Table.from_pylist(entries, schemas.QUARANTINE), aside, task.fingerprint, compression="zstd")
    else:
        aside.unlink(missing_ok=True)
    shards.write(schemas.check(shard, schema, str(path)), path, task.fingerprint)
    return _Done(len(keep), vectors.shape[1], Counter(origin), Counter(origin[row] for row in reasons))


def _vectors(task: _Task, hashes: pa.ChunkedArray) -> tuple[Matrix, dict[int, str]]:
    """The shard's vectors as the embedder gives them, and what is wrong with some of them; a text is encoded once."""
    encoder = _encoder(task.spec, task.state, task.fingerprint)
    role, column = _wanted(task.spec.build(), task.spec)
    if role == "text":
        codes = hashes.combine_chunks().dictionary_encode()
        first = np.unique(codes.indices.to_numpy(), return_index=True)[1]
        texts = task.source.read(task.shard, ["text"])["text"].take(np.sort(first)).to_pylist()
        with running(task.spec, task.spec.name):
            encoded = encoder.encode(texts)
        vectors = _checked(encoded, len(texts), task.spec.name)
        return vectors[codes.indices.to_numpy()], {}
    values = task.source.read(task.shard, [role] if role else [], [column] if column else [])[0]
    with running(task.spec, task.spec.name):
        encoded = encoder.encode(values)
    vectors = _checked(encoded, len(values), task.spec.name)
    reasons: dict[int, str] = {}
    if not pa.types.is_fixed_size_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), -1).to_numpy()
        for row in np.flatnonzero(lengths != vectors.shape[1]):
            ragged = f"its vector has {lengths[row]} values, the others {vectors.shape[1]}"
            reasons[int(row)] = "it has no vector" if lengths[row] < 0 else ragged
    return vectors, reasons


def _checked(vectors: Any, rows: int, name: str) -> Matrix:
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or len(vectors) != rows or vectors.dtype != np.float32:
        got = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise PluginError(f"embedder {name!r} gave {got}; expected float32 ({rows}, d)")
    return vectors
