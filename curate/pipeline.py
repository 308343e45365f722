"""Pipeline: runs and plans the stages in order, and publishes the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from curate import no_follow, paths
from curate.config.model import Entry, SelectEntry
from curate.errors import ConfigError, CurateError, DataError, convert_panics
from curate.executors.base import Executor, count_cores
from curate.executors.processes import Processes
from curate.executors.ray import Ray
from curate.executors.serial import Serial
from curate.judge import judge
from curate.progress import NullProgress, Progress
from curate.report import report_data, summary_html
from curate.report.formatting import compact, describe_masked, describe_removed_spans, format_epochs
from curate.stages import cost_table, pool_sample, preflight
from curate.stages.annotate import Annotate
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
from curate.stages.export import publication_hook
from curate.stages.export.stage import Export, ExportResult
from curate.stages.findings import Findings
from curate.stages.ingest.stage import Ingest, survey_files
from curate.stages.ingest.stdin_spool import is_stored_stdin, require_stdin, resolve_stdin, store_stdin
from curate.stages.model.stage import ModelOutputs
from curate.stages.pool_sample import RowCount
from curate.stages.proxy.held_out import HeldOutPredictions
from curate.stages.proxy.stage import Proxy
from curate.stages.report import ground_truth, pool_measures
from curate.stages.report.stage import RenderedReport
from curate.stages.report.stage import render_report as render
from curate.stages.review.stage import Review
from curate.stages.score.stage import Score
from curate.stages.select import published_index
from curate.stages.select.stage import Select
from curate.stages.split.stage import Split
from curate.stages.target.stage import Target
from curate.store import lock, manifest, parquet_io, redaction, run_directory, run_frames, symlinks, versions
from curate.store.inputs import InputResult
from curate.store.json_shape import has_shape
from curate.store.ledger import SelectResult
from curate.store.manifest import Record, StageResult
from curate.version import __version__

if TYPE_CHECKING:
    import polars as pl

    from curate.config.model import RunConfig
    from curate.plugins.interfaces import JudgedPlugin
    from curate.pool.view import PoolView

T = TypeVar("T")

PIPELINE: tuple[AnyStage, ...] = (
    Ingest(),
    Annotate(),
    ModelOutputs(),
    Embed(),
    Cluster(),
    Proxy(),
    HeldOutPredictions(),
    Target(),
    Score(),
    Review(),
    Decontaminate(),
    Select(),
    Split(),
    Export(),
)
"""All stages, in order. A new stage needs one module and one line here."""

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
"""Files in a run directory that belong to no stage."""

OWNED = (
    *FILES,
    "evaluate",
    judge.FOLDER,
    SCRATCH,
    run_directory.STDIN,
    *(name for stage in PIPELINE for name in stage.outputs),
)
"""Entries of a run directory that curate reads, writes and deletes."""


@dataclass(frozen=True, slots=True, repr=False)
class Summary:
    """Summary of a run."""

    run: str
    """Run directory."""

    records: tuple[Record[StageResult], ...]
    """Record of the input, followed by the records of all steps, in order."""

    version: Path | None = None
    """Directory of the published version; None if the run stopped earlier."""

    report: Path | None = None
    """Path of the report; None if there is no up-to-date report."""

    report_account: report_data.Stage | None = None
    """Time and memory of the report; None if it was not written."""

    unchanged: bool = False
    """Whether all results existed before the run."""

    warnings: tuple[str, ...] = ()

    @property
    def rows_in(self) -> int:
        """Number of input rows."""
        return self.records[0].count.rows_in

    @property
    def kept(self) -> int:
        """Number of rows that the last step kept."""
        return self.records[-1].count.kept

    def sentence(self) -> str:
        """Return the summary as one line of text."""
        share = f" ({self.kept / self.rows_in:.1%})" if self.rows_in else ""
        selected = self._selected()
        planned = format_epochs(list(selected.epochs) if selected else [])
        counted = self._tokens(selected) if selected and selected.tokens else ""
        result = f"{self.run}: {self.rows_in:,} rows in, {self.kept:,} kept{share}{planned}{counted}"
        if self.version is None:
            return f"{result}; stopped after {self.records[-1].stage}"
        changes, exported = "", self._exported()
        if exported is not None and (pii := exported.masked) is not None:
            changes += f"; {describe_masked(pii.rows, pii.spans)}"
        if exported is not None and (spans := exported.cut) is not None:
            changes += f"; {describe_removed_spans(spans.rows, spans.spans, spans.words, spans.empty)}"
        state = "unchanged" if self.unchanged else "published"
        page = f"no report (write it with: curate report {self.run})"
        if self.report is not None:
            page = f"report in {self.report}"
        return f"{result}; {state} in {self.version}, {page}{changes}"

    def accounting(self) -> list[dict[str, Any]]:
        """Return one line per step, and one for the report if it was written."""
        lines = accounting(self.records)
        if self.report_account is not None:
            step = self.report_account
            time_and_memory = {"seconds": round(step.seconds, 3), "peak_memory": step.peak_bytes}
            lines.append({"stage": step.name, "name": "html", **asdict(step.rows), **time_and_memory})
        return lines

    # ------------------------------------------------------------ in a notebook

    def __repr__(self) -> str:
        return f"<Summary of {self.sentence()}>"

    def _repr_html_(self) -> str:
        return summary_html.render(self.sentence(), self.accounting(), self.warnings)

    def ledger(self) -> pl.LazyFrame:
        """Return the ledger: the outcome of every input row, with the reasons and representatives of dropped rows."""
        return run_frames.ledger(paths.parse_path(self.run))

    def scores(self) -> pl.LazyFrame:
        """Return the id, the cluster and all scores of every embedded row."""
        return run_frames.scores(paths.parse_path(self.run))

    def embeddings(self, name: str | None = None) -> pl.LazyFrame:
        """Return the id, the hash of the content and the vector of every row; of the first embed entry by default."""
        return run_frames.embeddings(paths.parse_path(self.run), name)

    def export(self) -> pl.LazyFrame:
        """Return the published rows."""
        return run_frames.export(paths.parse_path(self.run))

    def _selected(self) -> SelectResult | None:
        return next((one.result for one in self.records if isinstance(one.result, SelectResult)), None)

    def _tokens(self, selected: SelectResult) -> str:
        """Return the phrase on the number of selected tokens, and on how tokens were counted."""
        result = self.records[0].result
        method = result.tokens if isinstance(result, InputResult) else ""
        about = "≈ " if method.startswith("estimated") else ""
        return f"; {about}{compact(selected.tokens_kept)} of {about}{compact(selected.tokens)} tokens kept ({method})"

    def _exported(self) -> ExportResult | None:
        last = self.records[-1].result
        return last if isinstance(last, ExportResult) else None

    def as_dict(self) -> dict[str, object]:
        """Return the summary as plain data."""
        exported, selected = self._exported(), self._selected()
        export_data = {} if exported is None else asdict(exported)
        return {
            "run": self.run,
            "rows_in": self.rows_in,
            "kept": self.kept,
            "tokens": selected.tokens if selected else None,
            "tokens_kept": selected.tokens_kept if selected else None,
            "unchanged": self.unchanged,
            "export": None if self.version is None else str(self.version),
            "report": None if self.report is None else str(self.report),
            "masked": export_data.get("masked"),
            "cut": export_data.get("cut"),
            "warnings": list(self.warnings),
            "accounting": self.accounting(),
        }


def accounting(records: Iterable[Record[StageResult]]) -> list[dict[str, Any]]:
    """Return one line per step: rows in, kept, dropped and quarantined, seconds, and peak memory in bytes."""
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
    """Open an executor by its name, and close it at the end; ``workers`` is the number of cores by default."""
    executors: dict[str, Callable[[], Executor]] = {
        "serial": Serial,
        "processes": partial(Processes, workers or count_cores()),
        "ray": partial(Ray, workers, ray_address),
    }
    if name not in executors:
        raise ConfigError(f"unknown executor {name!r}", hint=f"there are: {', '.join(executors)}")
    if ray_address is not None and name != "ray":
        raise ConfigError("--ray-address can only be used with the Ray executor", hint="add --executor ray")
    executor = executors[name]()
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
    """Run the pipeline up to and including the stage ``until``, and reuse results on disk that are up to date.

    Parameters
    ----------
    config : RunConfig
        Configuration of the run.
    executor : Executor
        Where tasks run.
    progress : Progress, optional
        Receives the progress, notes and warnings.
    until : str
        Name of the last stage that runs.
    overwrite : bool
        Whether to run in a directory that contains other files, and replace those that conflict with results.
    verify : bool
        Whether to hash every input file again, even if its size and times are unchanged.
    report : bool
        Whether to write the report. Otherwise, an earlier report that is out of date is deleted.

    Returns
    -------
    Summary
        Rows in and kept, the record of every step, and the paths of the export and the report.

    Raises
    ------
    CurateError
        If anything goes wrong; the published version is unchanged.
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
    """Hold the lock of the run directory during the block, and delete partial files before and after it."""
    run_lock = lock.acquire(context.folder, context.progress.note)
    with paths.convert_store_errors(context.folder), no_follow.protect(context.folder), run_lock:
        symlinks.refuse_links(context.folder, OWNED)
        parquet_io.remove_partial_files(context.folder)
        try:
            with convert_panics():
                yield
        except BaseException:  # also an interrupt: no worker may write while partial files are deleted
            context.executor.close()
            raise
        finally:
            parquet_io.remove_partial_files(context.folder)


