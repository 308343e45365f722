"""What a stage is, what it receives, and one step of its work: reuse the result on disk, or produce it."""

from __future__ import annotations

import inspect
import tempfile
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import pyarrow as pa

from curate import no_follow, paths
from curate.accounting import Count, sum_counts
from curate.config import yaml_positions
from curate.config.model import Entry
from curate.errors import CurateError, DataError, PluginFailedError, ShardError, convert_panics, out_of_memory_error
from curate.executors.base import Executor, Result, Task, Value, finish_running_tasks, peak_memory, reset_peak_memory
from curate.kernels.parallel import one_blas_thread
from curate.store import manifest, parquet_io
from curate.store.manifest import EntryAccount, Record, StageResult, State

if TYPE_CHECKING:
    from curate.config.model import RunConfig
    from curate.plugins.registry import PluginSpec
    from curate.pool.view import PoolView
    from curate.progress import Progress

E = TypeVar("E")
R = TypeVar("R", bound=StageResult)
S = TypeVar("S")

QUARANTINE = "quarantine"
"""Name of the folder of quarantined rows, next to a step's shards."""


class NotReadyError(Exception):
    """A plan reached a step whose work would have to be done first."""


# ---------------------------------------------------------------- what a stage receives


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What a run would do with one step."""

    stage: str
    name: str
    state: State | Literal["maybe"]
    """Maybe: whether it runs depends on what the steps before it produce."""

    reason: str = ""
    rows: int | None = None
    """Number of rows that would come out of it, in each epoch of a plan; None where only running it shows."""

    error: float = 0.0
    """Largest error of the number of rows, as a share; 0 where the rows of the input were counted."""

    epochs: int = 1
    """Number of epochs that are planned."""

    seconds: float | None = None
    """Estimated duration in seconds: from the last time, or from a table of measurements; None if it has no line."""

    memory: int | None = None
    """Estimated peak memory of a process in bytes."""

    disk: int | None = None
    """Estimated size of what it would write, in bytes."""

    note: str = ""
    """What to know before it starts."""

    changed: bool = False
    """Whether its result, which is there, was made from other inputs."""


@dataclass(frozen=True, slots=True)
class Context:
    """One run under way."""

    config: RunConfig
    executor: Executor
    progress: Progress
    plan: list[PlannedStep] | None = None
    """Where given, nothing is done: each step appends what it would do."""

    verify: bool = False
    """Hash every input file again, whatever its stamp says."""

    stages: tuple[AnyStage, ...] = ()
    """The pipeline that the run goes through."""

    def nested(self, config: RunConfig) -> Context:
        """Return the context of a nested run that reads other files, whose steps are no steps of this one."""
        from curate.progress import NestedProgress

        return Context(config, self.executor, NestedProgress(self.progress), verify=self.verify)

    @property
    def folder(self) -> Path:
        """The run directory."""
        return paths.parse_path(self.config.run)

    @property
    def scratch(self) -> Path:
        """A folder on a local disk, for files that are mapped into memory."""
        return Path(tempfile.gettempdir()) if paths.is_object(self.folder) else self.folder / SCRATCH

    @property
    def recipe(self) -> dict[str, object]:
        """The configuration without what cannot change a result: where it is written, and how it is held or judged."""
        aside = ("run", "memory_limit", "guard", "metrics", "evaluate")
        kept = {key: value for key, value in self.config.resolved.items() if key not in aside}
        export = {key: value for key, value in kept["export"].items() if key != "keep_versions"}
        refresh = {"keep_previous_weight": self.config.refresh.keep_previous_weight}  # a fit is known by its pool
        return {**kept, "export": export, "refresh": refresh}

    @property
    def yaml(self) -> str:
        """The configuration with every default filled in."""
        return yaml_positions.dump_yaml(dict(self.config.resolved))

    def map(
        self,
        what: str,
        fn: Callable[[Task], Value],
        tasks: Sequence[Task],
        sizes: Sequence[int],
        unit: str = "rows",
    ) -> tuple[list[Value], list[ShardError], int]:
        """Run ``fn`` on every task, and report the progress by ``sizes``, which are numbers of a unit.

        Returns
        -------
        values : list
            In task order, of the tasks that succeeded.
        failed : list of ShardError
            Why the others did not.
        peak_memory : int
            Bytes, the highest of the workers.
        """
        self.progress.begin(what, sum(sizes), unit)
        results: list[Result[Value]] = []
        with finish_running_tasks():
            for result in self.executor.map(
                partial(no_follow.call_protected, no_follow.protected_directories(), fn), tasks
            ):
                results.append(result)
                self.progress.advance(sizes[result.index])
        results.sort(key=lambda result: result.index)
        values = [result.value for result in results if result.value is not None]
        failed = [result.error for result in results if result.error is not None]
        return values, failed, max((result.peak_memory for result in results), default=0)


SCRATCH = "scratch"
"""Name of the folder in a run directory whose files are mapped into memory."""


@dataclass(frozen=True, slots=True)
class CompletedStages:
    """What the stages that are done left behind."""

    records: tuple[Record[StageResult], ...] = ()
    warnings: tuple[str, ...] = ()
    view: PoolView | None = None
    export: Path | None = None
    """Folder of the version to publish."""

    @property
    def pool(self) -> PoolView:
        """The pool.

        Raises
        ------
        NotReadyError
            The input was not read.
        """
        if self.view is None:
            raise NotReadyError("the input was not read")
        return self.view

    def records_of(self, stage: str) -> list[Record[StageResult]]:
        """Return the records of one stage."""
        return [record for record in self.records if record.stage == stage]

    def record_of(self, stage: str, result: type[R]) -> Record[R]:
        """Return the record of a stage that has one step.

        Raises
        ------
        NotReadyError
            The stage has not run.
        """
        for record in self.records_of(stage):
            if isinstance(record.result, result):
                return replace(record, result=record.result)  # type: ignore[return-value] # its result was checked
        raise NotReadyError(f"the {stage} stage has not run")

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of every step, by its stage and name."""
        return {f"{record.stage} {record.name}": record.fingerprint for record in self.records}


