"""Commands that measure a selection."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.cli import output
from curate.cli.command_scope import report_progress
from curate.cli.options import (
    ExecutorName,
    ExecutorOption,
    Json,
    Log,
    LogStyle,
    Overrides,
    RayAddress,
    RunFolder,
    Seeds,
    Test,
    Workers,
    load_run_settings,
    resolve_run_directory,
)

commands = typer.Typer()

Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="Seconds, or a time such as 10m or 2h: refuse trials that would take longer, before any begins.",
    ),
]


@commands.command(rich_help_panel="Looking at results")
def evaluate(
    run: RunFolder,
    test: Test = None,
    seeds: Seeds = None,
    budget: Budget = None,
    executor: ExecutorOption = ExecutorName.processes,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = LogStyle.auto,
    as_json: Json = False,
) -> None:
    """Say whether a run's selection is better than chance, metric by metric, and who loses by it."""
    from curate import pipeline
    from curate.cli.option_values import parse_duration
    from curate.evaluation.evaluate import as_dict
    from curate.evaluation.evaluate import evaluate as evaluated
    from curate.report import evaluation_text

    limit = None if budget is None else parse_duration(budget)
    with report_progress(log) as told, pipeline.open_executor(executor.value, workers, ray_address) as runner:
        found = evaluated(resolve_run_directory(run), runner, told, files=test or (), seeds=seeds, budget=limit)
    if as_json:
        output.show_json(as_dict(found))
    else:
        output.show_tables(evaluation_text.tables(found), evaluation_text.lines(found))


@commands.command(rich_help_panel="Looking at results")
def compare(
    config: RunFolder,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            metavar="NAMES",
            help="Selectors, separated by commas: entries of the select section, plugins, or `{use: ccs, by: el2n}`; "
            "default: the section's last entry. May be repeated.",
        ),
    ] = None,
    prune_rate: Annotated[
        str, typer.Option("--prune-rate", metavar="RATES", help="Shares of the rows to drop, separated by commas.")
    ] = ".5,.7,.9",
    seeds: Seeds = None,
    test: Test = None,
    budget: Budget = None,
    overrides: Overrides = None,
    executor: ExecutorOption = ExecutorName.processes,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = LogStyle.auto,
    as_json: Json = False,
) -> None:
    """Compare selectors × prune rates × seeds with chance, and say in one sentence which to use."""
    from curate import pipeline
    from curate.cli.option_values import parse_duration, parse_names, parse_rates
    from curate.evaluation import verdict
    from curate.evaluation.compare import compare as compared

    settings, chosen, shares = (
        load_run_settings(config, overrides or ()),
        parse_names(select or ()),
        parse_rates(prune_rate),
    )
    limit = None if budget is None else parse_duration(budget)
    with report_progress(log) as told, pipeline.open_executor(executor.value, workers, ray_address) as runner:
        found = compared(
            settings, runner, told, select=chosen, prune_rates=shares, files=test or (), seeds=seeds, budget=limit
        )
    if as_json:
        output.show_json(verdict.as_dict(found))
    else:
        output.show_tables(verdict.tables(found), verdict.lines(found))
