"""The stages in order: what would run and why, and the run itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from curate import paths
from curate.config.model import DECONTAMINATE
from curate.errors import ConfigError, CurateError, catching_panics
from curate.executors.base import Executor, cores
from curate.executors.processes import Processes
from curate.executors.ray import Ray
from curate.executors.serial import Serial
from curate.pool.columns import PoolColumns
from curate.pool.rows import PoolRows
from curate.report.formatting import cut, in_epochs, masked
from curate.stages.cluster import cluster
from curate.stages.context import Context, Planned, Progress, Silent
from curate.stages.decontaminate import evaluation_sets
from curate.stages.decontaminate.stage import decontaminate
from curate.stages.embed.stage import embed
from curate.stages.export import guardrails
from curate.stages.export.stage import Before, export
from curate.stages.ingest.stage import estimated_rows, ingest, survey
from curate.stages.proxy.stage import Proxied, proxy
from curate.stages.report import ground_truth
from curate.stages.report.stage import card
from curate.stages.report.stage import report as rendered
from curate.stages.score import scorer_fit
from curate.stages.score.stage import score
from curate.stages.select import cost_warnings
from curate.stages.select.stage import select
from curate.stages.step import NotReadyError
from curate.store import lock, manifest, parquet_io, redaction, run_directory, symlinks, versions
from curate.store.json_shape import fits
from curate.store.manifest import Record
from curate.version import __version__

if TYPE_CHECKING:
    from curate.config.model import RunConfig

T = TypeVar("T")
Stage = Literal["embed", "cluster", "score", "select", "export"]
STAGES: tuple[Stage, ...] = get_args(Stage)
REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did."""

    run: str
    records: tuple[Record, ...]
    """The input, then every step of every stage, in order."""

    export: Path | None = None
    """The folder of the version that was published."""

    report: Path | None = None
    unchanged: bool = False
    """Everything was there already."""

    warnings: tuple[str, ...] = ()

    @property
    def rows_in(self) -> int:
        return self.records[0].count.rows_in

    @property
    def kept(self) -> int:
        return self.records[-1].count.kept

    def sentence(self) -> str:
        """The whole run in one line."""
        share = f" ({self.kept / self.rows_in:.1%})" if self.rows_in else ""
        planned = in_epochs(next((record.epochs for record in self.records if record.stage == "select"), []))
        result = f"{self.run}: {self.rows_in:,} rows in, {self.kept:,} kept{share}{planned}"
        if self.export is None:
            return f"{result}; done up to {self.records[-1].stage}"
        facts = self.records[-1].facts
        told = f"; {masked(facts['masked']['rows'], facts['masked']['spans'])}" if facts["masked"] else ""
        told += f"; {cut(*(facts['cut'][name] for name in manifest.CUT))}" if facts["cut"] else ""
        state = "unchanged" if self.unchanged else "published"
        return f"{result}; {state} in {self.export}, report in {self.report}{told}"

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "run": self.run,
            "rows_in": self.rows_in,
            "kept": self.kept,
            "unchanged": self.unchanged,
            "export": None if self.export is None else str(self.export),
            "report": None if self.report is None else str(self.report),
            "masked": self.records[-1].facts.get("masked"),
            "cut": self.records[-1].facts.get("cut"),
            "warnings": list(self.warnings),
            "accounting": accounting(self.records),
        }


