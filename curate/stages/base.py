"""Base class of stages, their context, and the execution of one step: reuse the result on disk, or produce it."""

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
from curate.config.model import Entry, ExportConfig
from curate.errors import CurateError, DataError, PluginFailedError, ShardError, convert_panics, out_of_memory_error
from curate.executors.base import Executor, Result, Task, Value, finish_running_tasks, peak_memory, reset_peak_memory
from curate.judge.judge import CachedJudge, Spending, open_judge
from curate.kernels.parallel import one_blas_thread
from curate.plugins.fields import fields
from curate.stages import cost_table
from curate.stages.cost_table import Cost
from curate.stages.entry_tasks import describe_tasks
from curate.store import manifest, parquet_io
from curate.store.manifest import EntryAccount, Record, StageResult, State

if TYPE_CHECKING:
    from curate.config.model import RunConfig
    from curate.plugins.interfaces import JudgedPlugin
    from curate.plugins.registry import PluginSpec
    from curate.pool.view import PoolView
    from curate.progress import Progress

E = TypeVar("E")
R = TypeVar("R", bound=StageResult)
S = TypeVar("S")

QUARANTINE = "quarantine"
"""Name of the folder of quarantined rows, next to a step's shards."""


class NotReadyError(Exception):
    """A plan reached a step that depends on work not done yet."""


# ---------------------------------------------------------------- context and plans


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """Planned action of a run for one step."""

    stage: str
    name: str
    state: State | Literal["maybe"]
    """State of the step; ``maybe`` if it depends on the results of earlier steps."""

    reason: str = ""
    rows: int | None = None
    """Number of output rows, in each epoch of a plan; None if only a run can tell."""

    error: float = 0.0
    """Largest relative error of the number of rows; 0 if the input rows were counted."""

    epochs: int = 1
    """Number of planned epochs."""

    seconds: float | None = None
    """Estimated duration in seconds, from the last run or the table of measurements; None if neither has the step."""

    memory: int | None = None
    """Estimated peak memory of a process, in bytes."""

    disk: int | None = None
    """Estimated size of the written files, in bytes."""

    tasks: str = "shards"
    """Unit that each task of the workers processes, such as shards; ``one process`` if all rows are needed at once."""

    note: str = ""
    """Warning to read before the step starts, such as about its cost."""

    changed: bool = False
    """Whether the existing result was made from other inputs."""