def make_context(
    config: RunConfig, executor: Executor, progress: Progress | None = None, *, verify: bool = False
) -> Context:
    """Return the context of a run with all stages of the pipeline."""
    return Context(resolve_stdin(config), executor, progress or NullProgress(), verify=verify, stages=PIPELINE)


def _run(context: Context, until: str, *, report: bool) -> Summary:
    config = context.config
    published = versions.published_version(
        context.folder / versions.FOLDER
    )  # raises an error if it cannot be determined
    if is_stored_stdin(config):
        store_stdin(config, context.progress)
    redaction.write(context.folder, config.export.mask_pii)
    parquet_io.write_text(context.folder / "config.yaml", context.yaml)
    data = parquet_io.read_json(context.folder / manifest.NAME)
    before = data if data is not None and has_shape(data, _WRITTEN) else {"fingerprints": {}}
    if data is None and parquet_io.exists(context.folder / manifest.NAME):
        context.progress.warn(f"{context.folder / manifest.NAME} is corrupt; this run writes it again")
    if before.get("export") is not None and published is None:
        lost = f"{context.folder / versions.FOLDER} is missing, so the published versions are lost"
        context.progress.warn(f"{lost}; the history starts again, and no rows are compared with published rows")
    done = CompletedStages()
    is_known = before.get("config") == config.resolved and before.get("curate") == __version__
    if not is_known:
        _apply_findings(preflight.check_config(config, context.folder), context)
    for step in _stages(context, until):
        if done.view is None and not (is_known and before["fingerprints"].items() >= step.fingerprints().items()):
            _apply_findings(preflight.check_ingested_pool(config, step.pool), context)
        done = step
    late_warnings: list[str] = []
    unchanged, page, rendered = _publish(context, done, before, late_warnings, report=report)
    for warning in (*done.warnings, *late_warnings):
        context.progress.warn(warning)
    if done.export is not None:
        publication_hook.run_once(context, done.export.name)
    return Summary(
        config.run,
        done.records,
        done.export,
        page,
        rendered,
        unchanged,
        (*done.warnings, *late_warnings),
    )