def accounting(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One line a step: rows in, kept, dropped, quarantined, seconds and bytes of memory."""
    return [
        {
            "stage": line.stage,
            "name": line.name,
            **asdict(line.count),
            "seconds": round(line.seconds, 3),
            "peak_memory": line.peak_memory,
        }
        for line in manifest.lines(records)
    ]


@contextmanager
def executor_named(name: str, workers: int | None = None, ray_address: str | None = None) -> Iterator[Executor]:
    """The executor of that name, let go at the end; None for as many workers as there are cores."""
    made: dict[str, Callable[[], Executor]] = {
        "serial": Serial,
        "processes": partial(Processes, workers or cores()),
        "ray": partial(Ray, workers, ray_address),
    }
    if name not in made:
        raise ConfigError(f"unknown executor {name!r}", hint=f"there are: {', '.join(made)}")
    if ray_address is not None and name != "ray":
        raise ConfigError("--ray-address says where Ray is, but Ray is not used", hint="add --executor ray")
    executor = made[name]()
    try:
        yield executor
    finally:
        executor.close()


def run(
    config: RunConfig,
    executor: Executor,
    progress: Progress | None = None,
    *,
    until: Stage = "export",
    overwrite: bool = False,
    verify: bool = False,
) -> Summary:
    """Run the pipeline up to and including the stage ``until``; results on disk that are still right are reused.

    Parameters
    ----------
    config : RunConfig
        What to do.
    executor : Executor
        Where tasks run.
    progress : Progress, optional
        Receives the progress, notes and warnings.
    until : Stage
        The last stage that runs.
    overwrite : bool
        Also run in a folder that holds other files, replacing those that are in the way.
    verify : bool
        Hash every input file again, whatever its size and times say.

    Raises
    ------
    CurateError
        Whatever went wrong; nothing that was published before has changed.
    """
    context = Context(config, executor, progress or Silent(), verify=verify)
    if verify:
        paths.forget_contents()
    with paths.reached(context.folder):
        run_directory.claim(context.folder, overwrite=overwrite)
    with alone(context):
        return _run(context, until)


@contextmanager
def alone(context: Context) -> Iterator[None]:
    """Hold the run folder; nothing half written is left there, however the block ends."""
    with paths.reached(context.folder), lock.held(context.folder, context.progress.note):
        symlinks.refuse(context.folder)
        parquet_io.sweep(context.folder)
        try:
            with catching_panics():
                yield
        except BaseException:  # also an interrupt: no worker may write while what they left is cleared
            context.executor.close()
            raise
        finally:
            parquet_io.sweep(context.folder)


def _run(context: Context, until: Stage) -> Summary:
    config = context.config
    redaction.write(context.folder, config.export.mask)
    parquet_io.write_text(context.folder / "config.yaml", context.yaml)
    data = parquet_io.read_json(context.folder / manifest.NAME)
    before = data if data is not None and fits(data, _WRITTEN) else {"fingerprints": {}}
    done = _Done()
    _stages(context, until, done)
    late: list[str] = []
    unchanged = _publish(context, done, before, late)
    for warning in (*done.warnings, *late):
        context.progress.warn(warning)
    return Summary(
        config.run,
        tuple(done.records),
        done.export,
        context.folder / REPORT if done.before is not None else None,
        unchanged,
        (*done.warnings, *late),
    )


def _publish(context: Context, done: _Done, before: Mapping[str, Any], late: list[str]) -> bool:
    """Render and write all that a run shows for itself, then switch to its export; whether nothing had changed.

    Whatever can fail is done before the switch, and leaves the export and the report of before in place. What is left
    after it renames and deletes files: if that fails, the run is a success all the same, ``late`` says what is not as
    it should be, and the next run repairs it.
    """
    root, page = context.folder / versions.FOLDER, context.folder / REPORT
    with ExitStack() as stack:
        try:
            line = None if done.export is None else versions.publication(root, done.export.name)
            unchanged = before["fingerprints"] == done.fingerprints() and line is None
            shown: str | None = _shown(context)
            puts: list[Callable[[], None]] = []
            if done.before is not None and not (unchanged and before.get("report") == shown and page.exists()):
                reused = set(before["fingerprints"].values())
                published = line or next(iter(versions.history(root)[-1:]), None)
                text, _ = rendered(context, done.before, done.records, published, done.warnings, reused)
                puts.append(stack.enter_context(parquet_io.staged(page, text)))
            elif done.before is None:
                shown = before.get("report")
            written = json.dumps(_manifest(context, done, shown), indent=2, ensure_ascii=False) + "\n"
            puts.append(stack.enter_context(parquet_io.staged(context.folder / manifest.NAME, written)))
            if line is not None:
                versions.publish(root, line)
        except CurateError as error:
            if done.export is None:
                raise
            state = "nothing was published; an earlier export and its report are unchanged"
            hint = "; ".join(filter(None, (error.hint, state)))
            raise type(error)(error.message, where=error.where, hint=hint) from error
        with _harmless(late, f"{page} may be that of the run before"):
            for put in puts:
                put()
    if line is not None and "over" in line:
        context.progress.note(
            f"export: {line['added']:,} rows added and {line['removed']:,} removed since {line['over']}, "
            f"{line['churn_rate']:.2%} churn"
        )
    if done.export is not None:
        with _harmless(late, "old versions of the export may be left"):
            versions.forget(root, context.config.export.keep_versions, late.append)
    return unchanged


@contextmanager
def _harmless(late: list[str], what: str) -> Iterator[None]:
    """Turn an error after the switch into a warning: the export is published, and the next run does the rest."""
    try:
        with catching_panics():
            yield
    except Exception as error:
        message = f"{type(error).__name__}: " * (not isinstance(error, CurateError)) + str(error)
        late.append(f"the export is published, but {what} ({message}); the next run repairs that")


_WRITTEN = {"fingerprints": {str: str}}
"""Shape of the manifest of a run, as far as it is read."""


def _shown(context: Context) -> str:
    """Return the fingerprint of what a report shows besides the results of the stages."""
    key = context.config.evaluate.key
    return manifest.fingerprint(
        {
            "curate": __version__,
            "config": context.config.resolved,
            "key": None if key is None else paths.content(paths.place(key)),
        }
    )


def _manifest(context: Context, done: _Done, shown: str | None) -> dict[str, Any]:
    return {
        "curate": __version__,
        "seed": context.config.seed,
        "export": None if done.export is None else f"{versions.FOLDER}/{done.export.name}",
        "warnings": done.warnings,
        "fingerprints": done.fingerprints(),
        "report": shown,
        "accounting": accounting(done.records),
        "config": context.config.resolved,
    }


def pool(context: Context) -> PoolColumns:
    """The pool with its clusters and scores; runs all that comes before select, and reuses what is still right."""
    done = _Done()
    _stages(context, "score", done)
    _decontaminate(context, done)
    for warning in done.warnings:
        context.progress.warn(warning)
    if done.pool is None:
        raise NotReadyError("nothing was scored")
    return done.pool


@dataclass(frozen=True, slots=True)
class Finished:
    """A run of which every stage is done."""

    context: Context
    pool: PoolColumns
    before: Before
    records: tuple[Record, ...]
    warnings: tuple[str, ...]

    def report(self) -> tuple[Path, dict[str, Any]]:
        """Write the report again; where it is, and what it says, for programs."""
        path = self.context.folder / REPORT
        last = next(iter(versions.history(self.context.folder / versions.FOLDER)[-1:]), None)
        page, summary = rendered(self.context, self.before, self.records, last, self.warnings)
        parquet_io.write_text(path, page)
        return path, summary


def finished(config: RunConfig, progress: Progress) -> Finished:
    """The finished run of a configuration.

    Raises
    ------
    ConfigError : if it is not there, or would have to be run again
    """
    context, done = Context(config, Serial(), progress, plan=[]), _Done()
    try:
        _stages(context, "export", done)
        before = done.finished()
    except NotReadyError as error:
        raise _no_finished_run(config, str(error)) from error
    columns = PoolColumns(context, before.rows, before.clustered, before.scored, before.decontaminated)
    return Finished(context, columns, before, tuple(done.records), tuple(done.warnings))


@catching_panics()
def report(config: RunConfig, progress: Progress | None = None) -> tuple[Path, dict[str, Any]]:
    """Write the report of a finished run again.

    Returns
    -------
    path : of the page
    summary : what it says, for programs
    """
    context = Context(config, Serial(), progress or Silent())
    if not run_directory.is_run(context.folder):
        raise _no_finished_run(config, "there was no run yet")
    with paths.reached(context.folder), lock.held(context.folder, context.progress.note):
        symlinks.refuse(context.folder)
        return finished(config, context.progress).report()


def _no_finished_run(config: RunConfig, why: str) -> ConfigError:
    told = f"there is no finished run: {why}"
    return ConfigError(told, where=config.run, hint=f"run: curate run {config.source}")


class _Done:
    """What has been done so far."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.warnings: list[str] = []
        self.pool: PoolColumns | None = None
        self.before: Before | None = None
        self.export: Path | None = None

    def finished(self) -> Before:
        """What the stages before the export left behind."""
        if self.before is None:
            raise NotReadyError("nothing was exported")
        return self.before

    def fingerprints(self) -> dict[str, str]:
        return {f"{record.stage} {record.name}": record.fingerprint for record in self.records}


def _stages(context: Context, until: Stage, done: _Done) -> None:
    """Every stage up to ``until``: for ``run`` and, with a context that only plans, for ``plan``."""
    config, last = context.config, STAGES.index(until)
    evaluation_sets.asked(config)  # that a file is missing is told before the pool is embedded
    ground_truth.asked(config)
    source, record = ingest(context)
    done.records.append(record)
    done.warnings += guardrails.files(config, record)
    guardrails.quarantine(config, done.records)  # before anything is embedded; again, with what cannot be embedded
    if last >= STAGES.index("score"):
        scorer_fit.check(context)
    embedded = _each(partial(embed, context, source, entry) for entry in config.embed)
    done.records += [record for _, record in embedded]
    done.warnings += guardrails.quarantine(config, done.records)
    rows = PoolRows(source, tuple(entry for entry, _ in embedded))
    if last < STAGES.index("cluster"):
        return
    clustered, record = cluster(context, rows)
    done.records.append(record)
    done.warnings += guardrails.drift(config, done.records)
    if last < STAGES.index("score"):
        return
    proxied: Proxied | None = None
    if config.proxy is not None:
        proxied, record = proxy(context, rows, config.proxy)
        done.records.append(record)
    scores = _each(partial(score, context, rows, clustered, proxied, entry) for entry in config.score)
    done.records += [record for _, record in scores]
    scored = tuple(entry for entry, _ in scores)
    done.pool = PoolColumns(context, rows, clustered, scored)
    if last < STAGES.index("select"):
        return
    columns = _decontaminate(context, done)
    selected, record = select(columns)
    done.records.append(record)
    if last < STAGES.index("export"):
        return
    if context.plan is None:
        guardrails.selection(context, source, selected, record)
    done.before = Before(rows, clustered, scored, selected, tuple(done.records), columns.decontaminated)
    done.export, record = export(context, done.before, card)
    done.records.append(record)


def _decontaminate(context: Context, done: _Done) -> PoolColumns:
    """The pool, with what is known of the rows that evaluation texts are in."""
    if done.pool is None:
        raise NotReadyError("nothing was scored")
    if context.config.decontaminate is not None:
        found, record = decontaminate(context, done.pool.rows, context.config.decontaminate)
        done.pool.decontaminated = found
        done.records.append(record)
    return done.pool


def _each(steps: Iterable[Callable[[], T]]) -> list[T]:
    """All answers. In a plan, every step says what it would do before the first that is not ready ends it."""
    answers: list[T] = []
    late: NotReadyError | None = None
    for step in steps:
        try:
            answers.append(step())
        except NotReadyError as error:
            late = late or error
    if late is not None:
        raise late
    return answers


# ---------------------------------------------------------------- plan


@catching_panics()
def plan(
    config: RunConfig, executor: Executor, progress: Progress | None = None, *, verify: bool = False
) -> list[Planned]:
    """Return what would run and why. Only input files that changed are read; with ``verify``, all of them."""
    told: list[Planned] = []
    context = Context(config, executor, progress or Silent(), told, verify)
    if verify:
        paths.forget_contents()
    symlinks.refuse(context.folder)
    done = _Done()
    with paths.reached(context.folder), suppress(NotReadyError):
        _stages(context, "export", done)
    asked = {(step.stage, step.name) for step in told}
    for stage, name, folder in _steps(context):
        if (stage, name) not in asked:
            state: manifest.State = "missing" if manifest.load(folder) is None else "stale"
            told.append(Planned(stage, name, state, "a stage before it will run"))
    rows = done.records[0].count.kept if done.records else estimated_rows(survey(context))
    return [_estimated(context, step) for step in _with_rows(config, told, rows, _largest_groups(done.records))]


def _steps(context: Context) -> Iterator[tuple[str, str, Path]]:
    config, folder = context.config, context.folder
    yield "input", "input", folder / "input"
    yield from (("embed", entry.name, folder / "embed" / entry.name) for entry in config.embed)
    yield "cluster", config.cluster.name, folder / "cluster"
    if config.proxy is not None:
        yield "proxy", config.proxy.name, folder / "proxy"
    yield from (("score", entry.name, folder / "score" / entry.name) for entry in config.score)
    if config.decontaminate is not None:
        yield DECONTAMINATE, DECONTAMINATE, folder / DECONTAMINATE
    yield "select", "select", folder / "select"
    yield "export", config.export.name, folder / "export"


def _largest_groups(records: Sequence[Record]) -> dict[str, int]:
    """The rows of the largest group, of the groups whose sizes are known from what was done."""
    known = {record.stage: record for record in records}
    largest: dict[str, int] = {}
    if "input" in known:
        largest["source"] = max((count.kept for count in known["input"].sources.values()), default=0)
    if "cluster" in known:
        largest["cluster"] = known["cluster"].facts["largest"]
    return largest


def _with_rows(config: RunConfig, told: Sequence[Planned], rows: int, largest: Mapping[str, int]) -> Iterator[Planned]:
    """The steps with the rows that come out of each and what to know of it; the select section as one step an entry."""
    left: int | None = rows
    most = rows  # a filter leaves fewer, but does not say how many
    for step in told:
        if step.stage != "select":
            yield replace(step, rows=left, epochs=config.select[-1].epochs if step.stage == "export" else 1)
            left = None if step.stage == DECONTAMINATE else left  # how many rows it drops, only running tells
            continue
        for entry in config.select:
            note = "" if step.state == "fresh" else cost_warnings.note(entry, most, largest.get(entry.within or ""))
            if entry.budget is None:
                left = None
            else:
                left = entry.budget.keep if left is None else entry.budget.rows(left, entry.name)
            most = most if left is None else min(most, left)
            yield replace(step, name=entry.name, rows=left, epochs=entry.epochs, note=note)


def _estimated(context: Context, step: Planned) -> Planned:
    """The step with what it will cost, in proportion to what it cost when it was last done; unknown if it never was.

    The time of a quadratic selector grows with the square: its groups grow as the pool does.
    """
    if step.state == "fresh":
        return replace(step, seconds=0.0, memory=0, disk=0)
    folders = {(stage, "" if stage == "select" else name): folder for stage, name, folder in _steps(context)}
    folder = folders[step.stage, "" if step.stage == "select" else step.name]
    record = manifest.load(folder)
    before = next((line for line in manifest.lines([record] if record else []) if line.name == step.name), None)
    if before is None or not before.count.kept:
        return step
    scale = 1.0 if step.rows is None or step.epochs > 1 else step.rows / before.count.kept
    if step.stage == "export":
        written = int(before.facts["bytes"])
    elif step.stage == "select" and step.name != context.config.select[-1].name:
        written = 0  # the ledger is written once, after the last entry
    else:
        written = paths.size(folder)
    slow = step.stage == "select" and any(
        entry.name == step.name and cost_warnings.is_quadratic(entry) for entry in context.config.select
    )
    seconds = before.seconds * (scale**2 if slow else scale)
    return replace(step, seconds=round(seconds, 1), memory=before.peak_memory, disk=round(written * scale))