@dataclass(frozen=True, slots=True)
class Context:
    """Context of one run."""

    config: RunConfig
    executor: Executor
    progress: Progress
    plan: list[PlannedStep] | None = None
    """Planned steps, to which each step appends its action instead of running; None for a run."""

    verify: bool = False
    """Whether to hash every input file again, even if its stamp is unchanged."""

    stages: tuple[AnyStage, ...] = ()
    """Stages of the pipeline."""

    spending: Spending = field(default_factory=Spending)
    """Calls and tokens of the judge in this run."""

    def nested(self, config: RunConfig) -> Context:
        """Return the context of a nested run that reads other files and does not report steps of this run."""
        from curate.progress import NestedProgress

        return Context(config, self.executor, NestedProgress(self.progress), verify=self.verify)

    @property
    def folder(self) -> Path:
        """Run directory."""
        return paths.parse_path(self.config.run)

    @property
    def scratch(self) -> Path:
        """Folder on a local disk for memory-mapped files."""
        return Path(tempfile.gettempdir()) if paths.is_object(self.folder) else self.folder / SCRATCH

    @contextmanager
    def judge(self, entry: Entry, rows: int, budget: int | None = None) -> Iterator[CachedJudge | None]:
        """Open the judge for an entry; None if its plugin does not ask one, or there is none.

        Progress is then reported in questions.

        Parameters
        ----------
        entry : Entry
            Entry of the plugin.
        rows : int
            Number of rows that reach it.
        budget : int, optional
            Number of rows that a selector keeps.
        """
        if self.config.judge is None or not entry.spec.plugin().traits.reads_judge:
            yield None
            return
        plugin: JudgedPlugin = entry.spec.build()
        self.progress.begin(f"asking the judge for {entry.name}", plugin.count_questions(rows, budget), "questions")
        with open_judge(self.config.judge, self.folder, self.spending, self.progress, entry.name) as judge:
            yield judge

    def judge_identity(self, entry: Entry) -> dict[str, object]:
        """Return the part of the fingerprint of an entry that describes the judge; empty if its plugin asks none."""
        reads = self.config.judge is not None and entry.spec.plugin().traits.reads_judge
        return {"judge": self.config.judge.identity()} if reads and self.config.judge is not None else {}

    @property
    def recipe(self) -> dict[str, object]:
        """Configuration without the settings that cannot change a result, such as the run directory and the guards."""
        without_effect = ("run", "memory_limit", "guard", "metrics", "evaluate")
        kept = {key: value for key, value in self.config.resolved.items() if key not in without_effect}
        export = {key: value for key, value in kept["export"].items() if key not in _EXECUTION_ONLY}
        refresh = {"keep_previous_weight": self.config.refresh.keep_previous_weight}  # a fit has its own fingerprint
        return {**kept, "export": export, "refresh": refresh}

    @property
    def yaml(self) -> str:
        """Configuration as YAML with all defaults filled in."""
        return yaml_positions.dump_yaml(dict(self.config.resolved))

    def map(
        self,
        description: str,
        fn: Callable[[Task], Value],
        tasks: Sequence[Task],
        sizes: Sequence[int],
        unit: str = "rows",
    ) -> tuple[list[Value], list[ShardError], int]:
        """Run ``fn`` on every task and report progress; ``sizes`` are the sizes of the tasks in ``unit``.

        Returns
        -------
        values : list
            Results of the successful tasks, in task order.
        failed : list of ShardError
            Errors of the failed tasks.
        peak_memory : int
            Highest peak memory of a worker, in bytes.
        """
        self.progress.begin(description, sum(sizes), unit)
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


_EXECUTION_ONLY = {one.name for one in fields(ExportConfig) if one.execution_only}
"""Keys of the export that do not change its content."""

SCRATCH = "scratch"
"""Name of the folder of memory-mapped files in a run directory."""