def _publish(
    context: Context, done: CompletedStages, before: Mapping[str, Any], late_warnings: list[str], *, report: bool
) -> tuple[bool, Path | None, report_data.Stage | None]:
    """Render the report, write all files, and then publish the export.

    All steps that are likely to fail run before the publication, and leave the earlier export and report in place. The
    steps after the publication only rename and delete files. If one of them fails, the run still succeeds,
    ``late_warnings`` receives a warning, and the next run repairs the files.

    Returns
    -------
    unchanged : bool
        Whether nothing changed.
    page : Path or None
        Report of the published version; None if there is none.
    rendered : Stage or None
        Time and memory of the report; None if it was not written.
    """
    root, page = context.folder / versions.FOLDER, context.folder / REPORT
    rendered: RenderedReport | None = None
    with ExitStack() as stack:
        try:
            line = None if done.export is None else versions.prepare_publication(root, done.export.name)
            if line is not None and done.export is not None:
                line["remembers"] = published_index.count_remembered(context, done.export.name)
            unchanged = before["fingerprints"] == done.fingerprints() and line is None
            report_state: str | None = _report_fingerprint(context)
            replacements: list[Callable[[], None]] = []
            if done.export is None:
                report_state = before.get("report")
            elif report and not (unchanged and before.get("report") == report_state and page.exists()):
                reused = set(before["fingerprints"].values())
                published = line or next(iter(versions.read_history(root)[-1:]), None)
                rendered = render(context, done, published, reused)
                replacements.append(stack.enter_context(parquet_io.stage_text(page, rendered.page)))
            elif not report and unchanged and before.get("report") in (report_state, None):
                report_state = before.get("report")  # None: a later command wrote the page, if there is one
            elif not report:
                report_state = None
                replacements.append(partial(paths.unlink, page, missing_ok=True))
            manifest_text = parquet_io.format_json(_manifest(context, done, report_state))
            replacements.append(
                stack.enter_context(parquet_io.stage_text(context.folder / manifest.NAME, manifest_text))
            )
            if line is not None:
                versions.publish(root, line)
        except CurateError as error:
            if done.export is None:
                raise
            state = "nothing was published; the published version and its report are unchanged"
            hint = "; ".join(filter(None, (error.hint, state)))
            raise type(error)(error.message, where=error.where, hint=hint) from error
        with _warn_on_error(late_warnings, f"{page} may belong to the previous run"):
            for replace_file in replacements:
                replace_file()
    if line is not None and "over" in line:
        context.progress.note(
            f"export: {line['added']:,} rows added and {line['removed']:,} removed since {line['over']}, "
            f"{line['churn_rate']:.2%} churn"
        )
    if done.export is not None:
        with _warn_on_error(late_warnings, "old versions of the export may remain"):
            versions.delete_old_versions(root, context.config.export.keep_versions, late_warnings.append)
    has_page = done.export is not None and (report or page.exists())
    return unchanged, page if has_page else None, rendered.account if rendered else None


