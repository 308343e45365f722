"""Commands that show what a run did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli import output
from curate.cli.options import Config, Json, Log, LogStyle, Overrides, RunFolder
from curate.cli.reporting import telling
from curate.paths import place

commands = typer.Typer()


@commands.command(rich_help_panel="Looking at results")
def report(config: Config, overrides: Overrides = None, as_json: Json = False, log: Log = LogStyle.auto) -> None:
    """Write the report of a finished run again, and say where it is."""
    from curate import pipeline
    from curate.config.loader import load

    with telling(log) as told:
        path, summary = pipeline.report(load(config, overrides or ()), told)
    if as_json:
        output.show_json(summary)
    else:
        output.show_line(path)


@commands.command(rich_help_panel="Looking at results")
def explain(
    run: RunFolder,
    row: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The id of a row. Write `--` before an id that begins with a dash: `curate explain RUN -- -5`.",
            show_default=False,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say where a row came from, what became of it, and why."""
    from curate.store import explain as stories

    story = stories.explain(run, row)
    if as_json:
        output.show_json(story.as_dict())
        return
    for line in story.lines():
        output.show_line(line)


@commands.command(rich_help_panel="Looking at results")
def path(run: RunFolder, as_json: Json = False) -> None:
    """Print the folder of the published version, by its own name, which later runs and rollbacks do not change."""
    from curate.store import versions

    found = versions.resolved(run)
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
            help="The folder of another run to compare the first with.",
            show_default=False,
            parser=place,
        ),
    ] = None,
    examples: Annotated[int, typer.Option("--examples", min=0, help="Rows to show, added and removed each.")] = 5,
    as_json: Json = False,
) -> None:
    """Say which rows the published export added and removed, and why; with two runs, the second's selection."""
    from curate.store import diff as differences

    found = differences.last(run, examples) if other is None else differences.diff(run, other, examples)
    if as_json:
        output.show_json(found.as_dict())
        return
    output.show_line(found.sentence())
    for header, rows in found.tables():
        typer.echo("")
        output.show_table(header, rows)
    if found.examples:
        typer.echo("")
    for line in found.lines():
        output.show_line(line)