@dataclass(frozen=True, slots=True)
class CompletedStages:
    """Records and results of the completed stages."""

    records: tuple[Record[StageResult], ...] = ()
    warnings: tuple[str, ...] = ()
    view: PoolView | None = None
    export: Path | None = None
    """Folder of the version to publish."""

    @property
    def pool(self) -> PoolView:
        """View of the pool.

        Raises
        ------
        NotReadyError
            The input has not been read.
        """
        if self.view is None:
            raise NotReadyError("the input has not been read")
        return self.view

    def records_of(self, stage: str) -> list[Record[StageResult]]:
        """Return the records of one stage."""
        return [record for record in self.records if record.stage == stage]

    def record_of(self, stage: str, result: type[R]) -> Record[R]:
        """Return the record of a stage with a single step.

        Raises
        ------
        NotReadyError
            The stage has not run.
        """
        for record in self.records_of(stage):
            if isinstance(record.result, result):
                return replace(record, result=record.result)  # type: ignore[return-value] # checked by isinstance
        raise NotReadyError(f"the {stage} stage has not run")

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of every step, by its stage and name."""
        return {f"{record.stage} {record.name}": record.fingerprint for record in self.records}


@dataclass(frozen=True, slots=True)
class Forecast:
    """Number of rows that reach the next step of a plan."""

    rows: int | None
    """Expected number of rows; None if only running the earlier steps can tell."""

    max_rows: int
    """Upper bound of the number of rows, because the number that a filter drops is unknown."""

    largest: Mapping[str, int]
    """Number of rows in the largest group, by grouping column, where it is known."""


# ---------------------------------------------------------------- a stage


class Stage(ABC, Generic[E, S]):
    """One stage of the pipeline.

    The pipeline, plans, estimates, the check for links, the report and the docs iterate over the stages; there is no
    other list of stages. A stage has one step for each of its ``entries``.
    """

    name: ClassVar[str]
    """Name of the stage in manifests, reports and messages."""

    section: ClassVar[str]
    """Key of its section in the YAML file."""

    result: ClassVar[type[StageResult]]
    """Class of the result that its steps store in their manifests."""

    summary: ClassVar[str] = ""
    """Description of the stage, if its entries are no plugins."""

    has_single_step: ClassVar[bool] = False
    """Whether the stage has a single step, which has no separate name."""

    extra_outputs: ClassVar[tuple[str, ...]] = ()
    """Entries of the run directory that it writes besides the folder with its name."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """All entries of the run directory that the stage writes."""
        return (self.name, *self.extra_outputs)

    def entries(self, config: RunConfig) -> Sequence[E]:
        """Return the entries of its section, one per step; none if the section is missing."""
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
            The context only plans, and the step is not up to date.
        """

    @abstractmethod
    def extend(self, context: Context, done: CompletedStages, results: Sequence[S]) -> CompletedStages:
        """Return the completed stages with the results of the steps, one for each entry."""

    def prepare(self, context: Context) -> None:
        """Check the files that the stage reads itself, before any stage runs."""

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        """Return warnings about the completed stages, or raise an error to stop the run."""
        return ()

    # ------------------------------------------------------------ plans

    def forecast(self, config: RunConfig, step: PlannedStep, before: Forecast) -> tuple[list[PlannedStep], Forecast]:
        """Return the planned step, as one or more lines, and the rows that reach the next step."""
        entry = next((one for one in self.entries(config) if isinstance(one, Entry) and one.name == step.name), None)
        tasks = step.tasks if entry is None else describe_tasks(entry)
        return [replace(step, rows=before.rows, tasks=tasks)], before

    def largest_groups(self, record: Record[StageResult]) -> Mapping[str, int]:
        """Return the sizes of the largest groups that the record of a step contains, by grouping column."""
        return {}

    def estimate(self, context: Context, step: PlannedStep, last: Record[StageResult], folder: Path) -> PlannedStep:
        """Return the planned step with its cost, scaled from the last run."""
        scale = 1.0 if step.rows is None or step.epochs > 1 else step.rows / last.count.kept
        seconds = last.seconds * self.estimate_slowdown(context.config, step, scale)
        written = round(self.count_written_bytes(context.config, step, last, folder) * scale)
        return replace(step, seconds=round(seconds, 1), memory=last.peak_memory, disk=written)

    def estimate_first(self, context: Context, step: PlannedStep, rows: int, bytes_per_row: float) -> Cost | None:
        """Return the cost of a step that never ran, on the machine of the cost table; None if it is unknown.

        Parameters
        ----------
        context : Context
            Context of the run.
        step : PlannedStep
            Step to estimate.
        rows : int
            Number of rows that reach the step.
        bytes_per_row : float
            Mean size of a row in the input files.
        """
        config, section = context.config, getattr(context.config, self.section)
        entries = section if isinstance(section, tuple) else (section,)
        entry = next((one for one in entries if isinstance(one, Entry) and step.name in (one.name, self.name)), None)
        shard = config.input.rows_per_shard
        return cost_table.estimate(self.name, entry, rows, bytes_per_row, config.proxy, rows_per_shard=shard)

    def estimate_slowdown(self, config: RunConfig, step: PlannedStep, scale: float) -> float:
        """Return the factor of the duration for ``scale`` times as many rows."""
        return scale

    def count_written_bytes(self, config: RunConfig, step: PlannedStep, last: Record[StageResult], folder: Path) -> int:
        """Return the number of bytes that a step wrote."""
        return paths.total_size(folder)

    # ------------------------------------------------------------ reports

    def describe(self, entry: E) -> Mapping[str, str]:
        """Return a description of each report line of the step, by the name of the line."""
        if isinstance(entry, Entry):
            return {entry.name: entry.spec.plugin().summary()}
        return {self.entry_name(entry): self.summary}

    def remarks(self, record: Record[StageResult]) -> list[str]:
        """Return remarks about reused results of an earlier pool and their drift."""
        return []