@contextmanager
def _warn_on_error(late_warnings: list[str], consequence: str) -> Iterator[None]:
    """Convert an error after the publication into a warning; the next run repairs the files."""
    try:
        with convert_panics():
            yield
    except Exception as error:
        message = f"{type(error).__name__}: " * (not isinstance(error, CurateError)) + str(error)
        late_warnings.append(f"the export is published, but {consequence} ({message}); the next run repairs this")


def _apply_findings(findings: Findings, context: Context) -> None:
    """Raise the errors of a preflight check, or log its notes."""
    findings.raise_if_any()
    for note in findings.notes:
        context.progress.note(note)


_WRITTEN = {"fingerprints": {str: str}}
"""Shape of the parts of a run's manifest that are read."""


def _report_fingerprint(context: Context) -> str:
    """Return the fingerprint of the content of a report that does not come from the stages."""
    key = context.config.evaluate.ground_truth
    return manifest.fingerprint(
        {
            "curate": __version__,
            "config": context.config.resolved,
            "key": None if key is None else paths.hash_content(paths.parse_path(key)),
        }
    )


def _manifest(context: Context, done: CompletedStages, report_state: str | None) -> dict[str, object]:
    return {
        "curate": __version__,
        "seed": context.config.seed,
        "export": None if done.export is None else f"{versions.FOLDER}/{done.export.name}",
        "warnings": list(done.warnings),
        "fingerprints": done.fingerprints(),
        "report": report_state,
        "accounting": accounting(done.records),
        "config": context.config.resolved,
    }


def build_pool(context: Context) -> PoolView:
    """Run all stages before select, and return the pool that selectors read; up-to-date results are reused."""
    done = CompletedStages()
    for step in _stages(context, _previous_stage("select")):
        done = step
    for warning in done.warnings:
        context.progress.warn(warning)
    return done.pool


def _previous_stage(stage: str) -> str:
    names = [one.name for one in PIPELINE]
    return names[names.index(stage) - 1]


