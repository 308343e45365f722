"""Commands that correct the labels of a pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli import output
from curate.cli.options import Json, Overrides, RunFolder, load_run_settings
from curate.errors import escape_line
from curate.paths import parse_path

commands = typer.Typer()


@commands.command(rich_help_panel="Results")
def relabel(
    run: RunFolder,
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="CSV file with the columns id and corrected_label, such as RUN/review.csv with your answers. Lines "
            "without an answer are skipped.",
            parser=parse_path,
        ),
    ],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Add corrected labels to the file that `input.corrections` names, which the next run reads."""
    from curate.store import relabel as answers

    config = load_run_settings(run, overrides or ())
    target = answers.find_target(config.input.corrections, config.source)
    result = answers.relabel(parse_path(config.run), labels, target)
    if as_json:
        output.show_json(result.as_dict())
        return
    for line in result.lines():
        output.show_line(line)
    output.show_line(escape_line(f"run again: curate run {config.source}"))