AnyStage = Stage[Any, Any]


# ---------------------------------------------------------------- one step


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[R]):
    """Outcome of the work of a step."""

    sources: Mapping[str, Count]
    shards: int
    result: R
    peak_memory: int = 0
    entries: tuple[EntryAccount, ...] = ()


@dataclass(frozen=True, slots=True)
class Step(Generic[R]):
    """Step to run: its stage, name, folder and class of result."""

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
    """Run a step unless its result on disk is up to date, and return its record.

    The old manifest is deleted first and the new one is written last, so a folder with a manifest was once complete.
    Shards of an interrupted run, or next to a damaged shard, are kept if their fingerprints match. A file that
    differs from its manifest is deleted before the work begins.

    Parameters
    ----------
    step : Step
        Step to run.
    inputs : mapping
        Everything that can change its result, as plain data.
    work : callable
        Function that does the work, given the fingerprint.
    damage : callable
        Function that returns the problem of a file that the manifest does not seal; "" if there is none.

    Raises
    ------
    NotReadyError
        The context only plans, and the step is not up to date.
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
    for name in (manifest.NAME, *broken):  # the footer of a broken shard may not match its rows
        paths.unlink(folder / name, missing_ok=True)
    begun = time.perf_counter()
    reset_peak_memory()
    fingerprint = manifest.fingerprint(inputs)
    outcome = work(fingerprint)
    pa.default_memory_pool().release_unused()  # otherwise Arrow's free memory counts for the next step
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
    """Return which shard of a complete step is missing, as a phrase; "" if none is."""
    names = paths.list_names(folder)
    shards = (parquet_io.shard_path(folder, number).name for number in range(record.shards))
    return next((f"{name} is missing" for name in shards if name not in names), "")


def count_all_kept(sources: Mapping[str, int]) -> dict[str, Count]:
    """Return the counts of a step that keeps every row, from the number of rows of each source."""
    return {name: Count(rows_in=rows, kept=rows) for name, rows in sources.items()}


def raise_if_failed(failed: Sequence[ShardError]) -> None:
    """Raise an error if any shard failed; the other shards are complete and will be reused.

    Raises
    ------
    DataError
        With the first three errors.
    """
    if failed:
        raise DataError(
            f"{len(failed)} shards could not be processed: " + "; ".join(str(error) for error in failed[:3]),
            hint="fix the cause and run again; the other shards are complete and will be reused",
        )


def is_current_shard(path: Path, fingerprint: str) -> bool:
    """Return whether an interrupted run left a complete shard that can be reused."""
    return parquet_io.is_current(path, fingerprint)


@contextmanager
def plugin_errors(spec: PluginSpec, name: str) -> Iterator[None]:
    """Convert exceptions of a plugin into errors that name the entry and the line.

    Raises
    ------
    PluginFailedError
        The plugin raised an exception, which is the cause; errors of this package pass unchanged.
    """
    try:
        with convert_panics():
            yield
    except CurateError:
        raise
    except (Exception, SystemExit) as error:
        if (short := out_of_memory_error(error)) is not None:
            raise DataError(f"{spec.kind} {name!r}: {short.message}", hint=short.hint) from error
        file = inspect.getfile(spec.plugin().cls)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        location = f"{file}:{lines[-1]}" if lines else file
        message = f"{spec.kind} {name!r} failed: {type(error).__name__}: {error}".rstrip(": ")
        raise PluginFailedError(message, where=location) from error


@contextmanager
def plugin_call(spec: PluginSpec, name: str) -> Iterator[None]:
    """Run the computation of a plugin: as ``plugin_errors``, with one BLAS thread.

    So no plugin's sums depend on the number of threads.

    Raises
    ------
    PluginFailedError
        The plugin raised an exception.
    """
    with plugin_errors(spec, name), one_blas_thread():
        yield