def load_finished(config: RunConfig, progress: Progress) -> CompletedStages:
    """Return the results of a finished run.

    Raises
    ------
    ConfigError
        If there is no finished run, or its results are out of date.
    """
    context, done = replace(make_context(config, Serial(), progress), plan=[]), CompletedStages()
    try:
        for step in _stages(context, PIPELINE[-1].name):
            done = step
    except NotReadyError as error:
        raise _no_finished_run(config, str(error)) from error
    return done


def load(folder: Path) -> Summary:
    """Return the summary of the last completed run in a run directory, from the records of its steps.

    Raises
    ------
    ConfigError
        If there is no completed run.
    DataError
        If the record of a step is missing, corrupt, or of another run.
    """
    with paths.convert_store_errors(folder), no_follow.protect(folder):
        symlinks.refuse_links(folder)
        data = parquet_io.read_json(folder / manifest.NAME)
        if data is None or not has_shape(data, _WRITTEN):
            hint = "pass the run directory of a run that is complete, as set by 'run:' in the configuration"
            raise ConfigError("there is no completed run", where=str(folder), hint=hint)
        stages, records = {stage.name: stage for stage in PIPELINE}, []
        for step, fingerprint in data["fingerprints"].items():
            stage = stages.get(step.partition(" ")[0])
            if stage is None:
                raise ConfigError(f"this release of curate has no stage {step!r}", where=str(folder))
            record = manifest.load_intact(stage.folder(folder, step.partition(" ")[2]), stage.result)
            if record is None or record.fingerprint != fingerprint:
                message = f"the results of {step} are missing, or were made by a later run that is not complete"
                raise DataError(message, where=str(folder), hint=f"run: curate run {folder / 'config.yaml'}")
            records.append(record)
        version = versions.published_version(folder / versions.FOLDER)
        page = folder / REPORT
        return Summary(
            str(folder),
            tuple(records),
            None if version is None else folder / versions.FOLDER / version,
            page if page.is_file() else None,
            unchanged=True,
        )


