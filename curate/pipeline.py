"""The stages in order: what would run and why, and the run itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from curate import no_follow, paths
from curate.config.model import Entry
from curate.errors import ConfigError, CurateError, convert_panics
from curate.executors.base import Executor, count_cores
from curate.executors.processes import Processes
from curate.executors.ray import Ray
from curate.executors.serial import Serial
from curate.progress import NullProgress, Progress
from curate.report import report_data
from curate.report.formatting import compact, cut, in_epochs, masked
from curate.stages import cost_table, pool_sample, preflight
from curate.stages.base import (
    SCRATCH,
    AnyStage,
    CompletedStages,
    Context,
    Forecast,
    NotReadyError,
    PlannedStep,
)
from curate.stages.cluster import Cluster
from curate.stages.decontaminate.stage import Decontaminate
from curate.stages.embed.stage import Embed
from curate.stages.export.stage import Export, ExportResult
from curate.stages.ingest.stage import Ingest, survey_files
from curate.stages.pool_sample import RowCount
from curate.stages.proxy.stage import Proxy
from curate.stages.report import ground_truth, pool_measures
from curate.stages.report.stage import RenderedReport
from curate.stages.report.stage import render_report as render
from curate.stages.score.stage import Score
from curate.stages.select import published_index
from curate.stages.select.stage import Select
from curate.store import lock, manifest, parquet_io, redaction, run_directory, symlinks, versions
from curate.store.inputs import InputResult
from curate.store.json_shape import has_shape
from curate.store.ledger import SelectResult
from curate.store.manifest import Record, StageResult
from curate.version import __version__

if TYPE_CHECKING:
    from curate.config.model import RunConfig
    from curate.pool.view import PoolView

T = TypeVar("T")

PIPELINE: tuple[AnyStage, ...] = (
    Ingest(),
    Embed(),
    Cluster(),
    Proxy(),
    Score(),
    Decontaminate(),
    Select(),
    Export(),
)
"""Every stage, in order. Adding one is one module and one line here."""

REPORT = "report.html"

FILES = (
    manifest.NAME,
    "config.yaml",
    REPORT,
    pool_measures.NAME,
    redaction.NAME,
    "compare.json",
    "compare.html",
    lock.NAME,
)
"""Files in a run directory that no stage owns."""

OWNED = (*FILES, "evaluate", SCRATCH, *(name for stage in PIPELINE for name in stage.outputs))
"""Entries of a run directory that are read, deleted and written again."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did."""

    run: str
    records: tuple[Record[StageResult], ...]
    """The input, then every step of every stage, in order."""

    export: Path | None = None
    """The folder of the version that was published."""

    report: Path | None = None
    """The page; None if this run wrote none and an earlier one would be out of date."""

    report_account: report_data.Stage | None = None
    """What the report cost; None if none was written."""

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
        """Return the whole run in one line."""
        share = f" ({self.kept / self.rows_in:.1%})" if self.rows_in else ""
        selected = self._selected()
        planned = in_epochs(list(selected.epochs) if selected else [])
        counted = self._tokens(selected) if selected else ""
        result = f"{self.run}: {self.rows_in:,} rows in, {self.kept:,} kept{share}{planned}{counted}"
        if self.export is None:
            return f"{result}; done up to {self.records[-1].stage}"
        changed, exported = "", self._exported()
        if exported is not None and (one := exported.masked) is not None:
            changed += f"; {masked(one.rows, one.spans)}"
        if exported is not None and (other := exported.cut) is not None:
            changed += f"; {cut(other.rows, other.spans, other.words, other.empty)}"
        state = "unchanged" if self.unchanged else "published"
        page = f"no report: curate report {self.run} writes it"
        if self.report is not None:
            page = f"report in {self.report}"
        return f"{result}; {state} in {self.export}, {page}{changed}"

    def accounting(self) -> list[dict[str, Any]]:
        """Return one line a step, and one for the report if it was written."""
        lines = accounting(self.records)
        if self.report_account is not None:
            one = self.report_account
            took, peak = round(one.seconds, 3), one.peak_bytes
            lines.append({"stage": one.name, "name": "html", **asdict(one.rows), "seconds": took, "peak_memory": peak})
        return lines

    def _selected(self) -> SelectResult | None:
        return next((one.result for one in self.records if isinstance(one.result, SelectResult)), None)

    def _tokens(self, selected: SelectResult) -> str:
        """Return the tokens of the rows that were selected, and where their number comes from."""
        read = self.records[0].result
        how = read.tokens if isinstance(read, InputResult) else ""
        about = "≈ " if how.startswith("estimated") else ""
        return f"; {about}{compact(selected.tokens_kept)} of {about}{compact(selected.tokens)} tokens kept ({how})"

    def _exported(self) -> ExportResult | None:
        last = self.records[-1].result
        return last if isinstance(last, ExportResult) else None

    def as_dict(self) -> dict[str, object]:
        """Return the same as plain data."""
        exported, selected = self._exported(), self._selected()
        changed = {} if exported is None else asdict(exported)
        return {
            "run": self.run,
            "rows_in": self.rows_in,
            "kept": self.kept,
            "tokens": selected.tokens if selected else None,
            "tokens_kept": selected.tokens_kept if selected else None,
            "unchanged": self.unchanged,
            "export": None if self.export is None else str(self.export),
            "report": None if self.report is None else str(self.report),
            "masked": changed.get("masked"),
            "cut": changed.get("cut"),
            "warnings": list(self.warnings),
            "accounting": self.accounting(),
        }


