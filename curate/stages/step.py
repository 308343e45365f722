"""One step of the pipeline: reuse what is on disk if it is what the configuration asks for, else do the work."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate import paths
from curate.accounting import Count, sum_of
from curate.errors import CurateError, DataError, PluginFailedError, ShardError, catching_panics
from curate.executors.base import peak_memory, reset_peak_memory
from curate.kernels.parallel import one_blas_thread
from curate.plugins.registry import Spec
from curate.stages.context import Context, Planned
from curate.store import manifest, parquet_io
from curate.store.manifest import Record

QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of the work."""

    sources: Mapping[str, Count]
    shards: int
    peak_memory: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


class NotReadyError(Exception):
    """A plan has come to a step whose work would have to be done first."""


def step(
    context: Context,
    stage: str,
    name: str,
    folder: Path,
    parts: Mapping[str, Any],
    work: Callable[[str], Outcome],
    damage: Callable[[Record], str] = lambda _: "",
) -> Record:
    """The record of a step that is done: now, or before.

    ``work`` is called with the fingerprint; ``damage`` says what else than a shard is gone or not whole, in words. The
    old manifest goes first and the new one comes last, so that a folder with a manifest was whole once. Shards left by
    an interrupted run, or beside a damaged one, are kept where their footers say they fit.

    Raises
    ------
    NotReadyError : where the context only plans, and there is work to do
    """
    context.progress.enter(stage, name)
    record = manifest.load(folder)
    state, why = manifest.compare(record, parts)
    if record is not None and state == "fresh" and (why := damaged_shard(record, folder) or damage(record)):
        state = "stale"
    if context.plan is not None:
        context.plan.append(Planned(stage, name, state, why))
    if record is not None and state == "fresh":
        context.progress.leave(manifest.lines([record]), reused=True)
        return record
    if context.plan is not None:
        raise NotReadyError(f"{stage} {name} is {state}")
    (folder / manifest.NAME).unlink(missing_ok=True)
    begun = time.perf_counter()
    reset_peak_memory()
    fingerprint = manifest.fingerprint(parts)
    outcome = work(fingerprint)
    pa.default_memory_pool().release_unused()  # what Arrow keeps for itself would be counted as the next step's
    for left_over in list(folder.glob("part-*.parquet")):
        number = left_over.stem.removeprefix("part-")
        if number.isdecimal() and int(number) >= outcome.shards:
            left_over.unlink()
    record = Record(
        stage=stage,
        name=name,
        fingerprint=fingerprint,
        parts=parts,
        count=sum_of(outcome.sources.values()),
        sources=outcome.sources,
        shards=outcome.shards,
        seconds=time.perf_counter() - begun,
        peak_memory=max(outcome.peak_memory, peak_memory()),
        facts=outcome.facts,
    )
    record = manifest.save(record, folder)
    context.progress.leave(manifest.lines([record]), reused=False)
    return record


def damaged_shard(record: Record, folder: Path) -> str:
    """What is wrong with one of the shards of a step that was done, in words; empty if nothing is with any."""
    there = paths.names(folder)
    for path in (parquet_io.part(folder, number) for number in range(record.shards)):
        if path.name not in there:
            return f"{path.name} is gone"
        if not paths.is_object(path) and (wrong := parquet_io.damage(path)):  # an object is whole, or not there
            return wrong
    return ""


def refuse_failed(failed: Sequence[ShardError]) -> None:
    """End the run with exit code 3 if a shard could not be processed; the others are done and will be reused."""
    if failed:
        raise DataError(
            f"{len(failed)} shards could not be processed: " + "; ".join(str(error) for error in failed[:3]),
            hint="the other shards are done; mend these and run again",
        )


def current(path: Path, fingerprint: str) -> bool:
    """Whether an interrupted run left a whole shard that can be kept."""
    return parquet_io.is_current(path, fingerprint)


@contextmanager
def running(spec: Spec, name: str) -> Iterator[None]:
    """Around every call of a plugin's methods: what it raises becomes an error that names the entry and the line.

    BLAS runs on one thread, so that no plugin's sums depend on how many there would be.

    Raises
    ------
    PluginFailedError : caused by what was raised; our own errors pass untouched
    """
    try:
        with catching_panics(), one_blas_thread():
            yield
    except CurateError:
        raise
    except (Exception, SystemExit) as error:
        file = inspect.getfile(spec.plugin().cls)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f"{file}:{lines[-1]}" if lines else file
        told = f"{spec.kind} {name!r} failed: {type(error).__name__}: {error}".rstrip(": ")
        raise PluginFailedError(told, where=place) from error