def write_report(context: Context, done: CompletedStages) -> tuple[Path, dict[str, object]]:
    """Write the report of a finished run again.

    Returns
    -------
    path : Path
        Path of the report.
    summary : dict
        Content of the report as plain data.
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
    run_lock = lock.acquire(context.folder, context.progress.note)
    with paths.convert_store_errors(context.folder), no_follow.protect(context.folder):
        if not run_directory.is_run(context.folder):
            raise _no_finished_run(config, "the directory contains no run")
        with run_lock:
            symlinks.refuse_links(context.folder, OWNED)
            return write_report(context, load_finished(config, context.progress))


def _no_finished_run(config: RunConfig, reason: str) -> ConfigError:
    message = f"there is no finished run: {reason}"
    return ConfigError(message, where=config.run, hint=f"run: curate run {config.source}")


def _stages(context: Context, until: str) -> Iterator[CompletedStages]:
    """Run (or only plan, depending on the context) every stage up to ``until``, and yield the results after each."""
    names = [stage.name for stage in PIPELINE]
    stages, done = PIPELINE[: names.index(until) + 1], CompletedStages()
    ground_truth.check_readable(context.config)
    for stage in stages:
        stage.prepare(context)
    for stage in stages:
        entries = stage.entries(context.config)
        if not entries:
            continue
        steps = _call_all(partial(stage.run, context, done, entry) for entry in entries)
        done = replace(done, records=(*done.records, *(record for _, record in steps)))
        done = stage.extend(context, done, [result for result, _ in steps])
        done = replace(done, warnings=(*done.warnings, *stage.guard(context, done)))
        yield done


def _call_all(steps: Iterable[Callable[[], T]]) -> list[T]:
    """Call all steps and return their results; a NotReadyError is raised only after all steps have been planned."""
    results: list[T] = []
    first_error: NotReadyError | None = None
    for step in steps:
        try:
            results.append(step())
        except NotReadyError as error:
            first_error = first_error or error
    if first_error is not None:
        raise first_error
    return results


# ---------------------------------------------------------------- plan


@convert_panics()
def plan(
    config: RunConfig, executor: Executor, progress: Progress | None = None, *, verify: bool = False
) -> list[PlannedStep]:
    """Return the steps that would run, with reasons; only changed input files are read, or all with ``verify``."""
    context = replace(make_context(config, executor, progress, verify=verify), plan=[])
    require_stdin(context.config)
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
            steps, forecast = stage.forecast(config, one, forecast)
            for line in steps:
                cost = _estimated(context, stage, line, folder, entering.max_rows, size / max(1, rows))
                lines.append(replace(cost, error=counted.error))
                entering = entering if line.rows is None else replace(entering, max_rows=line.rows)
    return lines


_COUNTING = 5.0
"""Time limit in seconds for counting the rows of files that must be read completely."""


_OF_PLUGIN = ("plugin", "version", "sha256", "params", "contents")
"""Inputs of a step that depend only on its entry."""


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
    """Return the plan of a step that cannot be compared with its stored result yet, because an earlier step will run.

    It is certain to run if it has no result, its entry changed, or it depends on a result that changed.
    """
    if record is None:
        return PlannedStep(stage.name, name, "missing", "an earlier stage will run")
    entries = entry if isinstance(entry, tuple) else (entry,)
    parts = [one.fingerprint_parts() for one in entries if isinstance(one, Entry)]
    plugin_inputs = {key: value for key, value in (parts[0] if parts else {}).items() if key in _OF_PLUGIN}
    now: dict[str, object] = {"entries": parts} if isinstance(entry, tuple) else plugin_inputs
    before = {key: value for key, value in record.inputs.items() if key in now}
    state, reason = manifest.compare(replace(record, inputs=before, fingerprint=manifest.fingerprint(before)), now)
    if state != "fresh":
        return PlannedStep(stage.name, name, "stale", reason, changed=True)
    for section in ("embed", "score"):
        read = record.inputs.get(section)
        if isinstance(read, dict) and {*read} != {one.name for one in getattr(config, section)}:
            return PlannedStep(stage.name, name, "stale", f"the entries of {section} changed", changed=True)
    made_from = json.dumps(dict(record.inputs))
    if any(fingerprint in made_from for fingerprint in outdated):
        return PlannedStep(stage.name, name, "stale", "an earlier stage will run", changed=True)
    return PlannedStep(stage.name, name, "maybe", "depends on the result of an earlier stage")


_BYTES_PER_TOKEN = 4
"""Mean number of bytes of a token, for estimates."""


def _with_calls(entry: Entry | None, step: PlannedStep, entering: int, bytes_per_row: float) -> PlannedStep:
    """Return the step with a note about its calls of the judge, if its plugin asks one."""
    if entry is None or not entry.spec.plugin().traits.reads_judge:
        return step
    plugin: JudgedPlugin = entry.spec.build()
    budget = entry.budget if isinstance(entry, SelectEntry) else None
    rows = None if budget is None else replace(budget, at_most=True).resolve_rows(entering, entry.name)
    calls = plugin.count_questions(entering, rows)
    tokens = compact(calls * bytes_per_row / _BYTES_PER_TOKEN)
    note = f"{step.stage} {step.name} makes up to {calls:,} calls of the judge, with ≈ {tokens} tokens of texts"
    return replace(step, note="; ".join(filter(None, (step.note, note))))


def _estimated(
    context: Context, stage: AnyStage, step: PlannedStep, folder: Path, entering: int, bytes_per_row: float
) -> PlannedStep:
    """Return the step with its estimated cost, extrapolated from its last run, or from measurements if it never ran."""
    if step.state == "fresh":
        return replace(step, seconds=0.0, memory=0, disk=0)
    section = getattr(context.config, stage.section)
    entries = section if isinstance(section, tuple) else (section,)
    entry = next((one for one in entries if isinstance(one, Entry) and step.name in (one.name, stage.name)), None)
    step = _with_calls(entry, step, entering, bytes_per_row)
    record = manifest.load(folder, stage.result)
    last = next((line for line in manifest.expand_entries([record] if record else []) if line.name == step.name), None)
    if last is not None and last.count.kept:
        return stage.estimate(context, step, last, folder)
    cost = stage.estimate_first(context, step, entering, bytes_per_row)
    if cost is None:
        return step
    seconds = round(cost.seconds * cost_table.slowdown(entry), 1)
    return replace(step, seconds=seconds, memory=cost.memory or None, disk=cost.disk)
