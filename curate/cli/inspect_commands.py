"""Commands that show the results of a run."""

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


@commands.command(rich_help_panel="Results")
def report(run: RunFolder, overrides: Overrides = None, as_json: Json = False, log: Log = LogStyle.auto) -> None:
    """Write the report of a finished run again, and print its path."""
    from curate import pipeline

    with report_progress(log) as progress:
        path, summary = pipeline.report(load_run_settings(run, overrides or ()), progress)
    if as_json:
        output.show_json(summary)
    else:
        output.show_line(path)


@commands.command(rich_help_panel="Results")
def explain(
    run: RunFolder,
    row: Annotated[
        str | None,
        typer.Argument(
            metavar="ROW",
            help="Id of the row, or FILE:LINE with the name or path of an input file, or the hash of its text. "
            "Write `--` before an id that begins with a dash: `curate explain RUN -- -5`.",
            show_default=False,
        ),
    ] = None,
    grep: Annotated[
        str | None,
        typer.Option(
            "--grep",
            metavar="PATTERN",
            help="List the rows whose text matches this regular expression, and what happened to them; begin it with "
            "`(?i)` to ignore case.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Maximum number of rows that `--grep` lists.")] = 20,
    as_json: Json = False,
) -> None:
    """Explain where a row came from and why it was kept or dropped, or search for rows by their text."""
    from curate.store import explain as stories

    run = resolve_run_directory(run)
    if (row is None) == (grep is None):
        message = "no row is specified" if row is None else "a row and --grep cannot be combined"
        hint = (
            "remove one of them"
            if row is not None
            else "add its id, FILE:LINE or the hash of its text, or search with --grep"
        )
        raise ConfigError(message, where="explain", hint=hint)
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

    result = grep(run, pattern, limit)
    if as_json:
        output.show_json(asdict(result))
        return
    rows = [
        [
            match.id or "",
            f"{match.file}:{match.line}",
            match.status,
            match.decided_by or "",
            match.reason or "",
            match.text,
        ]
        for match in result.matches
    ]
    titles = ["id", "from", "status", "by", "reason", "text"]
    output.show_table(titles, rows, verbatim=titles)
    if result.rows > len(rows):
        print_error(f"{result.rows:,} rows match; the first {len(rows):,} are listed (raise --limit to list more)")


@commands.command(rich_help_panel="Results")
def path(run: RunFolder, as_json: Json = False) -> None:
    """Print the directory of the published version, whose files later runs and rollbacks do not change."""
    from curate.store import versions

    result = versions.resolve_published(resolve_run_directory(run))
    if as_json:
        output.show_json(result.as_dict())
    else:
        output.show_line(result.path)


@commands.command(rich_help_panel="Results")
def diff(
    run: RunFolder,
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_B",
            help=f"Second run, to compare the selections of two runs. {RUN_HELP}",
            show_default=False,
            parser=parse_path,
        ),
    ] = None,
    examples: Annotated[
        int, typer.Option("--examples", min=0, help="Maximum number of added and of removed rows shown.")
    ] = 5,
    as_json: Json = False,
) -> None:
    """Show which rows the last publication, or the selection of a second run, added and removed, and why."""
    from curate.store import diff as differences

    run = resolve_run_directory(run)
    others = () if other is None else (resolve_run_directory(other),)
    result = differences.diff(run, *others, examples) if others else differences.diff_published(run, examples)
    if as_json:
        output.show_json(result.as_dict())
        return
    output.show_line(result.summary())
    for header, rows in result.tables():
        typer.echo("")
        output.show_table(header, rows, verbatim=("source",))
    if result.examples:
        typer.echo("")
    for line in result.lines():
        output.show_line(line)
