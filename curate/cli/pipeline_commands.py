"""Commands that run, plan and check the pipeline, and roll back publications."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate import errors
from curate.cli import garbage, output
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
    with report_progress(log) as progress:
        with record_metrics(progress, metrics_file, overwrite=overwrite) as set_run:
            from curate import pipeline
            from curate.config.loader import load_config

            settings = load_config(config, overrides or ())
            set_run(settings.run)
            garbage.resume()
            with pipeline.open_executor(executor.value, workers, ray_address) as runner:
                summary = pipeline.run(
                    settings, runner, progress, until=until, overwrite=overwrite, verify=verify, report=report
                )
        progress.end(errors.OK, summary.sentence(), summary=summary.as_dict())
    return summary


def _add_stage_command(until: str, help_text: str) -> None:
    """Add the command that runs the pipeline up to one stage."""

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
        summary = _run(until, config, overrides, executor, workers, ray_address, log, metrics_file, overwrite, verify)
        _print_summary(summary, as_json=as_json)

    command.__doc__ = help_text
    commands.command(name=until, rich_help_panel="Run up to a stage")(command)


@commands.command(rich_help_panel="Pipeline")
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
    """Run the complete pipeline; stages whose inputs did not change are reused."""
    settings = (config, overrides, executor, workers, ray_address, log, metrics_file, overwrite, verify)
    summary = _run("export", *settings, report=not no_report)
    _print_summary(summary, as_json=as_json)


_add_stage_command("embed", "Run the pipeline up to embed: read the pool and compute embeddings.")
_add_stage_command("cluster", "Run the pipeline up to cluster: group similar rows.")
_add_stage_command("score", "Run the pipeline up to score: score every row.")
_add_stage_command("select", "Run the pipeline up to select: choose the rows to keep.")
_add_stage_command("export", "Run the pipeline up to export: write the selected rows and the report.")


@commands.command(rich_help_panel="Pipeline")
def plan(
    config: Config,
    overrides: Overrides = None,
    verify: Verify = False,
    as_json: Json = False,
    log: Log = LogStyle.auto,
) -> None:
    """Show what a run would do and why, with the rows, time, memory and disk space of each step; change nothing."""
    from curate import pipeline
    from curate.config.loader import load_config
    from curate.executors.serial import Serial

    with report_progress(log) as progress:
        steps = pipeline.plan(load_config(config, overrides or ()), Serial(), progress, verify=verify)
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
            step.tasks,
            step.reason,
        ]
        for step in steps
    ]
    output.show_table(["stage", "entry", "state", "rows out", "≈ s", "≈ MiB", "≈ MiB disk", "tasks", "reason"], rows)
    notes = [step.note for step in steps if step.note]
    if steps and steps[0].error:
        notes.insert(0, f"≈: the number of rows is estimated, and may be off by {steps[0].error:.0%}")
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


@commands.command(rich_help_panel="Pipeline")
def check(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check a configuration and its input files, and list all problems at once; nothing is written."""
    from curate.config.loader import load_config
    from curate.report.formatting import plural
    from curate.stages import preflight

    settings = load_config(config, overrides or ())
    findings = preflight.check_without_run(settings)
    findings.raise_if_any()
    if as_json:
        output.show_json(settings.resolved)
        return
    for note in findings.notes:
        output.show_line(f"note: {note}")
    pool = "" if findings.pool is None else f"{findings.pool.row_count} rows, "
    selectors = plural(len(settings.select), "selector")
    output.show_line(f"{config}: no problems found; {pool}{selectors}, run directory {settings.run}")


@commands.command(rich_help_panel="Pipeline")
def rollback(
    run: RunFolder,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Version to publish (default: the previous one).")
    ] = None,
    as_json: Json = False,
    log: Log = LogStyle.auto,
) -> None:
    """Publish an earlier version again, without running the pipeline; the next run publishes a new version."""
    from curate.store import versions

    with report_progress(log) as progress:
        run = resolve_run_directory(run)
        done = versions.rollback(run, version, progress.note, progress.warn)
    with output.tolerate_output_errors(done):
        if as_json:
            output.show_json(done.as_dict())
            return
        output.show_line(done)
        output.show_line(
            f"the next `curate run` of {run} publishes a new version: fix the input or the configuration first"
        )


def _print_summary(summary: Summary, *, as_json: bool) -> None:
    """Print the summary of a run: a table and one line, or JSON."""
    if summary.version is None:
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
