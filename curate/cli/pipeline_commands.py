"""Commands that run the pipeline, plan it, or take a publication back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate import errors
from curate.cli import output
from curate.cli.command_scope import record_metrics, report_progress
from curate.cli.options import (
    Config,
    ExecutorName,
    ExecutorOption,
    Json,
    Log,
    LogStyle,
    MetricsFile,
    NoReport,
    Overrides,
    Overwrite,
    RayAddress,
    RunFolder,
    Verify,
    Workers,
    resolve_run_directory,
)

if TYPE_CHECKING:
    from curate.pipeline import Summary
    from curate.stages.base import PlannedStep


commands = typer.Typer()


def _run(
    until: str,
    config: Path,
    overrides: list[str] | None,
    executor: ExecutorName,
    workers: int | None,
    ray_address: str | None,
    log: LogStyle,
    metrics_file: Path | None,
    overwrite: bool,
    verify: bool,
    *,
    report: bool = True,
) -> Summary:
    with report_progress(log) as told:
        with record_metrics(told, metrics_file, overwrite=overwrite) as run_is:
            from curate import pipeline
            from curate.config.loader import load_config

            settings = load_config(config, overrides or ())
            run_is(settings.run)
            with pipeline.open_executor(executor.value, workers, ray_address) as runner:
                summary = pipeline.run(
                    settings, runner, told, until=until, overwrite=overwrite, verify=verify, report=report
                )
        told.end(errors.OK, summary.sentence(), summary=summary.as_dict())
    return summary


def _stage(until: str, about: str) -> None:
    def command(
        config: Config,
        overrides: Overrides = None,
        executor: ExecutorOption = ExecutorName.processes,
        workers: Workers = None,
        ray_address: RayAddress = None,
        log: Log = LogStyle.auto,
        metrics_file: MetricsFile = None,
        overwrite: Overwrite = False,
        verify: Verify = False,
        as_json: Json = False,
    ) -> None:
        done = _run(until, config, overrides, executor, workers, ray_address, log, metrics_file, overwrite, verify)
        _tell(done, as_json=as_json)

    command.__doc__ = about
    commands.command(name=until, rich_help_panel="One stage")(command)


@commands.command(rich_help_panel="The pipeline")
def run(
    config: Config,
    overrides: Overrides = None,
    executor: ExecutorOption = ExecutorName.processes,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = LogStyle.auto,
    metrics_file: MetricsFile = None,
    overwrite: Overwrite = False,
    verify: Verify = False,
    no_report: NoReport = False,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline: every stage whose inputs changed, and no other."""
    settings = (config, overrides, executor, workers, ray_address, log, metrics_file, overwrite, verify)
    done = _run("export", *settings, report=not no_report)
    _tell(done, as_json=as_json)


_stage("embed", "Read the pool and embed its rows.")
_stage("cluster", "Embed if need be, then group similar rows.")
_stage("score", "Cluster if need be, then score every row.")
_stage("select", "Score if need be, then decide which rows to keep.")
_stage("export", "Select if need be, then write the chosen rows and the report.")


@commands.command(rich_help_panel="The pipeline")
def plan(
    config: Config,
    overrides: Overrides = None,
    verify: Verify = False,
    as_json: Json = False,
    log: Log = LogStyle.auto,
) -> None:
    """Say what a run would do and why, with rows, time, memory and disk of each step; change nothing."""
    from curate import pipeline
    from curate.config.loader import load_config
    from curate.executors.serial import Serial

    with report_progress(log) as told:
        steps = pipeline.plan(load_config(config, overrides or ()), Serial(), told, verify=verify)
    if as_json:
        output.show_json([{name: getattr(step, name) for name in step.__dataclass_fields__} for step in steps])
        return
    mebibyte = 2**20
    rows = [
        [
            step.stage,
            step.name,
            step.state,
            _rows(step),
            _about(step.seconds),
            _about(step.memory, mebibyte),
            _about(step.disk, mebibyte),
            step.reason,
        ]
        for step in steps
    ]
    output.show_table(["stage", "entry", "state", "rows out", "≈ s", "≈ MiB", "≈ MiB disk", "why"], rows)
    notes = [step.note for step in steps if step.note]
    if steps and steps[0].error:
        notes.insert(0, f"≈: not all rows were counted; their number may be off by {steps[0].error:.0%}")
    if notes:
        output.show_line("")
    for note in notes:
        output.show_line(note)


def _rows(step: PlannedStep) -> str:
    estimated = "≈ " * bool(step.error and step.rows is not None)
    return estimated + _about(step.rows) + (f" in each of {step.epochs:,} epochs" if step.epochs > 1 else "")


def _about(number: float | None, unit: int = 1) -> str:
    if number is None:
        return "?"
    value = number / unit
    return f"{value:,.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


@commands.command(rich_help_panel="The pipeline")
def check(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check a configuration and its files, and report everything that is wrong at once; nothing is written."""
    from curate.config.loader import load_config
    from curate.report.formatting import plural
    from curate.stages import preflight

    settings = load_config(config, overrides or ())
    found = preflight.check_without_run(settings)
    found.raise_if_any()
    if as_json:
        output.show_json(settings.resolved)
        return
    for note in found.notes:
        output.show_line(f"note: {note}")
    pool = "" if found.pool is None else f"{found.pool.row_count} rows, "
    output.show_line(f"{config}: fine; {pool}{plural(len(settings.select), 'selector')}, results go to {settings.run}")


@commands.command(rich_help_panel="The pipeline")
def rollback(
    run: RunFolder,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="The one to publish; the one before, unless said.")
    ] = None,
    as_json: Json = False,
    log: Log = LogStyle.auto,
) -> None:
    """Publish an earlier export again, at once; the next run publishes what its configuration and input give."""
    from curate.store import versions

    with report_progress(log) as told:
        run = resolve_run_directory(run)
        done = versions.rollback(run, version, told.note, told.warn)
    with output.tolerate_output_errors(done):
        if as_json:
            output.show_json(done.as_dict())
            return
        output.show_line(done)
        output.show_line(
            f"the next curate run of {run} publishes again: fix what was wrong with the input or the configuration"
        )


def _tell(summary: Summary, *, as_json: bool) -> None:
    """Print what a run did: a table and one line, or JSON."""
    if summary.export is None:
        _show(summary, as_json=as_json)
        return
    with output.tolerate_output_errors(summary.sentence()):
        _show(summary, as_json=as_json)


def _show(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        output.show_json(summary.as_dict())
        return
    rows = []
    for line in summary.accounting():
        numbers = [f"{line[name]:,}" for name in ("rows_in", "kept", "dropped", "quarantined")]
        peak = line["peak_memory"] or 0
        rows.append([line["stage"], line["name"], *numbers, f"{line['seconds']:.1f}", f"{peak / 2**20:,.0f}"])
    output.show_table(["stage", "entry", "in", "kept", "dropped", "quarantined", "s", "MiB"], rows)
    output.show_line(summary.sentence())