@dataclass(frozen=True, slots=True)
class Forecast:
    """Rows that reach the next step of a plan."""

    rows: int | None
    """Expected number; None where only running the steps before shows it."""

    max_rows: int
    """Upper bound: a filter leaves fewer, but nothing says how many."""

    largest: Mapping[str, int]
    """Number of rows in the largest group, by the column of the groups, where it is known."""


# ---------------------------------------------------------------- a stage


class Stage(ABC, Generic[E, S]):
    """One stage of the pipeline.

    The pipeline, plans, estimates, the check for links, the report and the docs iterate over stages; nothing else
    knows which there are. A stage has one step for each of its ``entries``.
    """

    name: ClassVar[str]
    """Name of the stage in manifests, reports and messages."""

    section: ClassVar[str]
    """Key of its section in the YAML file."""

    result: ClassVar[type[StageResult]]
    """What a step of it leaves in its manifest."""

    summary: ClassVar[str] = ""
    """What it does, for a stage whose entries are no plugins."""

    has_single_step: ClassVar[bool] = False
    """Whether it has one step only, which needs no name of its own."""

    extra_outputs: ClassVar[tuple[str, ...]] = ()
    """Entries of the run directory that it writes, besides the folder that has its name."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every entry of the run directory that the stage writes."""
        return (self.name, *self.extra_outputs)

    def entries(self, config: RunConfig) -> Sequence[E]:
        """Return the entries of its section, a step for each; none if the section is missing."""
        section = getattr(config, self.section)
        return section if isinstance(section, tuple) else () if section is None else (section,)

    def entry_name(self, entry: E) -> str:
        """Return the name of the step for an entry."""
        return entry.name if isinstance(entry, Entry) else self.name

    def folder(self, run: Path, name: str) -> Path:
        """Return the folder of the step ``name`` in the run directory."""
        return run / self.name if self.has_single_step else run / self.name / name

    @abstractmethod
    def run(self, context: Context, done: CompletedStages, entry: E) -> tuple[S, Record[StageResult]]:
        """Run the step for one entry, or reuse its result on disk.

        Raises
        ------
        NotReadyError
            The context only plans, and there is work to do.
        """

    @abstractmethod
    def extend(self, context: Context, done: CompletedStages, results: Sequence[S]) -> CompletedStages:
        """Add the results of its steps, one for each entry, to what later stages see."""

    def prepare(self, context: Context) -> None:
        """Check the files that the stage reads itself, before any stage runs."""

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        """Return warnings about what is done, or refuse to go on."""
        return ()

    # ------------------------------------------------------------ plans

    def forecast(self, config: RunConfig, step: PlannedStep, before: Forecast) -> tuple[list[PlannedStep], Forecast]:
        """Return the planned step with its rows, as one or several lines, and the rows that reach the next step."""
        return [replace(step, rows=before.rows)], before

    def largest_groups(self, record: Record[StageResult]) -> Mapping[str, int]:
        """Return the sizes of the largest groups that a step knows, by the column of the groups."""
        return {}

    def estimate(self, context: Context, step: PlannedStep, last: Record[StageResult], folder: Path) -> PlannedStep:
        """Return the planned step with its cost, in proportion to that of the last time."""
        scale = 1.0 if step.rows is None or step.epochs > 1 else step.rows / last.count.kept
        seconds = last.seconds * self.estimate_slowdown(context.config, step, scale)
        written = round(self.count_written_bytes(context.config, step, last, folder) * scale)
        return replace(step, seconds=round(seconds, 1), memory=last.peak_memory, disk=written)

    def estimate_slowdown(self, config: RunConfig, step: PlannedStep, scale: float) -> float:
        """Return how many times as long a step takes on ``scale`` times as many rows."""
        return scale

    def count_written_bytes(self, config: RunConfig, step: PlannedStep, last: Record[StageResult], folder: Path) -> int:
        """Return the number of bytes that a step wrote."""
        return paths.total_size(folder)

    # ------------------------------------------------------------ reports

    def describe(self, entry: E) -> Mapping[str, str]:
        """Return what each line of the report about the step does, by the name of the line."""
        if isinstance(entry, Entry):
            return {entry.name: entry.spec.plugin().summary()}
        return {self.entry_name(entry): self.summary}

    def remarks(self, record: Record[StageResult]) -> list[str]:
        """Return what a step took over from before the pool changed, and how far that has drifted."""
        return []


