"""Commands that show what a run did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli import output
from curate.cli.command_scope import report_progress
from curate.cli.options import (
    RUN_HELP,
    Json,
    Log,
    LogStyle,
    Overrides,
    RunFolder,
    load_run_settings,
    resolve_run_directory,
)
from curate.errors import ConfigError
from curate.paths import parse_path
from curate.progress import print_error

commands = typer.Typer()


@commands.command(rich_help_panel="Looking at results")
def report(run: RunFolder, overrides: Overrides = None, as_json: Json = False, log: Log = LogStyle.auto) -> None:
    """Write the report of a finished run again, and say where it is."""
    from curate import pipeline

    with report_progress(log) as told:
        path, summary = pipeline.report(load_run_settings(run, overrides or ()), told)
    if as_json:
        output.show_json(summary)
    else:
        output.show_line(path)


@commands.command(rich_help_panel="Looking at results")
def explain(
    run: RunFolder,
    row: Annotated[
        str | None,
        typer.Argument(
            metavar="ROW",
            help="The id of a row; or FILE:LINE, with the name or path of an input file; or the hash of its text. "
            "Write `--` before an id that begins with a dash: `curate explain RUN -- -5`.",
            show_default=False,
        ),
    ] = None,
    grep: Annotated[
        str | None,
        typer.Option(
            "--grep",
            metavar="PATTERN",
            help="List the rows whose text matches this regular expression, each with its fate; `(?i)` before it "
            "ignores case.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most rows that `--grep` lists.")] = 20,
    as_json: Json = False,
) -> None:
    """Say where a row came from, what became of it, and why; or list the rows with a text."""
    from curate.store import explain as stories

    run = resolve_run_directory(run)
    if (row is None) == (grep is None):
        message = "no row is named" if row is None else "both a row and --grep are given"
        hint = (
            "leave one out"
            if row is not None
            else "give its id, FILE:LINE or the hash of its text, or search with --grep"
        )
        raise ConfigError(message, where="curate explain", hint=hint)
    if grep is not None:
        _show_matches(run, grep, limit, as_json=as_json)
        return
    story = stories.explain(run, str(row))
    if as_json:
        output.show_json(story.as_dict())
        return
    for line in story.lines():
        output.show_line(line)


def _show_matches(run: Path, pattern: str, limit: int, *, as_json: bool) -> None:
    from dataclasses import asdict

    from curate.store.row_search import grep

    found = grep(run, pattern, limit)
    if as_json:
        output.show_json(asdict(found))
        return
    rows = [
        [one.id or "", f"{one.file}:{one.line}", one.status, one.decided_by or "", one.reason or "", one.text]
        for one in found.matches
    ]
    titles = ["id", "from", "status", "by", "reason", "text"]
    output.show_table(titles, rows, verbatim=titles)
    if found.rows > len(rows):
        print_error(f"{found.rows:,} rows match; the first {len(rows):,} are listed: --limit sets how many")


@commands.command(rich_help_panel="Looking at results")
def path(run: RunFolder, as_json: Json = False) -> None:
    """Print the folder of the published version, by its own name, which later runs and rollbacks do not change."""
    from curate.store import versions

    found = versions.resolve_published(resolve_run_directory(run))
    if as_json:
        output.show_json(found.as_dict())
    else:
        output.show_line(found.path)


@commands.command(rich_help_panel="Looking at results")
def diff(
    run: RunFolder,
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_B",
            help=f"Another run to compare the first with. {RUN_HELP}",
            show_default=False,
            parser=parse_path,
        ),
    ] = None,
    examples: Annotated[int, typer.Option("--examples", min=0, help="Rows to show, added and removed each.")] = 5,
    as_json: Json = False,
) -> None:
    """Say which rows the published export added and removed, and why; with two runs, the second's selection."""
    from curate.store import diff as differences

    run = resolve_run_directory(run)
    others = () if other is None else (resolve_run_directory(other),)
    found = differences.diff(run, *others, examples) if others else differences.diff_published(run, examples)
    if as_json:
        output.show_json(found.as_dict())
        return
    output.show_line(found.summary())
    for header, rows in found.tables():
        typer.echo("")
        output.show_table(header, rows, verbatim=("source",))
    if found.examples:
        typer.echo("")
    for line in found.lines():
        output.show_line(line)