def accounting(records: Iterable[Record[StageResult]]) -> list[dict[str, Any]]:
    """One line a step: rows in, kept, dropped, quarantined, seconds and bytes of memory."""
    return [
        {
            "stage": line.stage,
            "name": line.name,
            **asdict(line.count),
            "seconds": round(line.seconds, 3),
            "peak_memory": line.peak_memory,
        }
        for line in manifest.expand_entries(records)
    ]


@contextmanager
def open_executor(name: str, workers: int | None = None, ray_address: str | None = None) -> Iterator[Executor]:
    """The executor of that name, let go at the end; None for as many workers as there are cores."""
    made: dict[str, Callable[[], Executor]] = {
        "serial": Serial,
        "processes": partial(Processes, workers or count_cores()),
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
    until: str = "export",
    overwrite: bool = False,
    verify: bool = False,
    report: bool = True,
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
    until : str
        Name of the last stage that runs.
    overwrite : bool
        Also run in a folder that holds other files, replacing those that are in the way.
    verify : bool
        Hash every input file again, whatever its size and times say.
    report : bool
        Write the report. Without it, an earlier report that would be out of date is deleted.

    Raises
    ------
    CurateError
        Whatever went wrong; nothing that was published before has changed.
    """
    context = make_context(config, executor, progress, verify=verify)
    if verify:
        paths.clear_content_cache()
    with paths.convert_store_errors(context.folder), no_follow.protect(context.folder):
        run_directory.claim(context.folder, overwrite=overwrite)
    with lock_run(context):
        return _run(context, until, report=report)


@contextmanager
def lock_run(context: Context) -> Iterator[None]:
    """Hold the run folder; nothing half written is left there, however the block ends."""
    held = lock.acquire(context.folder, context.progress.note)
    with paths.convert_store_errors(context.folder), no_follow.protect(context.folder), held:
        symlinks.refuse_links(context.folder, OWNED)
        parquet_io.remove_partial_files(context.folder)
        try:
            with convert_panics():
                yield
        except BaseException:  # also an interrupt: no worker may write while what they left is cleared
            context.executor.close()
            raise
        finally:
            parquet_io.remove_partial_files(context.folder)


def make_context(
    config: RunConfig, executor: Executor, progress: Progress | None = None, *, verify: bool = False
) -> Context:
    """Return the context of a run that goes through the pipeline."""
    return Context(config, executor, progress or NullProgress(), verify=verify, stages=PIPELINE)


def _run(context: Context, until: str, *, report: bool) -> Summary:
    config = context.config
    published = versions.published_version(context.folder / versions.FOLDER)  # an error, if that is not known
    redaction.write(context.folder, config.export.mask_pii)
    parquet_io.write_text(context.folder / "config.yaml", context.yaml)
    data = parquet_io.read_json(context.folder / manifest.NAME)
    before = data if data is not None and has_shape(data, _WRITTEN) else {"fingerprints": {}}
    if data is None and parquet_io.exists(context.folder / manifest.NAME):
        context.progress.warn(f"{context.folder / manifest.NAME} is corrupt, and is repaired")
    if before.get("export") is not None and published is None:
        lost = f"{context.folder / versions.FOLDER} is missing, and what was published is lost"
        context.progress.warn(f"{lost}: the history begins again, and nothing is compared with it")
    done = CompletedStages()
    known = before.get("config") == config.resolved and before.get("curate") == __version__
    if not known:
        _refuse(preflight.check_config(config, context.folder), context)
    for step in _stages(context, until):
        if done.view is None and not (known and before["fingerprints"].items() >= step.fingerprints().items()):
            _refuse(preflight.check_ingested_pool(config, step.pool), context)
        done = step
    late: list[str] = []
    unchanged, page, rendered = _publish(context, done, before, late, report=report)
    for warning in (*done.warnings, *late):
        context.progress.warn(warning)
    return Summary(
        config.run,
        done.records,
        done.export,
        page,
        rendered,
        unchanged,
        (*done.warnings, *late),
    )


def _publish(
    context: Context, done: CompletedStages, before: Mapping[str, Any], late: list[str], *, report: bool
) -> tuple[bool, Path | None, report_data.Stage | None]:
    """Render and write all that a run shows for itself, then switch to its export.

    Whatever can fail is done before the switch, and leaves the earlier export and report in place. What is left after
    it renames and deletes files: if that fails, the run is a success all the same, ``late`` receives what is not as it
    should be, and the next run repairs it.

    Returns
    -------
    unchanged : bool
        Whether nothing had changed.
    page : Path or None
        The report of what is published; None if there is none.
    rendered : Stage or None
        What the report cost; None if it was not written.
    """
    root, page = context.folder / versions.FOLDER, context.folder / REPORT
    rendered: RenderedReport | None = None
    with ExitStack() as stack:
        try:
            line = None if done.export is None else versions.prepare_publication(root, done.export.name)
            if line is not None and done.export is not None:
                line["remembers"] = published_index.count_remembered(context, done.export.name)
            unchanged = before["fingerprints"] == done.fingerprints() and line is None
            shown: str | None = _shown(context)
            puts: list[Callable[[], None]] = []
            if done.export is None:
                shown = before.get("report")
            elif report and not (unchanged and before.get("report") == shown and page.exists()):
                reused = set(before["fingerprints"].values())
                published = line or next(iter(versions.read_history(root)[-1:]), None)
                rendered = render(context, done, published, reused)
                puts.append(stack.enter_context(parquet_io.stage_text(page, rendered.page)))
            elif not report and unchanged and before.get("report") in (shown, None):
                shown = before.get("report")  # None: the page, if there is one, was written by a command since
            elif not report:
                shown = None
                puts.append(partial(paths.unlink, page, missing_ok=True))
            written = parquet_io.format_json(_manifest(context, done, shown))
            puts.append(stack.enter_context(parquet_io.stage_text(context.folder / manifest.NAME, written)))
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
            versions.delete_old_versions(root, context.config.export.keep_versions, late.append)
    there = done.export is not None and (report or page.exists())
    return unchanged, page if there else None, rendered.account if rendered else None


@contextmanager
def _harmless(late: list[str], what: str) -> Iterator[None]:
    """Turn an error after the switch into a warning: the export is published, and the next run does the rest."""
    try:
        with convert_panics():
            yield
    except Exception as error:
        message = f"{type(error).__name__}: " * (not isinstance(error, CurateError)) + str(error)
        late.append(f"the export is published, but {what} ({message}); the next run repairs that")


def _refuse(found: preflight.Findings, context: Context) -> None:
    found.raise_if_any()
    for note in found.notes:
        context.progress.note(note)


_WRITTEN = {"fingerprints": {str: str}}
"""Shape of the manifest of a run, as far as it is read."""


def _shown(context: Context) -> str:
    """Return the fingerprint of what a report shows besides the results of the stages."""
    key = context.config.evaluate.ground_truth
    return manifest.fingerprint(
        {
            "curate": __version__,
            "config": context.config.resolved,
            "key": None if key is None else paths.hash_content(paths.parse_path(key)),
        }
    )


def _manifest(context: Context, done: CompletedStages, shown: str | None) -> dict[str, object]:
    return {
        "curate": __version__,
        "seed": context.config.seed,
        "export": None if done.export is None else f"{versions.FOLDER}/{done.export.name}",
        "warnings": list(done.warnings),
        "fingerprints": done.fingerprints(),
        "report": shown,
        "accounting": accounting(done.records),
        "config": context.config.resolved,
    }


def build_pool(context: Context) -> PoolView:
    """Return the pool as selectors see it; runs every stage before select, and reuses what is still right."""
    done = CompletedStages()
    for step in _stages(context, _before("select")):
        done = step
    for warning in done.warnings:
        context.progress.warn(warning)
    return done.pool


def _before(stage: str) -> str:
    names = [one.name for one in PIPELINE]
    return names[names.index(stage) - 1]


def load_finished(config: RunConfig, progress: Progress) -> CompletedStages:
    """Return the results of a run of which every stage is done.

    Raises
    ------
    ConfigError
        It is not there, or would have to be run again.
    """
    context, done = replace(make_context(config, Serial(), progress), plan=[]), CompletedStages()
    try:
        for step in _stages(context, PIPELINE[-1].name):
            done = step
    except NotReadyError as error:
        raise _no_finished_run(config, str(error)) from error
    return done


def write_report(context: Context, done: CompletedStages) -> tuple[Path, dict[str, object]]:
    """Write the report of a finished run again.

    Returns
    -------
    path : Path
        The page.
    summary : dict
        Its content as plain data.
    """
    path = context.folder / REPORT
    last = next(iter(versions.read_history(context.folder / versions.FOLDER)[-1:]), None)
    rendered = render(context, done, last)
    parquet_io.write_text(path, rendered.page)
    return path, rendered.summary


@convert_panics()
def report(config: RunConfig, progress: Progress | None = None) -> tuple[Path, dict[str, object]]:
    """Write the report of a finished run again; see ``write_report``."""
    context = make_context(config, Serial(), progress)
    held = lock.acquire(context.folder, context.progress.note)
    with paths.convert_store_errors(context.folder), no_follow.protect(context.folder):
        if not run_directory.is_run(context.folder):
            raise _no_finished_run(config, "there was no run yet")
        with held:
            symlinks.refuse_links(context.folder, OWNED)
            return write_report(context, load_finished(config, context.progress))


def _no_finished_run(config: RunConfig, why: str) -> ConfigError:
    message = f"there is no finished run: {why}"
    return ConfigError(message, where=config.run, hint=f"run: curate run {config.source}")


def _stages(context: Context, until: str) -> Iterator[CompletedStages]:
    """Run every stage up to ``until``, and yield what is done after each; with a context that only plans, plan it."""
    names = [stage.name for stage in PIPELINE]
    stages, done = PIPELINE[: names.index(until) + 1], CompletedStages()
    ground_truth.check_readable(context.config)
    for stage in stages:
        stage.prepare(context)
    for stage in stages:
        entries = stage.entries(context.config)
        if not entries:
            continue
        steps = _each(partial(stage.run, context, done, entry) for entry in entries)
        done = replace(done, records=(*done.records, *(record for _, record in steps)))
        done = stage.extend(context, done, [result for result, _ in steps])
        done = replace(done, warnings=(*done.warnings, *stage.guard(context, done)))
        yield done


def _each(steps: Iterable[Callable[[], T]]) -> list[T]:
    """Return all answers. In a plan, every step is planned before the first that is not ready ends it."""
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


@convert_panics()
def plan(
    config: RunConfig, executor: Executor, progress: Progress | None = None, *, verify: bool = False
) -> list[PlannedStep]:
    """Return what would run and why. Only input files that changed are read; with ``verify``, all of them."""
    context = replace(make_context(config, executor, progress, verify=verify), plan=[])
    if verify:
        paths.clear_content_cache()
    with paths.convert_store_errors(context.folder), no_follow.protect(context.folder):
        symlinks.refuse_links(context.folder, OWNED)
        return _planned(context)


def _planned(context: Context) -> list[PlannedStep]:
    config, done = context.config, CompletedStages()
    with suppress(NotReadyError):
        for step in _stages(context, PIPELINE[-1].name):
            done = step
    seen = {(one.stage, one.name): one for one in context.plan or ()}
    if done.records:
        counted, size = RowCount(done.records[0].count.kept), sum(file["size"] for file in _files(done))
    else:
        files = survey_files(context)
        counted, size = pool_sample.count_rows(config.input, files, _COUNTING), sum(file["size"] for file in files)
    rows = counted.rows
    largest = {
        name: size
        for stage in PIPELINE
        for one in done.records_of(stage.name)
        for name, size in stage.largest_groups(one).items()
    }
    forecast, lines, outdated = Forecast(rows, rows, largest), list[PlannedStep](), list[str]()
    for stage in PIPELINE:
        for entry in stage.entries(config):
            name = stage.entry_name(entry)
            folder = stage.folder(context.folder, name)
            record = manifest.load(folder)
            one = seen.get((stage.name, name)) or _later(config, stage, entry, name, record, outdated)
            if record is not None and one.changed:
                outdated.append(record.fingerprint)
            entering = forecast
            own, forecast = stage.forecast(config, one, forecast)
            for line in own:
                cost = _estimated(context, stage, line, folder, entering.max_rows, size / max(1, rows))
                lines.append(replace(cost, error=counted.error))
                entering = entering if line.rows is None else replace(entering, max_rows=line.rows)
    return lines


_COUNTING = 5.0
"""Seconds that a plan may count the records of files that only reading can count."""


_OF_PLUGIN = ("plugin", "version", "sha256", "params", "contents")
"""Inputs of a step that its entry alone determines."""


def _files(done: CompletedStages) -> Sequence[Mapping[str, Any]]:
    return done.record_of("input", InputResult).result.files


def _later(
    config: RunConfig,
    stage: AnyStage,
    entry: object,
    name: str,
    record: Record[StageResult] | None,
    outdated: Sequence[str],
) -> PlannedStep:
    """Return the plan of a step that one before it keeps from being compared with what is on disk.

    It is certain to run if it was never done, its own entry changed, or it was made from a result that changed.
    """
    if record is None:
        return PlannedStep(stage.name, name, "missing", "a stage before it will run")
    entries = entry if isinstance(entry, tuple) else (entry,)
    parts = [one.fingerprint_parts() for one in entries if isinstance(one, Entry)]
    own = {key: value for key, value in (parts[0] if parts else {}).items() if key in _OF_PLUGIN}
    now: dict[str, object] = {"entries": parts} if isinstance(entry, tuple) else own
    before = {key: value for key, value in record.inputs.items() if key in now}
    state, why = manifest.compare(replace(record, inputs=before, fingerprint=manifest.fingerprint(before)), now)
    if state != "fresh":
        return PlannedStep(stage.name, name, "stale", why, changed=True)
    for section in ("embed", "score"):
        read = record.inputs.get(section)
        if isinstance(read, dict) and {*read} != {one.name for one in getattr(config, section)}:
            return PlannedStep(stage.name, name, "stale", f"the entries of {section} changed", changed=True)
    made_from = json.dumps(dict(record.inputs))
    if any(fingerprint in made_from for fingerprint in outdated):
        return PlannedStep(stage.name, name, "stale", "a stage before it will run", changed=True)
    return PlannedStep(stage.name, name, "maybe", "depends on what a stage before it produces")


def _estimated(
    context: Context, stage: AnyStage, step: PlannedStep, folder: Path, entering: int, bytes_per_row: float
) -> PlannedStep:
    """Return the step with its cost, in proportion to that of the last time, or of measurements if it never ran."""
    if step.state == "fresh":
        return replace(step, seconds=0.0, memory=0, disk=0)
    record = manifest.load(folder, stage.result)
    last = next((line for line in manifest.expand_entries([record] if record else []) if line.name == step.name), None)
    if last is not None and last.count.kept:
        return stage.estimate(context, step, last, folder)
    section = getattr(context.config, stage.section)
    entries = section if isinstance(section, tuple) else (section,)
    entry = next((one for one in entries if isinstance(one, Entry) and step.name in (one.name, stage.name)), None)
    cost = cost_table.estimate(stage.name, entry, entering, bytes_per_row)
    return step if cost is None else replace(step, seconds=cost.seconds, memory=cost.memory, disk=cost.disk)