AnyStage = Stage[Any, Any]


# ---------------------------------------------------------------- one step


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[R]):
    """What the work of a step produced."""

    sources: Mapping[str, Count]
    shards: int
    result: R
    peak_memory: int = 0
    entries: tuple[EntryAccount, ...] = ()


@dataclass(frozen=True, slots=True)
class Step(Generic[R]):
    """Which step is run: its stage and name, where it writes, and what its result looks like."""

    context: Context
    stage: str
    name: str
    folder: Path
    result: type[R] = field(compare=False)
    files: tuple[str, ...] = ("*", f"{QUARANTINE}/*")
    """Patterns of the names of its files in its folder; each file is sealed in the manifest."""


def run_step(
    step: Step[R],
    inputs: Mapping[str, object],
    work: Callable[[str], Outcome[R]],
    damage: Callable[[Record[R]], str] = lambda _: "",
) -> Record[R]:
    """Return the record of a step that is done: now, or before.

    The old manifest goes first and the new one comes last, so that a folder with a manifest was complete once. Shards
    left by an interrupted run, or next to a damaged one, are kept where their footers say that they fit. A file that is
    not as its manifest says is deleted before the work begins.

    Parameters
    ----------
    step : Step
        Which step.
    inputs : mapping
        Everything that can change its result, as plain data.
    work : callable
        Does the work; receives the fingerprint.
    damage : callable
        Returns which file that the manifest does not seal is missing or corrupt; empty if none is.

    Raises
    ------
    NotReadyError
        The context only plans, and there is work to do.
    """
    context, folder = step.context, step.folder
    context.progress.enter(step.stage, step.name)
    record = manifest.load(folder, step.result)
    state, why = manifest.compare(record, inputs)
    changed = state == "stale"
    if record is None:
        why = manifest.explain_unreadable(folder) or why
    broken = {} if record is None else manifest.find_broken_files(record, folder)
    if record is not None and state == "fresh":
        why = next(iter(broken.values()), "") or missing_shard(record, folder) or damage(record)
        state = "stale" if why else "fresh"
    if context.plan is not None:
        context.plan.append(PlannedStep(step.stage, step.name, state, why, changed=changed))
    if record is not None and state == "fresh":
        context.progress.leave(manifest.expand_entries([record]), reused=True)
        return record
    if context.plan is not None:
        raise NotReadyError(f"{step.stage} {step.name} is {state}" + f" ({folder}: {why})" * bool(why))
    for name in (manifest.NAME, *broken):  # the footer of a broken shard may tell of other rows than it holds
        paths.unlink(folder / name, missing_ok=True)
    begun = time.perf_counter()
    reset_peak_memory()
    fingerprint = manifest.fingerprint(inputs)
    outcome = work(fingerprint)
    pa.default_memory_pool().release_unused()  # what Arrow keeps for itself would be counted as the next step's
    for name in paths.list_names(folder):
        number = name.removeprefix("part-").removesuffix(".parquet")
        if name == f"part-{number}.parquet" and number.isdecimal() and int(number) >= outcome.shards:
            paths.unlink(folder / name)
    record = Record(
        stage=step.stage,
        name=step.name,
        fingerprint=fingerprint,
        inputs=inputs,
        count=sum_counts(outcome.sources.values()),
        sources=outcome.sources,
        shards=outcome.shards,
        seconds=time.perf_counter() - begun,
        peak_memory=max(outcome.peak_memory, peak_memory()),
        entries=outcome.entries,
        seals=manifest.seal(folder, step.files),
        result=outcome.result,
    )
    record = manifest.save(record, folder)
    context.progress.leave(manifest.expand_entries([record]), reused=False)
    return record


def missing_shard(record: Record[R], folder: Path) -> str:
    """Return which shard of a complete step is missing, in words; empty if none is."""
    there = paths.list_names(folder)
    shards = (parquet_io.shard_path(folder, number).name for number in range(record.shards))
    return next((f"{name} is missing" for name in shards if name not in there), "")


def count_all_kept(sources: Mapping[str, int]) -> dict[str, Count]:
    """Return the counts of a step that keeps every row, from the number of rows of each source."""
    return {name: Count(rows_in=rows, kept=rows) for name, rows in sources.items()}


def raise_if_failed(failed: Sequence[ShardError]) -> None:
    """End the run with exit code 3 if a shard could not be processed; the others are done and will be reused."""
    if failed:
        raise DataError(
            f"{len(failed)} shards could not be processed: " + "; ".join(str(error) for error in failed[:3]),
            hint="the other shards are done; mend these and run again",
        )


def is_current_shard(path: Path, fingerprint: str) -> bool:
    """Return whether an interrupted run left a complete shard that can be kept."""
    return parquet_io.is_current(path, fingerprint)


@contextmanager
def plugin_errors(spec: PluginSpec, name: str) -> Iterator[None]:
    """Turn what a plugin's method raises into an error that names the entry and the line.

    BLAS runs on one thread, so that no plugin's sums depend on the number of threads.

    Raises
    ------
    PluginFailedError
        Caused by what was raised; errors of this package pass untouched.
    """
    try:
        with convert_panics(), one_blas_thread():
            yield
    except CurateError:
        raise
    except (Exception, SystemExit) as error:
        if (short := out_of_memory_error(error)) is not None:
            raise DataError(f"{spec.kind} {name!r}: {short.message}", hint=short.hint) from error
        file = inspect.getfile(spec.plugin().cls)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f"{file}:{lines[-1]}" if lines else file
        message = f"{spec.kind} {name!r} failed: {type(error).__name__}: {error}".rstrip(": ")
        raise PluginFailedError(message, where=place) from error
